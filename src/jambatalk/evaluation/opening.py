"""How well an opening curve follows another: correlation of lip gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

Array = NDArray[Any]


def correlation(one: Array, other: Array) -> float:
    """Pearson's correlation of two curves (T,); 0 when either does not move (a static face follows nothing)."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise InputError(f"curves have shapes {one.shape} and {other.shape}, expected two of the same length (at least 2)")
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
    """Correlation over the frames of all clips taken together, so that the size of the openings counts too."""
    return correlation(np.concatenate(list(predicted)), np.concatenate(list(true)))


def opening_error(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Mean absolute difference of the openings over all frames (MOD), in the curves' unit."""
    return float(np.mean(np.abs(np.concatenate(list(predicted)) - np.concatenate(list(true)))))


def fitted(curve: Array, frames: int) -> Array:
    """A curve of ``frames`` frames: cut, or continued with its last value (a clip's sound may be a frame shorter)."""
    if len(curve) == 0:
        raise InputError("an empty opening curve cannot be compared")
    if len(curve) >= frames:
        return curve[:frames]
    return np.concatenate([curve, np.repeat(curve[-1:], frames - len(curve))])
