"""Short hair combed back: a cap of strands over the scalp, with a soft hairline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bind import Binding, bound_part, cast, rounding, smooth_normals
from .palette import PALETTES, TEMPLATE_PALETTE, Palette
from .part import Part, joined

Array = NDArray[Any]

CENTRE = np.array([0.0, 0.008, -0.078])  # metres: between the tops of the ears
STRANDS, STEPS = 53, 14
THICK_TOP, THICK_SIDE, THICK_NAPE = 0.0135, 0.0050, 0.0035
# The hairline, seen from that point: turn about the ear-to-ear axis in degrees (0 forwards, 90 up,
# 180 back) where hair begins and where it ends, for strands from the middle of the head (0) to just
# above the ear (1).
LINE_AT = (0.0, 0.2, 0.36, 0.48, 0.60, 0.73, 0.87, 1.0)
FRONT = (38.5, 37.0, 39.5, 37.5, 32.0, 24.0, 15.0, 12.0)
BACK = (230.0, 230.0, 231.0, 232.0, 231.0, 226.0, 214.0, 185.0)
WIDEST = 83.0  # degrees sideways of the outermost strand


def _angles(points: Array) -> tuple[Array, Array]:
    """(sideways degrees / WIDEST, turn in degrees 0..360) of points, from the skull's middle."""
    rays = points - CENTRE
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    sideways = np.degrees(np.arcsin(np.clip(rays[:, 0], -1.0, 1.0)))
    turn = np.degrees(np.arctan2(rays[:, 1], rays[:, 2])) % 360.0
    return np.abs(sideways) / WIDEST, turn


def hair_cover(points: Array) -> Array:
    """(n,) metres from the hairline, positive under the hair (roughly: along the skull)."""
    side, turn = _angles(points)
    reach = np.linalg.norm(points - CENTRE, axis=1)
    turn = np.where(turn > 300.0, turn - 360.0, turn)
    inside = np.minimum(
        turn - np.interp(side, LINE_AT, FRONT), np.interp(side, LINE_AT, BACK) - turn
    )
    inside = np.radians(inside) * np.cos(np.radians(np.clip(side, 0, 1.2) * WIDEST)) * reach
    across = np.radians((1.0 - side) * WIDEST) * reach
    return np.asarray(np.minimum(inside, across))


def hair_part(skin: Part) -> Part:
    """The cap of hair; every strand runs from the front hairline over the head to the nape."""
    random = np.random.default_rng(11)
    column = np.linspace(-1.0, 1.0, STRANDS)
    row = np.linspace(0.0, 1.0, STEPS)
    # Denser at both ends of a strand, where the thickness changes fast.
    row = 0.5 - 0.5 * np.cos(np.pi * row) * (0.55 + 0.45 * np.abs(np.cos(np.pi * row)))
    jag = random.normal(0.0, 0.7, STRANDS)
    start = np.interp(np.abs(column), LINE_AT, FRONT) + jag
    end = np.interp(np.abs(column), LINE_AT, BACK) + random.normal(0.0, 2.0, STRANDS)
    turn = np.radians(start[:, None] + (end - start)[:, None] * row[None])  # (strands, steps)
    side = np.radians(column * WIDEST)[:, None] + 0.0 * turn
    rays = _ray(turn, side).reshape(-1, 3)
    binding = cast(skin, np.tile(CENTRE, (len(rays), 1)), rays)
    base = binding.at(skin.vertices)
    normals = binding.at(smooth_normals(skin.vertices, skin.triangles))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    grid = base.reshape(STRANDS, STEPS, 3)
    step = np.linalg.norm(np.diff(grid, axis=1), axis=2)
    along = np.concatenate([np.zeros((STRANDS, 1)), np.cumsum(step, axis=1)], axis=1)
    from_edge = np.minimum(
        np.minimum(along / 0.020, (along[:, -1:] - along) / 0.030),
        (1.0 - np.abs(column))[:, None] / 0.16,
    )
    edge = np.clip(from_edge, 0.0, 1.0)
    edge = np.sqrt(edge * (2.0 - edge))
    back = np.clip((np.degrees(turn) - 120.0) / 90.0, 0.0, 1.0)
    most = THICK_TOP + (THICK_SIDE - THICK_TOP) * (np.abs(column)[:, None] ** 1.2)
    most = most + (THICK_NAPE - most) * back
    # Over the ears the strands bend sharply, and their streaks would look like grooves of a record.
    calm = (1.0 - 0.75 * np.clip((np.abs(column) - 0.45) / 0.4, 0.0, 1.0))[:, None]
    groove = random.normal(0.0, 0.8, STRANDS)[:, None] + 0.25 * random.normal(
        0.0, 1.0, (STRANDS, STEPS)
    )
    thick = 0.0004 + most * edge * (1.0 + 0.09 * calm * groove)
    lift = normals * thick.reshape(-1, 1) + rounding(skin, binding)
    triangles = []
    for i in range(STRANDS - 1):
        for j in range(STEPS - 1):
            a, b = i * STEPS + j, (i + 1) * STEPS + j
            triangles += (
                [(a, b, b + 1), (a, b + 1, a + 1)]
                if (i + j) % 2
                else [(a, b, a + 1), (b, b + 1, a + 1)]
            )
    faces = np.array(triangles)
    positions = base + lift
    faces = facing_out(positions, faces)
    streak = 0.15 * calm * random.normal(0.0, 1.0, STRANDS)[:, None] + 0.05 * random.normal(
        0.0, 1.0, (STRANDS, STEPS)
    )
    root = np.clip(from_edge * 4.0 + 0.6, 0.0, 1.0)
    part = bound_part(
        skin,
        binding,
        lift,
        faces,
        _hair_colours(skin, binding, TEMPLATE_PALETTE, streak, root),
        "hair",
    )
    part.identity_colours = {
        name: _hair_colours(skin, binding, palette, streak, root, name)
        for name, palette in PALETTES.items()
    }
    part = joined(part, _fringe(skin, start, end, column, random))
    part.basis[:] = 0.0  # the scalp hardly moves; loose forehead skin must not drag the hair along
    part.regions = {"hair": np.arange(len(part.vertices))}
    return part


def facing_out(points: Array, triangles: Array) -> Array:
    """The triangles, each turned so that it is counter-clockwise seen from outside the skull."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a - CENTRE) < 0
    return np.where(inward[:, None], triangles[:, ::-1], triangles)


FRINGE = 105


def _fringe(
    skin: Part, start: Array, end: Array, column: Array, random: np.random.Generator
) -> Part:
    """Fine single hairs over the hairline, so that the cap has no hard rim: roots on the bare skin,
    tips on the cap.
    """
    place = random.uniform(-0.78, 0.78, FRINGE)
    at_nape = random.uniform(0.0, 1.0, FRINGE) < 0.3
    line = np.where(at_nape, np.interp(place, column, end), np.interp(place, column, start))
    inward = np.where(at_nape, -1.0, 1.0)
    turns = (
        line + inward * random.uniform(-3.2, -0.6, FRINGE),
        line + inward * random.uniform(7.0, 11.0, FRINGE),
    )
    sides = place * WIDEST, place * WIDEST + random.normal(0.0, 1.2, FRINGE)
    broad = random.uniform(0.25, 0.5, FRINGE)  # degrees
    corners = [(turns[0], sides[0]), (turns[1], sides[1] - broad), (turns[1], sides[1] + broad)]
    rays = np.stack(
        [_ray(np.radians(turn), np.radians(side)) for turn, side in corners], axis=1
    ).reshape(-1, 3)
    binding = cast(skin, np.tile(CENTRE, (len(rays), 1)), rays)
    normals = binding.at(smooth_normals(skin.vertices, skin.triangles))
    lift = normals * np.tile([0.0003, 0.0070, 0.0070], FRINGE)[:, None] + rounding(skin, binding)
    triangles = facing_out(binding.at(skin.vertices) + lift, np.arange(3 * FRINGE).reshape(-1, 3))
    shade = np.repeat(random.normal(0.0, 0.12, FRINGE), 3)
    root = np.tile([0.45, 1.0, 1.0], FRINGE)
    part = bound_part(
        skin,
        binding,
        lift,
        triangles,
        _hair_colours(skin, binding, TEMPLATE_PALETTE, shade, root),
        "hair",
    )
    part.identity_colours = {
        name: _hair_colours(skin, binding, palette, shade, root, name)
        for name, palette in PALETTES.items()
    }
    return part


def _ray(turn: Array, side: Array) -> Array:
    return np.stack(
        [np.sin(side), np.cos(side) * np.sin(turn), np.cos(side) * np.cos(turn)], axis=-1
    )


def _hair_colours(
    skin: Part,
    binding: Binding,
    palette: Palette,
    streak: Array,
    root: Array,
    name: str | None = None,
) -> Array:
    below = binding.at(skin.colours if name is None else skin.identity_colours[name])
    hair = np.array(palette.hair) * (1.0 + streak.reshape(-1, 1)) + 0.02 * streak.reshape(-1, 1)
    share = root.reshape(-1, 1)
    return np.clip(below * (1.0 - share) + hair * share, 0.02, 1.0)
