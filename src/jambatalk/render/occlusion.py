"""How much of the room's light reaches each vertex, baked once from depth pictures taken all around the head."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.render.geometry import affine
from jambatalk.render.raster import SUBPIXEL, bin_triangles, raster_rows, sample_offsets

Array = NDArray[Any]

DIRECTIONS = 96
DEPTH_SIZE = 160  # texels across the head: a few millimetres each


def fibonacci_sphere(count: int) -> Array:
    """(count, 3) float64 unit vectors spread evenly over the sphere (golden-angle spiral)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], 1)


def looking_along(towards: Array) -> Array:
    """(3, 3) rotation whose rows are right, up and the direction ``towards`` the viewer."""
    back = np.asarray(towards, np.float64) / np.linalg.norm(towards)
    helper = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def flat_view(towards: Array, centre: Array, radius: float, size: int) -> Array:
    """(3, 4) float32: positions -> column, row (texels) and nearness of a parallel view of a ball from ``towards``.

    Nearness is in metres, 1 at the ball's centre plane for the raster's convention that nearness is positive.
    """
    turn = looking_along(towards)
    scale = 0.5 * size / radius
    rows = np.stack([turn[0] * scale, -turn[1] * scale, turn[2]])
    shift = np.array([0.5 * size, 0.5 * size, 2.0 * radius]) - rows @ np.asarray(centre, np.float64)
    return np.column_stack([rows, shift]).astype(np.float32)


def depth_map(points: Array, triangles: Array, sides: Array, view: Array, size: int) -> tuple[Array, Array]:
    """Nearness (size, size) float32 seen through a ``flat_view``, and the (V, 3) texel positions and nearness of the points."""
    seen = affine(points, view)
    screen = np.round(seen[:, :2] * SUBPIXEL).astype(np.int64)
    near = np.ascontiguousarray(seen[:, 2], np.float32)
    _, items = bin_triangles(screen, near, triangles, sides, size, size, size)
    best = np.zeros((size, size, 1), np.float32)
    ids = np.empty((size, size, 1), np.int32)
    raster_rows(screen, near, triangles, items, 0, size, sample_offsets(1), ids, best)
    return best[:, :, 0], seen


@njit(cache=True, nogil=True)
def _gather(seen: Array, depths: Array, cosine: Array, lift: float, light: Array, weight: Array) -> None:
    size = depths.shape[0]
    for v in range(seen.shape[0]):
        if cosine[v] <= 0:
            continue
        column, row = int(seen[v, 0]), int(seen[v, 1])
        weight[v] += cosine[v]
        if 0 <= column < size and 0 <= row < size and depths[row, column] > seen[v, 2] + lift:
            continue
        light[v] += cosine[v]


def bake(vertices: Array, normals: Array, triangles: Array, sides: Array) -> Array:
    """(V,) float32 in 0..1: the share of the sky each vertex sees, weighted by the cosine to its normal.

    sides: (F,) raster sides; a triangle marked SKIP casts nothing.
    """
    low, high = vertices.min(0), vertices.max(0)
    centre, radius = 0.5 * (low + high), max(0.5 * float(np.linalg.norm(high - low)), 1e-3)
    texel = 2 * radius / DEPTH_SIZE
    light, weight = np.zeros(len(vertices), np.float32), np.zeros(len(vertices), np.float32)
    for towards in fibonacci_sphere(DIRECTIONS):
        view = flat_view(towards, centre, radius, DEPTH_SIZE)
        depths, _ = depth_map(vertices, triangles, sides, view, DEPTH_SIZE)
        # Asked a little off the surface, so that neither the grid nor the triangle's own slope darkens it.
        lifted = affine(vertices + normals * np.float32(1.5 * texel), view)
        cosine = (normals @ towards.astype(np.float32)).astype(np.float32)
        _gather(lifted, depths, cosine, 0.25 * texel, light, weight)
    return np.where(weight > 0, light / np.maximum(weight, 1e-6), 1).astype(np.float32)
