"""Sealing the lips: the two sides of the mouth line lie on one curve, at rest and in every shape
that keeps them shut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

Array = NDArray[Any]


@dataclass(frozen=True)
class MouthLine:
    """Where the lips touch: ``upper`` and ``lower`` vertices, each from the right corner to the
    left one (corners in both).

    s_upper, s_lower: the position of each vertex along the line, the x of the template's vertex,
    growing from right to left.
    """

    upper: Array
    lower: Array
    s_upper: Array
    s_lower: Array

    @property
    def ring(self) -> Array:
        """All vertices of the line: upper from right corner to left corner, then lower back."""
        return np.concatenate([self.upper, self.lower[-2:0:-1]])

    def both(self, upper_values: Array, lower_values: Array, share: float) -> tuple[Array, Array]:
        """One curve for both sides, ``share`` of it from the lower one: sampled at the upper and at
        the lower vertices.
        """
        on_lower = share * lower_values + (1.0 - share) * _along(
            self.s_lower, self.s_upper, upper_values
        )
        # The lower side has fewer vertices: the upper ones are laid on its segments, so that no
        # slit remains between them.
        return _along(self.s_upper, self.s_lower, on_lower), on_lower

    def gap(self, values: Array) -> Array:
        """(n_upper, 3) upper minus lower along the line, for values (V, 3) at all vertices."""
        return np.asarray(
            values[self.upper] - _along(self.s_upper, self.s_lower, values[self.lower])
        )


def _along(at: Array, s: Array, values: Array) -> Array:
    return np.stack([np.interp(at, s, column) for column in values.T], axis=1)


class Spread:
    """Carries corrections of the mouth line smoothly into the lips around it (harmonic, zero at the
    border of the area).
    """

    def __init__(self, count: int, triangles: Array, ring: Array, free: Array) -> None:
        edges = np.unique(
            np.sort(
                np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]),
                axis=1,
            ),
            axis=0,
        )
        rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
        graph = sparse.coo_matrix(
            (np.ones(len(rows)), (rows, columns)), shape=(count, count)
        ).tocsr()
        laplacian = (sparse.diags(np.asarray(graph.sum(axis=1)).ravel()) - graph).tocsr()
        self._free = np.setdiff1d(free, ring)
        self._ring = ring
        self._count = count
        self._solve = splu(laplacian[self._free][:, self._free].tocsc())
        self._pull = laplacian[self._free][:, ring]

    def __call__(self, corrections: Array) -> Array:
        """(n_ring, 3) at the ring -> (V, 3) everywhere."""
        out = np.zeros((self._count, 3))
        out[self._ring] = corrections
        out[self._free] = self._solve.solve(-(self._pull @ corrections))
        return out


def sealed(
    values: Array,
    line: MouthLine,
    spread: Spread,
    keep_gap: Array | None = None,
    share: float = 0.5,
) -> Array:
    """(V, 3) values in which both sides of the line follow one curve.

    keep_gap: (n_upper, 3) a gap to leave open, half of it given to each side; None closes the line.
    share: how much of the common curve comes from the lower side.
    """
    on_upper, on_lower = line.both(values[line.upper], values[line.lower], share)
    if keep_gap is not None:
        on_upper = on_upper + 0.5 * keep_gap
        on_lower = on_lower - 0.5 * _along(line.s_lower, line.s_upper, keep_gap)
    corrections = np.concatenate(
        [on_upper - values[line.upper], (on_lower - values[line.lower])[-2:0:-1]]
    )
    return np.asarray(values + spread(corrections))


# metres: the source's lips meet deep between them, which leaves the upper one overhanging
FORWARD = 0.0022


def shut(points: Array, line: MouthLine, spread: Spread) -> Array:
    """(V, 3) points at rest with sealed lips that meet ``FORWARD`` further out, less towards the
    corners.
    """
    u = np.abs(line.s_upper) / line.s_upper[-1], np.abs(line.s_lower) / line.s_lower[-1]
    further = [np.outer(FORWARD * (1.0 - side**4), [0.0, 0.0, 1.0]) for side in u]
    further[0] = _along(line.s_upper, line.s_lower, further[1])
    return sealed(points, line, spread) + spread(np.concatenate([further[0], further[1][-2:0:-1]]))


# Shapes that part the lips keep their gap where it opens. Every other shape leaves the lips shut,
# so that no mix of them can make the lips cross; in the rolls and the lower shrug one lip leads and
# the other yields.
OPENING = (
    "jawOpen",
    "jawForward",
    "mouthFunnel",
    "mouthShrugUpper",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
)
LEADING_LOWER = {"mouthRollLower": 0.8, "mouthRollUpper": 0.25, "mouthShrugLower": 0.6}


def sealed_shapes(shapes: dict[str, Array], line: MouthLine, spread: Spread) -> dict[str, Array]:
    """The shapes with lips that stay shut wherever a shape does not mean to part them.

    ``mouthClose`` undoes the gap of ``jawOpen`` exactly: equal weights of both leave the lips shut.
    """
    out: dict[str, Array] = {}
    for name, offsets in shapes.items():
        if name in OPENING:
            gap = line.gap(offsets)
            gap[:, 1] = np.maximum(gap[:, 1], 0.0)
            out[name] = sealed(offsets, line, spread, keep_gap=gap)
        else:
            out[name] = sealed(offsets, line, spread, share=LEADING_LOWER.get(name, 0.5))
    closed_with_jaw = sealed(shapes["jawOpen"] + shapes["mouthClose"], line, spread)
    out["mouthClose"] = closed_with_jaw - out["jawOpen"]
    return out


def rounded_jaw(offsets: Array, points: Array, skin_side: Array, line: MouthLine) -> Array:
    """``jawOpen`` with a lower lip that hangs in a rounder arc than the parabola of the source,
    which reads as a V.

    offsets, points: (V, 3); skin_side: (V,) how much each vertex belongs to the lower lip and the
    chin below it, 0..1.
    """
    half_width = line.s_upper[-1]
    u = np.clip(np.abs(points[:, 0]) / half_width, 0.0, 1.0)
    arc = (1.0 - u**2) ** 0.75 - (1.0 - u**2)
    middle = offsets[line.lower[len(line.lower) // 2]]
    return np.asarray(offsets + (arc * skin_side)[:, None] * middle)


def lower_lip_side(
    points: Array, jaw_open: Array, line: MouthLine, inside: Array, behind: Array
) -> Array:
    """(V,) how much a vertex goes with the lower lip: 1 at it, fading to 0 from 10 to 24 mm below
    the mouth line.

    In front of the lips' contact the height tells the sides apart; ``inside`` the mouth, where
    heights overlap, the way ``jaw_open`` (V, 3) moves a vertex does. ``behind``: the lower lip's
    vertices next to the contact on the mouth's side.
    """
    below = np.interp(points[:, 0], line.s_lower, points[line.lower, 1]) - points[:, 1]
    side = (below > 0).astype(float)
    lowering = np.interp(points[:, 0], line.s_lower, jaw_open[line.lower, 1])
    ratio = np.clip((jaw_open[:, 1] / np.minimum(lowering, -1e-4) - 0.3) / 0.3, 0.0, 1.0)
    side[inside] = ratio[inside]
    side[line.upper] = 0.0
    side[line.lower] = 1.0
    side[behind] = 1.0
    fade = np.clip((0.024 - np.abs(below)) / 0.014, 0.0, 1.0)
    return np.asarray(side * fade * fade * (3.0 - 2.0 * fade))
