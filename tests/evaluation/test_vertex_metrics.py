"""Metrics of vertices: by analytic answers, by loops over frames and vertices, by TorchMetrics, and
clip by clip.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.datasets.regions import Regions
from jambatalk.errors import InputError
from jambatalk.evaluation import metrics
from jambatalk.evaluation.metrics import LOWER, METRICS, Accumulator, Metric, better, metrics_table
from jambatalk.evaluation.metrics import vertices as vertex_metrics
from jambatalk.evaluation.metrics.base import BLOCK, ClipPair, Ratio, Unit
from jambatalk.evaluation.metrics.vertices import coverage_error, diversity, mean_estimate_error
from jambatalk.evaluation.report.table import Column, make_head
from tiny_pairs import REGIONS, TEMPLATE, VERTICES, measure, pair, random_pair

UNITS = {"metres": ("m", 1000.0), "centimetres": ("cm", 10.0), "the corpus' own": ("own", 1.0)}


def still(frames: int = 8) -> np.ndarray:
    return np.zeros((frames, VERTICES, 3), np.float32)


@pytest.mark.parametrize("unit", UNITS)
def test_a_shift_of_one_lip_vertex_is_measured_exactly(unit: str) -> None:
    short, to_mm = UNITS[unit]
    predicted = still()
    predicted[:, 3] = (0.3, 0.0, 0.4)
    predicted[:4, 0] = (0.0, 3.0, 0.0)  # not a lip
    gathered = Accumulator(Unit(unit))
    row = measure(pair(still(), predicted, unit), gathered)
    length = "own" if short == "own" else "mm"
    assert row[f"LVE_{short}2"] == pytest.approx(0.25)
    assert row[f"LVE_{length}"] == pytest.approx(0.5 * to_mm)
    assert row[f"MVE_{length}"] == pytest.approx((0.5 + 1.5) / VERTICES * to_mm)
    assert row[f"LDTW_{length}"] == pytest.approx(0.5 / 4 * to_mm)
    assert gathered.totals()[f"LVE_{short}2"] == pytest.approx(0.25)


def test_dynamics_of_a_vertex_that_swings() -> None:
    truth = still(4)
    truth[::2, 6, 1] = (
        0.2  # |y|² swings between 0.04 and 0: a deviation of 0.02, in one of three vertices
    )
    measured = pair(truth, still(4))
    assert vertex_metrics.upper_face_dynamics(measured).value == pytest.approx(0.02 / 3)
    assert vertex_metrics.upper_face_dynamics(pair(still(4), truth)).value == pytest.approx(
        -0.02 / 3
    )
    gathered = Accumulator(Unit("metres"))
    for name, one in (("more", measured), ("less", pair(still(4), truth))):
        gathered.add(pair(one.truth, one.predicted, "metres", name=name))
    assert gathered.totals()["FDD_m2"] == pytest.approx(0, abs=1e-12)
    assert gathered.totals()["absFDD_m2"] == pytest.approx(0.02 / 3)


def test_jitter_of_a_cubic_is_its_third_difference_and_of_a_parabola_nothing() -> None:
    t = np.arange(10.0)
    moved = np.zeros((10, VERTICES, 3))
    moved[:, :, 2] = (0.01 * t**3)[:, None]  # third difference 0.06 cm
    assert vertex_metrics.jitter(pair(moved, moved)).value == pytest.approx(0.6)
    moved[:, :, 2] = (0.01 * t**2)[:, None]
    assert vertex_metrics.jitter(pair(moved, moved)).value == pytest.approx(0, abs=1e-9)
    assert math.isnan(vertex_metrics.jitter(pair(moved[:3], moved[:3])).value)


def test_a_vibration_has_one_line_in_its_spectrum() -> None:
    frames = 16
    wave = still(frames).astype(np.float64)
    wave[:, 4, 0] = 0.2 * np.cos(2 * np.pi * 3 * np.arange(frames) / frames)
    late = np.roll(wave, 5, axis=0)
    # |rfft| / T is 0.1 cm, 1 mm, at frequency 3 of 9, in one of 27 coordinates.
    assert vertex_metrics.amplitude_error(pair(wave, still(frames))).value == pytest.approx(
        1 / (9 * 3 * VERTICES)
    )
    assert vertex_metrics.amplitude_error(pair(wave, late)).value == pytest.approx(0, abs=1e-12)
    # Parseval: the number of frames times the mean squared coordinate error.
    for other in (still(frames), late):
        error = frames * np.square(wave - other).mean() * 100
        assert vertex_metrics.fourier_error(pair(wave, other)).value == pytest.approx(error)


def test_lips_that_move_half_as_much_have_a_spread_of_a_half() -> None:
    truth = random_pair(3).truth
    assert vertex_metrics.lip_spread_ratio(pair(truth, truth / 2)).value == pytest.approx(0.5)
    assert vertex_metrics.lip_spread_ratio(pair(truth, still(20))).value == 0


def by_loops(one: ClipPair) -> dict[str, float]:
    """LVE, MVE, FDD, MOD and jitter, one vertex and frame at a time, by their definitions."""
    y, p = one.truth.astype(float).tolist(), one.predicted.astype(float).tolist()
    frames, mm = range(one.frames), one.unit.to_mm

    def apart(a: list[float], b: list[float]) -> float:
        return math.sqrt(sum((x - z) ** 2 for x, z in zip(a, b)))

    def deviation(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))

    def opening(moved: list[list[float]]) -> float:
        upper, lower = (
            [float(m) + o for m, o in zip(one.template[i], moved[i])] for i in one.regions.opening
        )
        return apart(upper, lower)

    nothing = [0.0] * 3
    upper = one.regions.upper_face.tolist()
    swings = [
        deviation([apart(y[t][v], nothing) ** 2 for t in frames])
        - deviation([apart(p[t][v], nothing) ** 2 for t in frames])
        for v in upper
    ]
    third = [
        apart(
            [
                p[t + 3][v][k] - 3 * p[t + 2][v][k] + 3 * p[t + 1][v][k] - p[t][v][k]
                for k in range(3)
            ],
            nothing,
        )
        for t in frames[:-3]
        for v in range(len(one.template))
    ]
    return {
        "LVE_cm2": sum(
            max(apart(y[t][v], p[t][v]) ** 2 for v in one.regions.lips.tolist()) for t in frames
        )
        / one.frames,
        "LVE_mm": mm
        * sum(max(apart(y[t][v], p[t][v]) for v in one.regions.lips.tolist()) for t in frames)
        / one.frames,
        "MVE_mm": mm
        * np.mean([apart(y[t][v], p[t][v]) for t in frames for v in range(len(one.template))]),
        "FDD_cm2": sum(swings) / len(swings),
        "MOD_mm": mm * np.mean([abs(opening(y[t]) - opening(p[t])) for t in frames]),
        "jitter_mm": mm * np.mean(third),
    }


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 12))
def test_loops_over_frames_and_vertices_agree(seed: int, frames: int) -> None:
    one = random_pair(seed, frames)
    row = measure(one)
    for name, value in by_loops(one).items():
        assert row[name] == pytest.approx(value, rel=1e-9), name


def test_torchmetrics_agrees_on_the_lip_vertex_error() -> None:
    multimodal = pytest.importorskip(
        "torchmetrics.multimodal", reason="torchmetrics is not installed"
    )
    theirs = multimodal.LipVertexError(mouth_map=REGIONS.lips.tolist())
    gathered = Accumulator(Unit("centimetres"))
    for seed in range(4):
        one = random_pair(seed, 10 + seed)
        theirs.update(
            torch.from_numpy(one.predicted + TEMPLATE), torch.from_numpy(one.truth + TEMPLATE)
        )
        gathered.add(one)
    assert gathered.totals()["LVE_cm2"] == pytest.approx(float(theirs.compute()), rel=1e-5)


def test_torchmetrics_agrees_on_the_upper_face() -> None:
    multimodal = pytest.importorskip(
        "torchmetrics.multimodal", reason="torchmetrics is not installed"
    )
    if not hasattr(multimodal, "UpperFaceDynamicsDeviation"):
        pytest.skip("this torchmetrics has no UpperFaceDynamicsDeviation")
    one = random_pair(5)
    theirs = multimodal.UpperFaceDynamicsDeviation(
        template=torch.from_numpy(TEMPLATE), upper_face_map=REGIONS.upper_face.tolist()
    )
    theirs.update(
        torch.from_numpy(one.predicted + TEMPLATE), torch.from_numpy(one.truth + TEMPLATE)
    )
    assert abs(vertex_metrics.upper_face_dynamics(one).value) == pytest.approx(
        abs(float(theirs.compute())), rel=1e-4
    )


def test_torchmetrics_example_of_the_upper_face() -> None:
    """A random example of TorchMetrics' documentation with its result; released versions up to
    1.9.0 lack the class itself.
    """
    drawn = [
        torch.randn(*shape, generator=torch.manual_seed(seed)).numpy().astype(np.float64)
        for shape, seed in (((10, 100, 3), 41), ((10, 100, 3), 42), ((100, 3), 43))
    ]
    predicted, truth, template = drawn
    regions = Regions(np.array([0, 1]), np.arange(10, 15), (0, 1), "the example", 100)
    one = ClipPair(
        "example", truth - template, predicted - template, template, 25.0, regions, Unit("metres")
    )
    assert vertex_metrics.upper_face_dynamics(one).value == pytest.approx(1.0385, abs=5e-5)


def test_clip_by_clip_is_all_at_once() -> None:
    pairs = [random_pair(seed, frames) for seed, frames in enumerate((7, 31, 12))]
    gathered = Accumulator(Unit("centimetres"))
    for one in pairs:
        gathered.add(one)
    totals, rows = gathered.totals(), gathered.rows()
    # Metrics that pool frames do not see where one clip ends; the others are means of the clips'
    # own.
    joined = pair(
        *(np.concatenate([getattr(one, name) for one in pairs]) for name in ("truth", "predicted"))
    )
    whole = measure(joined)
    for name in ("LVE_cm2", "LVE_mm", "MVE_mm", "MOD_mm"):
        assert totals[name] == pytest.approx(whole[name], rel=1e-12), name
    for name in (
        "FDD_cm2",
        "absFDD_cm2",
        "FFE_mm2",
        "FFE_amplitude_mm2",
        "LDTW_mm",
        "opening_correlation",
    ):
        assert totals[name] == pytest.approx(
            np.mean([row[name] for row in rows.values()]), rel=1e-12
        ), name
    assert list(rows) == ["clip0", "clip1", "clip2"]
    assert (
        list(totals)
        == [
            metric.full_name(Unit("centimetres"))
            for metric in METRICS
            if metric.sampled is None and not metric.name.startswith("compat:")
        ]
        == list(rows["clip1"])
    )


def test_a_mesh_of_several_blocks_is_measured_as_one() -> None:
    rng = np.random.default_rng(1)
    vertices = 2 * BLOCK + 7
    truth, predicted = rng.normal(0, 1, (2, 6, vertices, 3))
    regions = Regions(np.arange(5), np.arange(9), (0, 1), "any", vertices)
    one = ClipPair("clip", truth, predicted, np.zeros((vertices, 3)), 25, regions, Unit("metres"))
    assert vertex_metrics.mean_vertex_error(one).value == pytest.approx(
        np.linalg.norm(truth - predicted, axis=2).mean() * 1e3
    )
    assert vertex_metrics.jitter(one).value == pytest.approx(
        np.linalg.norm(np.diff(predicted, 3, axis=0), axis=2).mean() * 1e3
    )


def test_several_predictions_have_a_mean_a_best_and_a_diversity() -> None:
    truth = still(6)
    low, high, best = (np.full_like(truth, value) for value in (-0.3, 0.5, 0.1))
    measures = (mean_estimate_error, coverage_error, diversity)
    mee, ce, spread = (one(pair(truth, low), [high, best]).value for one in measures)
    assert mee == pytest.approx(3 * 0.1**2)  # of the mean, 0.1
    assert ce == pytest.approx(3 * 0.1**2)
    assert spread == pytest.approx(np.sqrt(3) * 10 * (0.8 + 0.4 + 0.4) / 3)
    alone = [one(pair(truth, high), []) for one in measures]
    assert alone[0].value == alone[1].value == pytest.approx(0.75)
    assert math.isnan(alone[2].value)


def test_shapes_and_regions_of_another_mesh_are_refused() -> None:
    with pytest.raises(InputError, match="do not fit"):
        pair(still(5), still(6))
    with pytest.raises(InputError, match="mesh of 9 vertices, but the motion has 8"):
        ClipPair("clip", still()[:, :8], still()[:, :8], TEMPLATE[:8], 25, REGIONS, Unit("metres"))


def test_what_is_better_is_known_by_the_full_name() -> None:
    assert better("LVE_cm2") == better("MVE_mm") == better("LVE_own2") == "lower"
    assert better("opening_correlation") == "higher"
    assert better("FDD_m2") == "zero"
    assert better("compat:LVE_cm2") == ""


def test_the_metric_that_the_docs_add_works() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/evaluation.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], names)
    predicted = still()
    predicted[:, 3] = (0.3, 0.0, 0.4)  # one of four lips
    assert names["lip_drift"](pair(still(), predicted)).value == pytest.approx(0.5 / 4 * 10)


def test_the_docs_have_the_registry_s_table() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/evaluation.md").read_text(encoding="utf-8")
    assert metrics_table() in page


def lip_drift(pair: ClipPair) -> Ratio:
    """How far the lips' mean position is from the truth's; mm."""
    lips = pair.regions.lips
    apart = (pair.predicted[:, lips] - pair.truth[:, lips]).mean((0, 1))
    return Ratio(float((apart**2).sum() ** 0.5) * pair.unit.to_mm, 1)


def test_a_new_metric_is_one_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    added = Metric("drift_{length}", LOWER, "drift", "Distance of the lips' means.", lip_drift)
    monkeypatch.setattr(metrics, "METRICS", (*METRICS, added))
    assert better("drift_mm") == LOWER
    assert "| `drift_mm` | low | Distance of the lips' means. |" in metrics_table()
    assert make_head("drift_mm") == Column(
        "drift_mm", "drift", "mm", "lower is better", "Distance of the lips' means."
    )
    predicted = still()
    predicted[:, 3] = (0.3, 0.0, 0.4)  # one of four lips
    gathered = Accumulator(Unit("centimetres"))
    gathered.add(pair(still(), predicted))
    assert list(gathered.totals())[-1] == "drift_mm"
    assert gathered.totals()["drift_mm"] == pytest.approx(0.5 / 4 * 10)
    assert gathered.rows()["clip"]["drift_mm"] == pytest.approx(0.5 / 4 * 10)
