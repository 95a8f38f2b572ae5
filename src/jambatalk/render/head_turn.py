"""Turning the head on its neck while the shoulders stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.render.anatomy import measure
from jambatalk.render.geometry import affine

Array = NDArray[Any]


def pose_matrix(pose: Array) -> Array:
    """(3,) radians (pitch, yaw, roll) -> (3, 3) rotation ``yaw @ pitch @ roll``.

    Right-handed about the face's own axes: positive pitch bows the head (about x), positive yaw turns it to its own left
    (about y), positive roll lifts its left ear (about z).
    """
    pose = np.asarray(pose, np.float64)
    if pose.shape != (3,) or not np.isfinite(pose).all():
        raise InputError(f"head_pose is {pose.tolist()}, expected three finite angles in radians (pitch, yaw, roll)")
    (cx, cy, cz), (sx, sy, sz) = np.cos(pose), np.sin(pose)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


class HeadTurn:
    """Applies a head pose to the vertices of one face: full above the chin, fading down the neck, none at the shoulders."""

    def __init__(self, face: Face) -> None:
        body = measure(face)
        points = np.asarray(face.vertices, np.float32)
        height = points[:, 1]
        # A mask without a neck turns as a whole; a bust bends where its neck is.
        neck = body.chin - body.bottom
        if body.known and neck > 0.6 * body.eyes_to_lips:
            start = body.chin - min(neck, 1.25 * body.eyes_to_lips)
            ramp = np.clip((height - start) / (body.chin - start), 0, 1)
            self.weights = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
        else:
            self.weights = np.ones(len(points), np.float32)
        # The atlas joint lies behind the mouth, roughly under the ears.
        depth = body.centre[2] - 1.25 * body.eyes_to_lips if body.known else body.centre[2]
        self.pivot = np.array([body.centre[0], body.chin + 0.25 * body.eyes_to_lips, depth], np.float32)

    def __call__(self, vertices: Array, pose: Array) -> Array:
        """(V, 3) metres and (3,) radians -> (V, 3) turned vertices."""
        turn = pose_matrix(pose)
        matrix = np.column_stack([turn, self.pivot - turn @ self.pivot]).astype(np.float32)
        moved = affine(np.ascontiguousarray(vertices, np.float32), matrix)
        return np.asarray(vertices + self.weights[:, None] * (moved - vertices), np.float32)
