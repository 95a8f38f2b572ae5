"""Moving a mesh and finding its smooth normals.

Small loops of our own rather than matrix products: those start threads of their own, which get in each other's way when
several frames are drawn at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.deform import vertex_normals
from jambatalk.render.materials import Material

Array = NDArray[Any]


def weld(vertices: Array, triangles: Array, materials: Array, table: Sequence[Material]) -> Array:
    """(V,) int32: for each vertex the vertex it shares its normal with.

    Meshes repeat vertices where materials or texture charts meet; without this the seam shows. Vertices are joined when they
    coincide, belong to materials that smooth together, and face the same side (lips that touch at rest stay two lips).
    """
    count = len(vertices)
    owner = np.arange(count, dtype=np.int32)
    words = sorted({material.smoothing for material in table})
    word_of = np.array([words.index(material.smoothing) for material in table])
    group = np.full(count, -1)
    group[triangles.reshape(-1)] = np.repeat(word_of[materials], 3)
    normals = vertex_normals(vertices.astype(np.float32), triangles.astype(np.int32), owner)
    keys = np.column_stack([np.round(vertices.astype(np.float64) / 1e-6).astype(np.int64), group])
    order = np.lexsort(keys.T)
    sorted_keys = keys[order]
    starts = np.flatnonzero(np.r_[True, (sorted_keys[1:] != sorted_keys[:-1]).any(1)])
    ends = np.r_[starts[1:], count]
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1]):
        members = np.sort(order[start:end])
        heads: list[int] = []
        for member in members:
            match = next((h for h in heads if normals[h] @ normals[member] > 0), None)
            if match is None:
                heads.append(int(member))
            else:
                owner[member] = match
    return owner
