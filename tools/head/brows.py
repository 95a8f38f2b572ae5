"""Eyebrows: a soft patch on the brow ridge and fine hairs on it, riding on the skin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bind import bound_part, cast, smooth_normals
from .palette import PALETTES, TEMPLATE_PALETTE, Palette
from .part import Part

Array = NDArray[Any]

# The left brow's middle line in metres, from the nose outwards, and half its width there.
LINE_X = (0.0115, 0.018, 0.026, 0.034, 0.041, 0.047, 0.0525)
LINE_Y = (0.0165, 0.0185, 0.0207, 0.0222, 0.0218, 0.0195, 0.0160)
HALF = (0.0030, 0.0040, 0.0041, 0.0038, 0.0031, 0.0022, 0.0009)
COLUMNS, ROWS = 16, 5
HAIRS = 110


def _place(along: Array, across: Array, side: float) -> Array:
    """(n, 3) origins in front of the face for places in the brow: along 0..1 outwards, across -1..1
    upwards.
    """
    s = along * (len(LINE_X) - 1)
    knots = np.arange(len(LINE_X))
    x, y, half = (np.interp(s, knots, values) for values in (LINE_X, LINE_Y, HALF))
    return np.stack([side * x, y + across * half, np.full(len(x), 0.2)], axis=1)


def brow_part(skin: Part, side: float) -> Part:
    """One brow; side +1 left, -1 right. The right one mirrors the left."""
    random = np.random.default_rng(7)
    u, v = np.meshgrid(np.linspace(0.0, 1.0, COLUMNS), np.linspace(-1.0, 1.0, ROWS), indexing="ij")
    patch = _place(u.ravel(), v.ravel(), side)
    dense = (
        (1.0 - v**4)
        * np.clip(u / 0.10, 0.0, 1.0)
        * np.clip((1.0 - u) / 0.12, 0.0, 1.0)
        * (0.72 + 0.1 * u)
    )
    cells = [
        (i * ROWS + j, (i + 1) * ROWS + j) for i in range(COLUMNS - 1) for j in range(ROWS - 1)
    ]
    quads = [(a, b, b + 1, a + 1) for a, b in cells]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    # Hairs: upright beside the nose, lying along the brow further out; lower ones point up, upper
    # ones down into the line.
    along = np.sort(random.uniform(0.01, 0.93, HAIRS))
    across = random.uniform(-0.95, 0.8, HAIRS)
    lean = np.interp(along, [0.0, 0.15, 0.4, 1.0], [72.0, 52.0, 26.0, 6.0])
    lean = np.radians(lean - 22.0 * np.clip(across, 0.0, 1.0) * (along > 0.1))
    length = random.uniform(0.0045, 0.0070, HAIRS) * np.interp(
        along, [0.0, 0.3, 1.0], [0.75, 1.0, 0.8]
    )
    root = _place(along, across, side)
    slope = np.interp(
        along, [0.0, 0.45, 0.65, 1.0], [0.28, 0.18, -0.15, -0.60]
    )  # of the brow's line
    heading = np.stack([np.cos(lean), np.sin(lean) + slope * np.cos(lean)], axis=1)
    tip = (
        root
        + np.stack([side * heading[:, 0], heading[:, 1], np.zeros(HAIRS)], axis=1) * length[:, None]
    )
    broad = np.stack([-side * heading[:, 1], heading[:, 0], np.zeros(HAIRS)], axis=1) * 0.00020
    hairs = np.stack([root - broad, root + broad, tip], axis=1).reshape(-1, 3)
    start = len(patch)
    triangles += [(start + 3 * i, start + 3 * i + 1, start + 3 * i + 2) for i in range(HAIRS)]
    origins = np.concatenate([patch, hairs])
    binding = cast(skin, origins, np.tile([0.0, 0.0, -1.0], (len(origins), 1)))
    normals = binding.at(smooth_normals(skin.vertices, skin.triangles))
    height = np.concatenate(
        [0.0003 + 0.0004 * dense.ravel(), np.tile([0.0008, 0.0008, 0.0015], HAIRS)]
    )
    faces = np.array(triangles)
    positions = binding.at(skin.vertices) + normals * height[:, None]
    one = positions[faces]
    away = (
        np.einsum(
            "ij,ij->i", np.cross(one[:, 1] - one[:, 0], one[:, 2] - one[:, 0]), normals[faces[:, 0]]
        )
        < 0
    )
    faces[away] = faces[away][:, ::-1]
    shade = 1.0 + np.concatenate(
        [0.0 * dense.ravel(), np.repeat(random.normal(0.0, 0.12, HAIRS), 3)]
    )
    cover = np.concatenate([0.92 * dense.ravel(), np.ones(3 * HAIRS)])

    def painted(below: Array, palette: Palette) -> Array:
        hair = np.array(palette.brows) * shade[:, None]
        return np.clip(below + (hair - below) * cover[:, None], 0.0, 1.0)

    colours = painted(binding.at(skin.colours), TEMPLATE_PALETTE)
    part = bound_part(skin, binding, normals * height[:, None], faces, colours, "brow")
    part.identity_colours = {
        name: painted(binding.at(skin.identity_colours[name]), palette)
        for name, palette in PALETTES.items()
    }
    members = np.arange(len(origins))
    part.regions = {"brows": members, "brow_left" if side > 0 else "brow_right": members}
    return part
