"""Occlusion: how much of the room's light reaches each vertex.

Baked once from depth pictures taken all around the head; the mouth's changes as it opens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.face.deform import affine, measure
from jambatalk.face.face import Face
from jambatalk.render.geometry import vertex_normals
from jambatalk.render.materials import INSIDE, OCCLUSION, lighting_of, table
from jambatalk.render.rasterizer import SUBPIXEL, bin_triangles, raster_rows, sample_offsets

Array = NDArray[Any]

DIRECTIONS = 96
DEPTH_SIZE = 160  # texels across the head: a few millimetres each


def fibonacci_sphere(count: int) -> Array:
    """(count, 3) float64 unit vectors spread evenly over the sphere (golden-angle spiral)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), height, flat * np.sin(angle)], 1)


def looking_along(towards: Array) -> Array:
    """(3, 3) rotation whose rows are right, up and the direction ``towards`` the viewer."""
    back = np.asarray(towards, np.float64) / np.linalg.norm(towards)
    helper = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def flat_view(towards: Array, centre: Array, radius: float, size: int) -> Array:
    """The (3, 4) float32 map to a parallel view of a ball from ``towards``.

    Positions become column and row (texels) and nearness (metres, positive in front).
    """
    turn = looking_along(towards)
    scale = 0.5 * size / radius
    rows = np.stack([turn[0] * scale, -turn[1] * scale, turn[2]])
    shift = np.array([0.5 * size, 0.5 * size, 2.0 * radius]) - rows @ np.asarray(centre, np.float64)
    return np.column_stack([rows, shift]).astype(np.float32)


def depth_map(
    points: Array, triangles: Array, sides: Array, view: Array, size: int
) -> tuple[Array, Array]:
    """Nearness (size, size) seen through a ``flat_view``, and the points in its space (V, 3)."""
    seen = affine(points, view)
    screen = np.round(seen[:, :2] * SUBPIXEL).astype(np.int64)
    near = np.ascontiguousarray(seen[:, 2], np.float32)
    _, items = bin_triangles(screen, near, triangles, sides, size, size, size)
    best = np.zeros((size, size, 1), np.float32)
    ids = np.empty((size, size, 1), np.int32)
    raster_rows(screen, near, triangles, items, 0, size, sample_offsets(1), ids, best)
    return best[:, :, 0], seen


@njit(cache=True, nogil=True)
def _gather(
    seen: Array, depths: Array, cosine: Array, lift: float, light: Array, weight: Array
) -> None:
    size = depths.shape[0]
    for v in range(seen.shape[0]):
        if cosine[v] <= 0:
            continue
        column, row = int(seen[v, 0]), int(seen[v, 1])
        weight[v] += cosine[v]
        if 0 <= column < size and 0 <= row < size and depths[row, column] > seen[v, 2] + lift:
            continue
        light[v] += cosine[v]


def bake(vertices: Array, normals: Array, triangles: Array, sides: Array) -> Array:
    """The share of the sky (V,) in 0..1 that each vertex sees, weighted by the cosine.

    Args:
        vertices, normals: (V, 3).
        triangles: (F, 3).
        sides: (F,) raster sides; a triangle marked SKIP casts nothing.
    """
    low, high = vertices.min(0), vertices.max(0)
    centre, radius = 0.5 * (low + high), max(0.5 * float(np.linalg.norm(high - low)), 1e-3)
    texel = 2 * radius / DEPTH_SIZE
    light, weight = np.zeros(len(vertices), np.float32), np.zeros(len(vertices), np.float32)
    for towards in fibonacci_sphere(DIRECTIONS):
        view = flat_view(towards, centre, radius, DEPTH_SIZE)
        depths, _ = depth_map(vertices, triangles, sides, view, DEPTH_SIZE)
        # Tested a little off the surface, so that neither the grid nor the triangle's own slope
        # darkens it.
        lifted = affine(vertices + normals * np.float32(1.5 * texel), view)
        cosine = (normals @ towards.astype(np.float32)).astype(np.float32)
        _gather(lifted, depths, cosine, 0.25 * texel, light, weight)
    return np.where(weight > 0, light / np.maximum(weight, 1e-6), 1).astype(np.float32)


WIDE = 0.012  # metres of lip gap at which the mouth counts as open to the light
REACH_CLOSED, REACH_OPEN = 0.010, 0.034
"""Metres behind the lips after which the light has fallen to 1/e."""
LIP_THICKNESS = 0.006  # metres behind the foremost lip that are still in the open
DEEPEST = 0.20  # what is left of the light at the back of the throat
LID_SHADE = 0.70  # how dark the eye is right under the upper lid, 0..1


class MouthLight:
    """How much of the room's and of the lamps' light reaches each vertex of a frame.

    Occlusion is baked for the neutral face and, when the face can open its jaw, for the open mouth;
    a frame lies between the two by its lip gap. What lies behind the lips darkens with its depth
    behind them, less so the wider they open.
    """

    def __init__(
        self, face: Face, owner: Array, triangles: Array, materials: Array, sides: Array
    ) -> None:
        vertices = np.asarray(face.vertices, np.float32)
        rows = table(lighting_of(face))[materials]
        depth = np.ones(len(vertices), np.float32)
        depth[triangles.reshape(-1)] = np.repeat(rows[:, OCCLUSION], 3)
        self._neutral = (
            bake(vertices, vertex_normals(vertices, triangles, owner), triangles, sides) ** depth
        )
        self._open: Array | None = None
        if "jawOpen" in face.names and face.gap_vertices is not None:
            wide = np.ascontiguousarray(
                vertices + 0.6 * face.basis[face.names.index("jawOpen")], np.float32
            )
            self._open = (
                bake(wide, vertex_normals(wide, triangles, owner), triangles, sides) ** depth
            )
        self._gap_vertices = face.gap_vertices
        self._rest = self._gap(vertices)
        behind = np.zeros(len(vertices), bool)
        behind[triangles[rows[:, INSIDE] > 0].reshape(-1)] = True
        lips = face.regions.get("inner_lips", face.regions.get("lips"))
        self._lips = lips if lips is not None and len(lips) else None
        # Lips share vertices with what lies behind them; those stay lip.
        if self._lips is not None:
            behind[self._lips] = False
        self._inside = np.flatnonzero(behind)
        self._eyes = eye_shade(face, triangles, materials)

    def _gap(self, vertices: Array) -> float:
        if self._gap_vertices is None:
            return 0.0
        upper, lower = self._gap_vertices
        return float(vertices[upper, 1] - vertices[lower, 1])

    def __call__(self, vertices: Array) -> tuple[Array, Array]:
        """(V, 3) vertices -> (V,) ambient and (V,) direct light, each 0..1."""
        opening = min(max((self._gap(vertices) - self._rest) / WIDE, 0.0), 1.0)
        ambient = (
            self._neutral
            if self._open is None
            else self._neutral + np.float32(opening) * (self._open - self._neutral)
        )
        ambient = ambient.copy()
        direct = np.ones(len(vertices), np.float32)
        if self._lips is not None and len(self._inside):
            plane = float(vertices[self._lips, 2].max())
            depth = np.maximum(plane - LIP_THICKNESS - vertices[self._inside, 2], 0)
            reach = REACH_CLOSED + (REACH_OPEN - REACH_CLOSED) * opening
            direct[self._inside] = DEEPEST + (1 - DEEPEST) * np.exp(-depth / np.float32(reach))
            ambient[self._inside] = np.maximum(ambient[self._inside], 0.45)
        vertex, shade = self._eyes
        ambient[vertex] = shade
        direct[vertex] = 0.40 + 0.60 * shade
        return ambient, direct


def eye_shade(face: Face, triangles: Array, materials: Array) -> tuple[Array, Array]:
    """Eye vertices, and the light (n,) that the lids leave them.

    Darker towards the upper lid and the corners. It belongs to the socket, not to the ball, and so
    is found from where a vertex rests.
    """
    wanted = [i for i, name in enumerate(lighting_of(face)) if name in ("eye", "cornea")]
    vertex = np.unique(triangles[np.isin(materials, wanted)])
    points = np.asarray(face.vertices, np.float32)[vertex]
    shade = np.ones(len(vertex), np.float32)
    middle = measure(face).centre[0]
    for side in (points[:, 0] < middle, points[:, 0] >= middle):
        if side.any():
            low, high = points[side].min(0), points[side].max(0)
            centre, radius = 0.5 * (low + high), max(0.5 * float(high[1] - low[1]), 1e-6)
            place = (points[side] - centre) / radius
            top = np.clip((place[:, 1] - 0.05) / 0.55, 0, 1)
            corner = np.clip((np.abs(place[:, 0]) - 0.45) / 0.55, 0, 1)
            shade[side] = 1 - np.maximum(
                LID_SHADE * top * top * (3 - 2 * top), 0.5 * corner * corner
            )
    return vertex, shade
