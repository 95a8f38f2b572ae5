"""Faces of the field's sizes and with their troubles, made from formulas: lips that fold inward to
a rim that is wider than the mouth, eyeballs of their own, a closed head.

Rings of vertices lead from the rim inside of the mouth over the lips to the back of the head.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROUND = 128
"""Vertices of a ring."""
MOUTH = ((22, 8.5, -14), (22.5, 7, -10), (23, 5, -6), (24, 3, -2), (25, 1.2, 0))
"""Half width, half height and depth before the face of the rings within the mouth, mm; the last
one is where the lips meet.
"""
LIPS = ((26, 3, 3), (27, 6, 3.5), (29, 9, 2))
"""The same of the red of the lips."""
AROUND = ((37, 18, 0),)
HEAD = np.array([75.0, 110.0, 95.0])
"""Half axes of the head, mm."""
UPPER, LOWER = 3531, 3504
"""The middle inner lip vertices of FLAME."""
RIM_UPPER, RIM_LOWER = 3514, 3497
"""The middle of the rim behind them."""


@dataclass(frozen=True)
class MadeFace:
    """A face in meters.

    Args:
        template: (V, 3) float32.
        triangles: (F, 3) int32.
        lips: Its lips: where they meet and the red, vertex indices.
        meeting: (128,) the ring where they meet.
        opening: Its middle vertices.
    """

    template: np.ndarray
    triangles: np.ndarray
    lips: np.ndarray
    meeting: np.ndarray
    opening: tuple[int, int]

    @property
    def above(self) -> dict[str, np.ndarray]:
        """Forehead and eye region by height, on the front."""
        _, y, z = self.template.T
        front = z > 0.03
        return {
            "forehead": np.flatnonzero(front & (y > 0.055)),
            "eye_region": np.flatnonzero(front & (y > 0.01) & (y < 0.045)),
        }

    def talk(self, opening: np.ndarray) -> np.ndarray:
        """(T, V, 3) float32 offsets: the lower lip and chin go down by ``opening`` (T,) meters."""
        x, y, z = self.template.T
        height = self.template[list(self.opening), 1].mean()
        below = (y < height) & (z > 0)
        share = below * np.exp(-((x / 0.03) ** 2) - ((y - height) / 0.05) ** 2)
        offsets = np.zeros((len(opening), *self.template.shape), np.float32)
        offsets[:, :, 1] = -opening[:, None] * share
        return offsets


def made_face(vertices: int, mouth_height: float, eyeballs: bool) -> MadeFace:
    """A face of so many vertices whose mouth lies at ``mouth_height`` mm."""
    balls = 2 * 546 if eyeballs else 0
    rings, last = divmod(vertices - balls, ROUND)
    angles = 2 * np.pi * np.arange(ROUND) / ROUND
    positions = []
    for wide, high, depth in (*MOUTH, *LIPS, *AROUND):
        x, y = wide * np.cos(angles), mouth_height + high * np.sin(angles)
        z = HEAD[2] * np.sqrt(1 - (x / HEAD[0]) ** 2 - (y / HEAD[1]) ** 2) + depth
        positions.append(np.stack([x, y, z], 1))
    start = positions[-1] / HEAD
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    end = -start.mean(0) / np.linalg.norm(start.mean(0))
    between = np.arccos(np.clip(start @ end, -1, 1))[:, None]
    left = rings - len(positions)
    for share in np.arange(1, left + 2) / (left + 1.6):
        way = np.sin((1 - share) * between) * start + np.sin(share * between) * end
        positions.append(HEAD * way / np.sin(between))
    tail = positions.pop()[np.round(np.arange(last) * ROUND / last).astype(int)]
    points = [*positions, tail]
    triangles = []
    for ring in range(rings - 1):
        here, there = ring * ROUND + np.arange(ROUND), (ring + 1) * ROUND + np.arange(ROUND)
        after = np.roll(here, -1), np.roll(there, -1)
        triangles += [np.stack([here, there, after[1]], 1), np.stack([here, after[1], after[0]], 1)]
    triangles.append(_stitched((rings - 1) * ROUND, ROUND, rings * ROUND, last))
    # The back of the head is closed by a fan.
    fan = rings * ROUND + np.arange(last)
    triangles.append(np.stack([np.full(last - 2, fan[0]), fan[1:-1], fan[2:]], 1))
    base = rings * ROUND + last
    for side in (-1, 1) if eyeballs else ():
        ball, faces = _ball(np.array([side * 32.0, 28.0, 78.0]), 12.0)
        points.append(ball)
        triangles.append(faces + base)
        base += len(ball)
    template = np.concatenate(points) / 1000
    faces = np.concatenate(triangles)
    inner = (len(MOUTH) - 1) * ROUND
    up, down = ROUND // 4, 3 * ROUND // 4
    order = np.arange(vertices)
    if vertices > UPPER:
        wanted = {UPPER: inner + up, LOWER: inner + down, RIM_UPPER: up, RIM_LOWER: down}
        for place, what in wanted.items():
            at = int(np.flatnonzero(order == what)[0])
            order[place], order[at] = order[at], order[place]
    new = np.argsort(order)  # old number -> new number
    lips = new[inner : inner + (1 + len(LIPS)) * ROUND]
    return MadeFace(
        template[order].astype(np.float32),
        new[faces].astype(np.int32),
        np.sort(lips),
        new[inner : inner + ROUND],
        (int(new[inner + up]), int(new[inner + down])),
    )


def flame_like() -> MadeFace:
    """5,023 vertices and 9,976 triangles, the lips' middles at FLAME's numbers."""
    return made_face(5023, -45.0, True)


def biwi6_like() -> MadeFace:
    """3,895 vertices, the lips in the paper's box."""
    return made_face(3895, -57.5, False)


def save_flame_masks(folder: Path, face: MadeFace) -> Path:
    """FLAME_masks.pkl as its owner has it: arrays by name, some vertices twice."""
    path = folder / "FLAME_masks.pkl"
    regions = {"lips": np.concatenate([face.lips, face.lips[:4]]), **face.above}
    path.write_bytes(pickle.dumps(regions, protocol=2))
    return path


def save_mesh(path: Path, face: MadeFace) -> Path:
    """An .obj file of the face."""
    rows = [f"v {x} {y} {z}" for x, y, z in face.template.tolist()]
    rows += [f"f {a} {b} {c}" for a, b, c in (face.triangles + 1).tolist()]
    path.write_text("\n".join(rows) + "\n")
    return path


def _stitched(first: int, count: int, second: int, others: int) -> np.ndarray:
    """Triangles between a ring of ``count`` vertices and one of fewer."""
    i = j = 0
    found = []
    while i < count or j < others:
        if j == others or (i < count and (i + 1) / count <= (j + 1) / others):
            found.append((first + i, second + j % others, first + (i + 1) % count))
            i += 1
        else:
            found.append((first + i % count, second + j, second + (j + 1) % others))
            j += 1
    return np.array(found)


def _ball(centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """546 vertices, 1,122 triangles: 16 rings of 34 and two poles, and a disc within."""
    polar = np.pi * np.arange(1, 17) / 17
    around = 2 * np.pi * np.arange(34) / 34
    rings = [
        np.stack(
            [np.sin(p) * np.cos(around), np.full(34, np.cos(p)), -np.sin(p) * np.sin(around)], 1
        )
        for p in polar
    ]
    points = np.concatenate([*rings, [[0, 1, 0], [0, -1, 0]]]) * radius + centre
    faces = []
    step = np.arange(34)
    after = (step + 1) % 34
    for ring in range(15):
        here, there = ring * 34, (ring + 1) * 34
        faces += [
            np.stack([here + step, there + step, there + after], 1),
            np.stack([here + step, there + after, here + after], 1),
        ]
    faces.append(np.stack([np.full(34, 544), step, after], 1))
    faces.append(np.stack([np.full(34, 545), 510 + after, 510 + step], 1))
    faces.append(np.stack([np.full(34, 544), 272 + step, 272 + after], 1))
    return points, np.concatenate(faces)
