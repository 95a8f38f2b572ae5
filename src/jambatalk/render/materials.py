"""How each material reflects light, for videos and for the page (tools/page_data.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.face import Face

Array = NDArray[Any]


@dataclass(frozen=True)
class Material:
    """One material; the numeric fields, in this order, are the columns the shading kernel reads.

    wrap_red, wrap_green, wrap_blue: how far light creeps past the terminator (0 = a hard solid);
        unequal values tint the edge of a shadow the way light scattered under skin does.
    sheen, sharpness: strength and tightness of the broad highlight (sharpness is the exponent of
        its cosine).
    glint, glint_sharpness: a second, tight highlight: wetness.
    catchlight: how much of the highlights survives shade: an eye keeps its catchlight, which is
        also drawn nearer the pupil than a lamp above the lids would have it.
    edge: how much brighter the highlights grow at grazing angles (Fresnel).
    rim: how much of the rim light it reflects.
    occlusion: exponent on ambient occlusion; above 1 deepens creases.
    inside: 1 for what lies behind the lips and darkens with depth, else 0.
    flat: 1 shows the vertex colour as it is, without light.
    bright: how much of the key light a shadow leaves. Light that the mouth scatters to and fro
        reaches teeth and tongue behind the lips' hard shadow; without it teeth look grey.
    """

    wrap_red: float = 0.0
    wrap_green: float = 0.0
    wrap_blue: float = 0.0
    sheen: float = 0.0
    sharpness: float = 16.0
    glint: float = 0.0
    glint_sharpness: float = 200.0
    catchlight: float = 0.0
    edge: float = 1.0
    rim: float = 1.0
    occlusion: float = 1.0
    inside: float = 0.0
    flat: float = 0.0
    bright: float = 0.0
    two_sided: bool = False
    glass: bool = False  # transparent: adds highlights to what lies beneath
    smoothing: str = "flesh"  # normals are smoothed across seams between materials of one word
    casts_shadow: bool = True  # thin things at the eye would stripe the cheek with shadow

    def row(self) -> list[float]:
        """The columns of the shading table."""
        return [float(getattr(self, f.name)) for f in fields(self) if f.type == "float"]


# Columns of the shading table, in the order of the fields above.
WRAP_RED, WRAP_GREEN, WRAP_BLUE, SHEEN, SHARPNESS, GLINT, GLINT_SHARPNESS = range(7)
CATCHLIGHT, EDGE, RIM, OCCLUSION, INSIDE, FLAT, BRIGHT = range(7, 14)

SKIN = Material(
    0.25,
    0.16,
    0.13,
    sheen=0.085,
    sharpness=12,
    glint=0.07,
    glint_sharpness=55,
    edge=1.6,
    occlusion=1.15,
)

# What lies behind the lips: the rim light does not reach it, and it darkens with depth.
behind = partial(Material, rim=0.0, inside=1)

MATERIALS: dict[str, Material] = {
    "skin": SKIN,
    "lips": Material(
        0.30,
        0.16,
        0.12,
        sheen=0.10,
        sharpness=18,
        glint=0.16,
        glint_sharpness=70,
        edge=1.2,
        occlusion=1.2,
    ),
    "eye": Material(
        0.20,
        0.16,
        0.14,
        sheen=0.015,
        sharpness=30,
        glint=2.0,
        glint_sharpness=1300,
        catchlight=0.85,
        rim=0.2,
        smoothing="eye",
    ),
    "cornea": Material(
        glint=2.0, glint_sharpness=1300, catchlight=0.85, rim=0.2, glass=True, smoothing="cornea"
    ),
    "teeth": behind(
        0.25,
        0.20,
        0.16,
        sheen=0.10,
        sharpness=30,
        glint=0.30,
        glint_sharpness=160,
        bright=0.6,
        smoothing="teeth",
    ),
    "gums": behind(
        0.30,
        0.12,
        0.10,
        sheen=0.08,
        glint=0.20,
        glint_sharpness=110,
        bright=0.35,
        two_sided=True,
        smoothing="gums",
    ),
    "tongue": behind(
        0.38,
        0.16,
        0.12,
        sheen=0.10,
        sharpness=14,
        glint=0.12,
        glint_sharpness=60,
        bright=0.5,
        smoothing="tongue",
    ),
    "mouth": behind(0.30, 0.12, 0.10, sheen=0.03, glint=0.05, glint_sharpness=60, two_sided=True),
    "lash": Material(0.2, 0.2, 0.2, rim=0.2, two_sided=True, smoothing="lash", casts_shadow=False),
    "brow": Material(
        0.25,
        0.22,
        0.20,
        sheen=0.01,
        sharpness=10,
        rim=0.5,
        two_sided=True,
        smoothing="brow",
        casts_shadow=False,
    ),
    "hair": Material(
        0.25, 0.22, 0.20, sheen=0.03, sharpness=12, rim=0.9, two_sided=True, smoothing="hair"
    ),
    "cloth": Material(0.22, 0.22, 0.22, rim=0.8, two_sided=True, smoothing="cloth"),
    "toon": Material(0.5, 0.45, 0.42, rim=0.25, flat=0.8, bright=1.0, smoothing="toon"),
    "flat": Material(flat=1, two_sided=True, smoothing="flat"),
}


def lighting_of(face: Face) -> Sequence[str]:
    """For each material of a face the name by which it is lit."""
    return [surface.lighting for surface in face.surfaces] or face.material_names


def materials_of(names: Sequence[str]) -> list[Material]:
    """The material of each name; a name not in the table looks like skin."""
    return [MATERIALS.get(name, SKIN) for name in names]


def table(names: Sequence[str]) -> Array:
    """Rows (M, 14) float32 for the shading kernel.

    A wrap w is kept as 1 / (1 + w), all that the kernel needs of it.
    """
    rows = np.array([material.row() for material in materials_of(names)], np.float32)
    rows[:, : WRAP_BLUE + 1] = 1 / (1 + rows[:, : WRAP_BLUE + 1])
    return rows
