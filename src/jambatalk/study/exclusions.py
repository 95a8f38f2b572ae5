"""Which raters count, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from jambatalk.errors import InputError
from jambatalk.study.checks import tones_needed
from jambatalk.study.plan import Study
from jambatalk.study.store import Rater
from jambatalk.study.trials import CHECK, HEADPHONES, RATING, Trial


@dataclass(frozen=True)
class Rules:
    """When a rater is left out.

    missed_checks: attention checks that may fail. fastest: seconds between a video's end and the
    answer below which an answer is too fast; hasty: share of a rater's answers that may be.
    incomplete: whether raters who stopped early count.
    headphones: whether the headphones check must be passed.
    """

    missed_checks: int = 0
    fastest: float = 0.3
    hasty: float = 1 / 3
    incomplete: bool = False
    headphones: bool = True

    def __post_init__(self) -> None:
        if self.missed_checks < 0:
            raise InputError(f"{self.missed_checks} attention checks may fail, expected 0 or more")
        if not (0 <= self.fastest <= 60 and 0 <= self.hasty <= 1):
            raise InputError(
                f"too fast is {self.fastest} s in {self.hasty} of the answers, expected 0 to 60 s "
                "and 0 to 1"
            )


def failed(rater: Rater, trial: Trial) -> bool:
    """Whether a trial with a right answer was answered wrongly."""
    answer = rater.answers.get(trial.id)
    return answer is not None and any(
        answer.values.get(q) != right for q, right in (trial.expected or {}).items()
    )


def reasons(study: Study, rater: Rater, rules: Rules) -> list[str]:
    """Why a rater is left out, one sentence each; empty for one who counts."""
    found = []
    checks = [trial for trial in rater.trials if trial.kind == CHECK]
    missed = [trial for trial in checks if failed(rater, trial)]
    if len(missed) > rules.missed_checks:
        kinds = ", ".join(sorted({str(trial.check) for trial in missed}))
        found.append(
            f"failed attention: {len(missed)} of {len(checks)} checks wrong ({kinds}), "
            f"{rules.missed_checks} allowed"
        )
    tones = [trial for trial in rater.trials if trial.kind == HEADPHONES]
    right = sum(trial.id in rater.answers and not failed(rater, trial) for trial in tones)
    complete = all(trial.id in rater.answers for trial in tones)
    if rules.headphones and tones and complete and right < tones_needed(len(tones)):
        found.append(
            f"failed headphones: {right} of {len(tones)} tones right, {tones_needed(len(tones))} "
            "needed"
        )
    rated = [trial for trial in rater.trials if trial.kind in (RATING, CHECK)]
    given = [trial for trial in rated if trial.id in rater.answers]
    fast = [
        trial
        for trial in given
        if rater.answers[trial.id].took_ms / 1000 < _length(study, trial) + rules.fastest
    ]
    if given and len(fast) > rules.hasty * len(given):
        found.append(
            f"too fast: {len(fast)} of {len(given)} answers within {rules.fastest:g} s of the "
            "videos' end or before it, "
            f"{int(rules.hasty * len(given))} allowed"
        )
    if len(given) < len(rated) and not rules.incomplete:
        found.append(f"incomplete: {len(given)} of {len(rated)} trials answered")
    return found


def _length(study: Study, trial: Trial) -> float:
    """Seconds that watching takes at least: two videos may play together."""
    return max(
        (study.media[name].seconds for name in trial.media if name in study.media), default=0.0
    )


def chance_of_passing(study: Study, rater: Rater, rules: Rules) -> float:
    """How likely someone who answers at random misses no more attention checks than allowed, on
    this rater's checks.
    """
    choices = len(study.settings.choices)
    each = [
        1 / choices ** len(trial.expected or {}) for trial in rater.trials if trial.kind == CHECK
    ]
    # missed[k]: probability of exactly k misses, grown check by check
    missed = reduce(
        lambda so_far, p: [
            p * (so_far[k] if k < len(so_far) else 0) + (1 - p) * (so_far[k - 1] if k else 0)
            for k in range(len(so_far) + 1)
        ],
        each,
        [1.0],
    )
    return sum(missed[: rules.missed_checks + 1])
