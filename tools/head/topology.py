"""Quad topology: walking edge loops, and one step of Catmull-Clark subdivision as a linear
operator.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[Any]
Edge = tuple[int, int]


def polygon(quad: Array) -> list[int]:
    """The corners of a quad; a triangle is stored with its last corner repeated."""
    corners = [int(v) for v in quad]
    return corners[:3] if corners[3] == corners[2] else corners


def edge_faces(polygons: list[list[int]]) -> dict[Edge, list[int]]:
    """Undirected edge -> the polygons that share it."""
    faces: dict[Edge, list[int]] = defaultdict(list)
    for index, corners in enumerate(polygons):
        for a, b in zip(corners, corners[1:] + corners[:1]):
            faces[min(a, b), max(a, b)].append(index)
    return faces


def edge_loop(polygons: list[list[int]], first: int, second: int, count: int) -> list[int]:
    """Walk straight on from the edge (first, second) over vertices of valence four until ``count``
    vertices are met.
    """
    faces = edge_faces(polygons)
    neighbours: dict[int, set[int]] = defaultdict(set)
    for a, b in faces:
        neighbours[a].add(b)
        neighbours[b].add(a)
    loop = [first, second]
    while len(loop) < count:
        behind, here = loop[-2], loop[-1]
        beside = set(faces[min(behind, here), max(behind, here)])
        ahead = [v for v in neighbours[here] if not beside & set(faces[min(v, here), max(v, here)])]
        if len(ahead) != 1:
            raise ValueError(
                f"the edge loop from {first} ends at vertex {here}, which has "
                f"{len(neighbours[here])} edges"
            )
        loop.append(ahead[0])
    return loop


def subdivide(
    count: int, polygons: list[list[int]], chosen: set[int]
) -> tuple[sparse.csr_matrix, list[list[int]], dict[Edge, int]]:
    """Split the ``chosen`` polygons once by Catmull and Clark's rules; polygons beside them gain
    the edges' new vertices.

    Returns (matrix (n, count) giving new vertices from old ones, the new polygons, edge -> its new
    vertex). Vertices of chosen polygons only are smoothed; all others stay where they are, so that
    no seam opens.
    """
    faces = edge_faces(polygons)
    rows: list[dict[int, float]] = [{v: 1.0} for v in range(count)]
    face_point: dict[int, int] = {}
    for face in sorted(chosen):
        face_point[face] = len(rows)
        rows.append({v: 1.0 / len(polygons[face]) for v in polygons[face]})
    edge_point: dict[Edge, int] = {}
    for edge, around in faces.items():
        inside = [face for face in around if face in chosen]
        if not inside:
            continue
        edge_point[edge] = len(rows)
        row: dict[int, float] = defaultdict(float)
        if len(inside) == 2:
            for v in edge:
                row[v] += 0.25
            for face in inside:
                for v, share in rows[face_point[face]].items():
                    row[v] += 0.25 * share
        else:
            for v in edge:
                row[v] += 0.5
        rows.append(dict(row))
    around_vertex: dict[int, set[int]] = defaultdict(set)
    edges_of: dict[int, list[Edge]] = defaultdict(list)
    for edge, around in faces.items():
        for v in edge:
            around_vertex[v].update(around)
            edges_of[v].append(edge)
    for v, around_v in around_vertex.items():
        if not around_v <= chosen or any(len(faces[edge]) != 2 for edge in edges_of[v]):
            continue
        n = len(around_v)
        row = defaultdict(float)
        row[v] += (n - 3) / n
        for face in around_v:
            for w, share in rows[face_point[face]].items():
                row[w] += share / n / n
        for edge in edges_of[v]:
            for w in edge:
                row[w] += 2 / n * 0.5 / n
        rows[v] = dict(row)
    new_polygons: list[list[int]] = []
    for index, corners in enumerate(polygons):
        ring: list[int] = []
        for a, b in zip(corners, corners[1:] + corners[:1]):
            ring.append(a)
            middle = edge_point.get((min(a, b), max(a, b)))
            if middle is not None:
                ring.append(middle)
        if index not in chosen:
            new_polygons.append(ring)
            continue
        for i in range(0, len(ring), 2):
            new_polygons.append([ring[i], ring[i + 1], face_point[index], ring[i - 1]])
    matrix = sparse.lil_matrix((len(rows), count))
    for i, entries in enumerate(rows):
        for v, share in entries.items():
            matrix[i, v] = share
    return matrix.tocsr(), new_polygons, edge_point


def triangulate(polygons: list[list[int]], points: Array) -> Array:
    """(F, 3) triangles: quads along their shorter diagonal, larger polygons by the fan whose worst
    corner is least sharp.
    """
    triangles: list[tuple[int, int, int]] = []
    for corners in polygons:
        best: list[tuple[int, int, int]] = []
        best_score = -1.0
        for start in range(len(corners) if len(corners) > 3 else 1):
            turned = corners[start:] + corners[:start]
            fan = [(turned[0], turned[i], turned[i + 1]) for i in range(1, len(turned) - 1)]
            score = min(_shape_quality(points[list(triangle)]) for triangle in fan)
            if score > best_score + 1e-9:
                best, best_score = fan, score
        triangles += best
    return np.array(triangles, np.int32)


def _shape_quality(corners: Array) -> float:
    """Area over squared perimeter: large for a well-shaped triangle, 0 for a sliver."""
    a, b, c = corners[1] - corners[0], corners[2] - corners[1], corners[0] - corners[2]
    perimeter = sum(float(np.linalg.norm(side)) for side in (a, b, c))
    return float(np.linalg.norm(np.cross(a, b))) / (perimeter**2 + 1e-30)
