"""Vertex offsets as a few shapes and their weights, for formats that know only shapes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face

Array = NDArray[Any]

MOST_SHAPES = 64
CLOSE_ENOUGH = 5e-5
"""Metres; shapes are added until no sampled vertex is further off."""

SAMPLED_FRAMES = 600
"""Frames that the shapes are found from, evenly spread; more add time, hardly accuracy."""


def as_shapes(offsets: Array, face: Face) -> tuple[Face, Array]:
    """(T, V, 3) metres -> the face with up to 64 shapes ``offset_00``, ... instead of its own, and (T, K) weights in -1..1.

    The shapes are the principal directions of the offsets (about zero, since zero is the neutral face).
    InputError if the offsets do not fit the face.
    """
    if offsets.shape[1:] != face.vertices.shape:
        raise InputError(f"the motion moves {offsets.shape[1]} vertices, but the face has {len(face.vertices)}")
    flat = offsets.reshape(len(offsets), -1)
    chosen = np.unique(np.linspace(0, len(flat) - 1, SAMPLED_FRAMES).round().astype(int))
    sample = flat[chosen].astype(np.float64)
    _, strengths, directions = np.linalg.svd(sample, full_matrices=False)
    limit = min(MOST_SHAPES, int((strengths > 1e-9).sum()))
    count = next(
        (k for k in range(limit) if np.abs(sample - sample @ directions[:k].T @ directions[:k]).max() < CLOSE_ENOUGH), limit
    )
    weights = flat @ directions[:count].T.astype(np.float32)
    scales = np.abs(weights).max(axis=0, initial=0.0) + 1e-12
    basis = (directions[:count] * scales[:, None]).reshape(count, *face.vertices.shape).astype(np.float32)
    names = tuple(f"offset_{k:02d}" for k in range(count))
    return replace(face, names=names, basis=basis), (weights / scales).astype(np.float32)
