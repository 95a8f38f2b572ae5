"""Find the mouth of a face that nobody has marked: from what its opening shape parts.

Lips are where the mesh touches itself at rest and comes apart when the mouth opens. Teeth part as
well, but lie behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.face.face import Face

Array = NDArray[Any]

OPENING = (
    "jawOpen",
    "viseme_aa",
    "vowel_aa",
    "cc_open",
    "viseme_O",
    "vowel_oh",
    "viseme_E",
    "vowel_ee",
    "mouthFunnel",
)
"""Meanings of shapes that open the mouth, the clearest first."""

STILL = 2e-4
"""A shape that moves nothing further than this share of the mouth's opening is empty."""

STRIP, NEAR, BAND, DEPTH = 0.06, 0.06, 0.12, 0.25
"""Shares of the width that the opening shape moves: half of the strip in which the middle of the
lips is looked for, how near lips are that touch, half of the band in which the corners are looked
for, and how far behind the middle they may lie."""

CORNER_NEAR, CORNER_PARTS = 0.03, 0.1
"""How near the lips are at a corner (as above), and the share of the middle's opening there."""

HIDDEN = 0.03
"""How far (as above) something must be in front of a vertex to hide it: lips that touch overlap."""

MOST_NEAR = 3000
"""Vertices that are compared with one another; of more, every n-th is."""


@dataclass(frozen=True)
class Lips:
    """Vertices by which a mouth is measured.

    Args:
        upper, lower: the middle of the inner lips.
        right, left: (n,) at the corners, the face's own right and left; their mean is the corner.
    """

    upper: int
    lower: int
    right: Array
    left: Array

    def measure(self, positions: Array) -> Array:
        """(..., V, 3) positions, or offsets, to (..., 6): see ``MEASURES``."""
        upper, lower = positions[..., self.upper, :], positions[..., self.lower, :]
        right = positions[..., self.right, :].mean(-2)
        left = positions[..., self.left, :].mean(-2)
        return np.stack(
            [
                upper[..., 1] - lower[..., 1],
                left[..., 0] - right[..., 0],
                upper[..., 2],
                upper[..., 1],
                0.5 * (left[..., 1] + right[..., 1]),
                0.5 * (left[..., 0] + right[..., 0]),
            ],
            -1,
        )


MEASURES = ("opening", "width", "protrusion", "upper lip", "corners' height", "to the side")
"""What ``Lips.measure`` gives, all in metres."""


def opening_shape(face: Face) -> str | None:
    """The name of the shape that opens the mouth best; None where none is known and moves."""
    for meaning in OPENING:
        for name in face.names:
            if face.meanings.get(name, name) == meaning and moves(face, name):
                return name
    return None


def moves(face: Face, name: str) -> bool:
    """Whether a shape moves anything that can be seen: more than a 5000th of the face's height."""
    height = float(np.ptp(face.vertices[:, 1])) or 1.0
    shape = face.basis[face.names.index(name)]
    return float(np.abs(shape).max(initial=0.0)) > STILL * height


def find_lips(face: Face) -> Lips | None:
    """The lips of a face; None where no shape opens its mouth, or nothing parts."""
    name = opening_shape(face)
    if name is None:
        return None
    points = np.asarray(face.vertices, np.float64)
    offsets = np.asarray(face.basis[face.names.index(name)], np.float64)
    moved = np.abs(offsets).max(1) > 0.05 * np.abs(offsets).max()
    low, high = points[moved].min(0), points[moved].max(0)
    width, middle = float(high[0] - low[0]), 0.5 * float(low[0] + high[0])
    if width <= 0:
        return None
    across = np.abs(points[:, 0] - middle)
    strip = _some(
        (across < STRIP * width)
        & (points[:, 1] > low[1] - 0.2 * width)
        & (points[:, 1] < high[1] + 0.2 * width)
        & (points[:, 2] > np.median(points[moved, 2]))
    )
    front = points[strip, 2] - 0.6 * across[strip]
    i, j, opening = _middle(points[strip], offsets[strip, 1], front, NEAR * width, 0.01 * width)
    if i < 0:
        return None
    upper, lower = int(strip[i]), int(strip[j])

    heart = 0.5 * (points[upper] + points[lower])
    band = _some(
        (np.abs(points[:, 1] - heart[1]) < BAND * width)
        & (points[:, 2] > heart[2] - DEPTH * width)
        & (across < 0.5 * width)
    )
    # What lies behind the cheeks, such as a bag wider than the mouth, parts as well.
    if not len(band):
        return None
    corners = points[face.triangles]
    low, high = points[band].min(0), points[band].max(0)
    beside = (corners[:, :, :2].max(1) < low[:2]) | (corners[:, :, :2].min(1) > high[:2])
    over = ~beside.any(1) & (corners[:, :, 2].max(1) > low[2] + HIDDEN * width)
    band = band[~_hidden(points[band], corners[over], HIDDEN * width)]
    pairs = _corners(
        points[band], offsets[band, 1], CORNER_NEAR * width, CORNER_PARTS * opening, middle
    )
    if pairs.min() < 0:
        return None
    ends = [band[pair] for pair in pairs]
    return Lips(upper, lower, ends[0], ends[1])


def lips_of(face: Face) -> Lips | None:
    """The lips as a face names them (``gap_vertices`` and the corners), else as they are found."""
    corners = face.regions.get("lip_corners")
    if face.gap_vertices is not None and corners is not None and len(corners) == 4:
        return Lips(*face.gap_vertices, corners[:2], corners[2:])
    return find_lips(face)


def with_landmarks(face: Face) -> Face:
    """The face with its mouth and eyes named, as far as they are found.

    Adds ``gap_vertices`` and the regions "lips", "lip_corners" (two of the right, two of the left)
    and "eyes"; camera, occlusion and head turn go by them.
    """
    regions, gap = dict(face.regions), face.gap_vertices
    points = face.vertices
    lips = find_lips(face)
    if lips is not None:
        gap = (lips.upper, lips.lower)
        regions["lip_corners"] = np.concatenate([lips.right, lips.left]).astype(np.int32)
        corners = points[regions["lip_corners"]]
        width = float(np.ptp(corners[:, 0]))
        heart = points[list(gap)].mean(0)
        close = (np.abs(points - heart) < np.array([0.6, 0.25, 0.4]) * width).all(1)
        close &= points[:, 2] > corners[:, 2].min() - 0.1 * width
        regions["lips"] = np.flatnonzero(close).astype(np.int32)
    eyes = _eyes(face)
    if len(eyes):
        regions["eyes"] = eyes
    return replace(face, regions=regions, gap_vertices=gap)


def _eyes(face: Face) -> Array:
    """Vertices of the eyes: what hangs on their joints, else what a blink moves."""
    joints = [face.joints[name] for name in ("left_eye", "right_eye") if name in face.joints]
    if len(joints) == 2:
        return np.flatnonzero(sum(joint.weights for joint in joints) > 0.5).astype(np.int32)
    blinks = ("blink", "eyeBlinkLeft", "eyeBlinkRight")
    moved = np.zeros(len(face.vertices), bool)
    for k, name in enumerate(face.names):
        if face.meanings.get(name, name) in blinks:
            size = np.abs(face.basis[k]).max(1)
            moved |= size > 0.3 * max(float(size.max(initial=0.0)), 1e-9)
    found = np.flatnonzero(moved)
    points = face.vertices
    if len(found):
        # A blink of one side: the other eye is where its mirror image lies.
        middle = 0.5 * float(points[:, 0].min() + points[:, 0].max())
        one_sided = abs(float(np.sign(points[found, 0] - middle).mean())) > 0.9
        if one_sided:
            few = points[found[:: -(-len(found) // 64)]] * np.array([-1, 1, 1], np.float32)
            few[:, 0] += 2 * middle
            other = [int(((points - point) ** 2).sum(1).argmin()) for point in few]
            found = np.unique(np.concatenate([found, other]))
    return found.astype(np.int32)


@njit(cache=True, nogil=True)
def _hidden(points: Array, triangles: Array, margin: float) -> Array:
    """Whether one of (F, 3, 3) triangles lies more than ``margin`` in front of each point."""
    hidden = np.zeros(len(points), np.bool_)
    for t in range(len(triangles)):
        ax, ay, az = triangles[t, 0, 0], triangles[t, 0, 1], triangles[t, 0, 2]
        bx, by, bz = triangles[t, 1, 0] - ax, triangles[t, 1, 1] - ay, triangles[t, 1, 2] - az
        cx, cy, cz = triangles[t, 2, 0] - ax, triangles[t, 2, 1] - ay, triangles[t, 2, 2] - az
        area = bx * cy - by * cx
        if area == 0:
            continue
        for n in range(len(points)):
            x, y = points[n, 0] - ax, points[n, 1] - ay
            u, v = (x * cy - y * cx) / area, (bx * y - by * x) / area
            if u >= 0 and v >= 0 and u + v <= 1 and not hidden[n]:
                hidden[n] = az + u * bz + v * cz > points[n, 2] + margin
    return hidden


def _some(wanted: Array) -> Array:
    found = np.flatnonzero(wanted)
    return found[:: -(-len(found) // MOST_NEAR) or 1]


@njit(cache=True, nogil=True)
def _distance(points: Array, i: int, j: int) -> float:
    x, y = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
    z = points[i, 2] - points[j, 2]
    return float(np.sqrt(x * x + y * y + z * z))


@njit(cache=True, nogil=True)
def _middle(
    points: Array, rises: Array, front: Array, near: float, below: float
) -> tuple[int, int, float]:
    """The upper and the lower point of the pair that parts, is near and in front; -1 for none.

    Args:
        points: (n, 3) at rest.
        rises: (n,) how far each rises when the mouth opens.
        front: (n,) how far in front each lies.
        near: how far apart the two are at most.
        below: how far the upper one may lie below the lower.
    """
    largest = 0.0
    found = (-1, -1, 0.0)
    best = -np.inf
    for turn in range(2):
        for i in range(len(points)):
            for j in range(len(points)):
                parting = rises[i] - rises[j]
                if parting <= 0.5 * largest or points[i, 1] < points[j, 1] - below:
                    continue
                distance = _distance(points, i, j)
                if distance >= near:
                    continue
                if turn == 0:
                    largest = max(largest, parting)
                    continue
                score = 0.5 * (front[i] + front[j]) - distance
                if score > best:
                    best, found = score, (i, j, parting)
    return found


@njit(cache=True, nogil=True)
def _corners(points: Array, rises: Array, near: float, parts: float, middle: float) -> Array:
    """The pairs that part furthest to the right and to the left, (2, 2); -1 for none.

    Skin is stretched when the mouth opens, by less than its length; only lips come apart by more.
    """
    found = np.full((2, 2), -1, np.int64)
    right, left = middle, middle
    for i in range(len(points)):
        for j in range(len(points)):
            parting = rises[i] - rises[j]
            place = 0.5 * (points[i, 0] + points[j, 0])
            if parting <= parts or right <= place <= left:
                continue
            distance = _distance(points, i, j)
            if distance >= near or distance >= parting:
                continue
            if place < right:
                right = place
                found[0, 0], found[0, 1] = i, j
            if place > left:
                left = place
                found[1, 0], found[1, 1] = i, j
    return found
