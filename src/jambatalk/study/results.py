"""From raters' answers to a study's results, for all raters or for those who count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.statistics import holm
from jambatalk.study import statistics as st
from jambatalk.study.plan import AB, Study
from jambatalk.study.store import Rater
from jambatalk.study.trials import RATING

Array = NDArray[Any]
DRAWS = 1000


@dataclass(frozen=True)
class Vote:
    """One answer to one question. systems: as shown, A first. chosen: a system's name, "tie", or a
    number from 1 to 5.
    """

    rater: str
    question: str
    clip: str
    systems: tuple[str, ...]
    chosen: Any
    took_ms: int
    plays: int


def votes(raters: Sequence[Rater]) -> Iterator[Vote]:
    """The answers to the ratings proper, with the key applied."""
    for rater in raters:
        for trial in rater.trials:
            answer = rater.answers.get(trial.id)
            if trial.kind != RATING or answer is None:
                continue
            for question, value in answer.values.items():
                chosen = (
                    dict(zip("AB", trial.systems)).get(value, value)
                    if len(trial.systems) == 2
                    else value
                )
                yield Vote(
                    rater.id,
                    question,
                    trial.clip,
                    trial.systems,
                    chosen,
                    answer.took_ms,
                    answer.plays,
                )


def results(study: Study, raters: Sequence[Rater], draws: int = DRAWS) -> dict[str, Any]:
    """Everything about the answers of these raters, question by question, as plain values for
    JSON.
    """
    found = list(votes(raters))
    questions = {}
    for question, text in zip(study.settings.question_ids, study.settings.questions):
        own = [vote for vote in found if vote.question == question]
        measured = (
            _comparisons(study, own, draws) if study.settings.kind == AB else _opinions(study, own)
        )
        questions[question] = (
            {"text": text, "answers": len(own)} | measured | {"agreement": _agreement(study, own)}
        )
    return {"raters": len(raters), "questions": questions}


def _tallies(study: Study, votes: Sequence[Vote]) -> tuple[Array, Array]:
    """(raters, K, K) how often each rater preferred i to j, and (raters, K, K) ties, symmetric."""
    place = {system: i for i, system in enumerate(study.systems)}
    raters = {rater: i for i, rater in enumerate(dict.fromkeys(vote.rater for vote in votes))}
    wins = np.zeros((len(raters), len(place), len(place)), int)
    ties = np.zeros_like(wins)
    for vote in votes:
        i, j = (place[system] for system in vote.systems)
        if vote.chosen == "tie":
            ties[raters[vote.rater], [i, j], [j, i]] += 1
        else:
            winner, loser = (i, j) if vote.chosen == vote.systems[0] else (j, i)
            wins[raters[vote.rater], winner, loser] += 1
    return wins, ties


def _comparisons(study: Study, votes: Sequence[Vote], draws: int) -> dict[str, Any]:
    wins, ties = _tallies(study, votes)
    place = {system: i for i, system in enumerate(study.systems)}
    chosen = (
        st.resampled(len(wins), draws, seed=0) if len(wins) > 1 else np.zeros((0, len(wins)), int)
    )
    samples = (
        np.einsum("dr,rij->dij", chosen, wins)
        if len(wins)
        else np.zeros((0, len(place), len(place)))
    )
    pairs: list[dict[str, Any]] = []
    for first, second in study.pairs:
        i, j = place[first], place[second]
        one = st.preference(
            int(wins[:, i, j].sum()), int(wins[:, j, i].sum()), int(ties[:, i, j].sum())
        )
        with np.errstate(invalid="ignore"):
            over_raters = st.percentiles(samples[:, i, j] / (samples[:, i, j] + samples[:, j, i]))
        pairs.append(
            {
                "first": first,
                "second": second,
                "wins": one.wins,
                "losses": one.losses,
                "ties": one.ties,
                "share": one.share,
                "wilson_95": one.wilson,
                "raters_95": over_raters,
                "p": one.p,
            }
        )
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs])):
        pair["p_holm"] = corrected
    first_side = sum(vote.chosen == vote.systems[0] for vote in votes)
    decided = sum(vote.chosen != "tie" for vote in votes)
    side = st.preference(first_side, decided - first_side)
    found: dict[str, Any] = {
        "pairs": pairs,
        "chose_a": {"count": first_side, "of": decided, "share": side.share, "p": side.p},
    }
    if len(study.systems) > 2:
        halves = np.einsum("dr,rij->dij", chosen, ties) / 2 if len(wins) else samples
        whole = wins.sum(0) + ties.sum(0) / 2
        strengths = st.bradley_terry(whole)
        spread = np.array(
            [st.bradley_terry(sample, 500, 1e-6) for sample in samples + halves]
        ).reshape(-1, len(place))
        found["bradley_terry"] = [
            {
                "system": system,
                "log_strength": _number(strengths[i]),
                "raters_95": st.percentiles(spread[:, i]),
            }
            for system, i in place.items()
        ]
    return found


def _opinions(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    given: dict[str, dict[str, list[int]]] = {system: defaultdict(list) for system in study.systems}
    for vote in votes:
        given[vote.systems[0]][vote.rater].append(vote.chosen)
    means = {
        system: {rater: float(np.mean(values)) for rater, values in own.items()}
        for system, own in given.items()
    }
    systems = []
    for system, own in means.items():
        mean, interval = st.mean_over_raters(list(own.values())) if own else (None, None)
        counts = [
            sum(values.count(mark) for values in given[system].values())
            for mark in study.settings.choices
        ]
        systems.append(
            {
                "system": system,
                "mos": mean,
                "raters_95": interval,
                "raters": len(own),
                "counts": counts,
            }
        )
    pairs: list[dict[str, Any]] = []
    for first, second in combinations(study.systems, 2):
        differences = [
            means[first][rater] - means[second][rater]
            for rater in means[first]
            if rater in means[second]
        ]
        mean, interval = st.mean_over_raters(differences) if differences else (None, None)
        p = st.paired_p(differences) if differences else 1.0
        pairs.append(
            {
                "first": first,
                "second": second,
                "difference": mean,
                "raters_95": interval,
                "raters": len(differences),
                "p": p,
            }
        )
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs])):
        pair["p_holm"] = corrected
    return {"systems": systems, "pairs": pairs}


def _agreement(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    """Krippendorff's alpha over what was shown: raters see different parts of a study, which
    Fleiss' kappa does not allow.
    """
    ordered = study.settings.kind != AB
    units: dict[Any, dict[str, Any]] = defaultdict(dict)
    for vote in votes:
        units[vote.clip, tuple(sorted(vote.systems))][vote.rater] = vote.chosen
    shared = sum(len(unit) > 1 for unit in units.values())
    alpha = st.krippendorff_alpha(units.values(), ordered)
    return {
        "krippendorff_alpha": alpha,
        "metric": "interval" if ordered else "nominal",
        "items_rated_twice_or_more": shared,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
