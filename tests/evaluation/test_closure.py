"""Closure at bilabials on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.closure import (
    bilabial_onsets,
    closed_level,
    closure_rate,
    closures,
    gap_at,
)
from jambatalk.text.phones import Timed


def test_onsets_of_the_five_words() -> None:
    words = [
        Timed("sil", 0, 0.4),
        Timed("bin", 0.4, 0.6),
        Timed("blue", 0.6, 0.9),
        Timed("b", 0.9, 1.0),
        Timed("please", 1.1, 1.5),
    ]
    assert bilabial_onsets(words) == [0.4, 0.6, 1.1]


def test_the_window_is_one_frame_either_way_at_25_fps() -> None:
    gap = np.array([9.0, 8, 7, 1, 5, 6])
    assert gap_at(gap, 3 / 25, 25) == 1
    assert gap_at(gap, 2 / 25, 25) == 1
    assert gap_at(gap, 1 / 25, 25) == 7
    assert gap_at(gap, 4.4 / 25, 25) == 1  # nearest frame is 4
    assert gap_at(gap, 4.6 / 25, 25) == 5  # nearest frame is 5
    assert gap_at(gap, 0.0, 25) == 8
    with pytest.raises(InputError, match="outside"):
        gap_at(gap, 2.0, 25)


def test_the_window_is_40_ms_at_any_rate() -> None:
    gap = np.ones(100)
    gap[54] = 0
    assert gap_at(gap, 0.5, 100) == 0
    assert gap_at(gap, 0.49, 100) == 1


def test_the_threshold_lies_a_fifth_of_the_way_up() -> None:
    gap = np.concatenate([np.zeros(10), np.full(90, 10.0)])  # 95th percentile 10
    gap[50], gap[60] = 1.9, 2.1
    assert closures(gap, [50 / 25, 60 / 25, 20 / 25, 5 / 25], 25, 0.0) == [True, False, False, True]
    assert closures(gap, [60 / 25], 25, 1.0) == [True]  # closed level 1: threshold 2.8


def test_a_mouth_that_never_moves_closes_nowhere() -> None:
    assert closures(np.full(50, 0.3), [0.4, 1.0], 25, 0.3) == [False, False]


def test_the_rate_takes_its_closed_level_from_all_clips() -> None:
    one = np.concatenate([np.zeros(20), np.full(30, 10.0)])
    other = np.full(50, 10.0)
    other[25] = 1.0
    rate, count = closure_rate([one, other], [[0.2, 1.5], [1.0]], 25)
    assert count == 3
    assert rate == pytest.approx(2 / 3)
    assert closed_level([one, other]) == 0


def test_no_onset_is_an_error() -> None:
    with pytest.raises(InputError, match="word times"):
        closure_rate([np.zeros(5)], [[]], 25)
