"""The rasteriser again, in plain NumPy and double precision: slow, short, and the truth ``raster`` is tested against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.render.raster import ONE_SIDED, SKIP, SUBPIXEL

Array = NDArray[Any]


def draw(
    screen: Array, near: Array, triangles: Array, sides: Array, width: int, height: int, offsets: Array
) -> tuple[Array, Array]:
    """Which triangle each sample sees.

    screen: (V, 2) int64 in 1/256 pixel, y down. near: (V,) nearness, positive in front of the camera. sides: (F,) SKIP,
    ONE_SIDED or TWO_SIDED. offsets: (S, 2) sample positions in 1/256 pixel.
    Returns ids (H, W, S) int32, -1 where empty, and nearness (H, W, S) float64, 0 where empty.
    """
    ids = np.full((height, width, len(offsets)), -1, np.int32)
    best = np.zeros((height, width, len(offsets)))
    for t, (corners, side) in enumerate(zip(triangles, sides)):
        if side == SKIP or (near[corners] <= 0).any():
            continue
        points, depths = screen[corners], near[corners].astype(np.float64)
        area = _cross(points[1] - points[0], points[2] - points[0])
        # With y down, a triangle that is counter-clockwise to the viewer has negative area.
        if area == 0 or (area > 0 and side == ONE_SIDED):
            continue
        if area < 0:
            points, depths, area = points[[0, 2, 1]], depths[[0, 2, 1]], -area
        low = np.maximum(points.min(0) // SUBPIXEL, 0)
        high = np.minimum(points.max(0) // SUBPIXEL, [width - 1, height - 1])
        if (low > high).any():
            continue
        x, y = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)
        spots = np.stack(np.meshgrid(x, y), -1)[:, :, None] * SUBPIXEL + offsets  # (rows, columns, S, 2)
        inside = np.ones(spots.shape[:-1], bool)
        value = np.zeros(spots.shape[:-1])
        for n in range(3):
            start, end = points[n], points[(n + 1) % 3]
            way = end - start
            edge = _cross(way, spots - start)
            # A sample exactly on an edge belongs to the triangle for which that edge is its top or its left one.
            owns = (way[1] == 0 and way[0] > 0) or way[1] < 0
            inside &= edge >= 0 if owns else edge > 0
            value += edge / area * depths[(n + 2) % 3]
        window = np.s_[low[1] : high[1] + 1, low[0] : high[0] + 1]
        seen = inside & (value > best[window])
        best[window][seen] = value[seen]
        ids[window][seen] = t
    return ids, best


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
