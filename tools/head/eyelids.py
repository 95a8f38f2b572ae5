"""Eyelids: a wider resting opening, and a blink that lands the upper lid on the lower one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .basemesh import BaseMesh
from .eyes import Eye
from .lips import Spread
from .skin import Skin
from .topology import edge_loop, polygon

Array = NDArray[Any]

# One base vertex above the left pupil for each ring around the eye, from the ball outwards.
RINGS = {"inner": 7774, "edge": 13352, "margin": 6785, "lash": 11465, "outer": 6787, "fold": 6930}
RING_LENGTH = 28
OPENER = 0.04  # of a blink, undone at rest: the source looks sleepy


@dataclass(frozen=True)
class Eyelid:
    """Rings around one eye on the skin, each (28,) vertices; ``upper`` and ``lower`` are the
    margin's halves between the corners, both from the smaller to the larger x (corners in both).
    """

    rings: dict[str, Array]
    upper: Array
    lower: Array


def find_eyelids(mesh: BaseMesh, skin: Skin, template: Array) -> dict[str, Eyelid]:
    """ "Left" and "Right" -> the eyelid of that side."""
    near = [
        polygon(quad)
        for quad in mesh.quads["body"]
        if np.linalg.norm(template[quad].mean(axis=0) - [0.029, 0, 0.01]) < 0.05
    ]
    own = np.full(len(template), -1)
    kept = np.flatnonzero(skin.source >= 0)
    own[skin.source[kept]] = kept
    out = {}
    rings = {}
    for name, start in RINGS.items():
        side = _ring_neighbour(near, start, template)
        rings[name] = np.array(edge_loop(near, start, side, RING_LENGTH))
    for side_name in ("Left", "Right"):
        here = {
            name: own[ring if side_name == "Left" else mesh.mirror[ring]]
            for name, ring in rings.items()
        }
        margin = here["margin"]
        points = skin.carry(template)[margin]
        first, last = int(points[:, 0].argmin()), int(points[:, 0].argmax())
        one, other = _arc(margin, first, last), _arc(margin, last, first)[::-1]
        y = skin.carry(template)[:, 1]
        upper, lower = (one, other) if y[one].mean() > y[other].mean() else (other, one)
        out[side_name] = Eyelid(here, upper, lower)
    return out


def _arc(ring: Array, start: int, end: int) -> Array:
    """The ring's vertices from one index forward to another, both included."""
    count = (end - start) % len(ring) + 1
    return ring[(start + np.arange(count)) % len(ring)]


def _ring_neighbour(polygons: list[list[int]], start: int, points: Array) -> int:
    """The neighbor of ``start`` along the ring, on the side of the larger x."""
    beside = set()
    for corners in polygons:
        if start in corners:
            i = corners.index(start)
            beside |= {corners[i - 1], corners[(i + 1) % len(corners)]}
    return max(beside, key=lambda v: float(points[v, 0]))


def wake(points: Array, shapes: dict[str, Array]) -> Array:
    """(V, 3) points with the eyes a little further open."""
    return np.asarray(points - OPENER * (shapes["eyeBlinkLeft"] + shapes["eyeBlinkRight"]))


def landing_blink(
    blink: Array, points: Array, lid: Eyelid, triangles: Array, centre: Array, radius: float
) -> Array:
    """(V, 3) the blink after which the upper margin lies on the lower one and no lid vertex is
    inside the ball.

    points: (V, 3) the woken rest; centre (3,), radius: the eyeball, metres.
    """
    goal_points = (points + blink)[lid.lower]
    x = (points + blink)[lid.upper, 0]
    goal = np.stack([np.interp(x, goal_points[:, 0], goal_points[:, k]) for k in range(3)], axis=1)
    goal[:, 0] = x
    fade = np.sin(np.pi * np.linspace(0.0, 1.0, len(lid.upper)))
    goal += np.outer(np.minimum(fade * 3.0, 1.0), [0.0, -0.0002, 0.0003])
    ring = lid.upper[1:-1]
    corrections = (goal - (points + blink)[lid.upper])[1:-1]
    border = np.concatenate([lid.rings["inner"], lid.rings["fold"]])
    lower_side = np.setdiff1d(lid.lower, lid.upper[[0, -1]])
    free = _area(triangles, ring, np.concatenate([border, lower_side, lid.upper[[0, -1]]]))
    out = blink + Spread(len(points), triangles, ring, free)(corrections)
    around = np.union1d(free, ring)
    from_centre = points[around] + out[around] - centre
    distance = np.linalg.norm(from_centre, axis=1)
    skin_side = np.linalg.norm(points[around] - centre, axis=1) > radius + 0.0002
    short = np.where(skin_side, np.maximum(radius + 0.0007 - distance, 0.0), 0.0)
    out[around] += from_centre / distance[:, None] * short[:, None]
    return np.asarray(out)


# What can press a lid against its ball, alone or together; each group is cleared with all of it at
# full weight.
PRESSING = (
    ("eyeSquint{}",),
    ("cheekSquint{}",),
    ("eyeSquint{}", "cheekSquint{}"),
    ("eyeSquint{}", "cheekSquint{}", "mouthSmile{}"),
    ("eyeLookUp{}",),
    ("eyeLookDown{}",),
    ("eyeLookIn{}",),
    ("eyeLookOut{}",),
    ("eyeWide{}",),
    ("noseSneer{}",),
    ("browDown{}",),
)


def cleared(shapes: dict[str, Array], points: Array, eye: Eye, radius: float) -> dict[str, Array]:
    """The shapes, changed where they push skin around one eye into its ball; what a group lacks is
    shared among its shapes.
    """
    out = dict(shapes)
    rest = np.linalg.norm(points - eye.centre, axis=1)
    outside = np.flatnonzero(
        (rest > radius + 0.0003) & (rest < radius + 0.012) & (points[:, 2] > eye.centre[2] + 0.003)
    )
    for group in PRESSING:
        names = [name.format(eye.side) for name in group]
        moved = points[outside] + sum(out[name][outside] for name in names)
        away = moved - eye.centre
        distance = np.linalg.norm(away, axis=1)
        # As much room as at rest, but no more than a millimetre is asked for.
        room = radius + np.minimum(rest[outside] - radius, 0.0010)
        push = away / distance[:, None] * np.maximum(room - distance, 0.0)[:, None]
        for name in names:
            out[name] = out[name].copy()
            out[name][outside] += push / len(names)
    return out


def _area(triangles: Array, seeds: Array, border: Array) -> Array:
    neighbours: dict[int, set[int]] = {}
    for a, b, c in triangles.tolist():
        for u, v in ((a, b), (b, c), (c, a)):
            neighbours.setdefault(u, set()).add(v)
            neighbours.setdefault(v, set()).add(u)
    blocked, seen, grow = set(border.tolist()), set(seeds.tolist()), seeds.tolist()
    while grow:
        for w in neighbours[grow.pop()]:
            if w not in seen and w not in blocked:
                seen.add(w)
                grow.append(w)
    return np.array(sorted(seen))
