"""Lighting the visible surface, pixel by pixel.

A pixel's samples are gathered by surface: triangles of one smooth surface share one evaluation of
the lights, with normal and colour averaged over the samples they cover; only pixels on an edge pay
for more than one. That gives the anti-aliasing of supersampling at little more than the cost of
none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.render.lighting import TABLE_LIMIT, TABLE_SIZE
from jambatalk.render.materials import (
    BRIGHT,
    CATCHLIGHT,
    EDGE,
    FLAT,
    GLINT,
    GLINT_SHARPNESS,
    RIM,
    SHARPNESS,
    SHEEN,
    WRAP_BLUE,
    WRAP_GREEN,
    WRAP_RED,
)
from jambatalk.render.rasterizer import SUBPIXEL, Masks, raster_rows
from jambatalk.render.textures import DRAWN, level_of, sample

Array = NDArray[Any]

# Columns of the per-vertex attributes: unit normal in view space, linear colour, ambient occlusion,
# openness to direct light, texture coordinates.
NORMAL, COLOUR, AMBIENT, DIRECT, TEXTURE, ATTRIBUTES = 0, 3, 6, 7, 8, 10
SAME_SURFACE = 0.003
"""Metres in depth within which two triangles of one material count as one surface."""
ZERO, ONE = np.float32(0), np.float32(1)  # typed, so that no kernel slips into double precision
SHADOW_TAPS = 1  # the shadow is averaged over (2 * SHADOW_TAPS + 1)² texels
SHADOW_FADE = 0.004
"""Metres over which something in front of the light goes from no shadow to full shadow."""
FADE_SCALE = np.float32(1 / SHADOW_FADE)
SHADOW_LIFT = np.float32(0.0012)
"""Metres off the surface at which the map is read, so that a surface does not shade itself."""
SHADOW_TURN_LIFT = np.float32(0.003)
"""Metres more where the surface turns away from the light."""
SHADOW_TURN = np.float32(0.35)
"""Cosine beyond the terminator at which even scattered light has ended."""


@njit(cache=True, nogil=True, fastmath=True)
def _open_share(blocker: float, here: float) -> float:
    """Light past one texel: 1 in the open, 0 where something stands SHADOW_FADE before it."""
    return min(max(ONE - (blocker - here) * FADE_SCALE, ZERO), ONE)


@njit(cache=True, nogil=True, fastmath=True)
def shadow(
    rx: float, ry: float, depth: float, surface: Array, to_light: Array, depths: Array
) -> float:
    """How much of the key light reaches a surface point: 0 in shadow, 1 in the open.

    Args:
        rx, ry, depth: the point, ``depth`` metres along the ray (rx, ry, -1).
        surface: (ATTRIBUTES,).
        to_light: (3, 4) view space -> shadow texel column, row and nearness.
        depths: (S, S) nearness seen from the light.
    """
    size = depths.shape[0]
    nx, ny, nz = surface[NORMAL], surface[NORMAL + 1], surface[NORMAL + 2]
    facing = to_light[2, 0] * nx + to_light[2, 1] * ny + to_light[2, 2] * nz
    if facing <= -SHADOW_TURN:
        return ZERO
    # Where the surface turns from the light its own bulk would cut the light off sharply; read
    # higher up, it does so softly.
    lift = SHADOW_LIFT + SHADOW_TURN_LIFT * (ONE - min(max(facing, ZERO), ONE))
    point_x, point_y, point_z = rx * depth + nx * lift, ry * depth + ny * lift, nz * lift - depth
    # Neighbouring texels lie elsewhere on the surface's own slope; asked at its height there, it
    # does not shade itself.
    squares = (
        to_light[0, 0] * to_light[0, 0]
        + to_light[0, 1] * to_light[0, 1]
        + to_light[0, 2] * to_light[0, 2]
    )
    steep = np.float32(-1.0) / (max(facing, np.float32(0.2)) * squares)
    slope_u = (to_light[0, 0] * nx + to_light[0, 1] * ny + to_light[0, 2] * nz) * steep
    slope_v = (to_light[1, 0] * nx + to_light[1, 1] * ny + to_light[1, 2] * nz) * steep
    u = (
        to_light[0, 0] * point_x
        + to_light[0, 1] * point_y
        + to_light[0, 2] * point_z
        + to_light[0, 3]
        - np.float32(0.5)
    )
    v = (
        to_light[1, 0] * point_x
        + to_light[1, 1] * point_y
        + to_light[1, 2] * point_z
        + to_light[1, 3]
        - np.float32(0.5)
    )
    w = (
        to_light[2, 0] * point_x
        + to_light[2, 1] * point_y
        + to_light[2, 2] * point_z
        + to_light[2, 3]
    )
    column, row = int(np.floor(u)), int(np.floor(v))
    if (
        column < SHADOW_TAPS
        or row < SHADOW_TAPS
        or column + SHADOW_TAPS + 1 >= size
        or row + SHADOW_TAPS + 1 >= size
    ):
        return np.float32(1.0)
    fu, fv = u - np.float32(column), v - np.float32(row)
    lit = np.float32(0.0)
    for dy in range(-SHADOW_TAPS, SHADOW_TAPS + 2):
        # The window slides smoothly: its first and last texel weigh by the fraction it covers of
        # them.
        here = w + slope_v * (np.float32(dy) - fv) - slope_u * fu
        line = _open_share(
            depths[row + dy, column - SHADOW_TAPS], here - slope_u * np.float32(SHADOW_TAPS)
        ) * (ONE - fu)
        for dx in range(1 - SHADOW_TAPS, SHADOW_TAPS + 1):
            line += _open_share(depths[row + dy, column + dx], here + slope_u * np.float32(dx))
        line += (
            _open_share(
                depths[row + dy, column + SHADOW_TAPS + 1],
                here + slope_u * np.float32(SHADOW_TAPS + 1),
            )
            * fu
        )
        if dy == -SHADOW_TAPS:
            line *= ONE - fv
        elif dy == SHADOW_TAPS + 1:
            line *= fv
        lit += line
    return lit / np.float32((2 * SHADOW_TAPS + 1) ** 2)


@njit(cache=True, nogil=True, fastmath=True)
def _power(cosine: float, sharpness: float) -> float:
    """``cosine ** sharpness`` for a tight lobe, as the Gaussian it resembles: cheaper."""
    exponent = sharpness * (cosine - ONE)
    return np.exp(exponent) if exponent > np.float32(-9.0) else ZERO


@njit(cache=True, nogil=True, fastmath=True)
def light_surface(
    surface: Array,
    vx: float,
    vy: float,
    vz: float,
    material: Array,
    lights: Array,
    key_reach: float,
    glass: bool,
    out: Array,
) -> None:
    """Write linear RGB of one surface point to ``out`` (3,).

    Args:
        surface: (ATTRIBUTES,) attributes; the normal has unit length and faces the viewer.
        vx, vy, vz: unit direction to the viewer.
        material: a row of ``materials.table``.
        lights: see ``LightRig.rows``.
        key_reach: the key light's shadow, 0..1.
        glass: highlights only.
        out: the result.
    """
    one, zero = ONE, ZERO
    nx, ny, nz = surface[NORMAL], surface[NORMAL + 1], surface[NORMAL + 2]
    direct = surface[DIRECT]
    ambient = surface[AMBIENT] * direct
    facing = max(nx * vx + ny * vy + nz * vz, zero)
    graze = one - facing
    graze = graze * graze
    graze = graze * graze
    # The room: light from above and below by the normal's height. Light that bounces in a fold of
    # skin comes out warmer.
    up = np.float32(0.5) + np.float32(0.5) * ny
    warm = one - ambient
    red = (
        ambient
        * (one + np.float32(0.30) * warm)
        * (lights[4, 3] + (lights[3, 3] - lights[4, 3]) * up)
    )
    green = (
        ambient
        * (one + np.float32(0.04) * warm)
        * (lights[4, 4] + (lights[3, 4] - lights[4, 4]) * up)
    )
    blue = ambient * (lights[4, 5] + (lights[3, 5] - lights[4, 5]) * up)
    shine_red, shine_green, shine_blue = zero, zero, zero
    for n in range(3):
        lx, ly, lz = lights[n, 0], lights[n, 1], lights[n, 2]
        cosine = nx * lx + ny * ly + nz * lz
        if n == 0:
            reach = direct * key_reach
            # Light scattered under the skin fills a shadow's edge with red first.
            bleed = (material[WRAP_BLUE] - material[WRAP_RED]) * np.float32(0.6)
            red_reach = reach + (np.sqrt(max(reach, zero)) - reach) * bleed
        elif n == 1:
            reach = direct * (np.float32(0.35) + np.float32(0.65) * ambient)
            red_reach = reach
        else:
            reach = direct * ambient * material[RIM]
            red_reach = reach
            if reach <= 0 or cosine < np.float32(-0.5):
                continue
        # (cosine + wrap) / (1 + wrap) without a division: see ``materials.table``.
        away = one - cosine
        red += lights[n, 3] * red_reach * max(one - away * material[WRAP_RED], zero)
        green += lights[n, 4] * reach * max(one - away * material[WRAP_GREEN], zero)
        blue += lights[n, 5] * reach * max(one - away * material[WRAP_BLUE], zero)
        if cosine > 0 and (material[SHEEN] > 0 or material[GLINT] > 0):
            # A lamp above the lids would leave the eye without a light: its reflection is drawn
            # nearer the pupil.
            pull = one + np.float32(1.3) * material[CATCHLIGHT]
            hx, hy, hz = lx + pull * vx, ly + pull * vy, lz + pull * vz
            length = np.sqrt(hx * hx + hy * hy + hz * hz)
            aligned = (nx * hx + ny * hy + nz * hz) / max(length, np.float32(1e-6))
            shine = zero
            if material[SHEEN] > 0:
                shine += material[SHEEN] * _power(aligned, material[SHARPNESS])
            if material[GLINT] > 0:
                shine += material[GLINT] * _power(aligned, material[GLINT_SHARPNESS])
            shine *= (
                (reach + (one - reach) * material[CATCHLIGHT])
                * (one + np.float32(4.0) * material[EDGE] * graze)
                * min(cosine * np.float32(4.0), one)
            )
            shine_red += shine * lights[n, 3]
            shine_green += shine * lights[n, 4]
            shine_blue += shine * lights[n, 5]
    if glass:
        out[0], out[1], out[2] = shine_red, shine_green, shine_blue
    else:
        flat = material[FLAT]
        out[0] = surface[COLOUR] * (red + (one - red) * flat) + shine_red
        out[1] = surface[COLOUR + 1] * (green + (one - green) * flat) + shine_green
        out[2] = surface[COLOUR + 2] * (blue + (one - blue) * flat) + shine_blue


@njit(cache=True, nogil=True, fastmath=True)
def _corner_shares(
    triangle: int, px: float, py: float, screen: Array, near: Array, triangles: Array
) -> tuple[float, float, float, float]:
    """Shares of a triangle's corners at a screen point (1/256 pixel), and the depth in metres."""
    i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
    ax, ay = np.float32(screen[i, 0]), np.float32(screen[i, 1])
    ux, uy = np.float32(screen[j, 0] - screen[i, 0]), np.float32(screen[j, 1] - screen[i, 1])
    wx, wy = np.float32(screen[k, 0] - screen[i, 0]), np.float32(screen[k, 1] - screen[i, 1])
    dx, dy = px - ax, py - ay
    inverse = np.float32(1.0) / (ux * wy - uy * wx)
    b = (dx * wy - dy * wx) * inverse
    c = (ux * dy - uy * dx) * inverse
    # Perspective: attributes are linear in the mesh, not on the screen.
    b = min(max(b, np.float32(0.0)), np.float32(1.0))
    c = min(max(c, np.float32(0.0)), np.float32(1.0))
    a = max(np.float32(1.0) - b - c, np.float32(0.0)) * near[i]
    b, c = b * near[j], c * near[k]
    depth = np.float32(1.0) / (a + b + c)
    return a * depth, b * depth, c * depth, depth


@njit(cache=True, nogil=True, fastmath=True)
def _interpolate(
    triangle: int,
    px: float,
    py: float,
    screen: Array,
    near: Array,
    triangles: Array,
    attributes: Array,
    out: Array,
) -> float:
    """Add the attributes of a triangle at a screen point (1/256 pixel) to ``out``.

    Gives the depth there, in metres.
    """
    i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
    a, b, c, depth = _corner_shares(triangle, px, py, screen, near, triangles)
    for n in range(ATTRIBUTES):
        out[n] += a * attributes[i, n] + b * attributes[j, n] + c * attributes[k, n]
    return depth


@njit(cache=True, nogil=True)
def faces_away(triangle: int, screen: Array, triangles: Array) -> bool:
    """Whether the viewer sees the back of a triangle.

    Its smooth normal would not do: it errs along an outline.
    """
    i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
    ux, uy = screen[j, 0] - screen[i, 0], screen[j, 1] - screen[i, 1]
    wx, wy = screen[k, 0] - screen[i, 0], screen[k, 1] - screen[i, 1]
    return bool(ux * wy - uy * wx > 0)


@njit(cache=True, nogil=True)
def dither(x: int, y: int) -> float:
    """A value in 0..1 that hides 8-bit steps (interleaved gradient noise, Jimenez 2014)."""
    value = 52.9829189 * ((0.06711056 * x + 0.00583715 * y) % 1.0)
    return value - np.floor(value)


@njit(cache=True, nogil=True, inline="always")
def tonemap_pixel(light: Array, x: int, y: int, curve: Array, picture: Array) -> None:
    """Put linear RGB (3,) into ``picture`` (H, W, 3) uint8 through the tone curve, dithered."""
    noise = np.float32(dither(x, y))
    for c in range(3):
        value = min(max(light[c], ZERO), np.float32(TABLE_LIMIT)) * np.float32(1 / TABLE_LIMIT)
        place = np.sqrt(value) * np.float32(TABLE_SIZE)
        cell = min(int(place), TABLE_SIZE - 1)
        value = curve[cell] + (curve[cell + 1] - curve[cell]) * (place - np.float32(cell))
        picture[y, x, c] = np.uint8(min(value + noise, np.float32(255.0)))


@njit(cache=True, nogil=True)
def tonemap_image(light: Array, curve: Array) -> Array:
    """(H, W, 3) float32 linear light -> (H, W, 3) uint8."""
    picture = np.empty(light.shape, np.uint8)
    for y in range(light.shape[0]):
        for x in range(light.shape[1]):
            tonemap_pixel(light[y, x], x, y, curve, picture)
    return picture


class SeenMesh(NamedTuple):
    """A mesh as the camera sees it: V vertices, F triangles.

    Args:
        screen: (V, 2) int64 in 1/256 pixel.
        near: (V,) float32, 1 / depth.
        triangles: (F, 3) int32.
        materials: (F,) int32, rows of ``Lighting.table``.
        attributes: (V, ATTRIBUTES) float32.
    """

    screen: Array
    near: Array
    triangles: Array
    materials: Array
    attributes: Array


class Bins(NamedTuple):
    """Triangles by bands of rows, see ``bin_triangles``."""

    starts: Array
    items: Array


class Layers(NamedTuple):
    """Transparent triangles, layer by layer from the back to the front.

    Args:
        starts: (L, bands + 1) places in ``items``.
        items: triangle indices.
    """

    starts: Array
    items: Array


class Lighting(NamedTuple):
    """What light meets.

    Args:
        table: (M, 14) float32 materials, see ``materials.table``.
        two_sided: (M,) bool.
        lights: (5, 6) float32, see ``LightRig.rows``.
        to_light: (3, 4) float32, view space -> shadow texel and nearness.
        depths: (S, S) float32 nearness seen from the key light.
    """

    table: Array
    two_sided: Array
    lights: Array
    to_light: Array
    depths: Array


class Canvas(NamedTuple):
    """What is drawn on.

    Args:
        background: (H, W, 3) float32 linear light.
        blank: (H, W, 3) uint8, the background tonemapped.
        curve: see ``lighting.tone_table``.
        picture: (H, W, 3) uint8, the result.
    """

    background: Array
    blank: Array
    curve: Array
    picture: Array


@njit(cache=True, nogil=True)
def shade_bands(
    first: int,
    step: int,
    band: int,
    mesh: SeenMesh,
    solid: Bins,
    glass: Bins,
    layers: Layers,
    masks: Masks,
    offsets: Array,
    focal: float,
    lighting: Lighting,
    canvas: Canvas,
) -> None:
    """Draw bands first, first + step, ... of ``band`` rows into ``canvas.picture``.

    Args:
        first, step, band: which rows.
        mesh: what is drawn.
        solid, glass: its triangles by bands; glass adds highlights to what lies beneath.
        layers: its transparent triangles, drawn over what is solid.
        masks: its textures, and which solid triangles have holes.
        offsets: (S, 2) sample positions, see ``sample_offsets``.
        focal: in pixels.
        lighting: materials, lights and shadow.
        canvas: what is drawn on.
    """
    # Unpacked once: a field that is read counts a reference, and what is made here is known to the
    # compiler not to overlap. Split into functions, this loop takes half as long again.
    screen, near, triangles, materials, attributes = mesh
    starts, items = solid
    glass_starts, glass_items = glass
    table, two_sided, lights, to_light, depths = lighting
    layer_starts, layer_items = layers
    uv, texels, pictures, factors = masks.looks
    levels = np.zeros(triangles.shape[0], np.int64)
    if texels.shape[0] > 1:
        for t in range(triangles.shape[0]):
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            levels[t] = level_of(uv, pictures, materials[t], screen, i, j, k)
    background, blank, curve, picture = canvas
    height, width = picture.shape[0], picture.shape[1]
    samples = offsets.shape[0]
    ids = np.empty((band, width, samples), np.int32)
    best = np.empty((band, width, samples), np.float32)
    glass_ids = np.empty((band, width, samples), np.int32)
    glass_best = np.empty((band, width, samples), np.float32)
    surfaces = np.empty((samples, ATTRIBUTES), np.float32)
    counts = np.empty(samples, np.float32)
    depth_sums = np.empty(samples, np.float32)
    kinds = np.empty(samples, np.int32)
    one = np.empty(ATTRIBUTES, np.float32)
    rgb = np.empty(3, np.float32)
    texel = np.empty(4, np.float32)
    light = np.empty((band, width, 3), np.float32)
    seen_any = np.empty((band, width), np.bool_)
    half_width, half_height = np.float32(0.5 * width), np.float32(0.5 * height)
    inverse_focal = np.float32(1.0 / focal)
    share = np.float32(1.0 / samples)
    for b in range(first, starts.shape[0] - 1, step):
        top, bottom = b * band, min(b * band + band, height)
        ids[:] = -1
        best[:] = 0
        raster_rows(
            screen,
            near,
            triangles,
            items[starts[b] : starts[b + 1]],
            top,
            bottom,
            offsets,
            ids,
            best,
            masks,
        )
        has_glass = glass_starts[b + 1] > glass_starts[b]
        if has_glass:
            glass_ids[:] = -1
            glass_best[:] = best
            raster_rows(
                screen,
                near,
                triangles,
                glass_items[glass_starts[b] : glass_starts[b + 1]],
                top,
                bottom,
                offsets,
                glass_ids,
                glass_best,
            )
        for y in range(top, bottom):
            for x in range(width):
                seen = ids[y - top, x]
                groups = 0
                anything = has_glass
                for s in range(samples):
                    anything |= seen[s] >= 0
                seen_any[y - top, x] = anything
                total = light[y - top, x]
                if not anything:
                    for c in range(3):
                        total[c] = background[y, x, c]
                    continue
                empty = 0
                for s in range(samples):
                    t = seen[s]
                    if t < 0:
                        empty += 1
                        continue
                    # Each triangle once, at the middle of the samples it covers: a point that is
                    # surely inside it.
                    seen_before = False
                    for r in range(s):
                        if seen[r] == t:
                            seen_before = True
                            break
                    if seen_before:
                        continue
                    covered = 0
                    sum_x, sum_y = 0, 0
                    for r in range(s, samples):
                        if seen[r] == t:
                            covered += 1
                            sum_x += offsets[r, 0]
                            sum_y += offsets[r, 1]
                    weight = np.float32(covered)
                    px = np.float32(x * SUBPIXEL) + np.float32(sum_x) / weight
                    py = np.float32(y * SUBPIXEL) + np.float32(sum_y) / weight
                    for n in range(ATTRIBUTES):
                        one[n] = 0
                    depth = _interpolate(t, px, py, screen, near, triangles, attributes, one)
                    kind = materials[t]
                    if two_sided[kind] and faces_away(t, screen, triangles):
                        one[0], one[1], one[2] = -one[0], -one[1], -one[2]
                    if pictures[kind, DRAWN] != 0:
                        sample(
                            texels,
                            pictures,
                            factors,
                            kind,
                            one[TEXTURE],
                            one[TEXTURE + 1],
                            levels[t],
                            texel,
                        )
                        for n in range(3):
                            one[COLOUR + n] *= texel[n]
                    g = 0
                    while g < groups:
                        gap = depth - depth_sums[g] / counts[g]
                        agree = (
                            one[0] * surfaces[g, 0]
                            + one[1] * surfaces[g, 1]
                            + one[2] * surfaces[g, 2]
                        )
                        if kinds[g] == kind and abs(gap) < SAME_SURFACE and agree > 0:
                            break
                        g += 1
                    if g == groups:
                        groups += 1
                        kinds[g] = kind
                        counts[g] = 0
                        depth_sums[g] = 0
                        for n in range(ATTRIBUTES):
                            surfaces[g, n] = 0
                    counts[g] += weight
                    depth_sums[g] += depth * weight
                    for n in range(ATTRIBUTES):
                        surfaces[g, n] += one[n] * weight
                part = empty * share
                for c in range(3):
                    total[c] = background[y, x, c] * part
                # The ray through the pixel's middle is the view direction of all its surfaces.
                rx = (np.float32(x) + np.float32(0.5) - half_width) * inverse_focal
                ry = (half_height - np.float32(y) - np.float32(0.5)) * inverse_focal
                length = np.float32(1.0) / np.sqrt(rx * rx + ry * ry + np.float32(1.0))
                vx, vy, vz = -rx * length, -ry * length, length
                for g in range(groups):
                    depth = depth_sums[g] / counts[g]
                    _finish(surfaces[g], counts[g])
                    surface = surfaces[g]
                    reach = table[kinds[g], BRIGHT]
                    if reach < 1:
                        reach = max(shadow(rx, ry, depth, surface, to_light, depths), reach)
                    light_surface(surface, vx, vy, vz, table[kinds[g]], lights, reach, False, rgb)
                    for c in range(3):
                        total[c] += rgb[c] * counts[g] * share
                if has_glass:
                    over = glass_ids[y - top, x]
                    covered = 0
                    t = -1
                    for s in range(samples):
                        if over[s] >= 0:
                            covered += 1
                            t = over[s]
                    if covered > 0:
                        for n in range(ATTRIBUTES):
                            one[n] = 0
                        px, py = (
                            np.float32(x * SUBPIXEL + SUBPIXEL // 2),
                            np.float32(y * SUBPIXEL + SUBPIXEL // 2),
                        )
                        depth = _interpolate(t, px, py, screen, near, triangles, attributes, one)
                        _finish(one, np.float32(1.0))
                        reach = shadow(rx, ry, depth, one, to_light, depths)
                        light_surface(
                            one, vx, vy, vz, table[materials[t]], lights, reach, True, rgb
                        )
                        for c in range(3):
                            total[c] += rgb[c] * covered * share
        for layer in range(layer_starts.shape[0]):
            first_item, last_item = layer_starts[layer, b], layer_starts[layer, b + 1]
            if first_item == last_item:
                continue
            glass_ids[:] = -1
            glass_best[:] = best
            raster_rows(
                screen,
                near,
                triangles,
                layer_items[first_item:last_item],
                top,
                bottom,
                offsets,
                glass_ids,
                glass_best,
            )
            for y in range(top, bottom):
                for x in range(width):
                    over = glass_ids[y - top, x]
                    covered, t = 0, -1
                    sum_x, sum_y = 0, 0
                    for s in range(samples):
                        if over[s] >= 0 and (t < 0 or over[s] == t):
                            t = over[s]
                            sum_x += offsets[s, 0]
                            sum_y += offsets[s, 1]
                            covered += 1
                    if t < 0:
                        continue
                    weight = np.float32(covered)
                    px = np.float32(x * SUBPIXEL) + np.float32(sum_x) / weight
                    py = np.float32(y * SUBPIXEL) + np.float32(sum_y) / weight
                    for s in range(samples):
                        if over[s] >= 0 and over[s] != t:
                            covered += 1
                    for n in range(ATTRIBUTES):
                        one[n] = 0
                    kind = materials[t]
                    depth = _interpolate(t, px, py, screen, near, triangles, attributes, one)
                    if two_sided[kind] and faces_away(t, screen, triangles):
                        one[0], one[1], one[2] = -one[0], -one[1], -one[2]
                    sample(
                        texels,
                        pictures,
                        factors,
                        kind,
                        one[TEXTURE],
                        one[TEXTURE + 1],
                        levels[t],
                        texel,
                    )
                    opacity = texel[3]
                    for n in range(3):
                        one[COLOUR + n] *= texel[n]
                    if opacity <= 0:
                        continue
                    _finish(one, np.float32(1.0))
                    rx = (np.float32(x) + np.float32(0.5) - half_width) * inverse_focal
                    ry = (half_height - np.float32(y) - np.float32(0.5)) * inverse_focal
                    length = np.float32(1.0) / np.sqrt(rx * rx + ry * ry + np.float32(1.0))
                    reach = table[kind, BRIGHT]
                    if reach < 1:
                        reach = max(shadow(rx, ry, depth, one, to_light, depths), reach)
                    light_surface(
                        one,
                        -rx * length,
                        -ry * length,
                        length,
                        table[kind],
                        lights,
                        reach,
                        False,
                        rgb,
                    )
                    opacity *= np.float32(covered) * share
                    for c in range(3):
                        light[y - top, x, c] += (rgb[c] - light[y - top, x, c]) * opacity
                    seen_any[y - top, x] = True
        for y in range(top, bottom):
            for x in range(width):
                if seen_any[y - top, x]:
                    tonemap_pixel(light[y - top, x], x, y, curve, picture)
                else:
                    for c in range(3):
                        picture[y, x, c] = blank[y, x, c]


@njit(cache=True, nogil=True)
def _finish(surface: Array, count: float) -> None:
    """Turn a sum over samples into their mean, with a unit normal."""
    inverse = np.float32(1.0) / count
    for n in range(3, ATTRIBUTES):
        surface[n] *= inverse
    length = np.sqrt(surface[0] * surface[0] + surface[1] * surface[1] + surface[2] * surface[2])
    inverse = np.float32(1.0) / max(length, np.float32(1e-9))
    surface[0] *= inverse
    surface[1] *= inverse
    surface[2] *= inverse
