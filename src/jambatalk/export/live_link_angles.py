"""The nine angles that Live Link Face has beside the shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.arkit import ARKIT_NAMES

EYE_RADIANS = 0.6
"""How far an eye turns at weight 1 of a look shape; recordings of the app lie between 0.46 (up) and 0.72 (out)."""

_LOOK = {name: i for i, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook")}


def head_and_eyes(weights: NDArray[Any], pose: NDArray[Any] | None) -> NDArray[Any]:
    """(T, 9) radians: yaw, pitch and roll of the head, of the left eye and of the right eye.

    weights: (T, 52) in 0..1, in ``ARKIT_NAMES``' order; an eye turns by ``EYE_RADIANS`` at weight 1 of a look shape. pose: (T, 3)
    radians (pitch, yaw, roll), None for a head at rest.

    Order and names are those of Unreal's enumeration EARFaceBlendShape from its place 52 on (HeadYaw ... RightEyeRoll), the signs
    those of the Live Link Face app's recordings: a positive pitch looks down, a positive yaw turns to the face's own right.
    """
    angles = np.zeros((len(weights), 9))
    if pose is not None:
        pitch, yaw, roll = pose.T
        angles[:, :3] = np.stack([-yaw, pitch, roll], axis=1)
    # Outwards is the left eye's own left (negative yaw) and the right eye's own right.
    for first, side, inwards in ((3, "Left", 1.0), (6, "Right", -1.0)):
        into, out, down, up = (weights[:, _LOOK[f"eyeLook{way}{side}"]] for way in ("In", "Out", "Down", "Up"))
        angles[:, first], angles[:, first + 1] = EYE_RADIANS * inwards * (into - out), EYE_RADIANS * (down - up)
    return angles
