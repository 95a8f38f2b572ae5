"""Changing the frame rate of a motion without overshoot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def resample_frames(values: NDArray[Any], fps: float, new_fps: float) -> NDArray[np.float32]:
    """Resample (T, ...) frames at ``fps`` to ``new_fps`` by monotone cubic interpolation (Fritsch, Carlson 1980).

    Monotone: a mouth that is closed in two neighbouring frames stays closed between them, which a plain cubic spline
    would overshoot. The result has round(T * new_fps / fps) frames (at least 1); its frame i lies at i / new_fps
    seconds, and times after the last frame hold that frame.
    """
    count = len(values)
    new_count = max(1, round(count * new_fps / fps)) if count else 0
    if count < 2:
        return np.repeat(np.asarray(values, np.float32), new_count, axis=0) if count else np.asarray(values, np.float32)
    return interpolated(values, np.arange(new_count) * (fps / new_fps))


def interpolated(values: NDArray[Any], times: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(T, ...) frames -> (n, ...) at ``times`` (n,), in frames from the first; times outside hold the nearest frame."""
    count = len(values)
    if count < 2:
        return np.repeat(np.asarray(values, np.float32), len(times), axis=0)
    flat = np.asarray(values, np.float64).reshape(count, -1)
    steps = np.diff(flat, axis=0)
    slopes = np.zeros_like(flat)
    # Harmonic mean of neighbouring steps where they agree in sign, zero at extrema: keeps each piece monotone.
    left, right = steps[:-1], steps[1:]
    same = left * right > 0
    slopes[1:-1][same] = 2.0 * left[same] * right[same] / (left[same] + right[same])
    times = np.clip(times, 0, count - 1)
    index = np.minimum(times.astype(np.int64), count - 2)
    u = (times - index)[:, None]
    p0, p1, m0, m1 = flat[index], flat[index + 1], slopes[index], slopes[index + 1]
    h01 = u * u * (3.0 - 2.0 * u)
    out = p0 + h01 * (p1 - p0) + u * (1.0 - u) ** 2 * m0 - u * u * (1.0 - u) * m1
    return out.reshape(len(times), *values.shape[1:]).astype(np.float32)
