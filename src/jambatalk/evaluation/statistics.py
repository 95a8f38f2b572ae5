"""Error bars and tests over clips, speakers and training seeds: which differences between systems
are real.

Scores come as (C,) one value for each clip, or (S, C) for a system that was trained S times from
other seeds and scored on the same clips. A clip with nan (the metric does not exist there) is left
out. Everything random is drawn from a fixed seed.

What is drawn anew, or flipped, is a *unit*: a clip, or a speaker with all clips where there are
enough speakers (``units_of``). With fewer speakers, an interval tells of other sentences of these
speakers and not of other speakers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.statistics import holm

Array = NDArray[Any]

LEVEL, ALPHA = 0.95, 0.05
RESAMPLES = 10_000
EXACT = 16
"""Up to so many units every choice of signs is tried (2^15 of them, as a choice and its opposite
say the same).
"""
LEAST_SPEAKERS = 6
"""With fewer speakers the units are clips: no test over five units can fall below p = 2 / 2^5 =
0.06.
"""


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float


class Spread(NamedTuple):
    """Mean over training seeds, and the standard deviation between them (nan for one seed)."""

    mean: float
    deviation: float
    seeds: int


@dataclass(frozen=True)
class Difference:
    """The score of one system minus that of another on the same clips.

    low, high: confidence interval from resampled units, and resampled seeds where a system has
    several. p: the larger of ``clip_p`` and ``seed_p``: a difference has to hold on other clips and
    for other trainings. clip_p: paired sign-flip test over the units. wilcoxon_p: Wilcoxon's
    signed-rank test over them, as a check. seed_p: Welch's t-test between the seeds' means; nan
    when neither system has several. Of a system with one seed it says
        nothing: what another training of it would give is not known.
    adjusted_p: ``p`` corrected for the number of comparisons (``corrected``), else ``p`` itself.
    effect: mean over units of the difference, in standard deviations of it (Cohen's d_z); nan where
    it does not vary. units: how many clips or speakers were compared. seeds: of the one and of the
    other system. real: whether ``adjusted_p`` is below alpha and the interval leaves out 0.
    too_few: whether no result with so few units could have been real.
    """

    mean: float
    low: float
    high: float
    p: float
    clip_p: float
    wilcoxon_p: float
    seed_p: float
    adjusted_p: float
    effect: float
    units: int
    seeds: tuple[int, int]
    real: bool
    too_few: bool

    @property
    def verdict(self) -> str:
        """ "too few clips", "real" or "not shown"."""
        return "too few clips" if self.too_few else "real" if self.real else "not shown"


def units_of(subjects: Sequence[Hashable]) -> list[Hashable]:
    """The unit of each clip: its speaker where there are at least LEAST_SPEAKERS, else the clip
    itself.
    """
    return list(subjects) if len(set(subjects)) >= LEAST_SPEAKERS else list(range(len(subjects)))


def over_seeds(scores: Array, weights: Array | None = None) -> Spread:
    """Mean ± deviation over training seeds of each seed's mean over clips; scores (S, C) or (C,),
    weights (C,) of the clips.
    """
    (table,), groups, counted = _complete([_table(scores)], None, weights)
    means = table @ counted / counted.sum() if len(groups) else np.full(len(table), np.nan)
    return Spread(
        float(means.mean()),
        float(means.std(ddof=1)) if len(means) > 1 else float("nan"),
        len(means),
    )


def bootstrap_interval(
    scores: Array,
    units: Sequence[Hashable] | None = None,
    *,
    weights: Array | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean over clips (and seeds) with its bootstrap interval, bias-corrected and accelerated for a
    single seed.

    scores: (C,) or (S, C). units: (C,) the unit of each clip, None for the clip itself. weights:
    (C,) how much each clip counts in the mean (its frames, for a metric over all frames), None for
    all alike. With several seeds, units and seeds are drawn independently, seeds widened after Rao
    and Wu (1988) because they are few, and the interval is by percentiles. A single unit has no
    interval: low and high are nan.
    """
    tables, groups, counted = _complete([_table(scores)], units, weights)
    return _bootstrap(tables, groups, counted, level, resamples, seed)


def compare_paired(
    a: Array,
    b: Array,
    units: Sequence[Hashable] | None = None,
    *,
    weights: Array | None = None,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Is the difference a - b of two systems on the same clips real?

    a, b: (C,) or (S, C) scores, the same clips in the same order; numbers of seeds may differ.
    units, weights: (C,) as in ``bootstrap_interval``. Raises InputError when the clips do not
    agree, MissingExtraError without SciPy.
    """
    tables, groups, counted = _complete([_table(a), _table(b)], units, weights)
    count = int(groups.max()) + 1 if len(groups) else 0
    seeds = len(tables[0]), len(tables[1])
    if count == 0:
        none = float("nan")
        return Difference(none, none, none, 1.0, 1.0, 1.0, none, 1.0, none, 0, seeds, False, True)
    interval = _bootstrap(tables, groups, counted, 1 - alpha, resamples, seed)
    apart = tables[0].mean(0) - tables[1].mean(0)  # (C,)
    sums = np.bincount(groups, apart * counted, count)
    by_unit = sums / np.bincount(groups, counted, count)
    share = counted / counted.sum()
    clip_p, seed_p = sign_flip(sums, seed), _seed_p(tables[0] @ share, tables[1] @ share)
    p = max(clip_p, 0.0 if np.isnan(seed_p) else seed_p)
    spread = float(by_unit.std(ddof=1)) if count > 1 else 0.0
    difference = Difference(
        *interval,
        p=p,
        clip_p=clip_p,
        wilcoxon_p=_wilcoxon(by_unit),
        seed_p=seed_p,
        adjusted_p=p,
        effect=float(by_unit.mean()) / spread if spread > 0 else float("nan"),
        units=count,
        seeds=seeds,
        real=False,
        too_few=least_p(count) >= alpha,
    )
    return _judged(difference, p, alpha)


def corrected(differences: Sequence[Difference], alpha: float = ALPHA) -> list[Difference]:
    """The differences of one table judged together: ``adjusted_p`` by Holm's step-down method,
    ``real`` anew.
    """
    adjusted = holm([difference.p for difference in differences])
    return [_judged(difference, p, alpha) for difference, p in zip(differences, adjusted)]


def sign_flip(differences: Array, seed: int = 0, draws: int = RESAMPLES) -> float:
    """Two-sided p of the paired sign-flip (permutation) test that the differences (n,) are
    symmetric about 0.

    Exact for up to EXACT of them; else from ``draws`` random choices of signs, the observed one
    counted among them.
    """
    values = np.asarray(differences, np.float64)
    observed = abs(values.sum())
    bound = (
        observed - 1e-12 * np.abs(values).sum()
    )  # sums that are equal but for rounding count as equal
    if len(values) <= EXACT:
        sums = values[:1]
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= bound)) if len(values) else 1.0
    signs = np.random.default_rng(seed).integers(0, 2, (draws, len(values)), np.int8) * 2.0 - 1.0
    return float((1 + np.sum(np.abs(signs @ values) >= bound)) / (1 + draws))


def least_p(units: int) -> float:
    """The smallest p that ``sign_flip`` can give for so many units."""
    return (
        1.0 if units < 1 else max(2.0 ** (1 - units), 1 / (1 + RESAMPLES) if units > EXACT else 0.0)
    )


def _judged(difference: Difference, adjusted: float, alpha: float) -> Difference:
    beyond = difference.low > 0 or difference.high < 0
    return replace(
        difference, adjusted_p=adjusted, real=beyond and adjusted < alpha and not difference.too_few
    )


def _table(scores: Array) -> Array:
    table = np.asarray(scores, np.float64)
    table = table[None] if table.ndim == 1 else table
    if table.ndim != 2 or not len(table):
        raise InputError(
            f"scores have shape {np.shape(scores)}, expected (clips,) or (seeds, clips)"
        )
    return table


def _complete(
    tables: Sequence[Array], units: Sequence[Hashable] | None, weights: Array | None
) -> tuple[list[Array], Array, Array]:
    """The tables without the clips that any of them lacks; of the rest, the number of the unit (C,)
    and the weight (C,).
    """
    clips = tables[0].shape[1]
    labels = range(clips) if units is None else units
    counted = np.ones(clips) if weights is None else np.asarray(weights, np.float64)
    if (
        any(table.shape[1] != clips for table in tables)
        or len(labels) != clips
        or counted.shape != (clips,)
    ):
        shapes = " and ".join(str(table.shape[1]) for table in tables)
        raise InputError(
            f"scores of {shapes} clips, {len(labels)} units and {counted.size} weights, expected "
            "the same clips everywhere"
        )
    whole = ~np.any([np.isnan(table).any(0) for table in tables], axis=0) & (counted > 0)
    numbers: dict[Hashable, int] = {}
    groups = [
        numbers.setdefault(label, len(numbers)) for label, there in zip(labels, whole) if there
    ]
    return [table[:, whole] for table in tables], np.array(groups, np.int64), counted[whole]


def _bootstrap(
    tables: Sequence[Array], groups: Array, counted: Array, level: float, resamples: int, seed: int
) -> Interval:
    """Interval of the mean of the first table, less that of the second where there is one."""
    count = int(groups.max()) + 1 if len(groups) else 0
    signs = (1.0, -1.0)[: len(tables)]
    share = counted / counted.sum() if count else counted
    whole = (
        float(sum(sign * (table @ share).mean() for sign, table in zip(signs, tables)))
        if count
        else float("nan")
    )
    if count < 2:
        return Interval(whole, float("nan"), float("nan"))
    drawn = _counts(count, resamples, seed)  # (B, units)
    sizes = np.bincount(groups, counted, count)
    replicates, by_unit = np.zeros(resamples), np.zeros(count)
    for number, (sign, table) in enumerate(zip(signs, tables), 1):
        sums = np.stack([np.bincount(groups, row * counted, count) for row in table])  # (S, units)
        means = drawn @ sums.T / (drawn @ sizes)[:, None]  # (B, S)
        replicates += sign * (means * _seed_weights(len(table), resamples, seed + number)).sum(1)
        by_unit += sign * sums.mean(0)
    if any(len(table) > 1 for table in tables):
        bias, acceleration = 0.0, 0.0
    else:
        bias, acceleration = _bca(
            replicates, whole, (by_unit.sum() - by_unit) / (sizes.sum() - sizes)
        )
    low, high = (
        _quantile(replicates, part, bias, acceleration)
        for part in ((1 - level) / 2, (1 + level) / 2)
    )
    return Interval(whole, low, high)


def _bca(replicates: Array, whole: float, left_out: Array) -> tuple[float, float]:
    """Bias correction and acceleration (Efron 1987); left_out: (units,) means without each unit."""
    below = (np.sum(replicates < whole) + 0.5 * np.sum(replicates == whole)) / len(replicates)
    apart = left_out.mean() - left_out
    scale = float(np.sum(apart**2)) ** 1.5
    if not 0 < below < 1 or scale == 0:
        return 0.0, 0.0
    return NormalDist().inv_cdf(float(below)), float(np.sum(apart**3)) / (6 * scale)


def _quantile(replicates: Array, share: float, bias: float, acceleration: float) -> float:
    normal = NormalDist()
    moved = bias + normal.inv_cdf(share)
    return float(np.quantile(replicates, normal.cdf(bias + moved / (1 - acceleration * moved))))


@lru_cache(maxsize=8)
def _counts(units: int, resamples: int, seed: int) -> Array:
    """(B, units) how often each unit is drawn. The same for all metrics and systems, so that their
    intervals are comparable.
    """
    drawn = np.random.default_rng(seed).multinomial(
        units, np.full(units, 1 / units), size=resamples
    )
    return drawn.astype(np.float64)


def _seed_weights(seeds: int, resamples: int, seed: int) -> Array:
    """(B, S) weights of the seeds, of mean 1 / S; plain ones would give (S - 1) / S of the variance
    of the seeds' mean.
    """
    if seeds == 1:
        return np.ones((resamples, 1))
    return 1 / seeds + np.sqrt(seeds / (seeds - 1)) * (_counts(seeds, resamples, seed) - 1) / seeds


def _seed_p(a: Array, b: Array) -> float:
    """p of a t-test between the means of the seeds, (S,) each; nan when neither has several."""
    if len(a) == len(b) == 1:
        return float("nan")
    rounding = 1e-9 * max(np.abs(a).max(), np.abs(b).max())
    if (
        max(np.ptp(a), np.ptp(b)) <= rounding
    ):  # trainings that all came out the same: no variation to test against
        return 1.0 if abs(a[0] - b[0]) <= rounding else 0.0
    tests = require_scipy()
    if len(a) > 1 and len(b) > 1:
        return float(tests.ttest_ind(a, b, equal_var=False).pvalue)
    many, one = (a, b) if len(a) > 1 else (b, a)
    return float(tests.ttest_1samp(many, one[0]).pvalue)


def _wilcoxon(differences: Array) -> float:
    return float(require_scipy().wilcoxon(differences).pvalue) if np.any(differences != 0) else 1.0


def require_scipy() -> Any:
    """Import ``scipy.stats``. MissingExtraError says how to install it."""
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtraError(
            'comparing systems needs SciPy: pip install "jambatalk[evaluate]"'
        ) from error
    return stats
