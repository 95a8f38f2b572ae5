"""Length buckets: every clip once an epoch, little padding, and the step alone decides."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.training.vertices import LengthBuckets

LENGTHS = np.random.default_rng(0).integers(20, 400, 103)


def test_each_epoch_has_every_clip_once_and_fills_the_rest() -> None:
    buckets = LengthBuckets(LENGTHS, 8, seed=3)
    assert buckets.per_epoch == 13
    seen = []
    for epoch in range(3):
        drawn = np.concatenate([buckets.batch(epoch * 13 + i) for i in range(13)])
        counts = np.bincount(drawn, minlength=103)
        assert counts.min() == 1
        assert counts.max() == 2
        assert (counts == 2).sum() == 13 * 8 - 103
        seen.append(drawn)
    assert not np.array_equal(seen[0], seen[1])


def test_clips_that_fill_the_batches_come_once_each() -> None:
    buckets = LengthBuckets(LENGTHS[:96], 8, seed=3)
    assert sorted(np.concatenate([buckets.batch(i) for i in range(12)])) == list(range(96))


def test_fewer_clips_than_a_batch_come_as_often_as_each_other() -> None:
    counts = np.bincount(LengthBuckets([5, 6, 7], 8, seed=0).batch(4), minlength=3)
    assert counts.sum() == 8
    assert counts.max() - counts.min() <= 1


def test_the_step_alone_decides() -> None:
    one, other = LengthBuckets(LENGTHS, 8, seed=3), LengthBuckets(LENGTHS, 8, seed=3)
    forwards = [one.batch(step) for step in range(30)]
    backwards = [other.batch(step) for step in reversed(range(30))][::-1]
    assert np.array_equal(forwards, backwards)
    assert not np.array_equal(forwards[0], LengthBuckets(LENGTHS, 8, seed=4).batch(0))


def test_batches_are_of_similar_length() -> None:
    def padding(pool: int) -> float:
        lengths = LENGTHS[
            np.stack([LengthBuckets(LENGTHS, 8, 3, pool).batch(i) for i in range(13)])
        ]
        return 1 - lengths.sum() / (lengths.max(1) * 8).sum()

    assert padding(16) < 0.1
    assert padding(1) > 0.3


def test_rows_of_a_batch_are_in_order_of_chance() -> None:
    buckets = LengthBuckets(LENGTHS, 8, seed=3)
    first, last = (
        np.mean([LENGTHS[buckets.batch(i)[half]].mean() for i in range(130)])
        for half in (slice(4), slice(4, 8))
    )
    assert abs(first - last) < 0.05 * LENGTHS.mean()


def test_no_clips_are_refused() -> None:
    with pytest.raises(InputError, match="no clips"):
        LengthBuckets([], 8, seed=0)
    with pytest.raises(ValueError, match="batch is 0"):
        LengthBuckets([1], 0, seed=0)
