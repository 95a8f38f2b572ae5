"""Head pose taken out of tracked landmarks: registration by the points of a face that speech does not move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.solve import smoothed

Array = NDArray[Any]

# Forehead, temples, bridge of the nose, corners of the eyes, and before the ears; MediaPipe's numbers.
STABLE = (
    10, 151, 9, 8, 168, 6, 197, 195, 5, 67, 297, 109, 338, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356,
    234, 454, 33, 263, 133, 362,
)  # fmt: skip

SCALE_SECONDS = 0.12
"""Sigma of the smoothing of the scale: a head's distance from the camera changes slower than landmarks tremble."""


@dataclass(frozen=True)
class Registered:
    """Landmarks without head pose.

    positions: (T, 468, 3) float32 in the unit and the place of the reference. rotation: (T, 3, 3), the reference's axes to
    the camera's (x right, y up, z towards the camera). scale: (T,) pixels per unit of the reference.
    """

    positions: Array
    rotation: Array
    scale: Array


def register(landmarks: Array, reference: Array, rate: float) -> Registered:
    """Move landmarks (T, 468, 3) in pixels (x right, y down, z away) onto ``reference`` (468, 3): rotation, translation, scale.

    The rotation and translation of every frame are those that bring its ``STABLE`` points closest (least squares); the scale is
    smoothed in time. rate: frames per second. All frames must be finite.
    """
    stable = list(STABLE)
    points = landmarks.astype(np.float64) * np.array([1.0, -1.0, -1.0])
    seen, wanted = points[:, stable], reference[stable].astype(np.float64)
    centre, wanted_centre = seen.mean(axis=1, keepdims=True), wanted.mean(axis=0)
    seen, wanted = seen - centre, wanted - wanted_centre
    u, singular, vt = np.linalg.svd(np.swapaxes(seen, 1, 2) @ wanted)  # (T, 3, 3): camera x reference
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    # The mean of log scales: the same whichever of the two shapes is the larger.
    scale = np.exp(
        smoothed(np.log((singular * sign).sum(axis=1) / (wanted**2).sum()), np.array([len(points)]), SCALE_SECONDS * rate)
    )
    positions = (points - centre) @ rotation / scale[:, None, None] + wanted_centre
    return Registered(positions.astype(np.float32), rotation, scale)


def angles(rotation: Array) -> Array:
    """(T, 3, 3) rotations to (T, 3) radians (pitch, yaw, roll), as ``Motion.head_pose`` has them: yaw @ pitch @ roll."""
    pitch = -np.arcsin(np.clip(rotation[:, 1, 2], -1.0, 1.0))
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return np.stack([pitch, yaw, roll], axis=1)


def mean_rotation(rotation: Array) -> Array:
    """The rotation nearest to the mean of (T, 3, 3) rotations."""
    u, _, vt = np.linalg.svd(rotation.mean(axis=0))
    return np.asarray((u * np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])) @ vt)
