"""Who the head can be: mixes of MPFB's macro targets, each brought back to the eyes of the
template.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .basemesh import BaseMesh

Array = NDArray[Any]
Recipe = dict[str, float]

# The template is a mix, so that no identity lies far from it and the shapes fit all of them.
TEMPLATE: Recipe = {
    "macrodetails/caucasian-female-young": 0.50,
    "macrodetails/asian-female-young": 0.20,
    "macrodetails/african-female-young": 0.15,
    "macrodetails/caucasian-male-young": 0.15,
}
IDENTITIES: dict[str, Recipe] = {
    "amara": {
        "macrodetails/african-female-young": 0.85,
        "macrodetails/caucasian-female-young": 0.15,
    },
    "daniel": {
        "macrodetails/caucasian-male-young": 0.85,
        "macrodetails/caucasian-female-young": 0.15,
    },
    "kofi": {"macrodetails/african-male-young": 0.75, "macrodetails/african-female-young": 0.25},
    "mei": {"macrodetails/asian-female-young": 0.8, "macrodetails/caucasian-female-young": 0.2},
    "walter": {
        "macrodetails/caucasian-male-old": 0.5,
        "macrodetails/caucasian-male-young": 0.3,
        "macrodetails/caucasian-female-young": 0.2,
    },
}


def eye_middle(mesh: BaseMesh, vertices: Array) -> Array:
    """(3,) the point midway between the centres of the two eyes: the origin of the head."""
    balls = np.unique(np.concatenate([mesh.quads["helper-l-eye"], mesh.quads["helper-r-eye"]]))
    return np.asarray(vertices[balls].mean(axis=0) * [0.0, 1.0, 1.0])


def person(mesh: BaseMesh, recipe: Recipe) -> Array:
    """(19158, 3) metres: the base mesh wearing the recipe's targets, with the origin midway between
    the eyes.
    """
    vertices = mesh.vertices.copy()
    for target, share in recipe.items():
        vertices += share * mesh.identity_target(target)
    return np.asarray(vertices - eye_middle(mesh, vertices))


def _iris(
    inner: tuple[float, float, float], outer: tuple[float, float, float]
) -> tuple[Array, Array]:
    return np.array(inner), np.array(outer)


# sRGB of the iris beside the pupil and at its rim.
TEMPLATE_EYES = _iris((0.50, 0.38, 0.20), (0.30, 0.33, 0.24))
EYE_COLOURS: dict[str, tuple[Array, Array]] = {
    "amara": _iris((0.30, 0.17, 0.09), (0.17, 0.09, 0.05)),
    "daniel": _iris((0.48, 0.54, 0.55), (0.26, 0.38, 0.48)),
    "kofi": _iris((0.26, 0.15, 0.08), (0.14, 0.08, 0.05)),
    "mei": _iris((0.32, 0.18, 0.09), (0.16, 0.09, 0.05)),
    "walter": _iris((0.50, 0.53, 0.50), (0.34, 0.42, 0.46)),
}
