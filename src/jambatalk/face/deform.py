"""Deform a face: a motion applied to its mesh, the turn of its head, and its measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.face.lips import moves
from jambatalk.face.transfer import ShapeTransfer
from jambatalk.motion import Motion

Array = NDArray[Any]

MOST_SHAPES = 64
CLOSE_ENOUGH = 5e-5
"""Metres; shapes are added until no sampled vertex is further off."""

SAMPLED_FRAMES = 600
"""Frames that the shapes are found from, evenly spread; more add time, hardly accuracy."""


class AnimatedMesh:
    """A motion applied to its face: the vertices of any frame, one at a time.

    Args:
        motion: shape weights or vertex offsets; moves ``motion.face``, or the default head.
        identity: one of the face's identities, or None.

    Raises:
        InputError: an unknown identity or shape name, or offsets that do not fit the face.
    """

    def __init__(self, motion: Motion, identity: str | None = None) -> None:
        face = default_head() if motion.face is None else motion.face
        self.face: Face = face if identity is None else face.with_identity(identity)
        self._motion = motion
        if motion.offsets is not None:
            if motion.offsets.shape[1:] != self.face.vertices.shape:
                raise InputError(
                    f"the motion moves {motion.offsets.shape[1]} vertices, but the face has "
                    f"{len(self.face.vertices)}: give the motion the face it was made for "
                    "(Motion.face)"
                )
        else:
            self._weights, self._columns = weights_on(self.face, motion)
            self._eyes = eye_turns(self.face, motion)

    def __len__(self) -> int:
        return len(self._motion)

    def vertices(self, frame: int) -> Array:
        """(V, 3) float32 metres, before the head turns."""
        if self._motion.offsets is not None:
            return np.asarray(self.face.vertices + self._motion.offsets[frame], np.float32)
        vertices = self.face.pose(self._weights[frame], self._columns)
        for name, turns in self._eyes.items():
            joint = self.face.joints[name]
            vertices = _turned(vertices, joint.weights, joint.pivot, turns[frame])
        return vertices

    def head_pose(self, frame: int) -> Array | None:
        """(3,) radians, or None when the motion leaves the head still."""
        return None if self._motion.head_pose is None else self._motion.head_pose[frame]


def weights_on(face: Face, motion: Motion) -> tuple[Array, Array]:
    """The weights of a motion on a face's own shapes.

    A face whose shapes mean something in other words (``Face.meanings``) gets them solved, see
    ``transfer``.

    Returns:
        (T, n) float32 weights, and the (n,) indices of the face's shapes that they are of.

    Raises:
        InputError: the face lacks a shape that the motion moves, or has none that is known.
    """
    assert motion.weights is not None
    if speaks_directly(face, motion.names):
        return motion.weights, face.columns(motion.names)
    weights = ShapeTransfer(face, motion.names)(motion.weights)
    return weights, np.arange(len(face.names))


def speaks_directly(face: Face, names: Sequence[str]) -> bool:
    """Whether a motion of these shapes moves the face as it is, without being transferred."""
    return not set(names) <= set(ARKIT_NAMES) or (
        not face.meanings and set(names) <= set(face.names)
    )


def check_speaks(face: Face, names: Sequence[str]) -> None:
    """InputError if a motion of these shapes cannot move the face."""
    if speaks_directly(face, names):
        face.columns(names)
    else:
        ShapeTransfer(face, names)


class HeadTurn:
    """Apply a head pose to the vertices of one face.

    A character turns its own joints, the neck a part of the way. Else the turn is full above the
    chin, fades down the neck, and leaves the shoulders where they are.
    """

    def __init__(self, face: Face) -> None:
        self._head, self._neck = face.joints.get("head"), face.joints.get("neck")
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
        self.pivot = np.array(
            [body.centre[0], body.chin + 0.25 * body.eyes_to_lips, depth], np.float32
        )

    def __call__(self, vertices: Array, pose: Array) -> Array:
        """(V, 3) metres and (3,) radians -> (V, 3) turned vertices."""
        if self._head is None:
            return _turned(vertices, self.weights, self.pivot, pose_matrix(pose))
        joint = self._head
        neck, head = neck_and_head(pose, self._neck is not None)
        if self._neck is None:
            return _turned(vertices, joint.weights, joint.pivot, head)
        # The head hangs on the neck: what follows it follows both.
        by_head = affine(np.ascontiguousarray(vertices, np.float32), _about(joint.pivot, head))
        about_neck = _about(self._neck.pivot, neck)
        by_neck = affine(np.ascontiguousarray(vertices, np.float32), about_neck)
        by_both = affine(by_head, about_neck)
        all_neck, all_head = self._neck.weights[:, None], joint.weights[:, None]
        only_neck = np.maximum(all_neck - all_head, 0)
        return np.asarray(
            vertices + only_neck * (by_neck - vertices) + all_head * (by_both - vertices),
            np.float32,
        )


def _about(pivot: Array, turn: Array) -> Array:
    """The (3, 4) map that turns about a point."""
    return np.column_stack([turn, pivot - turn @ pivot]).astype(np.float32)


def _turned(vertices: Array, weights: Array, pivot: Array, turn: Array) -> Array:
    """Turn vertices about a point, each as far as its weight says: linear blend skinning."""
    moved = affine(np.ascontiguousarray(vertices, np.float32), _about(pivot, turn))
    return np.asarray(vertices + weights[:, None] * (moved - vertices), np.float32)


NECK_SHARE = 0.4
"""How much of the head's turn the neck makes, where both turn; the head makes the rest."""


def neck_and_head(pose: Array, with_neck: bool = True) -> tuple[Array, Array]:
    """The (3, 3) turns of neck and head, whose product is ``pose_matrix(pose)``."""
    whole = pose_matrix(pose)
    if not with_neck:
        return np.eye(3), whole
    axis = np.array(
        [whole[2, 1] - whole[1, 2], whole[0, 2] - whole[2, 0], whole[1, 0] - whole[0, 1]]
    )
    length = float(np.linalg.norm(axis))
    angle = float(np.arctan2(length, np.trace(whole) - 1))
    if length < 1e-9:
        return np.eye(3), whole
    neck = axis_turn(axis / length, NECK_SHARE * angle)
    return neck, neck.T @ whole


def axis_turn(axis: Array, angle: float) -> Array:
    """The (3, 3) rotation by ``angle`` radians about a unit axis (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


EYE_DEGREES = (32.0, 32.0, 20.0, 17.0)
"""How far the default head's eyes turn inwards, outwards, down and up at weight 1."""


def eye_turns(face: Face, motion: Motion) -> dict[str, Array]:
    """Where a motion's gaze turns the joints of a character's eyes.

    Returns:
        "left_eye", "right_eye" -> (T, 3, 3) rotations in the face's axes; empty for a face without
        such joints, one whose shapes move its eyes, and a motion that does not look anywhere.
    """
    if motion.weights is None or not {"left_eye", "right_eye"} <= set(face.joints):
        return {}
    looking = [name for name in face.names if "eyeLook" in face.meanings.get(name, name)]
    looking += [name for name in face.names if "eyes_look" in face.meanings.get(name, "")]
    if any(moves(face, name) for name in looking):
        return {}
    vrm = getattr(face.source, "vrm", None)
    if vrm is not None and vrm.eye_range is None:
        return {}
    degrees = EYE_DEGREES if vrm is None else vrm.eye_range
    columns = {name: motion.weights[:, k] for k, name in enumerate(motion.names)}
    turns = {}
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        inner, outer, down, up = (
            np.radians(degree) * columns.get(f"eyeLook{way}{side}", np.zeros(len(motion)))
            for degree, way in zip(degrees, ("In", "Out", "Down", "Up"))
        )
        yaw, pitch = sign * (outer - inner), down - up
        if yaw.any() or pitch.any():
            turns[f"{side.lower()}_eye"] = np.stack(
                [pose_matrix(np.array([p, y, 0.0])) for p, y in zip(pitch, yaw)]
            )
    return turns


def pose_matrix(pose: Array) -> Array:
    """Turn (3,) radians (pitch, yaw, roll) into the (3, 3) rotation ``yaw @ pitch @ roll``.

    Right-handed about the face's own axes: positive pitch bows the head (about x), positive yaw
    turns it to its own left (about y), positive roll lifts its left ear (about z).
    """
    pose = np.asarray(pose, np.float64)
    if pose.shape != (3,) or not np.isfinite(pose).all():
        raise InputError(
            f"head_pose is {pose.tolist()}, "
            "expected three finite angles in radians (pitch, yaw, roll)"
        )
    (cx, cy, cz), (sx, sy, sz) = np.cos(pose), np.sin(pose)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def as_shapes(offsets: Array, face: Face) -> tuple[Face, Array]:
    """Turn (T, V, 3) metres into a few shapes and their weights.

    The shapes are the principal directions of the offsets (about zero, since zero is the neutral
    face), up to 64, named ``offset_00``, ...

    Returns:
        The face with these shapes instead of its own, and (T, K) weights in -1..1.

    Raises:
        InputError: the offsets do not fit the face.
    """
    if offsets.shape[1:] != face.vertices.shape:
        raise InputError(
            f"the motion moves {offsets.shape[1]} vertices, but the face has {len(face.vertices)}"
        )
    flat = offsets.reshape(len(offsets), -1)
    chosen = np.unique(np.linspace(0, len(flat) - 1, SAMPLED_FRAMES).round().astype(int))
    sample = flat[chosen].astype(np.float64)
    _, strengths, directions = np.linalg.svd(sample, full_matrices=False)
    limit = min(MOST_SHAPES, int((strengths > 1e-9).sum()))
    count = next(
        (
            k
            for k in range(limit)
            if np.abs(sample - sample @ directions[:k].T @ directions[:k]).max() < CLOSE_ENOUGH
        ),
        limit,
    )
    weights = flat @ directions[:count].T.astype(np.float32)
    scales = np.abs(weights).max(axis=0, initial=0.0) + 1e-12
    basis = (
        (directions[:count] * scales[:, None])
        .reshape(count, *face.vertices.shape)
        .astype(np.float32)
    )
    names = tuple(f"offset_{k:02d}" for k in range(count))
    return replace(face, names=names, basis=basis), (weights / scales).astype(np.float32)


@dataclass(frozen=True)
class Anatomy:
    """Measures of a neutral face, all in metres in the face's own axes.

    ``known`` is whether the face names eyes and lips; without them everything follows from its
    bounds.
    """

    known: bool
    centre: tuple[float, float, float]
    top: float
    chin: float
    bottom: float
    width: float
    eyes_to_lips: float


def measure(face: Face) -> Anatomy:
    """Measure a neutral face."""
    points = np.asarray(face.vertices, np.float64)
    low, high = points.min(0), points.max(0)
    eyes, lips = face.regions.get("eyes"), face.regions.get("lips")
    if eyes is None or lips is None or not len(eyes) or not len(lips):
        centre = 0.5 * (low + high)
        third = float(high[1] - low[1]) / 3 or 1e-3
        return Anatomy(
            False,
            _triple(centre),
            float(high[1]),
            float(low[1]),
            float(low[1]),
            float(high[0] - low[0]) or 1e-3,
            third,
        )
    eye, lip = points[eyes].mean(0), points[lips].mean(0)
    unit = max(float(eye[1] - lip[1]), 1e-3)
    chin = float(lip[1]) - 0.72 * unit
    head = points[points[:, 1] > chin]
    width = float(np.ptp(head[:, 0]))
    centre = np.array([eye[0], 0.5 * (eye[1] + lip[1]), 0.5 * (eye[2] + lip[2])])
    return Anatomy(True, _triple(centre), float(high[1]), chin, float(low[1]), width, unit)


def _triple(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


@njit(cache=True, nogil=True, fastmath={"contract"})
def affine(points: Array, matrix: Array) -> Array:
    """Compute (V, 3) float32 ``matrix[:, :3] @ point + matrix[:, 3]``; matrix (3, 4) float32."""
    moved = np.empty_like(points)
    for v in range(points.shape[0]):
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        for c in range(3):
            moved[v, c] = matrix[c, 0] * x + matrix[c, 1] * y + matrix[c, 2] * z + matrix[c, 3]
    return moved
