"""MediaPipe's 468 face landmarks: which lie on lips and chin, and where they lie on our faces.

Landmark numbers are those of MediaPipe's face mesh. Its canonical face has x to the face's own
left, y up, z forward, as :class:`Face` has; so no axes are exchanged anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face

Array = NDArray[Any]

# Each contour runs from the face's right corner to its left corner, both corners included.
OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
CONTOURS = {
    "outer_upper": OUTER_UPPER,
    "outer_lower": OUTER_LOWER,
    "inner_upper": INNER_UPPER,
    "inner_lower": INNER_LOWER,
}
# The chin's tip between its two neighbours, right to left; their mean is steadier than the tip
# alone.
CHIN = (148, 152, 377)
GAP_UPPER, GAP_LOWER = 13, 14


def measured_gap(positions: Array) -> Array:
    """Height (T,) of the middle of the inner lips of (T, 468, 3), in the same unit."""
    return positions[:, GAP_UPPER, 1] - positions[:, GAP_LOWER, 1]


def mirrored(indices: tuple[int, ...], displacements: Array) -> Array:
    """Mirror displacements (T, n, 3) of a right-to-left contour: reversed, with x negated."""
    assert displacements.shape[1] == len(indices)
    return displacements[:, ::-1] * np.array([-1.0, 1.0, 1.0], displacements.dtype)


def split_ring(face: Face, region: str) -> tuple[Array, Array]:
    """Split a closed ring of lip vertices into upper and lower index arrays.

    Each runs from the right corner to the left corner.

    Args:
        face: the face.
        region: name of an ordered ring in ``face.regions`` (either direction, any first vertex).

    Raises:
        InputError: the face has no such ring.
    """
    if region not in face.regions:
        raise InputError(
            f"this face has no region {region!r}: "
            "fitting tracked landmarks needs its ordered lip rings"
        )
    ring = np.asarray(face.regions[region], np.int64)
    x = face.vertices[ring, 0]
    right, left = int(np.argmin(x)), int(np.argmax(x))
    ring = np.roll(ring, -right)
    left = (left - right) % len(ring)
    one, other = ring[: left + 1], np.concatenate([ring[left:], ring[:1]])[::-1]
    if face.vertices[one, 1].mean() > face.vertices[other, 1].mean():
        return one, other
    return other, one


def arc_fractions(points: Array) -> Array:
    """Place of each point of a polyline (n, 3) along its length, from 0 to 1."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    return along / along[-1]


def sample_contour(face: Face, contour: Array, fractions: Array) -> tuple[Array, Array]:
    """Sample a contour of ``face`` as linear maps of its shapes.

    Args:
        face: the face.
        contour: (n,) vertex indices along the contour.
        fractions: (m,) places along its arc length, in 0..1.

    Returns:
        rest (m, 3) in metres, and basis (K, m, 3) in metres per unit of weight.
    """
    own = arc_fractions(face.vertices[contour].astype(np.float64))
    after = np.clip(np.searchsorted(own, fractions), 1, len(own) - 1)
    before = after - 1
    share = ((fractions - own[before]) / (own[after] - own[before]))[:, None]
    a, b = contour[before], contour[after]
    rest = face.vertices[a] * (1 - share) + face.vertices[b] * share
    basis = face.basis[:, a] * (1 - share) + face.basis[:, b] * share
    return rest, basis


def find_chin(face: Face) -> int:
    """The vertex at the tip of the chin.

    Of the skin on the mid-line below the lips, it is the lowest vertex that still faces forward:
    where a line leaning 45 degrees forward and down last touches the profile.
    """
    upper, lower = split_ring(face, "outer_lip_ring")
    lip_y = float(face.vertices[lower, 1].min())
    lip_width = float(np.ptp(face.vertices[upper, 0]))
    vertices = face.vertices
    near = (
        (np.abs(vertices[:, 0]) < 0.03 * lip_width)
        & (vertices[:, 1] < lip_y)
        & (vertices[:, 1] > lip_y - 1.2 * lip_width)
    )
    if "skin" in face.regions:
        skin = np.zeros(len(vertices), bool)
        skin[face.regions["skin"]] = True
        near &= skin
    candidates = np.flatnonzero(near)
    if len(candidates) == 0:
        raise InputError(
            "no vertex lies on the mid-line below the lips of this face: cannot find its chin"
        )
    return int(candidates[np.argmax(vertices[candidates, 2] - vertices[candidates, 1])])
