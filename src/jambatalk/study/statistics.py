"""What answers say: preferences, strengths, opinions and agreement. Plain functions of counts and
arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import MissingExtraError

Array = NDArray[Any]
Interval = tuple[float, float]
CONFIDENCE = 0.95


def scipy_stats() -> Any:
    """The module ``scipy.stats``. MissingExtraError says how to install it."""
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError(
            'the report of a study needs scipy: pip install "jambatalk[study]"'
        ) from error
    return stats


@dataclass(frozen=True)
class Preference:
    """How often the first of two was chosen. share: without ties, None if there are none. wilson:
    95 % interval of the share.
    p: exact, two-sided, that both are chosen equally often. All of it takes answers as independent
    of each other."""

    wins: int
    losses: int
    ties: int
    share: float | None
    wilson: Interval | None
    p: float


def preference(wins: int, losses: int, ties: int = 0) -> Preference:
    """The preference shown by counts; ties count for nobody."""
    n = wins + losses
    if n == 0:
        return Preference(0, 0, ties, None, None, 1.0)
    test = scipy_stats().binomtest(wins, n, 0.5)
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return Preference(
        wins,
        losses,
        ties,
        wins / n,
        (float(interval.low), float(interval.high)),
        float(test.pvalue),
    )


def bradley_terry(wins: Array, rounds: int = 10_000, tolerance: float = 1e-10) -> Array:
    """(K,) natural logarithms of the strengths, mean 0, from ``wins[i, j]``: how often i was
    preferred to j.

    Most likely strengths by the minorisation-maximisation steps of Hunter (2004, doi
    10.1214/aos/1079120141); ties count as half a win for each. They are finite only where every
    system can be reached from every other one along wins (Ford 1957): where that fails, half a win
    is added both ways to every pair that met. Systems that never met at all give NaN.
    """
    wins = np.asarray(wins, float)
    met = wins + wins.T
    count = len(wins)
    if not _connected(met > 0):
        return np.full(count, np.nan)
    if not _connected(wins > 0):
        wins = wins + 0.5 * (met > 0)
        met = wins + wins.T
    won, strength = wins.sum(1), np.ones(count)
    for _ in range(rounds):
        shared = met / (strength[:, None] + strength[None, :])
        updated = won / shared.sum(1)
        updated /= math.exp(np.log(updated).mean())
        done = np.abs(np.log(updated / strength)).max() < tolerance
        strength = updated
        if done:
            break
    return np.log(strength)


def _connected(edges: Array) -> bool:
    """Whether every node is reached from every other along directed edges."""
    for reached_by in (edges, edges.T):
        seen, fresh = {0}, [0]
        while fresh:
            fresh = [int(j) for j in np.flatnonzero(reached_by[fresh].any(0)) if j not in seen]
            seen.update(fresh)
        if len(seen) < len(edges):
            return False
    return True


def resampled(n: int, draws: int, seed: int = 0) -> Array:
    """(draws, n) how often each of n raters is in each bootstrap sample of n raters."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)


def percentiles(values: Array, confidence: float = CONFIDENCE) -> Interval | None:
    """The interval that leaves out equal parts on both sides; NaN values are left out, None if
    nothing else is there.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mean_over_raters(means: Sequence[float]) -> tuple[float, Interval | None]:
    """The mean of raters' means and its 95 % interval by Student's t over raters; None for fewer
    than two raters.
    """
    values = np.asarray(means, float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None
    half = float(
        scipy_stats().t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        * values.std(ddof=1)
        / math.sqrt(len(values))
    )
    return mean, (mean - half, mean + half)


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on differences between two systems, one per rater;
    1 if all are zero.
    """
    values = np.asarray(differences, float)
    return float(scipy_stats().wilcoxon(values).pvalue) if np.any(values) else 1.0


def krippendorff_alpha(units: Iterable[Mapping[Any, Any]], ordered: bool = False) -> float | None:
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives. None where no two raters
    met or all answers are equal.

    units: for each thing that was judged, rater -> answer. Raters may have seen different things,
    and any number of them, which Fleiss' kappa does not allow. ordered: answers are numbers whose
    differences count (interval metric), else names.
    """
    coincidences: dict[tuple[Any, Any], float] = {}
    for answers in units:
        values = list(answers.values())
        for i, first in enumerate(values):
            for j, second in enumerate(values):
                if i != j:
                    coincidences[first, second] = coincidences.get((first, second), 0.0) + 1 / (
                        len(values) - 1
                    )
    totals: dict[Any, float] = {}
    for (first, _), count in coincidences.items():
        totals[first] = totals.get(first, 0.0) + count

    def distance(a: Any, b: Any) -> float:
        return float(a - b) ** 2 if ordered else float(a != b)

    n = sum(totals.values())
    expected = sum(totals[a] * totals[b] * distance(a, b) for a in totals for b in totals)
    if not expected:
        return None
    observed = sum(count * distance(a, b) for (a, b), count in coincidences.items())
    return 1 - (n - 1) * observed / expected
