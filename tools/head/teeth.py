"""Two rows of fourteen teeth on dental arches, each crown with its own measures, and the gums they
stand in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.head import ARKIT_NAMES

from .part import Part
from .rigid import Fit, Rigid

Array = NDArray[Any]


@dataclass(frozen=True)
class Crown:
    """One tooth in millimetres: width along the arch, height, depth at the neck and at the biting
    edge, drop of that edge beyond the row's, how much the edge is rounded (0 flat .. 1 pointed).
    """

    width: float
    height: float
    neck_depth: float
    edge_depth: float
    drop: float = 0.0
    point: float = 0.15


# From the middle backwards; measures after the usual tables of dental anatomy (mean permanent
# teeth).
UPPER = (
    Crown(8.5, 11.4, 6.5, 1.6, 0.0, 0.10),
    Crown(6.6, 10.0, 5.8, 1.5, -0.9, 0.22),
    Crown(7.5, 11.0, 7.5, 2.2, 0.1, 0.60),
    Crown(7.0, 9.4, 8.5, 6.0, -0.8, 0.40),
    Crown(6.7, 8.8, 8.5, 6.2, -1.1, 0.32),
    Crown(10.0, 7.5, 10.5, 8.8, -1.3, 0.15),
    Crown(9.0, 7.0, 10.5, 8.8, -1.4, 0.15),
)
LOWER = (
    Crown(5.3, 8.8, 5.7, 1.4, 0.0, 0.08),
    Crown(5.8, 9.0, 6.0, 1.5, 0.0, 0.12),
    Crown(6.9, 10.5, 7.2, 2.2, 0.6, 0.50),
    Crown(7.0, 8.5, 7.5, 5.6, 0.2, 0.38),
    Crown(7.1, 8.0, 8.0, 6.4, 0.0, 0.25),
    Crown(10.8, 7.5, 10.0, 8.8, -0.2, 0.15),
    Crown(10.3, 7.0, 10.0, 8.8, -0.3, 0.15),
)


@dataclass(frozen=True)
class Arch:
    """An elliptic dental arch in millimetres: the front at z = front, half as wide as
    ``half_width``, biting edge at y = edge.

    up: +1 when the roots point up (upper row), -1 for the lower row.
    """

    front: float
    half_width: float
    depth: float
    edge: float
    up: int
    crowns: tuple[Crown, ...]

    def at(self, length: Array) -> tuple[Array, Array]:
        """Points (n, 2) x, z and outward normals (n, 2) at arc lengths from the middle, positive to
        the left.
        """
        angle = np.linspace(0.0, 0.5 * np.pi, 2000)
        x, z = self.half_width * np.sin(angle), self.front - self.depth * (1.0 - np.cos(angle))
        s = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
        t = np.interp(np.abs(length), s, angle)
        sign = np.where(length < 0, -1.0, 1.0)
        points = np.stack(
            [sign * self.half_width * np.sin(t), self.front - self.depth * (1.0 - np.cos(t))],
            axis=-1,
        )
        normal = np.stack([sign * np.sin(t) * self.depth, np.cos(t) * self.half_width], axis=-1)
        return points, normal / np.linalg.norm(normal, axis=-1, keepdims=True)

    def places(self) -> list[tuple[float, Crown]]:
        """(arc length of the tooth's middle, its crown) of all teeth, from right to left."""
        ends = np.cumsum([crown.width for crown in self.crowns])
        middle = [float(end - crown.width / 2) for end, crown in zip(ends, self.crowns)]
        half = list(zip(middle, self.crowns))
        return [(-s, crown) for s, crown in half[::-1]] + half


# The lips' inner side lies 2 mm in front of the upper row at rest; the lower row bites 2 mm behind
# the upper one.
UPPER_ARCH = Arch(front=20.5, half_width=27.0, depth=41.0, edge=-64.1, up=1, crowns=UPPER)
LOWER_ARCH = Arch(front=18.2, half_width=25.2, depth=40.0, edge=-64.6, up=-1, crowns=LOWER)

# One horizontal section of a crown: (across -1..1, out 1 = front .. -1 = back), rounder behind than
# in front.
SECTION = np.array(
    [
        [-0.98, 0.25],
        [-0.80, 0.80],
        [-0.30, 0.99],
        [0.30, 0.99],
        [0.80, 0.80],
        [0.98, 0.25],
        [0.62, -0.85],
        [-0.62, -0.85],
    ]
)
# Levels of a crown from the neck (0) to the biting edge (1), and the width there.
LEVELS = ((-0.12, 0.74), (0.12, 0.84), (0.45, 0.96), (0.78, 1.0), (0.95, 0.965))


def crown_mesh(arch: Arch, middle: float, crown: Crown) -> tuple[Array, Array, Array]:
    """(vertices (n, 3) mm, triangles (f, 3), level (n,) 0 at the neck .. 1 at the edge) of one
    tooth.
    """
    points, normals = arch.at(np.array([middle]))
    out = np.array([normals[0, 0], 0.0, normals[0, 1]])
    along = np.array([out[2], 0.0, -out[0]])
    root = np.array([points[0, 0], arch.edge - arch.up * crown.drop, points[0, 1]])
    up = np.array([0.0, float(arch.up), 0.0])
    rows, levels = [], []
    for level, wide in LEVELS:
        depth = crown.neck_depth + (crown.edge_depth - crown.neck_depth) * max(level, 0.0) ** 0.8
        belly = 0.45 * np.sin(np.pi * np.clip(level, 0.0, 1.0)) - 0.5 * (1.0 - level) * (
            crown.edge_depth < 3
        )
        across = SECTION[:, 0] * 0.5 * crown.width * wide * 1.01
        forth = (SECTION[:, 1] - 1.0) * 0.5 * depth + belly
        # The edge is higher at its sides: a little on incisors, much on canines.
        side = np.abs(SECTION[:, 0]) ** 1.6 * crown.point * 2.4 * max(level, 0.0) ** 3
        rise = (1.0 - level) * crown.height + side
        rows.append(root + np.outer(across, along) + np.outer(forth, out) + np.outer(rise, up))
        levels.append(np.full(len(SECTION), level))
    cap = rows[-1].mean(axis=0) - up * (0.05 * crown.height * 0.7) * (
        1.0 if crown.edge_depth < 3 else -0.6
    )
    vertices = np.concatenate([*rows, cap[None]])
    n = len(SECTION)
    triangles = []
    for r in range(len(rows) - 1):
        for i in range(n):
            a, b, c, d = r * n + i, r * n + (i + 1) % n, (r + 1) * n + (i + 1) % n, (r + 1) * n + i
            triangles += [(a, b, c), (a, c, d)]
    last = (len(rows) - 1) * n
    triangles += [(last + i, last + (i + 1) % n, len(vertices) - 1) for i in range(n)]
    faces = np.array(triangles)
    return vertices, outward(vertices, faces), np.concatenate([*levels, [1.0]])


def outward(vertices: Array, triangles: Array) -> Array:
    """The triangles of a closed or nearly closed convex body, turned so that they are
    counter-clockwise from outside.
    """
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    volume = np.einsum("ij,ij->", np.cross(b - a, c - a), a - vertices.mean(axis=0))
    return triangles if volume > 0 else triangles[:, ::-1]


def row_of_teeth(arch: Arch) -> tuple[Array, Array, Array]:
    """(vertices (n, 3) metres, triangles, colours (n, 3)) of the fourteen crowns of one arch."""
    vertices, triangles, colours = [], [], []
    start = 0
    for middle, crown in arch.places():
        points, faces, level = crown_mesh(arch, middle, crown)
        vertices.append(points)
        triangles.append(faces + start)
        colours.append(tooth_colours(points, level, abs(middle), arch.front))
        start += len(points)
    return np.concatenate(vertices) * 1e-3, np.concatenate(triangles), np.concatenate(colours)


def tooth_colours(points: Array, level: Array, distance: float, front: float) -> Array:
    """(n, 3) sRGB: warmer at the neck and further back, a little darker there."""
    t = np.clip(level, 0.0, 1.0)[:, None]
    colour = (1.0 - t) * np.array([0.95, 0.88, 0.77]) + t * np.array([1.0, 0.975, 0.92])
    colour = colour * (1.0 - 0.03 * np.clip(distance / 12.0, 0.0, 1.0) * np.array([0.3, 0.7, 1.6]))
    shade = np.clip(1.02 - (front - points[:, 2]) / 90.0, 0.6, 1.0)
    return np.asarray(colour * shade[:, None])


def gum_mesh(arch: Arch) -> tuple[Array, Array, Array]:
    """(vertices (n, 3) metres, triangles, colours) of one gum: a tube along the arch whose rim
    rises over each tooth.
    """
    stations: list[
        tuple[float, float, Crown]
    ] = []  # arc length, rim height towards the root, crown
    places = arch.places()
    for index, (middle, crown) in enumerate(places):
        if index == 0:
            stations.append((middle - crown.width / 2 - 1.5, crown.height * 0.75, crown))
        for across, rise in ((-0.5, 0.80), (-0.22, 0.95), (0.22, 0.95)):
            stations.append((middle + across * crown.width, crown.height * rise, crown))
    middle, crown = places[-1]
    stations.append((middle + crown.width / 2 + 1.5, crown.height * 0.75, crown))
    lengths = np.array([s for s, _, _ in stations])
    points, normals = arch.at(lengths)
    rows = []
    for point, normal, (_, rim, crown) in zip(points, normals, stations):
        # (out, towards the root) around the tube: rim, swelling, upper front, upper back, inner
        # rim.
        inner = -crown.neck_depth
        profile = [
            (-0.35, rim),
            (0.35, rim + 1.6),
            (0.2, rim + 6.5),
            (inner - 1.0, rim + 6.5),
            (inner + 0.2, rim),
        ]
        base = arch.edge - arch.up * crown.drop
        rows.append(
            [
                [point[0] + o * normal[0], base + arch.up * h, point[1] + o * normal[1]]
                for o, h in profile
            ]
        )
    grid = np.array(rows)  # (stations, 5, 3)
    n, m = grid.shape[:2]
    triangles = []
    for i in range(n - 1):
        for j in range(m):
            a, b, c, d = i * m + j, i * m + (j + 1) % m, (i + 1) * m + (j + 1) % m, (i + 1) * m + j
            triangles += [(a, b, c), (a, c, d)]
    vertices = grid.reshape(-1, 3)
    faces = np.array(triangles)
    a, b, c = vertices[faces[2 * m * (n // 2) + 2]]
    if np.cross(b - a, c - a)[2] < 0:
        faces = faces[:, ::-1]
    shade = np.clip(1.0 - (arch.front - vertices[:, 2]) / 80.0, 0.5, 1.0)
    colour = np.where(
        (np.arange(len(vertices)) % m < 2)[:, None], [0.76, 0.45, 0.44], [0.68, 0.36, 0.36]
    )
    return vertices * 1e-3, faces, colour * shade[:, None]


JAW_SHAPES = ("jawOpen", "jawForward", "jawLeft", "jawRight")


def jaw_basis(points: Array, motions: dict[str, Rigid]) -> Array:
    """(52, n, 3): the lower jaw's rigid motions for points that belong to it."""
    basis = np.zeros((len(ARKIT_NAMES), len(points), 3))
    for name, motion in motions.items():
        basis[ARKIT_NAMES.index(name)] = motion.offsets(points)
    return basis


def teeth_parts(jaw: dict[str, Rigid], fits: dict[str, Fit]) -> list[Part]:
    """Upper and lower teeth and gums. jaw: the lower jaw's motions; fits: identity -> how its mouth
    differs.
    """
    parts = []
    for arch, side in ((UPPER_ARCH, "upper"), (LOWER_ARCH, "lower")):
        for mesh, material in ((row_of_teeth(arch), "teeth"), (gum_mesh(arch), "gums")):
            points, triangles, colours = mesh
            everything = np.arange(len(points))
            regions = {material: everything, f"{side}_{material}": everything}
            parts.append(
                Part(
                    vertices=points,
                    triangles=triangles,
                    basis=jaw_basis(points, jaw if side == "lower" else {}),
                    identities={name: fit.offsets(points) for name, fit in fits.items()},
                    colours=colours,
                    material=material,
                    regions=regions,
                )
            )
    return parts
