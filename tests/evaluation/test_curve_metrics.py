"""Openings over time and warping: built delays and depths, scipy as an oracle, plain forms beside
the kernels.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.evaluation.metrics import Accumulator
from jambatalk.evaluation.metrics import mouth as curve_metrics
from jambatalk.evaluation.metrics.base import Unit
from jambatalk.evaluation.metrics.closure import score_contact
from jambatalk.evaluation.metrics.timing import (
    path_reference,
    warped_distance,
    warped_distance_reference,
    warping_path,
)
from jambatalk.text.phones import Timed
from tiny_pairs import TEMPLATE, VERTICES, measure, opening_pair, pair, random_pair

FPS = 25.0


def mouth(frames: int = 75, late: float = 0.0, size: float = 1.0) -> np.ndarray:
    """(T,) cm: openings at 0.5, 1.2 and 2.2 s, ``late`` frames late."""
    t = np.arange(frames) - late
    bumps = ((0.5, 1.0), (1.2, 0.6), (2.2, 0.9))
    return 0.1 + size * sum(
        depth * np.exp(-0.5 * ((t - second * FPS) / 4) ** 2) for second, depth in bumps
    )


def test_opening_error_and_correlation_of_a_mouth_that_opens_less() -> None:
    truth = mouth()
    measured = opening_pair(truth, 0.5 * truth + 0.2)
    assert curve_metrics.opening_error(measured).value == pytest.approx(
        10 * np.abs(0.2 - 0.5 * truth).mean()
    )
    assert curve_metrics.opening_correlation(measured).value == pytest.approx(1)
    assert curve_metrics.opening_correlation(opening_pair(truth, 2 - truth)).value == pytest.approx(
        -1
    )
    assert curve_metrics.opening_correlation(opening_pair(truth, np.full(75, 0.3))).value == 0


@pytest.mark.parametrize("late", [-3, 0, 2])
def test_a_late_mouth_lags_by_as_much(late: int) -> None:
    row = measure(opening_pair(mouth(), mouth(late=late)))
    assert row["lag_ms"] == pytest.approx(
        late * 40, abs=15
    )  # padding with the mean draws a little towards 0
    assert row["MTM_ms"] == pytest.approx(abs(late) * 40, abs=8)
    assert row["MTM_matched_percent"] == 100


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_the_mouth_lags_behind_the_sound(late: int) -> None:
    spoken = np.isin(np.arange(75) // 6, (2, 3, 6, 9))  # bursts in frames of 40 ms
    heard = np.repeat(spoken, 640) * np.random.default_rng(0).uniform(-0.5, 0.5, 48000)
    opened = 0.1 + np.roll(spoken, late)
    row = measure(opening_pair(opened, opened, samples=heard))
    assert row["lag_ms"] == pytest.approx(0, abs=1e-6)
    assert row["sound_lag_ms"] == pytest.approx(late * 40, abs=25)


def test_lags_of_several_clips_come_from_their_mean_correlation() -> None:
    gathered = Accumulator(Unit("centimetres"))
    for name, late in (("a", 2), ("b", 2), ("still", None)):
        moved = np.full(75, 0.3) if late is None else mouth(late=late)
        gathered.add(opening_pair(mouth(), moved, name=name))
    assert gathered.totals()["lag_ms"] == pytest.approx(80, abs=15)
    assert math.isnan(gathered.rows()["still"]["lag_ms"])


def test_a_still_face_has_no_timing() -> None:
    row = measure(opening_pair(mouth(), np.full(75, 0.3)))
    assert math.isnan(row["MTM_ms"])
    assert row["MTM_matched_percent"] == 0


def test_an_opening_that_is_missed_is_told_by_the_share_of_matches() -> None:
    missed = mouth() - 0.6 * np.exp(-0.5 * ((np.arange(75) - 30) / 4) ** 2)
    row = measure(opening_pair(mouth(), missed))
    assert row["MTM_ms"] < 40
    assert row["MTM_matched_percent"] < 100


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(12, 60))
def test_smoothing_and_extrema_are_scipys(seed: int, frames: int) -> None:
    scipy = pytest.importorskip("scipy", reason="scipy is not installed")
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    assert scipy is not None
    rng = np.random.default_rng(seed)
    smooth = curve_metrics.smoothed(rng.normal(0, 1, frames))
    np.testing.assert_allclose(
        smooth, gaussian_filter1d(np.random.default_rng(seed).normal(0, 1, frames), 2.0), atol=1e-12
    )
    flat = np.round(rng.normal(0, 1, frames), 0)  # has flat tops
    for curve in (smooth, flat):
        found = curve_metrics.extrema(curve)
        if np.ptp(curve):
            assert [at for at, kind in found.items() if kind == 1] == find_peaks(curve)[0].tolist()
            assert [at for at, kind in found.items() if kind == -1] == find_peaks(-curve)[
                0
            ].tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_warping_is_its_plain_form(seed: int, frames: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(0, 1, (frames, 4, 3)), rng.normal(0, 1, (others, 4, 3))
    total, length = warped_distance(one, other)
    plain, plain_length = warped_distance_reference(one, other)
    assert total == pytest.approx(plain, rel=1e-12)
    assert length == plain_length
    costs = rng.integers(0, 3, (frames, others)).astype(float)  # many ways cost the same
    assert warping_path(costs).tolist() == [list(step) for step in path_reference(costs)]


def test_warping_forgives_a_pause_and_nothing_else() -> None:
    moved = random_pair(1, 12).truth
    paused = np.concatenate([moved[:5], np.repeat(moved[5:6], 4, axis=0), moved[6:]])
    assert warped_distance(moved, paused) == (0.0, 15)
    shifted = paused + np.float32([0, 0.3, 0])
    total, length = warped_distance(moved, shifted)
    assert 0 < total / length <= 0.3 + 1e-6
    stretched = pair(np.repeat(moved, 2, axis=0)[:12], moved)
    assert curve_metrics.lip_warped_distance(stretched).value < 10 * stretched.lip_distances.mean()


def phones() -> tuple[Timed, ...]:
    return (
        Timed("p", 0.02, 0.1),
        Timed("ɑ", 0.4, 0.6),
        Timed("b", 0.84, 0.9),
        Timed("æ", 1.1, 1.3),
        Timed("m", 1.6, 1.7),
    )


@pytest.mark.parametrize("unit", ["centimetres", "metres"])
def test_closure_is_that_of_score_contact(unit: str) -> None:
    scale = 1.0 if unit == "centimetres" else 0.01
    curves = [mouth() * scale, mouth(late=4, size=0.7) * scale, mouth(late=-8) * scale]
    gathered = Accumulator(Unit(unit))
    for number, curve in enumerate(curves):
        gathered.add(opening_pair(curve, curve, unit=unit, name=str(number), phones=phones()))
    metres = [curve * (0.01 if unit == "centimetres" else 1.0) for curve in curves]
    theirs = score_contact(metres, [phones()] * 3, FPS)
    totals, rows = gathered.totals(), gathered.rows()
    assert totals["closure_percent"] == pytest.approx(100 * theirs.onset_closures)
    assert totals["closure_false_percent"] == pytest.approx(100 * theirs.false_closures)
    assert 0 < totals["closure_percent"] < 100
    assert np.mean([row["closure_percent"] for row in rows.values()]) == pytest.approx(
        totals["closure_percent"]
    )


def test_closure_by_words_and_without_either() -> None:
    gathered = Accumulator(Unit("centimetres"))
    words = (
        Timed("bin", 0.0, 0.3),
        Timed("set", 0.5, 0.8),
        Timed("blue", 1.2, 1.4),
        Timed("by", 9.0, 9.2),
    )
    gathered.add(opening_pair(mouth(), mouth(), words=words))
    assert (
        gathered.totals()["closure_percent"] == 50
    )  # shut at "bin", open at "blue"; "by" comes after the end
    assert math.isnan(gathered.totals()["closure_false_percent"])
    nothing = Accumulator(Unit("centimetres"))
    nothing.add(opening_pair(mouth(), mouth()))
    assert math.isnan(nothing.totals()["closure_percent"])


def test_a_face_that_never_moves_closes_rightly_and_wrongly() -> None:
    for unit in ("centimetres", "the corpus' own"):
        still = np.zeros((75, VERTICES, 3), np.float32)
        gathered = Accumulator(Unit(unit))
        gathered.add(pair(still, still, unit, phones=phones()))
        assert (
            gathered.totals()["closure_percent"]
            == gathered.totals()["closure_false_percent"]
            == 100
        )
    assert np.ptp(TEMPLATE) > 0
