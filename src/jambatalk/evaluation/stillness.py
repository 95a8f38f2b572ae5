"""Whether a face is at rest: how far its lips are apart, and how much they tremble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face

Array = NDArray[Any]


@dataclass(frozen=True)
class Stillness:
    """Millimetres. mean, largest: of the inner-lip gap's distance from 0. tremble: mean absolute change of the gap from frame
    to frame. lip_tremble: mean distance that a lip vertex moves from frame to frame."""

    mean: float
    largest: float
    tremble: float
    lip_tremble: float


def stillness(weights: Array, face: Face) -> Stillness:
    """Of weights (T, K) on the face's shapes, T at least 2."""
    if len(weights) < 2:
        raise InputError(f"{len(weights)} frames found, expected at least 2 to see whether they differ")
    gap = face.lip_gap(weights) * 1e3
    moved = np.tensordot(np.diff(weights, axis=0), face.basis[:, face.regions["lips"]], 1) * 1e3  # (T - 1, lips, 3)
    return Stillness(
        mean=float(np.abs(gap).mean()),
        largest=float(np.abs(gap).max()),
        tremble=float(np.abs(np.diff(gap)).mean()),
        lip_tremble=float(np.linalg.norm(moved, axis=2).mean()),
    )


def joined(parts: list[Stillness]) -> Stillness:
    """Several stretches as one: means of the means, the largest of the largest."""
    mean, largest, tremble, lip_tremble = np.array([[p.mean, p.largest, p.tremble, p.lip_tremble] for p in parts]).T
    return Stillness(float(mean.mean()), float(largest.max()), float(tremble.mean()), float(lip_tremble.mean()))
