"""Eyelashes: thin curved hairs on the lids' rims, turning with the lids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .eyelids import Eyelid
from .palette import PALETTES, TEMPLATE_PALETTE
from .part import Part

Array = NDArray[Any]

UPPER, LOWER = 30, 16  # hairs per lid


def lash_part(skin: Part, lid: Eyelid, centre: Array, side: str) -> Part:
    """The lashes of one eye; centre (3,) of its ball in the template."""
    random = np.random.default_rng(5)
    vertices, basis, triangles = [], [], []
    identities: dict[str, list[Array]] = {name: [] for name in skin.identities}
    outwards = 1.0 if side == "Left" else -1.0
    for curve, count, length, is_upper in (
        (lid.upper, UPPER, 0.0075, True),
        (lid.lower, LOWER, 0.0027, False),
    ):
        order = curve if outwards > 0 else curve[::-1]  # from the nose outwards
        place = np.linspace(0.07 if is_upper else 0.2, 0.975, count) + random.uniform(
            -0.006, 0.006, count
        )
        points = skin.vertices[order]
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        for t in place:
            at = t * arc[-1]
            k = int(np.clip(np.searchsorted(arc, at) - 1, 0, len(order) - 2))
            share = (at - arc[k]) / (arc[k + 1] - arc[k])
            root = points[k] * (1 - share) + points[k + 1] * share
            moved = skin.basis[:, order[k]] * (1 - share) + skin.basis[:, order[k + 1]] * share
            radial = root - centre
            radial /= np.linalg.norm(radial)
            fan = np.array([outwards * np.interp(t, [0.0, 0.3, 1.0], [-0.45, 0.0, 0.75]), 0.0, 0.0])
            upward = np.array([0.0, 1.0 if is_upper else -1.0, 0.0])
            grown = (
                length
                * np.interp(t, [0.0, 0.25, 0.75, 1.0], [0.45, 0.8, 1.0, 0.75])
                * random.uniform(0.85, 1.1)
            )
            first = 0.95 * radial + 0.10 * upward + 0.6 * fan
            second = 0.75 * radial + 0.55 * upward + 0.8 * fan
            first, second = (d / np.linalg.norm(d) for d in (first, second))
            middle = root + first * grown * 0.5
            tip = middle + second * grown * 0.5
            across = np.cross(radial, upward)
            across /= np.linalg.norm(across)
            wide = 0.00016 if is_upper else 0.00011
            thick, thin = across * wide, across * wide * 0.7
            hair = np.array([root - thick, root + thick, middle - thin, middle + thin, tip])
            start = 5 * len(vertices)
            triangles += [
                (start, start + 1, start + 3),
                (start, start + 3, start + 2),
                (start + 2, start + 3, start + 4),
            ]
            vertices.append(hair)
            basis.append(_turned(hair, root, moved, centre))
            for name, offsets in skin.identities.items():
                here = offsets[order[k]] * (1 - share) + offsets[order[k + 1]] * share
                identities[name].append(np.tile(here, (5, 1)))
    points = np.concatenate(vertices)
    colour = np.array(TEMPLATE_PALETTE.brows) * 0.45
    return Part(
        vertices=points,
        triangles=np.array(triangles),
        basis=np.concatenate(basis, axis=1),
        identities={name: np.concatenate(pieces) for name, pieces in identities.items()},
        colours=np.tile(colour, (len(points), 1)),
        material="lash",
        regions={"lashes": np.arange(len(points))},
        identity_colours={
            name: np.tile(np.array(palette.brows) * 0.45, (len(points), 1))
            for name, palette in PALETTES.items()
        },
    )


def _turned(hair: Array, root: Array, moved: Array, centre: Array) -> Array:
    """(52, 5, 3): each shape carries the root and turns the hair as the root turns about the ball's
    ear-to-ear axis.
    """
    out = np.zeros((len(moved), len(hair), 3))
    before = np.arctan2(root[1] - centre[1], root[2] - centre[2])
    for k, offset in enumerate(moved):
        if not np.abs(offset).max() > 1e-6:
            continue
        after = np.arctan2(root[1] + offset[1] - centre[1], root[2] + offset[2] - centre[2])
        # Upper lashes keep some of their upward sweep even on a closed lid.
        angle = 0.8 * (after - before)
        cosine, sine = np.cos(angle), np.sin(angle)
        local = hair - root
        y, z = local[:, 1] * cosine + local[:, 2] * sine, -local[:, 1] * sine + local[:, 2] * cosine
        out[k] = np.stack([local[:, 0], y, z], axis=1) - local + offset
    return out
