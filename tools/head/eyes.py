"""Eyeballs whose rings lie on the edges of pupil, iris and limbus, so that colours end where they
should.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.head import ARKIT_NAMES

from .basemesh import BaseMesh
from .identities import EYE_COLOURS, IDENTITIES, TEMPLATE, TEMPLATE_EYES, person
from .part import Part
from .rigid import Rigid, fit_scale

Array = NDArray[Any]

RADIUS = 0.01535  # metres, of the base mesh's ball, which the lids are fitted to
SEGMENTS = 24
IRIS = 6.1  # millimetres from the axis: where the iris ends
# (distance from the axis in mm, role) from the pupil outwards.
RINGS = (
    (1.0, "pupil"),
    (1.95, "pupil"),
    (2.2, "collar"),
    (3.3, "iris"),
    (4.5, "iris"),
    (5.2, "rim"),
    (5.75, "limbus"),
    (6.2, "edge"),
    (6.9, "sclera"),
    (9.4, "sclera"),
    (12.3, "sclera"),
    (14.8, "sclera"),
)
# Degrees at weight 1. Face Units turns the balls by 10 to 15; people reach three times that.
LOOK = {"Up": 13.0, "Down": 15.0, "In": 24.0, "Out": 24.0}


@dataclass(frozen=True)
class Eye:
    """One eyeball of the template: side "Left" or "Right", centre (3,) metres."""

    side: str
    centre: Array


def find_eyes(mesh: BaseMesh) -> list[Eye]:
    """Both eyeballs' centres on the template."""
    template = person(mesh, TEMPLATE)
    eyes = []
    for side in ("Left", "Right"):
        ball = np.unique(mesh.quads[f"helper-{side[0].lower()}-eye"])
        eyes.append(Eye(side, template[ball].mean(axis=0)))
    return eyes


def look_motion(eye: Eye, direction: str) -> Rigid:
    """The ball's turn at weight 1 of eyeLook{direction}{side}; "In" is towards the nose."""
    angle = np.radians(LOOK[direction])
    cosine, sine = np.cos(angle), np.sin(angle)
    if direction in ("Up", "Down"):
        s = -sine if direction == "Up" else sine
        rotation = np.array([[1, 0, 0], [0, cosine, -s], [0, s, cosine]])
    else:
        outward = 1.0 if eye.side == "Left" else -1.0
        s = sine * outward * (1.0 if direction == "Out" else -1.0)
        rotation = np.array([[cosine, 0, s], [0, 1, 0], [-s, 0, cosine]])
    return Rigid(rotation, eye.centre, np.zeros(3))


def ball_mesh(eye: Eye) -> tuple[Array, Array, Array, Array]:
    """(vertices (n, 3), triangles, distance from the axis in mm (n,), turn about it in radians
    (n,)); open at the back.
    """
    turn = np.arange(SEGMENTS) * 2.0 * np.pi / SEGMENTS
    rows = [np.array([[0.0, 0.0, 1e3 * RADIUS + _bulge(0.0)]])]
    far, turns = [np.zeros(1)], [np.zeros(1)]
    for distance, _ in RINGS:
        height = np.sqrt((1e3 * RADIUS) ** 2 - distance**2) + _bulge(distance)
        rows.append(
            np.stack(
                [distance * np.cos(turn), distance * np.sin(turn), np.full(SEGMENTS, height)],
                axis=1,
            )
        )
        far.append(np.full(SEGMENTS, distance))
        turns.append(turn)
    triangles = [(0, 1 + i, 1 + (i + 1) % SEGMENTS) for i in range(SEGMENTS)]
    for r in range(len(RINGS) - 1):
        for i in range(SEGMENTS):
            a, b = 1 + r * SEGMENTS + i, 1 + r * SEGMENTS + (i + 1) % SEGMENTS
            triangles += [(a, a + SEGMENTS, b + SEGMENTS), (a, b + SEGMENTS, b)]
    vertices = np.concatenate(rows) * 1e-3 + eye.centre
    return vertices, np.array(triangles), np.concatenate(far), np.concatenate(turns)


def _bulge(distance: float) -> float:
    """How far the cornea stands out of the ball, in mm."""
    return 0.35 * max(0.0, 1.0 - (distance / IRIS) ** 2)


def eye_colours(
    points: Array, eye: Eye, far: Array, turn: Array, iris: tuple[Array, Array]
) -> Array:
    """(n, 3) sRGB. iris: (inner, outer) colour. The white is warm, redder in the corners, shaded
    under the upper lid.
    """
    inner, outer = iris
    streak = (
        1.0
        + 0.16 * np.sin(turn * 9 + 1.3) * np.sin(turn * 5 + 0.4)
        + 0.10 * np.sin(turn * 13 + 2.0)
    )
    roles = np.concatenate([["pupil"], np.repeat([role for _, role in RINGS], SEGMENTS)])
    outness = np.clip((far - 2.2) / 3.0, 0.0, 1.0)[:, None]
    coloured = (inner * (1.0 - outness) + outer * outness) * streak[:, None]
    across = (points - eye.centre) * 1e3
    corner = np.clip((np.abs(across[:, 0]) - 8.0) / 5.0, 0.0, 1.0)[:, None]
    white = np.array([0.86, 0.84, 0.815]) * (1.0 - corner) + np.array([0.85, 0.72, 0.68]) * corner
    colours = np.where((roles == "sclera")[:, None], white, coloured)
    colours[roles == "collar"] = (inner * 0.8 * streak[:, None])[roles == "collar"]
    colours[roles == "rim"] = (outer * 0.72 * streak[:, None])[roles == "rim"]
    colours[roles == "limbus"] = 0.38 * outer + 0.03
    colours[roles == "edge"] = 0.55 * white[roles == "edge"] + 0.45 * (0.38 * outer + 0.03)
    colours[roles == "pupil"] = [0.015, 0.013, 0.015]
    shade = (
        1.0 - 0.12 * _step((across[:, 1] - 1.5) / 4.5) - 0.10 * _step((-across[:, 1] - 4.0) / 3.0)
    )
    return np.clip(colours * shade[:, None], 0.0, 1.0)


def _step(t: Array) -> Array:
    t = np.clip(t, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def eye_parts(mesh: BaseMesh) -> list[Part]:
    """The two eyeballs, each turning rigidly with its four eyeLook shapes."""
    template = person(mesh, TEMPLATE)
    parts = []
    for eye in find_eyes(mesh):
        points, triangles, far, turn = ball_mesh(eye)
        helper = np.unique(mesh.quads[f"helper-{eye.side[0].lower()}-eye"])
        identities, colours = {}, {}
        for name, recipe in IDENTITIES.items():
            fit = fit_scale(template[helper], (person(mesh, recipe) - template)[helper])
            identities[name] = fit.offsets(points)
            colours[name] = eye_colours(points, eye, far, turn, EYE_COLOURS[name])
        basis = np.zeros((len(ARKIT_NAMES), len(points), 3))
        for direction in LOOK:
            basis[ARKIT_NAMES.index(f"eyeLook{direction}{eye.side}")] = look_motion(
                eye, direction
            ).offsets(points)
        everything = np.arange(len(points))
        parts.append(
            Part(
                vertices=points,
                triangles=triangles,
                basis=basis,
                identities=identities,
                colours=eye_colours(points, eye, far, turn, TEMPLATE_EYES),
                material="eye",
                regions={
                    "eyes": everything,
                    f"eye_{eye.side.lower()}": everything,
                    f"pupil_{eye.side.lower()}": np.flatnonzero(far <= 1.95),
                },
                identity_colours=colours,
            )
        )
    return parts
