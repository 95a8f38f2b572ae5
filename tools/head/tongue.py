"""The tongue: the base mesh's, laid lower in the mouth so that an open mouth looks open."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.head import ARKIT_NAMES

from .basemesh import BaseMesh
from .helpers import helper_part
from .part import Part
from .rigid import Fit, Rigid

Array = NDArray[Any]


def tongue_part(mesh: BaseMesh, jaw: dict[str, Rigid], fits: dict[str, Fit]) -> Part:
    """The tongue rests behind the lower teeth, rides on the lower jaw and flattens when the jaw
    opens.
    """
    part = helper_part(mesh, ["helper-tongue"], (0.82, 0.48, 0.47), "tongue", "tongue")
    raw = part.vertices
    tip = raw[:, 2].max()
    back = np.clip((tip - raw[:, 2]) / 0.055, 0.0, 1.0)  # 0 at the tip, 1 deep in the throat
    points = raw * [0.82, 0.80, 1.0]
    points = points - [0.0, points[raw[:, 2] > tip - 0.012, 1].max() + 0.0665, 0.0]
    points[:, 2] += 0.0085 - points[:, 2].max()
    # The ridge of the back is lowered: it would hide the whole throat behind a wall.
    high = np.clip(points[:, 1] + 0.0665, 0.0, None)
    points[:, 1] -= 0.55 * high * back
    # A shallow groove along the middle.
    top = np.clip((points[:, 1] - np.median(points[:, 1])) / 0.006, 0.0, 1.0)
    points[:, 1] -= 0.0012 * top * np.exp(-((points[:, 0] / 0.004) ** 2))
    basis = np.zeros_like(part.basis)
    for name, motion in jaw.items():
        k = ARKIT_NAMES.index(name)
        ridden = motion.offsets(points)
        if name == "jawOpen":
            ridden = ridden * (1.0 - 0.15 * back)[:, None] - np.outer(
                0.004 * back * top, [0.0, 1.0, 0.0]
            )
        basis[k] = ridden
    out = ARKIT_NAMES.index("tongueOut")
    # Forwards over the lower teeth and lip: at half weight the tip lies between the teeth, as in
    # "th".
    forth = (1.0 - back) ** 1.2
    arch = forth * (1.0 - 0.25 * forth)
    basis[out] = np.stack([-0.12 * points[:, 0] * forth, 0.0135 * arch, 0.044 * forth], axis=1)
    shade = np.clip(1.0 - 0.5 * back, 0.4, 1.0) * (0.88 + 0.12 * top)
    return Part(
        vertices=points,
        triangles=part.triangles,
        basis=basis,
        identities={name: fit.offsets(points) for name, fit in fits.items()},
        colours=part.colours * shade[:, None],
        material="tongue",
        regions=part.regions,
    )
