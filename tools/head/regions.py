"""Naming the parts of the skin by where they lie and how the shapes move them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .skin import Skin

Array = NDArray[Any]


def flood(triangles: Array, seeds: Array, border: Array) -> Array:
    """Vertices reached from the seeds over edges without stepping on the border; the border is not
    part of the result.
    """
    neighbours: dict[int, set[int]] = {}
    for a, b, c in triangles.tolist():
        for u, v in ((a, b), (b, c), (c, a)):
            neighbours.setdefault(u, set()).add(v)
            neighbours.setdefault(v, set()).add(u)
    blocked = set(border.tolist())
    seen = set(seeds.tolist()) - blocked
    grow = list(seen)
    while grow:
        for w in neighbours[grow.pop()]:
            if w not in seen and w not in blocked:
                seen.add(w)
                grow.append(w)
    return np.array(sorted(seen))


def skin_regions(skin: Skin, points: Array, shapes: dict[str, Array]) -> dict[str, Array]:
    """name -> indices. ``inner_lip_ring`` and ``outer_lip_ring`` are ordered: upper from the right
    corner, lower back.
    """
    rings = skin.rings
    x, y, z = points.T
    cavity = flood(skin.triangles, rings["pocket"], rings["contact"])
    lips = np.union1d(
        flood(skin.triangles, rings["crest"], np.concatenate([rings["outline"], rings["contact"]])),
        np.concatenate([rings["outline"], rings["contact"]]),
    )
    outside = np.setdiff1d(np.arange(len(points)), cavity)
    where = np.zeros(len(points), bool)
    where[outside] = True
    is_lip = np.zeros(len(points), bool)
    is_lip[lips] = True
    face = where & ~is_lip

    def reach(name: str) -> Array:
        return np.asarray(np.linalg.norm(shapes[name], axis=1))

    near_mouth = np.linalg.norm((points - [0.0, -0.063, 0.02]) / [1.6, 1.0, 1.6], axis=1) < 0.024
    blink = reach("eyeBlinkLeft") + reach("eyeBlinkRight")
    brow = reach("browInnerUp") + reach("browOuterUpLeft") + reach("browOuterUpRight")
    brow += reach("browDownLeft") + reach("browDownRight")
    beside = (y < 0.014) & (y > -0.052) & (z < -0.056) & (z > -0.100)
    ear = beside & ((np.abs(x) > 0.0715) | ((z < -0.070) & (np.abs(x) > 0.0585)))
    found = {
        "lips": is_lip,
        "mouth": is_lip | (near_mouth & (z > -0.02)),
        "jaw": where & (reach("jawOpen") > 0.25 * reach("jawOpen").max()) & (y < -0.05),
        "upper_face": face & (y > -0.025) & (y < 0.075) & (z > -0.06) & (np.abs(x) < 0.068),
        "eyelids": face & (blink > 0.0015),
        "brow_skin": face & (brow > 0.0025) & (y > 0.008),
        "forehead": face & (y > 0.03) & (y < 0.085) & (z > -0.035),
        "nose": face & (np.abs(x) < 0.019) & (y < 0.0) & (y > -0.047) & (z > 0.018),
        "cheeks": face
        & (np.abs(x) > 0.022)
        & (y < -0.012)
        & (y > -0.06)
        & (z > -0.045)
        & (np.abs(x) < 0.07),
        "chin": face & (y < -0.078) & (y > -0.115) & (z > 0.0) & (np.abs(x) < 0.03),
        "neck": face & (y < -0.12),
        "ears": face & ear,
    }
    regions = {name: np.flatnonzero(mask) for name, mask in found.items()}
    regions["inner_lips"] = np.union1d(rings["contact"], rings["behind"])
    regions["inner_lip_ring"] = rings["contact"]
    regions["outer_lip_ring"] = rings["outline"]
    regions["mouth_cavity"] = cavity
    regions["skin"] = np.setdiff1d(outside, lips)
    return regions
