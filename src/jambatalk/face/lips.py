"""Find the mouth of a face that nobody has marked: from what its opening shape parts.

Lips are where the mesh touches itself at rest and comes apart when the mouth opens. Teeth part as
well, but lie behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
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
    distance, parting, above = _pairs(points, offsets, strip)
    near = (distance < NEAR * width) & (above > -0.01 * width)
    if not near.any() or parting[near].max() <= 0:
        return None
    near &= parting > 0.5 * parting[near].max()
    front = points[strip, 2] - 0.6 * across[strip]
    score = np.where(near, 0.5 * (front[:, None] + front[None]) - distance, -np.inf)
    i, j = np.unravel_index(int(score.argmax()), score.shape)
    upper, lower, opening = int(strip[i]), int(strip[j]), float(parting[i, j])

    heart = 0.5 * (points[upper] + points[lower])
    band = _some(
        (np.abs(points[:, 1] - heart[1]) < BAND * width)
        & (points[:, 2] > heart[2] - DEPTH * width)
        & (across < 0.5 * width)
    )
    distance, parting, _ = _pairs(points, offsets, band)
    one, other = np.nonzero((distance < CORNER_NEAR * width) & (parting > CORNER_PARTS * opening))
    if not len(one):
        return None
    place = 0.5 * (points[band[one], 0] + points[band[other], 0])
    if not place.min() < middle < place.max():
        return None
    ends = [np.array([band[one[k]], band[other[k]]]) for k in (place.argmin(), place.argmax())]
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
    return np.flatnonzero(moved).astype(np.int32)


def _some(wanted: Array) -> Array:
    found = np.flatnonzero(wanted)
    return found[:: -(-len(found) // MOST_NEAR) or 1]


def _pairs(points: Array, offsets: Array, chosen: Array) -> tuple[Array, Array, Array]:
    """(n, n) distance of all pairs, how far the first rises over the second, and lies above it."""
    here = points[chosen]
    squares = sum((here[:, None, c] - here[None, :, c]) ** 2 for c in range(3))
    height, rise = here[:, 1], offsets[chosen, 1]
    return np.sqrt(squares), rise[:, None] - rise[None], height[:, None] - height[None]
