"""The finished skin part: sealed lips, all shapes and identities, named regions, materials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.head import ARKIT_NAMES

from .basemesh import BaseMesh
from .eyelids import Eyelid, cleared, find_eyelids, landing_blink, wake
from .eyes import RADIUS, find_eyes
from .identities import IDENTITIES, TEMPLATE, person
from .lips import lower_lip_side, rounded_jaw, sealed_shapes, shut
from .palette import PALETTES, TEMPLATE_PALETTE
from .part import Part
from .regions import skin_regions
from .skin import build_skin, lips_spread, mouth_line
from .skin_colours import paint_skin

Array = NDArray[Any]


@dataclass(frozen=True)
class FaceSkin:
    """part: the skin; gap_vertices: upper and lower middle of the lips' contact; lids: "Left" and
    "Right".
    """

    part: Part
    gap_vertices: tuple[int, int]
    lids: dict[str, Eyelid]


def face_skin(mesh: BaseMesh) -> FaceSkin:
    """The painted skin of the template and all identities, from shoulders to crown."""
    template = person(mesh, TEMPLATE)
    skin = build_skin(mesh, template)
    raw = skin.carry(template)
    line = mouth_line(skin, raw)
    spread = lips_spread(skin)
    shapes = {name: skin.carry(mesh.face_unit(name)) for name in ARKIT_NAMES}
    source_shapes = dict(shapes)
    points = wake(shut(raw, line, spread), shapes)
    lids = find_eyelids(mesh, skin, template)
    for eye in find_eyes(mesh):
        name = f"eyeBlink{eye.side}"
        shapes = cleared(shapes, points, eye, RADIUS)
        shapes[name] = landing_blink(
            shapes[name], points, lids[eye.side], skin.triangles, eye.centre, RADIUS
        )
    regions = skin_regions(skin, points, shapes)
    inside = regions["mouth_cavity"]
    close_raw = shapes["jawOpen"] + shapes["mouthClose"]
    behind = skin.rings["behind"][int(raw[skin.rings["behind"], 0].argmax()) + 1 :]
    side = lower_lip_side(points, shapes["jawOpen"], line, inside, behind)
    shapes["jawOpen"] = rounded_jaw(shapes["jawOpen"], points, side, line)
    shapes["mouthClose"] = close_raw - shapes["jawOpen"]
    shapes = sealed_shapes(shapes, line, spread)
    identities = {}
    for name, recipe in IDENTITIES.items():
        identities[name] = (
            wake(shut(skin.carry(person(mesh, recipe)), line, spread), source_shapes) - points
        )
    part = Part(
        vertices=points,
        triangles=skin.triangles,
        basis=np.stack([shapes[name] for name in ARKIT_NAMES]),
        identities=identities,
        colours=np.zeros(points.shape),
        material=_materials(skin.triangles, regions),
        regions=regions,
    )
    upper, lower = line.upper[len(line.upper) // 2], line.lower[len(line.lower) // 2]
    lash_line = np.concatenate([lid.upper for lid in lids.values()])
    part.colours = paint_skin(part, lash_line, TEMPLATE_PALETTE)
    part.identity_colours = {
        name: paint_skin(part, lash_line, palette) for name, palette in PALETTES.items()
    }
    return FaceSkin(part, (int(upper), int(lower)), lids)


def _materials(triangles: Array, regions: dict[str, Array]) -> Array:
    """(f,) "mouth" for what lies behind the lips' contact, "lips" between their outline and that,
    else "skin".
    """
    count = int(triangles.max()) + 1
    cavity, lips = np.zeros(count, bool), np.zeros(count, bool)
    cavity[regions["mouth_cavity"]] = True
    lips[regions["lips"]] = True
    out = np.full(len(triangles), "skin", dtype="<U8")
    out[lips[triangles].all(axis=1)] = "lips"
    out[cavity[triangles].any(axis=1)] = "mouth"
    return out
