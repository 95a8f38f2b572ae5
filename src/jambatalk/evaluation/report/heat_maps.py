"""Values of vertices as colours on the face: where a system errs, and how much each part of the face moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.evaluation.report.pictures import png, require_matplotlib
from jambatalk.face.face import Face
from jambatalk.render import frame_face
from jambatalk.render.geometry import affine, vertex_normals
from jambatalk.render.raster import TWO_SIDED, bin_triangles, project, raster_rows, sample_offsets

Array = NDArray[Any]

COLOUR_MAP = "viridis"
"""Perceptually uniform, and told apart by people who confuse red and green."""
FORM = 0.22
"""Share of the brightness that follows the face's form: enough to see a nose, too little to be taken for a value."""
TOP_SHARE = 0.995
"""The brightest colour stands for this quantile of all values shown, so that one odd vertex does not darken the rest."""


class MotionMap:
    """Collects over clips, for each vertex, the mean distance from the truth and how much the vertex moves.

    error (V,): mean over all frames of |p - y|. moved (V,): root of the mean over clips of the variance over time of the
    position. Both in the unit of the positions.
    """

    def __init__(self, vertices: int) -> None:
        self._apart, self._variance = np.zeros(vertices), np.zeros(vertices)
        self._frames = self._clips = 0

    def add(self, true: Array, predicted: Array) -> None:
        """One clip: positions (T, V, 3) each."""
        self._apart += np.linalg.norm(predicted - true, axis=2).sum(0, np.float64)
        self._variance += predicted.var(0, np.float64).sum(1)
        self._frames += len(true)
        self._clips += 1

    @property
    def error(self) -> Array:
        return self._apart / max(self._frames, 1)

    @property
    def moved(self) -> Array:
        return np.sqrt(self._variance / max(self._clips, 1))


@dataclass(frozen=True)
class Scale:
    """What the colours mean: 0 to ``top``. ticks: values to be written beside the bar. colours: CSS, from 0 to top."""

    top: float
    ticks: tuple[float, ...]
    colours: tuple[str, ...]


def shared_scale(maps: Sequence[Array]) -> Scale:
    """One scale for all these maps (V,) of values from 0 on."""
    highest = float(np.quantile(np.concatenate(list(maps)), TOP_SHARE)) if maps else 0.0
    top = highest if highest > 0 else 1.0
    step = nice_step(top / 5)
    ticks = tuple(round(step * n, 10) for n in range(int(top / step + 1e-9) + 1))
    shown = [colour_table()[round(255 * n / 15)] for n in range(16)]
    return Scale(top, ticks, tuple("rgb({},{},{})".format(*(round(255 * c) for c in colour)) for colour in shown))


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``least``; 1 for nothing."""
    if not least > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9)))


def colour_table() -> Array:
    """(256, 3) sRGB in 0..1."""
    require_matplotlib()
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOUR_MAP](np.arange(256)))[:, :3]


class FrontView:
    """A face from the front, ready to be painted with values again and again.

    template: (V, 3) positions in any unit. triangles: (F, 3). size: pixels each way.
    """

    def __init__(self, template: Array, triangles: Array, size: int = 320, supersample: int = 3) -> None:
        vertices = np.ascontiguousarray(template / max(float(np.ptp(template, axis=0).max()), 1e-9), np.float32)
        corners = np.ascontiguousarray(triangles, np.int32)
        camera = frame_face(Face(vertices, corners))
        rotation = camera.rotation()
        view = affine(vertices, np.column_stack([rotation, -rotation @ np.asarray(camera.position)]).astype(np.float32))
        screen, near = project(view, camera.focal(size), size, size)
        sides = np.full(len(corners), TWO_SIDED, np.uint8)
        _, items = bin_triangles(screen, near, corners, sides, size, size, size)
        offsets = sample_offsets(supersample)
        ids = np.full((size, size, len(offsets)), -1, np.int32)
        raster_rows(screen, near, corners, items, 0, size, offsets, ids, np.zeros(ids.shape, np.float32))
        self.seen = ids >= 0
        self.corners = corners[ids[self.seen]]  # (N, 3) vertices around each covered sample
        rows, columns, sample = np.nonzero(self.seen)
        spots = np.stack([columns, rows], 1) * 256 + offsets[sample]
        self.shares = _shares(screen[self.corners].astype(np.float64), spots)  # (N, 3)
        facing = np.abs(vertex_normals(view, corners, np.arange(len(vertices), dtype=np.int32))[:, 2])
        self._form = (self._at(facing) * FORM + (1 - FORM))[:, None]

    def _at(self, values: Array) -> Array:
        return np.asarray((values[self.corners] * self.shares).sum(1))

    def paint(self, values: Array, scale: Scale) -> bytes:
        """Values (V,) as a PNG with a transparent ground."""
        level = np.clip(self._at(np.asarray(values, np.float64)) / scale.top, 0, 1)
        colours = np.zeros((*self.seen.shape, 3))
        colours[self.seen] = colour_table()[np.round(level * 255).astype(int)] * self._form
        cover = self.seen.mean(2)
        shown = colours.sum(2) / np.maximum(self.seen.sum(2), 1)[:, :, None]
        return png(np.concatenate([shown, cover[:, :, None]], axis=2))


def _shares(triangles: Array, spots: Array) -> Array:
    """(N, 3) barycentric coordinates of spots (N, 2) in triangles (N, 3, 2)."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]

    def cross(one: Array, other: Array) -> Array:
        return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])

    whole = cross(b - a, c - a)
    return np.stack([cross(b - spots, c - spots), cross(c - spots, a - spots), cross(a - spots, b - spots)], 1) / whole[:, None]
