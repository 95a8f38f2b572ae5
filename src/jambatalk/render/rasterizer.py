"""Which triangle is seen where: a z-buffer rasteriser over bands of rows.

Screen positions are whole numbers of 1/256 pixel, so edge functions are exact integers: triangles
that share an edge leave no gap and cover no sample twice (the top-left rule), whatever the
picture's size. Depth is stored as *nearness*: a quantity that is linear on the screen and grows
towards the viewer (1/depth for a perspective camera). A triangle with a vertex at or behind the
camera (nearness <= 0) is left out; a portrait never has one in the picture.

``raster_reference`` has the same rules in plain NumPy; the kernel is tested against it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.render.textures import Looks, level_of, opacity_at

Array = NDArray[Any]

SUBPIXEL = 256
SKIP, ONE_SIDED, TWO_SIDED = 0, 1, 2  # what to do with a triangle in this pass


def sample_offsets(supersample: int) -> Array:
    """(S, 2) int64 sample positions inside a pixel in 1/256 pixel, S = supersample².

    A rotated grid: every sample has a row and a column of its own, so a nearly level or upright
    edge takes S + 1 steps from empty to full instead of supersample + 1.
    """
    count = supersample * supersample
    index = np.arange(count)
    x = (index + 0.5) / count
    y = ((index % supersample) * supersample + index // supersample + 0.5) / count
    return np.round(np.stack([x, y], 1) * SUBPIXEL).astype(np.int64)


@njit(cache=True, nogil=True)
def project(view: Array, focal: float, width: int, height: int) -> tuple[Array, Array]:
    """Project (V, 3) metres of view space onto the screen.

    Returns:
        screen (V, 2) int64 in 1/256 pixel (y down), and nearness (V,) float32 = 1 / depth.
    """
    count = view.shape[0]
    screen = np.zeros((count, 2), np.int64)
    near = np.zeros(count, np.float32)
    limit = 1 << 26
    for v in range(count):
        depth = -view[v, 2]
        if depth > 1e-4:
            near[v] = 1.0 / depth
            x = (0.5 * width + focal * view[v, 0] / depth) * SUBPIXEL
            y = (0.5 * height - focal * view[v, 1] / depth) * SUBPIXEL
            screen[v, 0] = int(np.round(min(max(x, -limit), limit)))
            screen[v, 1] = int(np.round(min(max(y, -limit), limit)))
    return screen, near


@njit(cache=True, nogil=True)
def bin_triangles(
    screen: Array, near: Array, triangles: Array, sides: Array, width: int, height: int, band: int
) -> tuple[Array, Array]:
    """Sort triangles into bands of ``band`` rows.

    Returns:
        (bands + 1,) starts, and the triangle indices of each band in mesh order.
    """
    bands = (height + band - 1) // band
    count = triangles.shape[0]
    first = np.full(count, -1, np.int32)
    last = np.zeros(count, np.int32)
    starts = np.zeros(bands + 1, np.int64)
    for t in range(count):
        if sides[t] == SKIP:
            continue
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if near[i] <= 0 or near[j] <= 0 or near[k] <= 0:
            continue
        ax, ay, bx, by, cx, cy = (
            screen[i, 0],
            screen[i, 1],
            screen[j, 0],
            screen[j, 1],
            screen[k, 0],
            screen[k, 1],
        )
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # With y down, a triangle that is counter-clockwise to the viewer has negative area.
        if area == 0 or (area > 0 and sides[t] == ONE_SIDED):
            continue
        top, bottom = min(ay, by, cy) >> 8, max(ay, by, cy) >> 8
        if bottom < 0 or top >= height or max(ax, bx, cx) < 0 or (min(ax, bx, cx) >> 8) >= width:
            continue
        first[t] = max(top, 0) // band
        last[t] = min(bottom, height - 1) // band
        for b in range(first[t], last[t] + 1):
            starts[b + 1] += 1
    for b in range(bands):
        starts[b + 1] += starts[b]
    items = np.empty(starts[bands], np.int32)
    cursor = starts[:-1].copy()
    for t in range(count):
        if first[t] >= 0:
            for b in range(first[t], last[t] + 1):
                items[cursor[b]] = t
                cursor[b] += 1
    return starts, items


class Masks(NamedTuple):
    """Triangles whose texture has holes.

    Args:
        cut: (F,) bool, which triangles.
        materials: (F,) int32.
        looks: see ``textures``.
    """

    cut: Array
    materials: Array
    looks: Looks


@njit(cache=True, nogil=True)
def raster_rows(
    screen: Array,
    near: Array,
    triangles: Array,
    items: Array,
    top: int,
    bottom: int,
    offsets: Array,
    ids: Array,
    best: Array,
    masks: Masks | None = None,
) -> None:
    """Draw ``items`` into rows top..bottom-1.

    offsets: (S, 2) sample positions. ids: (rows, W, S) int32, -1 where empty, gets the triangle
        seen by each sample.
    best: (rows, W, S) float32, its nearness. Of two triangles equally near the earlier in the mesh
        stays.
    masks: textures with holes, that what lies behind is seen through; None for none.
    """
    width = ids.shape[1]
    samples = offsets.shape[0]
    reach = np.empty((samples, 3), np.int64)
    rise = np.empty(samples, np.float32)
    if masks is not None:
        uv, texels, table, factors = masks.looks
        cut, materials = masks.cut, masks.materials
    for n in range(items.shape[0]):
        t = items[n]
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = (
            screen[i, 0],
            screen[i, 1],
            screen[j, 0],
            screen[j, 1],
            screen[k, 0],
            screen[k, 1],
        )
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area < 0:
            j, k = k, j
            bx, by, cx, cy = cx, cy, bx, by
            area = -area
        # Edge functions e = dx * (py - y) - dy * (px - x), positive inside; samples on a top or
        # left edge belong to it.
        abx, aby, bcx, bcy, cax, cay = bx - ax, by - ay, cx - bx, cy - by, ax - cx, ay - cy
        bias_ab = 0 if (aby == 0 and abx > 0) or aby < 0 else -1
        bias_bc = 0 if (bcy == 0 and bcx > 0) or bcy < 0 else -1
        bias_ca = 0 if (cay == 0 and cax > 0) or cay < 0 else -1
        # Nearness as a plane over the screen, relative to vertex a.
        inverse = 1.0 / area
        grow_b, grow_c = (near[j] - near[i]) * inverse, (near[k] - near[i]) * inverse
        slope_x = np.float32(-grow_b * cay - grow_c * aby)
        slope_y = np.float32(grow_b * cax + grow_c * abx)
        most_ab, most_bc, most_ca = np.int64(-(1 << 62)), np.int64(-(1 << 62)), np.int64(-(1 << 62))
        for s in range(samples):
            ox, oy = offsets[s, 0], offsets[s, 1]
            reach[s, 0] = abx * oy - aby * ox
            reach[s, 1] = bcx * oy - bcy * ox
            reach[s, 2] = cax * oy - cay * ox
            most_ab, most_bc, most_ca = (
                max(most_ab, reach[s, 0]),
                max(most_bc, reach[s, 1]),
                max(most_ca, reach[s, 2]),
            )
            rise[s] = slope_x * np.float32(ox) + slope_y * np.float32(oy)
        holes = False
        if masks is not None:
            holes, material = cut[t], materials[t]
            if holes:
                # u and v over depth are planes over the screen, as nearness is.
                size = level_of(uv, table, material, screen, i, j, k)
                u_near, v_near = uv[i, 0] * near[i], uv[i, 1] * near[i]
                u_b, u_c = uv[j, 0] * near[j] - u_near, uv[k, 0] * near[k] - u_near
                v_b, v_c = uv[j, 1] * near[j] - v_near, uv[k, 1] * near[k] - v_near
                u_x, u_y = inverse * (-u_b * cay - u_c * aby), inverse * (u_b * cax + u_c * abx)
                v_x, v_y = inverse * (-v_b * cay - v_c * aby), inverse * (v_b * cax + v_c * abx)
        y0, y1 = max(min(ay, by, cy) >> 8, top), min(max(ay, by, cy) >> 8, bottom - 1)
        x0, x1 = max(min(ax, bx, cx) >> 8, 0), min(max(ax, bx, cx) >> 8, width - 1)
        for y in range(y0, y1 + 1):
            px, py = x0 * SUBPIXEL, y * SUBPIXEL
            e_ab = abx * (py - ay) - aby * (px - ax) + bias_ab
            e_bc = bcx * (py - by) - bcy * (px - bx) + bias_bc
            e_ca = cax * (py - cy) - cay * (px - cx) + bias_ca
            level = near[i] + slope_y * np.float32(py - ay)
            left = np.float32(px - ax)
            for x in range(x0, x1 + 1):
                if e_ab + most_ab >= 0 and e_bc + most_bc >= 0 and e_ca + most_ca >= 0:
                    for s in range(samples):
                        if (e_ab + reach[s, 0]) | (e_bc + reach[s, 1]) | (e_ca + reach[s, 2]) >= 0:
                            value = (
                                level + slope_x * (left + np.float32((x - x0) * SUBPIXEL)) + rise[s]
                            )
                            if value > best[y - top, x, s]:
                                if masks is not None and holes:
                                    right = np.float32(
                                        px - ax + (x - x0) * SUBPIXEL + offsets[s, 0]
                                    )
                                    down = np.float32(py - ay + offsets[s, 1])
                                    u = np.float32(u_near + u_x * right + u_y * down) / value
                                    v = np.float32(v_near + v_x * right + v_y * down) / value
                                    opacity = opacity_at(
                                        texels, table, factors, material, u, v, size
                                    )
                                    if opacity < factors[material, 4]:
                                        continue
                                best[y - top, x, s] = value
                                ids[y - top, x, s] = t
                e_ab -= aby * SUBPIXEL
                e_bc -= bcy * SUBPIXEL
                e_ca -= cay * SUBPIXEL


def raster_reference(
    screen: Array,
    near: Array,
    triangles: Array,
    sides: Array,
    width: int,
    height: int,
    offsets: Array,
) -> tuple[Array, Array]:
    """Which triangle each sample sees, in plain NumPy and double precision: slow and short.

    screen: (V, 2) int64 in 1/256 pixel, y down. near: (V,) nearness, positive in front of the
        camera. sides: (F,) SKIP,
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
        spots = (
            np.stack(np.meshgrid(x, y), -1)[:, :, None] * SUBPIXEL + offsets
        )  # (rows, columns, S, 2)
        inside = np.ones(spots.shape[:-1], bool)
        value = np.zeros(spots.shape[:-1])
        for n in range(3):
            start, end = points[n], points[(n + 1) % 3]
            way = end - start
            edge = _cross(way, spots - start)
            # A sample exactly on an edge belongs to the triangle for which that edge is its top or
            # its left one.
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
