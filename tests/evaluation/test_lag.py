"""Lags on shifted curves, finer than a frame."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.timing import cross_correlation, lag_ms, peak, sound_level

FPS = 25.0


def _bump(shift_ms: float, frames: int = 100, centre: float = 2.0) -> np.ndarray:
    t = np.arange(frames) / FPS
    return np.exp(-0.5 * ((t - centre - shift_ms / 1000) / 0.12) ** 2)


@pytest.mark.parametrize("shift", [-130.0, -40.0, -13.0, 0.0, 7.0, 25.0, 80.0])
def test_a_shift_is_found_within_two_milliseconds(shift: float) -> None:
    leaders = [_bump(0), _bump(0, centre=1.5)]
    followers = [_bump(shift), _bump(shift, centre=1.5)]
    assert lag_ms(leaders, followers, FPS) == pytest.approx(shift, abs=2)


def test_one_odd_clip_does_not_decide() -> None:
    leaders = [_bump(0)] * 5
    followers = [_bump(20)] * 4 + [_bump(300)]
    assert lag_ms(leaders, followers, FPS) == pytest.approx(
        20, abs=20
    )  # the mean of the clips' own lags is 76


def test_a_static_face_has_no_lag() -> None:
    assert math.isnan(lag_ms([_bump(0)], [np.zeros(100)], FPS))


def test_cross_correlation_at_lag_zero_is_the_correlation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(40), rng.standard_normal(40)
    values = cross_correlation(a, b, 3)
    assert values[3] == pytest.approx(np.corrcoef(a, b)[0, 1])
    expected = (a - a.mean())[:-2] @ (b - b.mean())[2:] / (40 * a.std() * b.std())
    assert values[5] == pytest.approx(expected)
    with pytest.raises(InputError, match="same length"):
        cross_correlation(a, b[:-1], 3)


def test_a_parabola_s_peak_is_exact() -> None:
    x = np.arange(9.0)
    assert peak(3 - (x - 4.3) ** 2) == pytest.approx(4.3)
    assert peak(x) == 8


def test_sound_level_is_centred_on_each_frame() -> None:
    rate = 16000
    samples = np.zeros(rate, np.float32)
    samples[7680:9600] = 0.5  # 0.48 s to 0.60 s
    level = sound_level(samples, rate, FPS, 25)
    assert level[13] == pytest.approx(20 * np.log10(0.5), abs=0.01)  # 0.48 .. 0.56 s
    assert level[12] == pytest.approx(
        20 * np.log10(0.5) + 10 * np.log10(0.5), abs=0.01
    )  # half of 0.44 .. 0.52 s
    assert level[5] == -60
    np.testing.assert_allclose(
        np.sum(np.arange(25) * (level > -60)) / np.sum(level > -60), 0.54 * FPS, atol=0.51
    )
