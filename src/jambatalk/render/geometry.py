"""Smooth normals of a mesh, also across seams where its vertices are doubled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.render.materials import Material

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def vertex_normals(vertices: Array, triangles: Array, owner: Array) -> Array:
    """Smooth unit normals (V, 3) float32: the neighbouring triangles' by area.

    ``owner`` (V,) names the vertex whose normal each vertex shares, see ``weld``.
    """
    count = vertices.shape[0]
    normals = np.zeros((count, 3), np.float32)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ux, uy, uz = vertices[j, 0] - ax, vertices[j, 1] - ay, vertices[j, 2] - az
        vx, vy, vz = vertices[k, 0] - ax, vertices[k, 1] - ay, vertices[k, 2] - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for c in range(3):
            o = owner[triangles[t, c]]
            normals[o, 0] += nx
            normals[o, 1] += ny
            normals[o, 2] += nz
    for v in range(count):
        if owner[v] == v:
            x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
            length = np.sqrt(x * x + y * y + z * z)
            if length > 0:
                normals[v, 0], normals[v, 1], normals[v, 2] = x / length, y / length, z / length
    for v in range(count):
        o = owner[v]
        if o != v:
            normals[v, 0], normals[v, 1], normals[v, 2] = (
                normals[o, 0],
                normals[o, 1],
                normals[o, 2],
            )
    return normals


def weld(vertices: Array, triangles: Array, materials: Array, table: Sequence[Material]) -> Array:
    """For each vertex the vertex it shares its normal with, (V,) int32.

    Meshes repeat vertices where materials or texture charts meet; without this the seam shows.
    Vertices are joined when they coincide, belong to materials that smooth together, and face the
    same side (lips that touch at rest stay two lips).
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
