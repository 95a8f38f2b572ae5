"""Joining the parts into one Face."""

from __future__ import annotations

import numpy as np

from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES

from .identities import IDENTITIES
from .part import Part

MATERIALS = (
    "skin",
    "lips",
    "eye",
    "cornea",
    "teeth",
    "gums",
    "tongue",
    "mouth",
    "lash",
    "brow",
    "hair",
    "cloth",
)


def assemble(parts: list[Part], gap_vertices: tuple[int, int]) -> Face:
    """One Face from parts; the first is the skin, whose vertices keep their numbers. Regions of one
    name are joined.
    """
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    regions: dict[str, list[np.ndarray]] = {}
    for part, start in zip(parts, starts):
        for name, members in part.regions.items():
            regions.setdefault(name, []).append(np.asarray(members) + start)
    number = {name: i for i, name in enumerate(MATERIALS)}
    materials = np.concatenate([[number[str(name)] for name in part.materials()] for part in parts])
    coloured = sorted({name for part in parts for name in part.identity_colours})
    return Face(
        vertices=np.concatenate([part.vertices for part in parts]).astype(np.float32),
        triangles=np.concatenate(
            [part.triangles + start for part, start in zip(parts, starts)]
        ).astype(np.int32),
        regions={name: np.concatenate(pieces).astype(np.int32) for name, pieces in regions.items()},
        names=ARKIT_NAMES,
        basis=np.concatenate([part.basis for part in parts], axis=1).astype(np.float32),
        colours=np.concatenate([part.colours for part in parts]).astype(np.float32),
        materials=materials.astype(np.uint8),
        material_names=MATERIALS,
        gap_vertices=gap_vertices,
        identities={
            name: np.concatenate([part.identities[name] for part in parts]).astype(np.float32)
            for name in IDENTITIES
        },
        identity_colours={
            name: np.concatenate(
                [part.identity_colours.get(name, part.colours) for part in parts]
            ).astype(np.float32)
            for name in coloured
        },
    )
