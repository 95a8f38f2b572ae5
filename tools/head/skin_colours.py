"""Painting the skin: a living face is redder where blood lies near and darker where it folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bind import smooth_normals
from .hair import hair_cover
from .palette import Palette, lattice_noise, mixed
from .part import Part

Array = NDArray[Any]


def _spot(points: Array, centre: tuple[float, float, float], radius: float) -> Array:
    """(n,) a soft spot on both sides of the face, 1 in its centre."""
    folded = points * [1.0, 1.0, 1.0]
    folded[:, 0] = np.abs(folded[:, 0])
    distance = np.linalg.norm(folded - centre, axis=1)
    return np.asarray(np.exp(-((distance / radius) ** 2)))


def _near(count: int, triangles: Array, members: Array, rounds: int) -> Array:
    """(count,) 1 on the members, averaged over neighbours a few times so that the edge fades."""
    value = np.zeros(count)
    value[members] = 1.0
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(edges[:, 0], minlength=count)
    for _ in range(rounds):
        around = np.bincount(edges[:, 0], weights=value[edges[:, 1]], minlength=count) / np.maximum(
            degree, 1
        )
        value = 0.5 * value + 0.5 * around
    return value


def paint_skin(skin: Part, lash_line: Array, palette: Palette) -> Array:
    """(V, 3) sRGB for the skin part, lips and mouth cavity included."""
    points, regions, count = skin.vertices, skin.regions, len(skin.vertices)
    tone = np.array(palette.skin)
    colour = np.tile(tone, (count, 1))
    mottle = 0.6 * lattice_noise(points, 0.014, 1) + 0.4 * lattice_noise(points, 0.006, 2)
    colour = colour * (1.0 + 0.035 * palette.mottle * mottle[:, None] * [0.5, 1.0, 1.1])
    # Red: cheeks, nose tip, ears, chin. Yellow: forehead. Cool shade: under the eyes.
    red = tone * [0.98, 0.78, 0.76]
    blush = 0.75 * _spot(points, (0.040, -0.034, 0.022), 0.019) + 0.7 * _spot(
        points, (0.0, -0.035, 0.040), 0.011
    )
    blush += 0.45 * _spot(points, (0.016, -0.038, 0.026), 0.008) + 0.3 * _spot(
        points, (0.0, -0.092, 0.025), 0.014
    )
    blush += 0.75 * _near(count, skin.triangles, regions["ears"], 3)
    colour = mixed(colour, red, palette.blush * np.clip(blush, 0.0, 1.0))
    colour = mixed(
        colour, tone * [1.02, 1.0, 0.94], 0.5 * _spot(points, (0.0, 0.050, 0.030), 0.035)
    )
    under = _spot(points, (0.026, -0.0125, 0.016), 0.0075) + 0.8 * _spot(
        points, (0.015, -0.006, 0.016), 0.006
    )
    colour = mixed(colour, tone * [0.86, 0.78, 0.80], 0.45 * under)
    lids = _near(count, skin.triangles, regions["eyelids"], 2) * (points[:, 1] > -0.008)
    colour = mixed(colour, tone * [0.90, 0.76, 0.72], 0.55 * lids)
    colour = mixed(
        colour, tone * [0.90, 0.86, 0.84], 0.5 * np.clip((-0.115 - points[:, 1]) / 0.03, 0.0, 1.0)
    )
    # What light never reaches: nostrils, ear canals, the sockets behind the lids.
    normals = smooth_normals(points, skin.triangles)
    inner = _spot(points, (0.0088, -0.0353, 0.0317), 0.0048)
    darkness = np.clip(1.9 * inner - 0.6, 0.0, 0.95) * (normals[:, 1] < -0.3)
    colour = mixed(colour, tone * [0.22, 0.13, 0.12], darkness)
    # A shaven beard, and the hair's roots.
    if palette.stubble > 0.0:
        x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
        beard = np.clip(
            (-0.040 - y - 0.35 * np.maximum(z - 0.01, 0.0)) / 0.012, 0.0, 1.0
        ) * np.clip((y + 0.145) / 0.02, 0.0, 1.0)
        beard *= np.clip((z + 0.075) / 0.03, 0.0, 1.0)
        beard *= 1.0 - np.exp(-(((x - 0.045) / 0.016) ** 2 + ((y + 0.045) / 0.012) ** 2))
        colour = mixed(
            colour,
            0.55 * tone + 0.45 * np.array(palette.hair) * [0.9, 0.98, 1.08],
            palette.stubble * beard,
        )
    cover = hair_cover(points)
    colour = mixed(colour, palette.hair, 0.9 * np.clip(cover / 0.008 + 0.55, 0.0, 1.0))
    # Lips: fullest colour inside, their outline soft; darker and wetter towards the contact.
    lips = np.zeros(count)
    lips[regions["lips"]] = 1.0
    lips = np.minimum(
        _near(count, skin.triangles, np.setdiff1d(regions["lips"], regions["outer_lip_ring"]), 1)
        * 1.25,
        1.0,
    )
    fine = 1.0 + 0.05 * lattice_noise(points * [2.2, 0.4, 0.4], 0.002, 5)
    colour = mixed(colour, np.array(palette.lips) * fine[:, None], lips)
    wet = np.zeros(count)
    wet[regions["inner_lips"]] = 1.0
    colour = mixed(colour, np.array(palette.lips) * [0.68, 0.52, 0.52], 0.6 * wet)
    cavity = np.zeros(count)
    cavity[regions["mouth_cavity"]] = 1.0
    cavity[regions["inner_lips"]] *= 0.75
    colour = mixed(colour, (0.42, 0.16, 0.15), cavity)
    # The rims of the lids: a moist pink edge, and the dark line the lashes make.
    rim = np.zeros(count)
    rim[lash_line] = 1.0
    colour = mixed(colour, np.array(palette.brows) * 0.75, 0.75 * rim)
    return np.clip(colour, 0.0, 1.0)
