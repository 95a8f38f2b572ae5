"""A part of the head before assembly: its own mesh, moved by the 52 shapes and reshaped by each
identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Part:
    """vertices (n, 3); triangles (f, 3); basis (52, n, 3); identities name -> (n, 3) offsets;
    colours (n, 3) sRGB; material: one name for the part, or (f,) names; regions name -> indices
    into this part's vertices; identity_colours name -> (n, 3) where another identity is coloured
    otherwise.
    """

    vertices: Array
    triangles: Array
    basis: Array
    identities: dict[str, Array]
    colours: Array
    material: str | Array
    regions: dict[str, Array] = field(default_factory=dict)
    identity_colours: dict[str, Array] = field(default_factory=dict)

    def materials(self) -> Array:
        """(f,) material names."""
        return (
            np.full(len(self.triangles), self.material)
            if isinstance(self.material, str)
            else self.material
        )


def joined(one: Part, other: Part) -> Part:
    """Both parts as one; regions of the same name are joined."""
    start = len(one.vertices)
    moved = {name: np.asarray(members) + start for name, members in other.regions.items()}
    names = [*one.regions, *(name for name in moved if name not in one.regions)]
    none = np.zeros(0, np.int64)
    return Part(
        vertices=np.concatenate([one.vertices, other.vertices]),
        triangles=np.concatenate([one.triangles, other.triangles + start]),
        basis=np.concatenate([one.basis, other.basis], axis=1),
        identities={
            name: np.concatenate([offsets, other.identities[name]])
            for name, offsets in one.identities.items()
        },
        colours=np.concatenate([one.colours, other.colours]),
        material=np.concatenate([one.materials(), other.materials()]),
        regions={
            name: np.concatenate([one.regions.get(name, none), moved.get(name, none)])
            for name in names
        },
        identity_colours={
            name: np.concatenate(
                [
                    one.identity_colours.get(name, one.colours),
                    other.identity_colours.get(name, other.colours),
                ]
            )
            for name in {*one.identity_colours, *other.identity_colours}
        },
    )
