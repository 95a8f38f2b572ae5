"""How what lies in the mouth moves: the lower jaw's rigid motions, and where another person's mouth
lies.
"""

from __future__ import annotations

import numpy as np

from .basemesh import BaseMesh
from .identities import TEMPLATE, person
from .part import Part
from .rigid import Fit, Rigid, fit_rigid, fit_scale
from .teeth import JAW_SHAPES


def jaw_motions(mesh: BaseMesh) -> dict[str, Rigid]:
    """The lower jaw's motion at weight 1 of each jaw shape, fitted to Face Units' lower teeth."""
    teeth = np.unique(mesh.quads["helper-lower-teeth"])
    points = person(mesh, TEMPLATE)[teeth]
    return {name: fit_rigid(points, mesh.face_unit(name)[teeth]) for name in JAW_SHAPES}


def mouth_fits(skin: Part) -> dict[str, Fit]:
    """identity -> scales and shift from the template's mouth to that person's, taken from the inner
    side of the lips.
    """
    around = np.union1d(skin.regions["inner_lips"], skin.regions["lips"])
    return {
        name: fit_scale(skin.vertices[around], offsets[around])
        for name, offsets in skin.identities.items()
    }
