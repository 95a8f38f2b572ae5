"""The skin: cropped from the base mesh, finer around the lips, with lips that seal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .basemesh import BaseMesh
from .lips import MouthLine, Spread
from .topology import edge_loop, polygon, subdivide, triangulate

Array = NDArray[Any]

# Rings around the mouth on the base mesh: the vertices of each in the upper middle, from the lip's
# outline inwards. Every ring has 20 vertices on one side of the face, the first and the last in the
# middle.
RING_STARTS = {
    "outline": 455,
    "crest": 467,
    "front": 474,
    "contact": 520,
    "behind": 537,
    "pocket": 571,
}
HALF_RING = 20
LOWEST = -0.32  # metres below the eyes: the shoulders' crop, before the bust is cut


@dataclass(frozen=True)
class Skin:
    """The skin's own vertices as mixes of the base mesh's: ``matrix`` (n, 19158); triangles (f, 3)
    of the own vertices.

    rings: name -> ordered own vertices, upper from the right corner to the left one, then lower
    back. mirror: (n,) the own vertex on the other side. source: (n,) the base vertex an own vertex
    was, -1 for those of the subdivision.
    """

    matrix: sparse.csr_matrix
    triangles: Array
    rings: dict[str, Array]
    mirror: Array
    source: Array

    def carry(self, values: Array) -> Array:
        """(19158, 3) on the base mesh -> (n, 3) on the skin."""
        return np.asarray(self.matrix @ values)


def full_ring(mesh: BaseMesh, polygons: list[list[int]], start: int, x: Array) -> list[int]:
    """One closed ring of base vertices: upper from the right corner to the left one, then lower
    back.
    """
    right = next(
        v
        for corners in polygons
        if start in corners
        for v in _beside(corners, start)
        if x[v] < -1e-6
    )
    half = edge_loop(
        polygons, start, right, HALF_RING
    )  # upper middle ... right corner ... lower middle
    corner = int(np.argmin(x[half]))
    other = [int(mesh.mirror[v]) for v in half]
    upper = half[corner::-1] + other[1 : corner + 1]
    lower = other[corner + 1 :] + half[-2:corner:-1]
    return upper + lower


def _beside(corners: list[int], v: int) -> tuple[int, int]:
    i = corners.index(v)
    return corners[i - 1], corners[(i + 1) % len(corners)]


def build_skin(mesh: BaseMesh, template: Array) -> Skin:
    """Crop and subdivide; ``template`` (19158, 3) metres with the origin between the eyes chooses
    what is kept.
    """
    polygons = [polygon(quad) for quad in mesh.quads["body"] if template[quad, 1].mean() > LOWEST]
    x = template[:, 0]
    coarse = {name: full_ring(mesh, polygons, start, x) for name, start in RING_STARTS.items()}
    chosen = _between(polygons, coarse["outline"], coarse["pocket"])
    matrix, fine, edge_point = subdivide(len(template), polygons, chosen)
    rings = {name: _refined(ring, edge_point) for name, ring in coarse.items()}
    used = np.unique(np.concatenate([np.array(corners) for corners in fine]))
    number = np.full(matrix.shape[0], -1)
    number[used] = np.arange(len(used))
    matrix = matrix[used]
    points = matrix @ template
    triangles = triangulate([[int(number[v]) for v in corners] for corners in fine], points)
    return Skin(
        matrix=matrix,
        triangles=triangles,
        rings={name: number[ring] for name, ring in rings.items()},
        mirror=mirror_by_position(points),
        source=np.where(used < len(template), used, -1),
    )


def _between(polygons: list[list[int]], outer: list[int], inner: list[int]) -> set[int]:
    """Indices of the polygons between two rings, found by growing from those that touch the inner
    ring's outside.
    """
    outer_set, inner_set = set(outer), set(inner)
    at_vertex: dict[int, list[int]] = {}
    for index, corners in enumerate(polygons):
        for v in corners:
            at_vertex.setdefault(v, []).append(index)
    # A polygon across the outer ring has two vertices on it; the one on the mouth's side leads to
    # the inner ring. Grow from the middle rings, never crossing either border.
    found: set[int] = set()
    start = next(i for i, corners in enumerate(polygons) if RING_STARTS["contact"] in corners)
    frontier = [start]
    while frontier:
        face = frontier.pop()
        if face in found:
            continue
        found.add(face)
        for v in polygons[face]:
            if v in outer_set or v in inner_set:
                continue
            frontier += at_vertex[v]
    return found


def _refined(ring: list[int], edge_point: dict[tuple[int, int], int]) -> list[int]:
    """The ring with the new vertices of its edges between its old ones."""
    out: list[int] = []
    for a, b in zip(ring, ring[1:] + ring[:1]):
        out.append(a)
        middle = edge_point.get((min(a, b), max(a, b)))
        if middle is not None:
            out.append(middle)
    return out


def mirror_by_position(points: Array) -> Array:
    """(n,) index of the vertex at the mirrored place."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(points).query(points * [-1.0, 1.0, 1.0])
    if distance.max() > 1e-6:
        raise ValueError(
            f"the mesh is not symmetric: a mirrored vertex is {distance.max() * 1000:.3f} mm away"
        )
    return np.asarray(index)


def mouth_line(skin: Skin, points: Array) -> MouthLine:
    """The line where the lips touch; ``points`` (n, 3) of the template are its positions."""
    ring = skin.rings["contact"]
    left = int(np.argmax(points[ring, 0]))
    upper, lower = ring[: left + 1], np.concatenate([ring[left:], ring[:1]])[::-1]
    return MouthLine(upper, lower, points[upper, 0], points[lower, 0])


def lips_spread(skin: Skin) -> Spread:
    """Corrections of the mouth line fade out towards the outline of the lips and the pocket behind
    them.
    """
    inside = {int(v) for name in ("crest", "front", "contact", "behind") for v in skin.rings[name]}
    border = {int(v) for name in ("outline", "pocket") for v in skin.rings[name]}
    grow, seen = list(inside), set(inside)
    neighbours: dict[int, set[int]] = {}
    for a, b, c in skin.triangles:
        for u, v in ((a, b), (b, c), (c, a)):
            neighbours.setdefault(int(u), set()).add(int(v))
            neighbours.setdefault(int(v), set()).add(int(u))
    while grow:
        for w in neighbours[grow.pop()]:
            if w not in seen and w not in border:
                seen.add(w)
                grow.append(w)
    return Spread(len(skin.source), skin.triangles, skin.rings["contact"], np.array(sorted(seen)))
