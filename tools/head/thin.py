"""Fewer triangles where nobody looks: vertices are collapsed onto a neighbour, all others stay
exactly where they are.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bust import compact
from .part import Part
from .topology import edge_faces

Array = NDArray[Any]


def thinned(part: Part, may_go: Array, count: int) -> Part:
    """The part with up to ``count`` of the vertices ``may_go`` (indices) collapsed onto neighbours,
    cheapest first.

    The cost of a collapse is the quadric error of Garland and Heckbert 1997. Open edges stay, and
    so does a vertex whose collapse would turn a triangle over. Regions lose the vertices that go.
    """
    points = part.vertices
    faces: dict[int, set[int]] = {}
    triangles = [list(map(int, triangle)) for triangle in part.triangles]
    for f, triangle in enumerate(triangles):
        for v in triangle:
            faces.setdefault(v, set()).add(f)
    open_edge = {
        v for edge, around in edge_faces(triangles).items() if len(around) != 2 for v in edge
    }
    quadric = np.zeros((len(points), 4, 4))
    for triangle in triangles:
        a, b, c = points[triangle]
        normal = np.cross(b - a, c - a)
        area = float(np.linalg.norm(normal)) + 1e-30
        plane = np.append(normal / area, -(normal / area) @ a)
        for v in triangle:
            quadric[v] += 0.5 * area * np.outer(plane, plane)

    def neighbours(v: int) -> set[int]:
        return {w for f in faces[v] for w in triangles[f]} - {v}

    def best(v: int) -> tuple[float, int] | None:
        found: tuple[float, int] | None = None
        around = neighbours(v)
        for u in around:
            shared = faces[v] & faces[u]
            if (
                len(shared) != 2
                or len(neighbours(u) & around) != 2
                or not _stays(points, triangles, faces[v] - shared, v, u)
            ):
                continue
            place = np.append(points[u], 1.0)
            # Long edges cost a little, so that flat areas thin out evenly.
            length = float(np.linalg.norm(points[u] - points[v]))
            cost = float(place @ (quadric[v] + quadric[u]) @ place) + 1e-5 * length**4
            if found is None or cost < found[0]:
                found = (cost, u)
        return found

    queue: list[tuple[float, int, int]] = []
    for v in np.asarray(may_go).tolist():
        choice = best(v) if v in faces and v not in open_edge else None
        if choice:
            heapq.heappush(queue, (choice[0], v, choice[1]))
    gone = 0
    alive = [True] * len(triangles)
    while queue and gone < count:
        cost, v, u = heapq.heappop(queue)
        if not faces.get(v):
            continue
        choice = best(v)
        if choice is None:
            continue
        if choice[0] > cost * 1.0001 + 1e-30:
            heapq.heappush(queue, (choice[0], v, choice[1]))
            continue
        u = choice[1]
        for f in list(faces[v]):
            if u in triangles[f]:
                alive[f] = False
                for w in triangles[f]:
                    faces[w].discard(f)
            else:
                triangles[f][triangles[f].index(v)] = u
                faces[u].add(f)
        faces[v] = set()
        quadric[u] += quadric[v]
        gone += 1
    keep = np.array(alive)
    part.material = part.materials()[keep]
    part.triangles = np.array(triangles)[keep]
    return compact(part)


def _stays(points: Array, triangles: list[list[int]], around: set[int], v: int, u: int) -> bool:
    """Whether every triangle around v keeps its side when v moves onto u."""
    for f in around:
        corners = points[triangles[f]]
        moved = points[[u if w == v else w for w in triangles[f]]]
        before = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        after = np.cross(moved[1] - moved[0], moved[2] - moved[0])
        if before @ after < 0.3 * np.linalg.norm(before) * np.linalg.norm(after):
            return False
    return True
