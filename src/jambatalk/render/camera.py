"""The camera: where a picture is taken from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.deform import measure
from jambatalk.face.face import Face

Array = NDArray[Any]


@dataclass(frozen=True)
class Camera:
    """A perspective camera.

    position, target: metres, in the axes of Face (x to the face's left, y up, z towards the
        viewer).
    fov: vertical field of view in degrees.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float = 18.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.fov <= 150.0:
            raise InputError(
                f"the camera's field of view is {self.fov} degrees, expected 0.1 to 150"
            )
        if (
            not all(math.isfinite(v) for v in (*self.position, *self.target))
            or self.position == self.target
        ):
            raise InputError(
                f"the camera at {self.position} looks at {self.target}, "
                "expected two different finite points"
            )

    def rotation(self) -> Array:
        """The (3, 3) rotation whose rows are the camera's right, up and backward axes.

        ``rotation @ (p - position)`` is in view space.
        """
        back = np.subtract(self.position, self.target).astype(np.float64)
        back /= np.linalg.norm(back)
        # Looking straight up or down, "up" is the direction away from the face's crown.
        up = (
            np.array([0.0, 1.0, 0.0])
            if abs(back[1]) < 0.999
            else np.array([0.0, 0.0, -math.copysign(1.0, back[1])])
        )
        right = np.cross(up, back)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(back, right), back])

    def focal(self, height: int) -> float:
        """Focal length in pixels for a picture of this height."""
        return 0.5 * height / math.tan(math.radians(self.fov) / 2)

    def orbit(self, yaw: float = 0.0, pitch: float = 0.0) -> Camera:
        """The same camera moved around its target.

        Args:
            yaw: degrees; 35 shows the left cheek.
            pitch: degrees; 10 looks down.
        """
        offset = np.subtract(self.position, self.target)
        distance = float(np.linalg.norm(offset))
        azimuth = math.atan2(offset[0], offset[2]) + math.radians(yaw)
        height = math.asin(float(np.clip(offset[1] / distance, -1, 1))) + math.radians(pitch)
        height = max(-1.55, min(1.55, height))
        x, y, z = self.target
        flat = distance * math.cos(height)
        position = (
            x + flat * math.sin(azimuth),
            y + distance * math.sin(height),
            z + flat * math.cos(azimuth),
        )
        return replace(self, position=position)

    def closer(self, target: tuple[float, float, float], height: float) -> Camera:
        """The same direction and lens; ``height`` metres at ``target`` fill the picture."""
        offset = np.subtract(self.position, self.target).astype(np.float64)
        offset *= 0.5 * height / math.tan(math.radians(self.fov) / 2) / np.linalg.norm(offset)
        x, y, z = (float(t + o) for t, o in zip(target, offset))
        return Camera((x, y, z), target, self.fov)


def frame_face(face: Face, aspect: float = 1.0, fov: float = 18.0) -> Camera:
    """A portrait camera: the head and a little shoulder; ``aspect`` is width / height."""
    body = measure(face)
    unit = body.eyes_to_lips
    top = body.top + 0.42 * unit
    bottom = body.chin - 0.95 * unit
    if not body.known:
        top, bottom = (
            body.top + 0.05 * (body.top - body.chin),
            body.chin - 0.05 * (body.top - body.chin),
        )
    height = top - bottom
    # A narrow picture keeps the head's width inside and lets more of the bust in below.
    needed = 1.16 * body.width / aspect
    if needed > height:
        top += 0.25 * (needed - height)
        bottom = top - needed
        height = needed
    centre = (body.centre[0], 0.5 * (top + bottom), body.centre[2])
    distance = 0.5 * height / math.tan(math.radians(fov) / 2)
    # A hair above the eyes' level and level with the face: neither looked up to nor down on.
    return Camera((centre[0], centre[1] + 0.035 * distance, centre[2] + distance), centre, fov)
