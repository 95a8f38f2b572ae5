"""Landmarks to weights: the solver against scipy, and against a face whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.fit import LandmarkSolver, SolveSettings, _minimise, smoothed
from jambatalk.face.head import default_head
from jambatalk.face.landmarks import arc_fractions, mirrored, sample_contour, split_ring
from tiny_grid import head_as_landmarks

optimize = pytest.importorskip("scipy.optimize")


def test_one_frame_equals_a_bounded_constrained_minimiser() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((6, 20))
    hessian = matrix @ matrix.T + 0.1 * np.eye(6)
    linear = matrix @ rng.standard_normal(20) * 2
    row, target = rng.standard_normal(6), 0.4
    w = np.zeros((1, 6))
    _minimise(w, hessian, linear[None], row, np.array([target]), np.array([0, 1]), 0.0, 300, 200)
    expected = optimize.minimize(
        lambda x: 0.5 * x @ hessian @ x - linear @ x,
        np.full(6, 0.5),
        jac=lambda x: hessian @ x - linear,
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda x: row @ x - target, "jac": lambda x: row},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert expected.success
    assert (
        0 < np.sum((expected.x > 1e-6) & (expected.x < 1 - 1e-6)) < 6
    )  # some bounds are active, not all
    np.testing.assert_allclose(w[0], expected.x, atol=2e-3)


def test_smoothing_over_time_equals_the_whole_linear_system() -> None:
    """Bounds inactive and no gap: the minimiser solves (H - smooth * second difference) w = b,
    within each clip.
    """
    rng = np.random.default_rng(4)
    lengths, smooth = (5, 4), 0.7
    hessian = np.array([[2.0, 0.3], [0.3, 1.5]])
    truth = rng.uniform(0.3, 0.7, (9, 2))
    linear = truth @ hessian
    expected = []
    for start, length in ((0, 5), (5, 4)):
        step = np.diff(np.eye(length), axis=0)
        system = np.kron(np.eye(length), hessian) + smooth * np.kron(step.T @ step, np.eye(2))
        expected.append(
            np.linalg.solve(system, linear[start : start + length].ravel()).reshape(length, 2)
        )
    w = np.zeros((9, 2))
    _minimise(
        w,
        hessian,
        linear,
        np.zeros(2),
        np.zeros(9),
        np.array([0, *np.cumsum(lengths)]),
        smooth,
        2,
        500,
    )
    np.testing.assert_allclose(w, np.concatenate(expected), atol=2e-3)


def test_known_weights_come_back_and_the_gap_is_exact() -> None:
    face = default_head()
    rng = np.random.default_rng(5)
    truth = np.zeros((20, 52))
    jaw, pucker, left, right = face.columns(
        ["jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight"]
    )
    truth[:, jaw] = rng.uniform(0, 0.5, 20)
    truth[:, pucker] = rng.uniform(0, 0.6, 20)
    truth[:, left] = truth[:, right] = rng.uniform(0, 0.4, 20)
    plain = SolveSettings(
        smooth=0.0,
        vertical_gain=1.0,
        lateral_gain=1.0,
        lateral_threshold=0.0,
        axis_trust=(1, 1, 1),
        rounds=12,
        sweeps=200,
    )
    plain = replace(plain, priors=dict.fromkeys(plain.priors, 0.01))
    neutral = head_as_landmarks(face, np.zeros((1, 52)))[0]
    solver = LandmarkSolver(face, neutral, plain)
    assert solver.scale == pytest.approx(1.0, abs=1e-6)
    gap = face.lip_gap(truth)
    got = solver.solve(head_as_landmarks(face, truth), np.zeros((20, 52)), gap, np.full(20, 1))
    assert got.min() >= 0
    assert got.max() <= 1
    assert np.abs(face.lip_gap(got) - gap).max() < 2e-5
    assert np.abs(got[:, jaw] - truth[:, jaw]).mean() < 0.03
    assert np.corrcoef(got[:, pucker], truth[:, pucker])[0, 1] > 0.95
    lips = face.regions["outer_lip_ring"]
    apart = np.linalg.norm((face.pose(got) - face.pose(truth))[:, lips], axis=2)
    assert apart.mean() < 0.0004


def test_closed_lips_stay_closed_whatever_the_landmarks_say() -> None:
    face = default_head()
    neutral = head_as_landmarks(face, np.zeros((1, 52)))[0]
    noisy = neutral + np.random.default_rng(6).normal(0, 0.002, (30, 468, 3))
    got = LandmarkSolver(face, neutral).solve(
        noisy, np.zeros((30, 52)), np.zeros(30), np.array([30])
    )
    assert np.abs(face.lip_gap(got)).max() < 5e-5


def test_symmetry_makes_both_sides_equal() -> None:
    face = default_head()
    truth = np.zeros((4, 52))
    truth[:, face.columns(["mouthSmileLeft"])[0]] = 0.5
    neutral = head_as_landmarks(face, np.zeros((1, 52)))[0]
    positions = head_as_landmarks(face, truth)

    def sides(symmetry: float) -> np.ndarray:
        solver = LandmarkSolver(face, neutral, SolveSettings(symmetry=symmetry))
        got = solver.solve(positions, np.zeros((4, 52)), np.zeros(4), np.array([4]))
        return got[:, face.columns(["mouthSmileLeft", "mouthSmileRight"])].mean(0)

    one_sided, even = sides(0.0), sides(1.0)
    assert one_sided[0] > one_sided[1] + 0.2
    assert even[0] == pytest.approx(even[1], abs=0.03)


def test_wrong_inputs_are_named() -> None:
    face = default_head()
    neutral = head_as_landmarks(face, np.zeros((1, 52)))[0]
    with pytest.raises(InputError, match=r"expected \(468, 3\)"):
        LandmarkSolver(face, neutral[:100])
    with pytest.raises(InputError, match="gap_vertices"):
        LandmarkSolver(replace(face, gap_vertices=None), neutral)
    with pytest.raises(InputError, match="outer_lip_ring"):
        LandmarkSolver(replace(face, regions={}), neutral)
    with pytest.raises(InputError, match="3 frames, 2 scores"):
        LandmarkSolver(face, neutral).solve(
            np.zeros((3, 468, 3)), np.zeros((2, 52)), np.zeros(3), np.array([3])
        )


def test_a_ring_is_split_at_its_corners_from_any_start_and_direction() -> None:
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    vertices = np.stack([2 * np.cos(angle), np.sin(angle), 0 * angle], 1).astype(np.float32)
    for ring in (np.arange(12), np.roll(np.arange(12), 5), np.roll(np.arange(12), 3)[::-1]):
        face = Face(vertices, np.zeros((0, 3), np.int32), {"ring": ring})
        upper, lower = split_ring(face, "ring")
        assert list(upper) == [6, 5, 4, 3, 2, 1, 0]
        assert list(lower) == [6, 7, 8, 9, 10, 11, 0]


def test_contours_are_sampled_by_arc_length() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 2, 0]], np.float32)
    basis = np.zeros((1, 3, 3), np.float32)
    basis[0, 2] = [0, 0, 4]
    face = Face(vertices, np.zeros((0, 3), np.int32), names=("a",), basis=basis)
    np.testing.assert_allclose(arc_fractions(vertices), [0, 1 / 3, 1])
    rest, moved = sample_contour(face, np.array([0, 1, 2]), np.array([0, 1 / 6, 2 / 3, 1]))
    np.testing.assert_allclose(rest, [[0, 0, 0], [0.5, 0, 0], [1, 1, 0], [1, 2, 0]], atol=1e-6)
    np.testing.assert_allclose(moved[0, :, 2], [0, 0, 2, 4], atol=1e-6)


def test_mirroring_swaps_sides() -> None:
    moved = np.array([[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [4.0, 5.0, 6.0]]])
    np.testing.assert_array_equal(
        mirrored((1, 2, 3), moved)[0], [[-4, 5, 6], [0, 0, 0], [-1, 2, 3]]
    )


def test_smoothing_keeps_constants_and_stays_within_clips() -> None:
    values = np.concatenate([np.zeros(10), np.ones(8)])
    np.testing.assert_allclose(smoothed(values, np.array([10, 8]), 2.0), values)
    assert smoothed(values, np.array([18]), 2.0)[9] > 0.2
