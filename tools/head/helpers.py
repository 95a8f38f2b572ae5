"""Parts taken from the base mesh's helper geometry as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.head import ARKIT_NAMES

from .basemesh import BaseMesh
from .identities import IDENTITIES, TEMPLATE, person
from .part import Part
from .topology import polygon, triangulate

Array = NDArray[Any]


def helper_part(
    mesh: BaseMesh,
    groups: list[str],
    colour: tuple[float, float, float],
    material: str,
    region: str,
) -> Part:
    """One part from helper groups, moved by the Face Units as its author modelled them."""
    template = person(mesh, TEMPLATE)
    quads = np.concatenate([mesh.quads[group] for group in groups])
    used = np.unique(quads)
    number = np.full(len(template), -1)
    number[used] = np.arange(len(used))
    triangles = triangulate(
        [[int(number[v]) for v in polygon(quad)] for quad in quads], template[used]
    )
    return Part(
        vertices=template[used],
        triangles=triangles,
        basis=np.stack([mesh.face_unit(name)[used] for name in ARKIT_NAMES]),
        identities={
            name: (person(mesh, recipe) - template)[used] for name, recipe in IDENTITIES.items()
        },
        colours=np.tile(np.array(colour), (len(used), 1)),
        material=material,
        regions={region: np.arange(len(used))},
    )
