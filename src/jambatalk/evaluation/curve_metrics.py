"""Metrics of how the mouth opens over time, and of the lips' motion but for its timing."""

from __future__ import annotations

import numpy as np

from jambatalk.evaluation.opening import correlation
from jambatalk.evaluation.pair import Array, Pair, Share
from jambatalk.evaluation.warping import warped_distance, warping_path

SMOOTH_FRAMES = 2.0
"""Standard deviation in frames of the smoothing before extrema are looked for."""


def opening_error(pair: Pair) -> Share:
    """MOD: mean over all frames of |opening(y) - opening(p)|; mm."""
    return Share(float(np.abs(pair.predicted_opening - pair.true_opening).sum()) * pair.unit.to_mm, pair.frames)


def opening_correlation(pair: Pair) -> Share:
    """Pearson's correlation of the two openings, mean over clips; 0 where either does not move."""
    if pair.frames < 2:
        return Share(0.0, 0)
    one, other = (_unitless(curve) for curve in (pair.predicted_opening, pair.true_opening))
    return Share(correlation(one, other), 1)


def _unitless(curve: Array) -> Array:
    # correlation() holds still what moves less than rounding would in metres: as if the mouth opened some centimetres at most
    largest = float(np.abs(curve).max())
    return curve * (0.03 / largest) if largest > 0 else curve


def lip_warped_distance(pair: Pair) -> Share:
    """LDTW: along the cheapest warping of the frames, the mean distance of the lip vertices, total over path length, mean over
    clips; mm."""
    lips = pair.regions.lips
    total, length = warped_distance(pair.truth[:, lips], pair.predicted[:, lips])
    return Share(total / length * pair.unit.to_mm, 1)


def mouth_timing(pair: Pair) -> Share:
    """MTM: how far apart in time the same openings and closings are, mean over a clip's matched extrema, then over the clips
    that have any; ms.

    As its authors measure it (Chae-Yeon et al. 2025): both openings are smoothed (sigma = 2 frames), and their slopes are warped
    onto each other. Extrema of the same kind that the path brings together are matched, if the predicted one lies between the
    truth's neighbouring extrema. nan where nothing matches, as for a still face: read it beside ``matched_extrema``, since
    extrema that are missed altogether cost nothing here.
    """
    found = matched_frames(pair.true_opening, pair.predicted_opening)[0]
    if not found:
        return Share(0.0, 0)
    return Share(float(np.mean([abs(i - j) for i, j in found])) * 1000 / pair.fps, 1)


def matched_extrema(pair: Pair) -> Share:
    """Percent of the truth's extrema that are matched (see ``mouth_timing``), over all clips."""
    found, number = matched_frames(pair.true_opening, pair.predicted_opening)
    return Share(100.0 * len({i for i, _ in found}), number)


def matched_frames(true: Array, predicted: Array) -> tuple[list[tuple[int, int]], int]:
    """(pairs of frames of matched extrema, how many extrema ``true`` has); two curves (T,) of one unit."""
    one, other = smoothed(true), smoothed(predicted)
    kinds, partners = extrema(one), extrema(other)
    if not kinds or not partners:
        return [], len(kinds)
    frames = [0, *kinds, len(one) - 1]
    bounds = {frame: (frames[place], frames[place + 2]) for place, frame in enumerate(kinds)}
    path = warping_path(np.abs(slope(one)[:, None] - slope(other)[None]))
    matched = [
        (i, j) for i, j in path.tolist() if i in kinds and partners.get(j) == kinds[i] and bounds[i][0] <= j <= bounds[i][1]
    ]
    return matched, len(kinds)


def smoothed(curve: Array, sigma: float = SMOOTH_FRAMES) -> Array:
    """(T,) float64 after a Gaussian of ``sigma`` frames, cut at four sigma; the curve is mirrored at its ends."""
    reach = round(4 * sigma)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    return np.convolve(np.pad(np.asarray(curve, np.float64), reach, mode="symmetric"), kernel / kernel.sum(), mode="valid")


def extrema(curve: Array) -> dict[int, int]:
    """Frame -> 1 for a maximum, -1 for a minimum, in order; the ends are none. A flat one counts at its middle, rounded down.

    A curve that moves less than a millionth of its height has none: that is rounding.
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
