"""The corrections of a measured gap before a head follows it."""

from __future__ import annotations

import numpy as np

from jambatalk.datasets.retarget import (
    RetargetConfig,
    bilabial_times,
    bumps,
    close_bilabials,
    closed_level,
    labiodental_times,
    resting_frames,
)
from jambatalk.text.phones import Timed

WORDS = (
    Timed("sil", 0.0, 0.5),
    Timed("bin", 0.5, 0.8),
    Timed("five", 1.0, 1.5),
    Timed("m", 1.6, 1.8),
    Timed("now", 1.9, 2.4),
)


def test_bilabials_are_found_by_spelling() -> None:
    assert bilabial_times(WORDS) == [0.5, 1.8]


def test_labiodentals_are_found_within_words() -> None:
    np.testing.assert_allclose(labiodental_times(WORDS), [1.05, 1.45])


def test_a_dip_is_closed_and_the_rest_is_left() -> None:
    t = np.arange(60)
    gap = 0.008 - 0.006 * np.exp(-0.5 * ((t - 26) / 2.0) ** 2)  # smallest, 2 mm, at frame 26
    closed = close_bilabials(gap, [1.0], 25.0, RetargetConfig())
    assert closed[26] == 0
    np.testing.assert_allclose(closed[:21], gap[:21], atol=1e-7)
    np.testing.assert_allclose(closed[31:], gap[31:], atol=1e-7)
    assert (closed <= gap).all()


def test_a_wrong_time_closes_nothing() -> None:
    gap = np.full(50, 0.008)
    np.testing.assert_array_equal(close_bilabials(gap, [1.0, 7.0], 25.0, RetargetConfig()), gap)


def test_the_closed_level_ignores_a_few_outliers() -> None:
    gap = np.concatenate([np.full(3, -0.5), np.full(57, 0.02), np.full(40, 1.0)])
    assert closed_level(gap) == 0.02


def test_resting_frames_are_closed_and_still() -> None:
    t = np.arange(100)
    gap = np.where(t < 30, 0.0, 0.01 * np.sin(np.pi * (t - 30) / 20) ** 2)
    rest = resting_frames(gap, np.array([100]))
    assert len(rest) >= 10
    assert np.mean(rest < 30) > 0.9


def test_bumps_peak_at_their_times() -> None:
    curve = bumps([0.4, 1.2], 50, 25.0)
    assert curve[10] == 1
    assert curve[30] == 1
    assert curve[20] < 1e-6
    assert not bumps([], 5, 25.0).any()
