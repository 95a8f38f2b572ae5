"""Intervals, tests and corrections against SciPy, hand-made answers and what is true of made
systems.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.statistics import (
    LEAST_SPEAKERS,
    bootstrap_interval,
    compare_paired,
    corrected,
    least_p,
    over_seeds,
    sign_flip,
    units_of,
)
from jambatalk.statistics import holm

stats = pytest.importorskip("scipy.stats")


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=25)  # skewed, so that the correction matters
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(5)
    )
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.04)
    plain = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5)
    )
    assert (
        ours.high > plain.confidence_interval.high
    )  # the corrected interval leans to the long tail


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = [
        low <= 0 <= high
        for _, low, high in (
            bootstrap_interval(rng.normal(size=30), resamples=1000) for _ in range(200)
        )
    ]
    assert 0.88 < np.mean(inside) < 0.985


def test_clips_of_one_speaker_are_drawn_together() -> None:
    """Ten speakers whose clips say all the same: as good as ten clips, not a hundred."""
    speakers = np.repeat(np.arange(10), 10)
    level = np.random.default_rng(2).normal(size=10)
    together = bootstrap_interval(level[speakers], list(speakers))
    ten = bootstrap_interval(level)
    hundred = bootstrap_interval(level[speakers])
    assert (together.low, together.high) == pytest.approx((ten.low, ten.high), abs=0.005)
    assert hundred.high - hundred.low < 0.5 * (together.high - together.low)


def test_seeds_widen_the_interval_by_their_own_spread() -> None:
    """Clips that agree and three seeds that do not: normal quantile times the standard error of
    three seeds.
    """
    means = np.array([0.0, 1.0, 2.0])
    low, high = bootstrap_interval(np.tile(means[:, None], (1, 20)))[1:]
    # Three draws of three: the outermost weights, 1/3 +- sqrt(3/2) 2/3 or 1/3, bound what can come
    # out at all.
    assert (high - low) / 2 == pytest.approx(np.sqrt(3 / 2), rel=0.05)
    assert bootstrap_interval(np.full((3, 20), 4.0)) == pytest.approx((4.0, 4.0, 4.0))
    spread = over_seeds(np.tile(means[:, None], (1, 20)))
    assert (spread.mean, spread.deviation, spread.seeds) == (1.0, 1.0, 3)
    assert np.isnan(over_seeds(np.ones(5)).deviation)


def test_sign_flips_are_exact_for_few_clips() -> None:
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip(np.array([1.0, 2.0, -3.0])) == 1.0
    values = np.random.default_rng(3).normal(0.4, 1, 9)
    exact = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(values) == pytest.approx(exact.pvalue)
    assert sign_flip(np.zeros(4)) == 1.0


def test_sign_flips_are_sampled_for_many() -> None:
    values = np.random.default_rng(4).normal(0.35, 1, 40)
    assert sign_flip(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert sign_flip(values) == sign_flip(values)
    assert sign_flip(np.ones(40)) == pytest.approx(1 / 10_001)


def test_chance_finds_differences_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = [sign_flip(rng.normal(size=20), draws=500) < 0.05 for _ in range(400)]
    assert 0.02 < np.mean(hits) < 0.09


def test_a_plain_difference_is_real() -> None:
    rng = np.random.default_rng(6)
    clips = rng.normal(size=25)
    a, b = clips + 0.5 + 0.2 * rng.normal(size=25), clips
    found = compare_paired(a, b)
    assert found.real
    assert found.verdict == "real"
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx((a - b).mean())
    assert found.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(a - b).pvalue)
    opposite = compare_paired(b, a)
    assert (opposite.mean, opposite.p) == pytest.approx((-found.mean, found.p))
    assert not compare_paired(a, a).real


def test_five_clips_show_nothing_however_they_differ() -> None:
    found = compare_paired(np.arange(5) + 100.0, np.arange(5.0))
    assert found.too_few
    assert found.verdict == "too few clips"
    assert not found.real
    assert found.p == 2 / 32 == least_p(5)
    assert compare_paired(np.arange(6) + 100.0 + 0.1 * np.arange(6) ** 2, np.arange(6.0)).real


def test_a_difference_must_hold_for_other_trainings_too() -> None:
    """Every clip agrees, but the seeds of both systems scatter wider than the systems differ."""
    rng = np.random.default_rng(7)
    clips = rng.normal(size=25)
    scattered = clips + np.array([[-1.0], [0.2], [1.1]])
    narrow = clips + np.array([[-0.01], [0.0], [0.01]])
    unclear = compare_paired(scattered + 0.3, scattered)
    assert unclear.clip_p < 0.05 < unclear.seed_p == unclear.p
    assert not unclear.real
    assert unclear.seeds == (3, 3)
    assert compare_paired(narrow + 0.3, narrow).real
    means = (scattered + 0.3).mean(1), scattered.mean(1)
    assert unclear.seed_p == pytest.approx(stats.ttest_ind(*means, equal_var=False).pvalue)
    against_one = compare_paired(scattered, clips)
    assert against_one.seed_p == pytest.approx(
        stats.ttest_1samp(scattered.mean(1), clips.mean()).pvalue
    )


def test_speakers_are_the_units_where_there_are_enough() -> None:
    few, many = ["a", "a", "b", "c"], [f"s{i // 2}" for i in range(2 * LEAST_SPEAKERS)]
    assert units_of(few) == [0, 1, 2, 3]
    assert units_of(many) == many
    apart = np.random.default_rng(8).normal(size=LEAST_SPEAKERS)[np.arange(2 * LEAST_SPEAKERS) // 2]
    assert compare_paired(apart, 0 * apart, many).units == LEAST_SPEAKERS
    # Twice as many clips that tell nothing new: the test over clips would be surer than the test
    # over speakers.
    assert (
        compare_paired(apart + 1, 0 * apart, many).clip_p
        > compare_paired(apart + 1, 0 * apart).clip_p
    )


def test_holm_corrects_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
    rng = np.random.default_rng(9)
    base = rng.normal(size=12)
    once = [compare_paired(base + 0.3 + 0.5 * rng.normal(size=12), base) for _ in range(8)]
    judged = corrected(once)
    assert [d.adjusted_p for d in judged] == pytest.approx(holm([d.p for d in once]))
    assert sum(d.real for d in once) > sum(d.real for d in judged)


def test_clips_without_a_score_are_left_out() -> None:
    a, b = (
        np.array([1.0, 2.0, np.nan, 4.0]),
        np.array([[0.0, np.nan, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]),
    )
    found = compare_paired(a, b)
    assert found.units == 2
    assert found.mean == pytest.approx(2.0)
    assert bootstrap_interval(a).mean == pytest.approx(7 / 3)
    nothing = compare_paired(np.full(3, np.nan), np.zeros(3))
    assert nothing.too_few
    assert np.isnan(nothing.mean)
    alone = bootstrap_interval(np.array([3.0]))
    assert alone.mean == 3.0
    assert np.isnan(alone.low)


def test_longer_clips_count_more() -> None:
    """A clip of weight 2 is as good as two clips of one unit that say the same."""
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=12), rng.normal(0.4, 1, 12)
    lengths = rng.integers(1, 4, 12)
    twice, units = (
        np.repeat(np.arange(12), lengths),
        [int(i) for i in np.repeat(np.arange(12), lengths)],
    )
    assert bootstrap_interval(a, weights=lengths) == pytest.approx(
        bootstrap_interval(a[twice], units), abs=1e-9
    )
    weighted, repeated = (
        compare_paired(a, b, weights=lengths),
        compare_paired(a[twice], b[twice], units),
    )
    assert (weighted.mean, weighted.p, weighted.low) == pytest.approx(
        (repeated.mean, repeated.p, repeated.low)
    )
    assert over_seeds(np.stack([a, b]), lengths).mean == pytest.approx(
        np.average((a + b) / 2, weights=lengths)
    )


def test_scores_of_other_clips_are_refused() -> None:
    with pytest.raises(InputError, match="scores of 3 and 4 clips"):
        compare_paired(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="2 units"):
        bootstrap_interval(np.zeros(3), ["a", "b"])
    with pytest.raises(InputError, match="expected"):
        bootstrap_interval(np.zeros((2, 2, 2)))


def test_the_example_of_the_documentation_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "compare.md"
    shown = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)[0]
    names: dict[str, Any] = {}
    exec(shown, names)
    assert names["difference"].verdict == "real"
    assert all(one.real for one in names["both"])
