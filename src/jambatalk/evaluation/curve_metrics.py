"""Metrics of how the mouth opens over time, and of the lips' motion but for its timing."""

from __future__ import annotations

import numpy as np

from jambatalk.evaluation.opening import correlation
from jambatalk.evaluation.pair import Array, Pair, Share
from jambatalk.evaluation.warping import warped_distance, warping_path

SMOOTH_FRAMES = 2.0
"""Standard deviation in frames of the smoothing before extrema are looked for."""
NEAR_FRAMES = 1
"""How far beside the warping path an extremum may lie and still count as matched."""


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
    """MTM: how far apart in time the same openings and closings are, mean over all matched extrema; ms.

    Both openings are smoothed (sigma = 2 frames) and divided by their standard deviations, so that only their shape counts;
    their slopes are warped onto each other. An extremum of the truth is matched with the nearest one of the same kind, maximum
    or minimum, among the frames that the path gives it and one more on either side. nan where nothing matches, as for a
    static face: read it beside ``matched_extrema``.
    """
    found = matched_frames(pair.true_opening, pair.predicted_opening)[0]
    return Share(sum(abs(i - j) for i, j in found) * 1000 / pair.fps, len(found))


def matched_extrema(pair: Pair) -> Share:
    """Percent of the truth's extrema that have a partner in the prediction (see ``mouth_timing``)."""
    found, extrema = matched_frames(pair.true_opening, pair.predicted_opening)
    return Share(100.0 * len(found), extrema)


def matched_frames(true: Array, predicted: Array) -> tuple[list[tuple[int, int]], int]:
    """(pairs of frames of matched extrema, how many extrema ``true`` has); two curves (T,) of any unit."""
    one, other = smoothed(true), smoothed(predicted)
    kinds, partners = extrema(one), extrema(other)
    if not kinds or not partners:
        return [], len(kinds)
    slopes, others = (slope(curve / curve.std()) for curve in (one, other))
    path = warping_path(np.square(slopes[:, None] - others[None]))
    matched = []
    for frame, kind in kinds.items():
        along = path[path[:, 0] == frame, 1]
        first, last = int(along[0]) - NEAR_FRAMES, int(along[-1]) + NEAR_FRAMES
        middle = (along[0] + along[-1]) / 2
        near = [at for at, other_kind in partners.items() if other_kind == kind and first <= at <= last]
        if near:
            matched.append((frame, min(near, key=lambda at: abs(at - middle))))
    return matched, len(kinds)


def smoothed(curve: Array, sigma: float = SMOOTH_FRAMES) -> Array:
    """(T,) float64 after a Gaussian of ``sigma`` frames, cut at four sigma; the ends are continued with their last values."""
    reach = round(4 * sigma)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    return np.convolve(np.pad(np.asarray(curve, np.float64), reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def extrema(curve: Array) -> dict[int, int]:
    """Frame -> 1 for a maximum, -1 for a minimum; the ends are none. A flat top counts at its first frame.

    A curve that moves less than a millionth of its height has none: that is rounding.
    """
    if np.ptp(curve) <= 1e-6 * np.abs(curve).max():
        return {}
    frames = np.flatnonzero(np.diff(curve))  # steps that go anywhere
    signs = np.sign(np.diff(curve)[frames])
    return {int(frames[k]) + 1: int(signs[k]) for k in np.flatnonzero(signs[:-1] != signs[1:])}


def slope(curve: Array) -> Array:
    """(T,) Keogh and Pazzani's derivative: the mean of the step before and half the step around a frame; ends repeat."""
    if len(curve) < 3:
        return np.zeros(len(curve))
    inner = ((curve[1:-1] - curve[:-2]) + (curve[2:] - curve[:-2]) / 2) / 2
    return np.concatenate([inner[:1], inner, inner[-1:]])
