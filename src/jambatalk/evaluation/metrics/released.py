"""The authors' released metric script, to compare with what it prints; not the field's quantities.

The script flattens each frame to 3 V columns x0 y0 z0 x1 ... and then picks columns by numbers that
are vertex indices. So a "lip vertex" is one coordinate of some other vertex, and a distance is that
of single numbers. It was written with the control indices of another rig; here the columns are
those that the regions' own indices pick, which may be any that the user gives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jambatalk.evaluation.metrics.base import Array, ClipPair, Ratio


def columns(offsets: Array, indices: Array) -> Array:
    """(T, n) float64 columns ``indices`` of (T, V, 3) flattened to (T, 3 V)."""
    flat: Array = offsets.reshape(len(offsets), -1)[:, indices].astype(np.float64)
    return flat


def lip_vertex_error(pair: ClipPair) -> Ratio:
    """The largest squared difference among the lips' columns, mean over all frames."""
    lips = pair.regions.lips
    apart = np.square(columns(pair.predicted, lips) - columns(pair.truth, lips))
    return Ratio(float(apart.max(1).sum()), pair.frames)


def upper_face_dynamics(pair: ClipPair) -> Ratio:
    """Mean over the upper face's columns of std_t(y²) - std_t(p²), mean over clips."""
    upper = pair.regions.upper_face
    deviations = [
        np.square(columns(offsets, upper)).std(0) for offsets in (pair.truth, pair.predicted)
    ]
    return Ratio(float(np.mean(deviations[0] - deviations[1])), 1)


def mean_vertex_error(pair: ClipPair) -> Ratio:
    """Mean absolute difference of all columns and frames."""
    total = sum(float(np.abs(p - y).sum()) for y, p in pair.blocks())
    return Ratio(total, pair.truth.size)


PREFIX = "compat:"
COMPAT_METRICS: dict[str, Callable[[ClipPair], Ratio]] = {
    f"{PREFIX}LVE_{{area}}": lip_vertex_error,
    f"{PREFIX}FDD_{{area}}": upper_face_dynamics,
    f"{PREFIX}MVE_{{unit}}": mean_vertex_error,
}
