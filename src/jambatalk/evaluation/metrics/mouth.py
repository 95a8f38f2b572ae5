"""Mouth opening over time: correlation of lip gaps, errors of openings, and stillness at rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.base import ClipPair, Ratio
from jambatalk.evaluation.metrics.timing import warped_distance, warping_path
from jambatalk.face.face import Face

Array = NDArray[Any]
SMOOTH_FRAMES = 2.0
"""Standard deviation in frames of the smoothing before extrema are looked for."""


# Metrics of pairs.


def opening_error(pair: ClipPair) -> Ratio:
    """MOD: mean over all frames of |opening(y) - opening(p)|; mm."""
    return Ratio(
        float(np.abs(pair.predicted_opening - pair.true_opening).sum()) * pair.unit.to_mm,
        pair.frames,
    )


def opening_correlation(pair: ClipPair) -> Ratio:
    """Pearson's correlation of the two openings, mean over clips; 0 where either does not move."""
    if pair.frames < 2:
        return Ratio(0.0, 0)
    one, other = (_unitless(curve) for curve in (pair.predicted_opening, pair.true_opening))
    return Ratio(correlation(one, other), 1)


def _unitless(curve: Array) -> Array:
    # correlation() takes for still what moves less than rounding would in metres: scale as if the
    # mouth opened some centimetres at most.
    largest = float(np.abs(curve).max())
    return curve * (0.03 / largest) if largest > 0 else curve


def lip_warped_distance(pair: ClipPair) -> Ratio:
    """LDTW: the mean distance of the lip vertices along the cheapest warping of the frames; mm.

    A clip's total over its path's length, mean over clips.
    """
    lips = pair.regions.lips
    total, length = warped_distance(pair.truth[:, lips], pair.predicted[:, lips])
    return Ratio(total / length * pair.unit.to_mm, 1)


def mouth_timing(pair: ClipPair) -> Ratio:
    """MTM: distance in time of the same openings and closings; ms.

    The mean over a clip's matched extrema, then over the clips that have any. As its authors
    measure it (Chae-Yeon et al. 2025): both openings are smoothed (sigma = 2 frames), and their
    slopes are warped onto each other. Extrema of the same kind that the path brings together are
    matched, if the predicted one lies between the truth's neighboring extrema. nan where nothing
    matches, as for a still face: read it beside ``matched_extrema``, since extrema that are missed
    altogether cost nothing here.
    """
    found = matched_frames(pair.true_opening, pair.predicted_opening)[0]
    if not found:
        return Ratio(0.0, 0)
    return Ratio(float(np.mean([abs(i - j) for i, j in found])) * 1000 / pair.fps, 1)


def matched_extrema(pair: ClipPair) -> Ratio:
    """Percent of the truth's extrema that are matched (see ``mouth_timing``)."""
    found, number = matched_frames(pair.true_opening, pair.predicted_opening)
    return Ratio(100.0 * len({i for i, _ in found}), number)


def matched_frames(true: Array, predicted: Array) -> tuple[list[tuple[int, int]], int]:
    """Match the extrema of two curves (T,): (pairs of frames, number of extrema of ``true``)."""
    one, other = smoothed(true), smoothed(predicted)
    kinds, partners = extrema(one), extrema(other)
    if not kinds or not partners:
        return [], len(kinds)
    frames = [0, *kinds, len(one) - 1]
    bounds = {frame: (frames[place], frames[place + 2]) for place, frame in enumerate(kinds)}
    path = warping_path(np.abs(slope(one)[:, None] - slope(other)[None]))
    matched = [
        (i, j)
        for i, j in path.tolist()
        if i in kinds and partners.get(j) == kinds[i] and bounds[i][0] <= j <= bounds[i][1]
    ]
    return matched, len(kinds)


def smoothed(curve: Array, sigma: float = SMOOTH_FRAMES) -> Array:
    """Smooth by a Gaussian of ``sigma`` frames, cut at four sigma; (T,) float64.

    The curve is mirrored at its ends.
    """
    reach = round(4 * sigma)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    return np.convolve(
        np.pad(np.asarray(curve, np.float64), reach, mode="symmetric"),
        kernel / kernel.sum(),
        mode="valid",
    )


def extrema(curve: Array) -> dict[int, int]:
    """Find frame -> 1 for a maximum, -1 for a minimum, in order, without the ends.

    A flat one counts at its middle, rounded down. A curve that moves less than a millionth of its
    height has none: that is rounding.
    """
    if np.ptp(curve) <= 1e-6 * np.abs(curve).max():
        return {}
    steps = np.diff(curve)
    moves = np.flatnonzero(steps)
    signs = np.sign(steps[moves])
    turns = np.flatnonzero(signs[:-1] != signs[1:])
    return {int(moves[k] + 1 + moves[k + 1]) // 2: int(signs[k]) for k in turns}


def slope(curve: Array) -> Array:
    """(T,) the step to a frame from the one before it; 0 for the first."""
    return np.diff(curve, prepend=curve[:1])


# Plain curves, as the protocols of the default head compare them.


def correlation(one: Array, other: Array) -> float:
    """Pearson's correlation of two curves (T,); 0 when either does not move."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise InputError(
            f"curves have shapes {one.shape} and {other.shape}, expected two of the same "
            "length (at least 2)"
        )
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    tiny = 1e-9 * len(one)  # float32 rounding of a constant curve in metres stays far below
    if min(one @ one, other @ other) < tiny * 1e-6 or scale == 0:
        return 0.0
    return float(one @ other / scale)


def mean_correlation(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Mean over clips of the correlation within each clip."""
    return float(np.mean([correlation(p, t) for p, t in zip(predicted, true, strict=True)]))


def pooled_correlation(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Correlation over the frames of all clips together, so that the openings' size counts too."""
    return correlation(np.concatenate(list(predicted)), np.concatenate(list(true)))


def mean_opening_error(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Mean absolute difference of the openings over all frames (MOD), in the curves' unit."""
    return float(np.mean(np.abs(np.concatenate(list(predicted)) - np.concatenate(list(true)))))


def fit_curve(curve: Array, frames: int) -> Array:
    """Cut a curve to ``frames`` frames, or continue it with its last value.

    A clip's sound may be a frame shorter than its motion.
    """
    if len(curve) == 0:
        raise InputError("an empty opening curve cannot be compared")
    if len(curve) >= frames:
        return curve[:frames]
    return np.concatenate([curve, np.repeat(curve[-1:], frames - len(curve))])


# A mouth at rest.


@dataclass(frozen=True)
class Stillness:
    """Gap and movement of a mouth that should be at rest; millimetres.

    Attributes:
        mean, largest: Of the inner-lip gap's distance from 0.
        tremble: Mean absolute change of the gap from frame to frame.
        lip_tremble: Mean distance that a lip vertex moves from frame to frame.
    """

    mean: float
    largest: float
    tremble: float
    lip_tremble: float


def stillness(weights: Array, face: Face) -> Stillness:
    """Measure weights (T, K) on the face's shapes, T at least 2."""
    if len(weights) < 2:
        raise InputError(
            f"{len(weights)} frames found, expected at least 2 to see whether they differ"
        )
    gap = face.lip_gap(weights) * 1e3
    basis = face.basis[:, face.regions["lips"]]
    moved = np.tensordot(np.diff(weights, axis=0), basis, 1) * 1e3  # (T - 1, lips, 3)
    return Stillness(
        mean=float(np.abs(gap).mean()),
        largest=float(np.abs(gap).max()),
        tremble=float(np.abs(np.diff(gap)).mean()),
        lip_tremble=float(np.linalg.norm(moved, axis=2).mean()),
    )


def joined(parts: list[Stillness]) -> Stillness:
    """Join several stretches: means of the means, the largest of the largest."""
    mean, largest, tremble, lip_tremble = np.array(
        [[p.mean, p.largest, p.tremble, p.lip_tremble] for p in parts]
    ).T
    return Stillness(
        float(mean.mean()), float(largest.max()), float(tremble.mean()), float(lip_tremble.mean())
    )
