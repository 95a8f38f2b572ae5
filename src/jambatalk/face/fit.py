"""Fit shape weights to tracked face landmarks.

Regularised least squares within 0..1, smooth in time, exact in the lip gap. For every frame the
weights w (K,) minimise

    mean |contours(w) - tracked|²                     lips and chin follow the displacements
  + sum_k prior_k (w_k - score_k)²                    the tracker's own scores, trusted a little
  + sum_k smooth_k (w_k - w_k of the frame before)²   no jitter
  subject to  0 <= w <= 1  and  gap(w) = target       the face's own inner-lip gap

The gap is held by a multiplier per frame (augmented Lagrangian), so it is met within a few
hundredths of a millimetre without making the problem stiff. Lengths are in millimetres inside, so
the coefficients read as "mm² that a weight of 1 may cost".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face import landmarks
from jambatalk.face.face import Face

Array = NDArray[Any]

SPEECH_PRIORS: Mapping[str, float] = {
    "jawOpen": 0.15,
    "jawForward": 12.0,
    "mouthClose": 1.5,
    "mouthFunnel": 0.6,
    "mouthPucker": 0.6,
    "mouthSmileLeft": 0.8,
    "mouthSmileRight": 0.8,
    "mouthFrownLeft": 1.5,
    "mouthFrownRight": 1.5,
    "mouthDimpleLeft": 1.5,
    "mouthDimpleRight": 1.5,
    "mouthStretchLeft": 1.0,
    "mouthStretchRight": 1.0,
    "mouthRollLower": 4.0,
    "mouthRollUpper": 5.0,
    "mouthShrugLower": 4.0,
    "mouthShrugUpper": 5.0,
    "mouthPressLeft": 2.5,
    "mouthPressRight": 2.5,
    "mouthLowerDownLeft": 1.2,
    "mouthLowerDownRight": 1.2,
    "mouthUpperUpLeft": 1.4,
    "mouthUpperUpRight": 1.4,
    "cheekPuff": 16.0,
}
"""Shapes that are solved for, with the cost in mm² of a weight of 1 away from the tracker's score.
"""

COPIED_SHAPES: Mapping[str, float] = {
    "browDownLeft": 0.6,
    "browDownRight": 0.6,
    "browInnerUp": 0.6,
    "browOuterUpLeft": 0.6,
    "browOuterUpRight": 0.6,
    "cheekSquintLeft": 0.5,
    "cheekSquintRight": 0.5,
    "eyeSquintLeft": 0.4,
    "eyeSquintRight": 0.4,
    "noseSneerLeft": 0.5,
    "noseSneerRight": 0.5,
}
"""Shapes away from the lips: copied from the tracker's scores, scaled down by this factor."""


@dataclass(frozen=True)
class SolveSettings:
    """How landmarks become weights. Costs are in mm²; see the module's formula.

    priors: shape -> cost of a weight of 1 away from the tracker's score; only these shapes are
        solved for.
    copied: shape -> factor on the tracker's score, for shapes that the lips do not determine.
    score_trust: factor on the tracker's scores used as priors of the solved shapes.
    smooth: cost of a change by 1 between two frames, for every solved shape.
    axis_trust: weight of the squared error in x, y, z; depth is what a single camera knows least.
    vertical_gain: factor on vertical displacements beyond the ratio of the mouths' widths, for a
        lively mouth.
    lateral_gain, lateral_threshold: sideways displacements are multiplied by gain * d² / (d² +
        threshold²), d the change of the mouth's width in mm: a single camera's tracker
        under-reports how much rounded lips narrow, and lets the width of lips that are not rounded
        wander by a millimetre.
    chin_trust: weight of the chin's squared error, against 1 for the mean over the lip contours.
    symmetry: 0 keeps the tracked left-right difference, 1 removes it.
    """

    priors: Mapping[str, float] = field(default_factory=lambda: dict(SPEECH_PRIORS))
    copied: Mapping[str, float] = field(default_factory=lambda: dict(COPIED_SHAPES))
    score_trust: float = 0.6
    smooth: float = 2.0
    axis_trust: tuple[float, float, float] = (1.0, 1.0, 0.05)
    vertical_gain: float = 1.12
    lateral_gain: float = 2.4
    lateral_threshold: float = 1.5
    chin_trust: float = 0.15
    symmetry: float = 0.8
    rounds: int = 8
    sweeps: int = 30


class LandmarkSolver:
    """Solves tracked landmarks for the weights of one face.

    face: needs the ordered regions "outer_lip_ring" and "inner_lip_ring", ``gap_vertices`` and the
        solved shapes.
    neutral: (468, 3) the tracked person's own neutral landmarks, any unit: contours correspond by
        their arc length.
    """

    def __init__(self, face: Face, neutral: Array, settings: SolveSettings | None = None) -> None:
        if face.gap_vertices is None:
            raise InputError("this face does not name its two inner-lip vertices (gap_vertices)")
        if neutral.shape != (468, 3):
            raise InputError(f"neutral landmarks have shape {neutral.shape}, expected (468, 3)")
        self.face = face
        self.neutral = np.asarray(neutral, np.float64)
        self.settings = settings or SolveSettings()
        self.names = tuple(name for name in self.settings.priors if name in face.names)
        self.columns = face.columns(self.names)
        if "jawOpen" not in self.names:
            raise InputError(
                "this face has no shape jawOpen: its mouth cannot follow a tracked one"
            )
        self._build_contours()

    def _build_contours(self) -> None:
        """The rows of the least-squares problem: K x (points * 3) in mm, with the square roots of
        their trust.
        """
        face, rows, points = self.face, [], []
        for ring in ("outer", "inner"):
            upper, lower = landmarks.split_ring(face, f"{ring}_lip_ring")
            for side, contour in (("upper", upper), ("lower", lower)):
                indices = landmarks.CONTOURS[f"{ring}_{side}"]
                fractions = landmarks.arc_fractions(self.neutral[list(indices)])
                _, basis = landmarks.sample_contour(face, contour, fractions)
                rows.append(basis)
                points.append(indices)
        outer_upper, _ = landmarks.split_ring(face, "outer_lip_ring")
        own_width = np.linalg.norm(face.vertices[outer_upper[-1]] - face.vertices[outer_upper[0]])
        tracked_width = np.linalg.norm(
            self.neutral[landmarks.OUTER_UPPER[-1]] - self.neutral[landmarks.OUTER_UPPER[0]]
        )
        self.scale = float(own_width / tracked_width)
        """Metres on this face per unit of the tracked landmarks (ratio of mouth widths)."""
        self._points = points
        count = sum(len(one) for one in points)
        axes = np.sqrt(np.array(self.settings.axis_trust))
        lips = np.concatenate(rows, axis=1)[self.columns] * 1e3 * axes / np.sqrt(count)  # (K, P, 3)
        chin = (
            face.basis[self.columns, landmarks.find_chin(face)]
            * 1e3
            * axes
            * np.sqrt(self.settings.chin_trust)
        )
        self._matrix = np.concatenate([lips.reshape(len(lips), -1), chin], axis=1)  # (K, rows)
        self._axes, self._count = axes, count
        self._rest_gap = 1e3 * float(face.lip_gap(np.zeros((1, len(face.names))))[0])
        self._gap_row = (
            1e3 * face.lip_gap(np.eye(len(face.names)))[self.columns].astype(np.float64)
            - self._rest_gap
        )

    def _targets(self, positions: Array) -> Array:
        """Tracked landmarks (T, 468, 3) to the right-hand side (T, rows), in weighted mm on this
        face.
        """
        moved = (np.asarray(positions, np.float64) - self.neutral) * (self.scale * 1e3)
        moved[:, :, 1] *= self.settings.vertical_gain
        right, left = landmarks.OUTER_UPPER[0], landmarks.OUTER_UPPER[-1]
        widened = (moved[:, left, 0] - moved[:, right, 0]) ** 2
        moved[:, :, 0] *= (
            self.settings.lateral_gain * widened / (widened + self.settings.lateral_threshold**2)
        )[:, None]
        keep = self.settings.symmetry / 2
        parts = []
        for indices in self._points:
            one = moved[:, list(indices)]
            parts.append((1 - keep) * one + keep * landmarks.mirrored(indices, one))
        lips = np.concatenate(parts, axis=1) * self._axes / np.sqrt(self._count)
        chin = moved[:, list(landmarks.CHIN)]
        chin = ((1 - keep) * chin + keep * landmarks.mirrored(landmarks.CHIN, chin)).mean(axis=1)
        chin = chin * self._axes * np.sqrt(self.settings.chin_trust)
        return np.concatenate([lips.reshape(len(lips), -1), chin], axis=1)

    def solve(self, positions: Array, scores: Array, gap: Array, lengths: Array) -> Array:
        """Weights that follow the tracked landmarks.

        positions: (T, 468, 3) tracked landmarks, in the unit of ``neutral``.
        scores: (T, K) the tracker's shape scores in 0..1, in the face's column order, 0 where it
            has none.
        gap: (T,) metres, the inner-lip gap this face shall have.
        lengths: (clips,) frames per clip, summing to T; smoothing does not cross clips.
        Returns (T, K) float32 weights in 0..1 on ``face.names``.
        """
        if (
            len(positions) != int(np.sum(lengths))
            or len(gap) != len(positions)
            or len(scores) != len(positions)
        ):
            raise InputError(
                f"{len(positions)} frames, {len(scores)} scores, {len(gap)} gaps, "
                f"clips of {int(np.sum(lengths))} frames in all"
            )
        settings = self.settings
        prior = np.array([settings.priors[name] for name in self.names])
        wanted = np.clip(
            np.asarray(scores, np.float64)[:, self.columns] * settings.score_trust, 0, 1
        )
        hessian = self._matrix @ self._matrix.T + np.diag(prior)
        linear = self._targets(positions) @ self._matrix.T + wanted * prior
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        solved = wanted.copy()
        _minimise(
            solved,
            hessian,
            np.ascontiguousarray(linear),
            self._gap_row,
            np.asarray(gap, np.float64) * 1e3 - self._rest_gap,
            starts,
            settings.smooth,
            settings.rounds,
            settings.sweeps,
        )
        weights = np.zeros((len(positions), len(self.face.names)), np.float32)
        weights[:, self.columns] = solved
        for name, factor in settings.copied.items():
            if name in self.face.names:
                column = self.face.names.index(name)
                weights[:, column] = np.clip(
                    factor * smoothed(scores[:, column], lengths, 2.0), 0, 1
                )
        return weights


@numba.njit(cache=True)
def _minimise(
    w: Array,
    hessian: Array,
    linear: Array,
    row: Array,
    target: Array,
    starts: Array,
    smooth: float,
    rounds: int,
    sweeps: int,
) -> None:
    """Coordinate descent on w (T, K) in place: rounds of sweeps, the gap's multipliers updated
    between rounds.

    Each coordinate has its exact minimiser given the others, clipped to 0..1. With the penalty
    ``rho`` on the gap the multiplier converges in a few rounds; plain penalties large enough would
    make the sweeps crawl.
    """
    count = w.shape[1]
    rho = 1.0
    full = hessian + rho * np.outer(row, row)
    multiplier = np.zeros(len(w))
    for clip in range(len(starts) - 1):
        first, last = starts[clip], starts[clip + 1]
        for _ in range(rounds):
            for _ in range(sweeps):
                largest = 0.0
                for t in range(first, last):
                    pull = rho * target[t] - multiplier[t]
                    for k in range(count):
                        slope = -linear[t, k] - pull * row[k]
                        for j in range(count):
                            slope += full[k, j] * w[t, j]
                        curvature = full[k, k]
                        if t > first:
                            slope += smooth * (w[t, k] - w[t - 1, k])
                            curvature += smooth
                        if t < last - 1:
                            slope += smooth * (w[t, k] - w[t + 1, k])
                            curvature += smooth
                        new = min(max(w[t, k] - slope / curvature, 0.0), 1.0)
                        largest = max(largest, abs(new - w[t, k]))
                        w[t, k] = new
                if largest < 1e-4:
                    break
            for t in range(first, last):
                gap = 0.0
                for k in range(count):
                    gap += row[k] * w[t, k]
                multiplier[t] += rho * (gap - target[t])


def smoothed(values: Array, lengths: Array, sigma: float) -> Array:
    """Gaussian smoothing (zero phase, sigma in frames) of (T,) or (T, n) values, within clips of
    the given lengths.
    """
    radius = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    out = np.empty(np.shape(values), np.float64)
    start = 0
    for length in lengths:
        piece = np.asarray(values[start : start + length], np.float64)
        padded = np.concatenate(
            [np.repeat(piece[:1], radius, 0), piece, np.repeat(piece[-1:], radius, 0)]
        )
        out[start : start + length] = sum(
            kernel[i] * padded[i : i + length] for i in range(2 * radius + 1)
        )
        start += length
    return out
