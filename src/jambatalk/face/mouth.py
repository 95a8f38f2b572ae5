"""The mouth of a mesh found by its shape: where the lips meet, the rings of vertices around, the
face above.

Axes as ``Face`` has them: x to the face's own left, y up, z out of the face. Lengths are in widths
of the mouth, so that no unit needs to be known. What a mesh has behind its lips (a bag, a socket,
a hole whose back rim is wider than the mouth, as FLAME's) is left out by looking at the face from
the front: the lips meet at the rim of what is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.landmarks import INNER_LOWER, INNER_UPPER

Array = NDArray[Any]
MEDIAPIPE_VERTICES = (468, 478)  # without and with the irises
LIP_REACH = 0.22
"""A ring of neighbors belongs to the lips while its mean distance from the inner ring is at most
this many mouth widths: on MediaPipe's face these are the rings up to the outer contour of the lips
(0.05, 0.10 and 0.16; the next is 0.30).
"""
INWARD = 0.04
"""Mouth widths that the lips reach from the rim into the mouth, where they touch."""
UPPER_FACE = 1.3
"""Mouth widths above the mouth at which the upper face begins; MediaPipe's lower eyelids lie at
1.5.
"""
CENTRED = 0.05
"""How far a mouth's centre may lie from the middle of its surface, in widths of the surface."""
LEANING = 0.5
"""How much nearer to the viewer one lip may be than the other, in mouth widths; the hole below a
chin, between its tip and the neck, leans more.
"""
CELLS = 256
"""Of the picture in which the parts that hide others are found, along its longer side."""
DEEP = 0.15
"""Mouth widths behind the lips at which what is seen between them lies within the mouth."""
SURFACES = 4
"""Connected surfaces that may be the skin, those of most vertices first."""


@dataclass(frozen=True)
class Mouth:
    """What is found of a mouth.

    Args:
        ring: (n,) vertex indices in order, where the lips meet.
        skin: (F,) mask of the triangles of the face that are seen from the front and do not fill
            the mouth.
        surface: (V,) mask of the connected surface that the mouth belongs to.
        found: How, in words.
    """

    ring: Array
    skin: Array
    surface: Array
    found: str


def find_mouth(template: Array, triangles: Array) -> Mouth:
    """Find where the lips meet.

    MediaPipe's face, whose mouth is filled by triangles, is known by its own vertex numbers. Of any
    other mesh the mouth is the widest hole in what is seen of the skin from the front that lies in
    the skin's middle, on its front half, upright, and is no more than half as wide as the skin. The
    skin is the connected surface of most vertices in which there is such a hole.

    Raises:
        InputError: There is none.
    """
    template, triangles = np.asarray(template, np.float64), np.asarray(triangles, np.int64)
    ring = _mediapipe_ring(len(template), triangles)
    if ring is not None:
        skin = np.asarray(~np.isin(triangles, ring).all(axis=1))
        return Mouth(ring, skin, np.ones(len(template), bool), "MediaPipe's inner lips")
    for surface in surfaces(len(template), triangles):
        own = surface[triangles].all(1)
        seen: Array = own.copy()
        seen[own] = seen_from_front(template, triangles[own])
        ring = _widest_hole(template, triangles[seen], template[surface])
        if ring is not None:
            # A gap between the lips lets some of what is behind them be seen.
            seen = seen & ~_within(template, ring)[triangles].any(1)
            again = _widest_hole(template, triangles[seen], template[surface])
            ring = ring if again is None else again
            return Mouth(ring, seen, surface, "the rim of the lips seen from the front")
    raise InputError(
        f"this mesh of {len(template)} vertices has no hole where a mouth would be: expected "
        "regions from mask files"
    )


def _widest_hole(template: Array, triangles: Array, skin: Array) -> Array | None:
    low, size = skin.min(0), np.ptp(skin, axis=0)
    best: tuple[float, Array] | None = None
    for loop in boundary_loops(triangles):
        around = template[loop]
        width = float(np.ptp(around[:, 0]))
        middle = (around[:, 0].min() + around[:, 0].max()) / 2
        if not 0 < width <= size[0] / 2 or abs(middle - low[0] - size[0] / 2) > CENTRED * size[0]:
            continue
        if around[:, 2].min() <= low[2] + size[2] / 2 or (best is not None and width <= best[0]):
            continue
        try:
            upper, lower = middle_of_ring(template, loop)
        except InputError:
            continue
        if abs(template[upper, 2] - template[lower, 2]) <= LEANING * width:
            best = width, loop
    return None if best is None else best[1]


def _within(template: Array, ring: Array) -> Array:
    """(V,) mask of what lies between the lips and DEEP behind those that are beside it."""
    around = template[ring]
    width = float(np.ptp(around[:, 0]))
    low, high = around.min(0), around.max(0)
    within = ((template[:, :2] >= low[:2]) & (template[:, :2] <= high[:2])).all(1)
    for vertex in np.flatnonzero(within):
        beside = np.abs(around[:, 0] - template[vertex, 0]) <= width / 10
        front = around[beside, 2].max() if beside.any() else high[2]
        within[vertex] = template[vertex, 2] < front - DEEP * width
    return within


def _mediapipe_ring(vertices: int, triangles: Array) -> Array | None:
    if vertices not in MEDIAPIPE_VERTICES:
        return None
    ring = np.array([*INNER_UPPER, *INNER_LOWER[-2:0:-1]], np.int64)
    edges = {tuple(edge) for edge in np.sort(_edges(triangles), axis=1).tolist()}
    closed = np.sort(np.stack([ring, np.roll(ring, -1)], axis=1), axis=1).tolist()
    return ring if all(tuple(edge) in edges for edge in closed) else None


def seen_from_front(template: Array, triangles: Array) -> Array:
    """(F,) mask of the triangles that face the viewer and that nothing hides.

    The viewer is far away, along z. Which side of the triangles is the outer one follows from the
    frontmost ones.
    """
    corners = template[triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = corners.mean(1)
    low = template[triangles.ravel(), :2].min(0)
    extent = np.ptp(template[triangles.ravel(), :2], axis=0)
    step = float(extent.max()) / CELLS or 1.0
    nearest = np.full(np.ceil(extent / step).astype(int) + 2, -np.inf)
    for points in _points_on(corners, step):
        cells = ((points[:, :2] - low) / step).astype(int)
        np.maximum.at(nearest, (cells[:, 0], cells[:, 1]), points[:, 2])
    cells = ((middle[:, :2] - low) / step).astype(int)
    in_front = middle[:, 2] >= nearest[cells[:, 0], cells[:, 1]] - 2 * step
    outward = 1.0 if across[in_front, 2].sum() >= 0 else -1.0
    found: Array = in_front & (outward * across[:, 2] > 0)
    return found


def _points_on(corners: Array, step: float) -> Iterator[Array]:
    """Blocks of points (n, 3) on triangles (F, 3, 3), at most half a ``step`` apart."""
    longest = np.ptp(corners[:, :, :2], axis=1).max(1)
    counts = np.clip(np.ceil(2 * longest / step).astype(int), 1, CELLS)
    for count in np.unique(counts):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
        inside = i + j <= count
        shares = np.stack([i[inside], j[inside], count - i[inside] - j[inside]], 1) / count
        chosen = np.flatnonzero(counts == count)
        block = max(1, 1_000_000 // len(shares))
        for first in range(0, len(chosen), block):
            some = corners[chosen[first : first + block]]
            yield np.einsum("wk,fkd->fwd", shares, some).reshape(-1, 3)


def _edges(triangles: Array) -> Array:
    """(3 F, 2) int64, each triangle's edges in its direction of turning."""
    corners = np.asarray(triangles, np.int64)
    return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])


def boundary_loops(triangles: Array) -> list[Array]:
    """Find the closed boundaries of a mesh, each as vertex indices in order.

    Edges of exactly one triangle are a boundary.

    A boundary that touches itself in a vertex is cut there into its simple loops.
    """
    edges = _edges(triangles)
    _, first, counts = np.unique(
        np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True
    )
    following: dict[int, list[int]] = {}
    for a, b in edges[first[counts == 1]].tolist():
        following.setdefault(a, []).append(b)
    loops = []
    while following:
        path = [next(iter(following))]
        places = {path[0]: 0}
        while following.get(path[-1]):
            after = following[path[-1]].pop()
            if after in places:
                loop = path[places[after] :]
                loops.append(np.array(loop, np.int64))
                for vertex in loop[1:]:
                    del places[vertex]
                path = path[: places[after] + 1]
            else:
                places[after] = len(path)
                path.append(after)
        following = {vertex: left for vertex, left in following.items() if left}
    return loops


def components(vertices: int, triangles: Array) -> Array:
    """(V,) int64: equal for vertices of one connected surface, -1 for those of no triangle."""
    label = np.arange(vertices)
    edges = _edges(triangles)
    while True:
        lower = label.copy()
        np.minimum.at(lower, edges[:, 0], label[edges[:, 1]])
        np.minimum.at(lower, edges[:, 1], label[edges[:, 0]])
        lower = lower[lower]  # halves the way to the lowest number each time
        if np.array_equal(lower, label):
            break
        label = lower
    used = np.zeros(vertices, bool)
    used[np.unique(triangles)] = True
    return np.where(used, label, -1)


def surfaces(vertices: int, triangles: Array) -> list[Array]:
    """Masks (V,) of the connected surfaces of most vertices, the largest first."""
    part = components(vertices, triangles)
    labels, counts = np.unique(part[part >= 0], return_counts=True)
    return [part == labels[i] for i in np.argsort(-counts, kind="stable")[:SURFACES]]


def lip_rings(template: Array, triangles: Array, mouth: Mouth, reach: float = LIP_REACH) -> Array:
    """Add to the ring its neighbors: on the face rings within ``reach`` mouth widths, at least one,
    and within the mouth what lies up to INWARD behind the ring.

    Returns:
        (L,) ascending indices.
    """
    ring, width = mouth.ring, float(np.ptp(template[mouth.ring, 0]))
    edges = _edges(triangles[mouth.skin])
    inside = np.zeros(len(template), bool)
    inside[ring] = True
    while True:
        new = _neighbors(inside, edges)
        if not len(new):
            break
        apart = _distance(template, new, ring)
        if inside.sum() > len(ring) and float(apart.mean()) > reach * width:
            break
        inside[new] = True
    hidden = _edges(triangles[mouth.surface[triangles].all(1) & ~mouth.skin])
    behind = np.zeros(len(template), bool)
    behind[ring] = True
    while len(new := _neighbors(behind, hidden)):
        new = new[_distance(template, new, ring) <= INWARD * width]
        if not len(new):
            break
        behind[new] = True
    return np.flatnonzero(inside | behind)


def _neighbors(inside: Array, edges: Array) -> Array:
    grown = inside.copy()
    grown[edges[inside[edges[:, 0]], 1]] = True
    grown[edges[inside[edges[:, 1]], 0]] = True
    return np.flatnonzero(grown & ~inside)


def _distance(template: Array, some: Array, ring: Array) -> Array:
    """(n,) from each of ``some`` to the nearest vertex of the ring."""
    found: Array = np.linalg.norm(template[some, None] - template[None, ring], axis=2).min(1)
    return found


def upper_of_face(template: Array, mouth: Mouth) -> Array:
    """Find the mouth's surface at least UPPER_FACE mouth widths above it, on the front half.

    Returns:
        Ascending indices.
    """
    ring, surface = mouth.ring, mouth.surface
    width, height = float(np.ptp(template[ring, 0])), float(template[ring, 1].mean())
    depth = template[surface, 2]
    in_front = template[:, 2] >= (depth.min() + depth.max()) / 2
    found = np.flatnonzero(surface & in_front & (template[:, 1] > height + UPPER_FACE * width))
    if not len(found):
        raise InputError(
            "no vertex lies above the mouth where eyes would be: expected regions from mask files"
        )
    return found


def middle_of_ring(template: Array, ring: Array) -> tuple[int, int]:
    """Find (upper, lower), the vertices of the ring's halves nearest to its middle.

    Of several about as near (the ring may go in and out), the one nearest to the viewer.
    """
    x = template[ring, 0]
    middle = (x.min() + x.max()) / 2
    corners = sorted((int(np.argmin(x)), int(np.argmax(x))))
    one = ring[corners[0] + 1 : corners[1]]
    other = np.concatenate([ring[corners[1] + 1 :], ring[: corners[0]]])
    if not len(one) or not len(other):
        raise InputError(
            "the mouth's ring has a lip without vertices between the corners: expected regions "
            "from mask files"
        )
    halves = sorted((one, other), key=lambda half: -float(template[half, 1].mean()))

    def nearest(half: Array) -> int:
        apart = np.abs(template[half, 0] - middle)
        about = half[apart <= apart.min() + 0.01 * np.ptp(x)]
        return int(about[np.argmax(template[about, 2])])

    return nearest(halves[0]), nearest(halves[1])
