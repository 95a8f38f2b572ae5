"""A part of the head before assembly: its own mesh, moved by the 52 shapes and reshaped by each identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Part:
    """vertices (n, 3); triangles (f, 3); basis (52, n, 3); identities name -> (n, 3) offsets; colours (n, 3) sRGB;
    material: one name for the part, or (f,) names; regions name -> indices into this part's vertices;
    identity_colours name -> (n, 3) where another identity is coloured otherwise."""

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
        return np.full(len(self.triangles), self.material) if isinstance(self.material, str) else self.material
