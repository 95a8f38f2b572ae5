"""Say on another face what a motion says on the default head.

Motions are weights of ARKit's shapes, made for the default head. Another face has other shapes, or
the same that move other lips. What is to be seen again is the mouth: its opening, width and
protrusion, frame by frame. So the weights of the face's own shapes are solved, for each frame by
itself (no frame after it is looked at, nothing is smoothed):

    min over w in [0, 1]^K of
        sum_m c_m^2 (B w / s - d)_m^2  +  prior^2 |w - w0|^2  +  more sum_k max(w_k - w0_k, 0)

with d the six measures of the default head's lips (``lips.MEASURES``) less those at rest, B the
same measures of the face's own shapes, s the ratio of the two mouths' widths, and w0 the weights
that the table of ``dialects`` gives. The last part keeps the answer to few shapes: a smile and a
frown that cancel out would be as good for the measures, but not for the mouth. Near closure an
error of the opening counts more: lips that touch are seen. Where a face's geometry says nothing (no
shape opens the mouth, nothing parts), w0 is the answer; and shapes of eyes, brows and cheeks take
it anyway.

w0 is itself the solution of such a problem, for shapes other than ARKit's: the combination of
their recipes that comes nearest to the motion's weights.

Solved by cyclic coordinate descent with bounds (C.-J. Hsieh et al., A dual coordinate descent
method for large-scale linear SVM, ICML 2008, section 2, has the one-variable step); the problem is
strictly convex, so that the answer does not depend on where the descent begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.dialects import BY_GEOMETRY, known_dialects
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.face.lips import find_lips, lips_of, moves
from jambatalk.face.vrm import Vrm, apply_rules

Array = NDArray[Any]

COUNTS = (1.0, 0.6, 0.6, 0.3, 0.3, 0.6)
"""How much a millimetre of each measure counts, see ``lips.MEASURES``."""

PRIOR = 1.0
"""Millimetres that a weight's full change away from the table counts."""

MORE = 6.0
"""Square millimetres that a weight beyond the table's costs."""

CLOSED, CLOSED_COUNTS = 0.002, 4.0
"""Below this opening in metres an error of it counts so many times as much, less and less up to
there."""

SPREAD = 0.05
"""Prior of the table's own problem: of combinations that are alike the smallest is taken."""

SWEEPS, ENOUGH = 400, 1e-5

ABOUT_MOUTH = ("mouth", "jaw", "tongue")
"""Beginnings of the ARKit names that the lips' measures decide."""


class ShapeTransfer:
    """ARKit weights on the default head to weights of a face's own shapes.

    Args:
        face: the other face.
        names: the motion's shapes, of ARKit.
        solved: False leaves the lips' geometry out: the table's weights only.

    Raises:
        InputError: the face has no shapes, or none whose name is known.
    """

    def __init__(self, face: Face, names: Sequence[str], solved: bool = True) -> None:
        if not face.names:
            raise InputError(
                "this face has no shapes (morph targets), so that nothing of it can move: "
                "give it blend shapes, such as ARKit's 52"
            )
        meaning = {name: face.meanings.get(name, name) for name in face.names}
        dialects = known_dialects()
        dialects = replace(dialects, recipes={**dialects.recipes, **face.recipes})
        known = set(dialects.recipes) | set(names)
        self.chosen = [
            k for k, name in enumerate(face.names) if meaning[name] in known and moves(face, name)
        ]
        if not self.chosen:
            raise InputError(
                f"none of this face's {len(face.names)} shapes has a name that is known and moves "
                f"something: {', '.join(face.names[:5])}...; say what they mean in a YAML file "
                "(docs: Your own character)"
            )
        self.face, self.names = face, tuple(names)
        self._vrm: Vrm | None = getattr(face.source, "vrm", None)
        self.table = dialects.matrix([meaning[face.names[k]] for k in self.chosen], self.names)
        self._pick_family(meaning)
        about = np.array([name.startswith(ABOUT_MOUTH) for name in self.names])
        free = np.array([meaning[face.names[k]] == BY_GEOMETRY for k in self.chosen])
        self._mouth = ((np.abs(self.table[about]).sum(0) > 0) | free) & self._used
        self._about = about
        self._geometry: tuple[Array, Array] | None = None
        lips = lips_of(face) if solved else None
        if lips is not None and self._mouth.any():
            rows = np.array(self.chosen)[self._mouth]
            own = lips.measure(face.basis[rows]).astype(np.float64)  # (K, 6)
            width = float(lips.measure(face.vertices)[1])
            theirs, their_width = default_measures(self.names)
            self.scale = width / their_width
            self._geometry = own / self.scale, theirs

    def _pick_family(self, meaning: dict[str, str]) -> None:
        """Of several families that open the mouth one is used: ARKit's, visemes, or vowels."""
        kinds = [meaning[self.face.names[k]] for k in self.chosen]
        self._used = np.ones(len(kinds), bool)
        families = [
            np.array([kind in self.names for kind in kinds]),
            np.array([kind.startswith("viseme_") for kind in kinds]),
            np.array([kind.startswith("vowel_") for kind in kinds]),
        ]
        opens = ({"jawOpen"}, {"viseme_aa", "viseme_O", "viseme_E"}, {"vowel_aa", "vowel_oh"})
        for n, (family, first) in enumerate(zip(families, opens)):
            if first & {kind for kind, own in zip(kinds, family) if own}:
                for other in families[n + 1 :]:
                    self._used &= ~other
                break

    @property
    def used(self) -> list[str]:
        """The face's shapes that motions move."""
        return [self.face.names[k] for k, used in zip(self.chosen, self._used) if used]

    @property
    def about_mouth(self) -> list[str]:
        """Those of them that lips, jaw and tongue move by."""
        return [self.face.names[k] for k, mouth in zip(self.chosen, self._mouth) if mouth]

    def __call__(self, weights: Array) -> Array:
        """(T, len(names)) ARKit weights -> (T, len(face.names)) float32 in 0..1.

        The rules of a VRM's expressions are kept.
        """
        weights = np.asarray(weights, np.float64)
        found = np.zeros((len(weights), len(self.face.names)), np.float32)
        mouth, rest = self._mouth, self._used & ~self._mouth
        for group, about in ((mouth, self._about), (rest, ~self._about)):
            if group.any():
                columns = np.array(self.chosen)[group]
                found[:, columns] = self._by_table(weights[:, about], self.table[about][:, group])
        if self._geometry is not None:
            columns = np.array(self.chosen)[mouth]
            found[:, columns] = self._by_lips(weights, found[:, columns].astype(np.float64))
        if self._vrm is not None:
            ruled = apply_rules(self._vrm, dict(zip(self.face.names, found.T)))
            found = np.stack([ruled[name] for name in self.face.names], 1)
        return found

    def _by_table(self, weights: Array, table: Array) -> Array:
        counts = np.ones((len(weights), len(table)))
        exact = (np.count_nonzero(table, axis=0) == 1).all() and (table.sum(1) <= 1).all()
        prior = np.zeros((len(weights), table.shape[1]))
        spread = 1e-6 if exact else SPREAD
        return solve(table, weights, counts, prior, spread)

    def _by_lips(self, weights: Array, prior: Array) -> Array:
        assert self._geometry is not None
        own, theirs = self._geometry
        wanted = 1000 * weights @ theirs  # (T, 6) millimetres
        # Lips that are pressed together on the one head need not sink into one another on the
        # other.
        wanted[:, 0] = np.maximum(wanted[:, 0], 0)
        counts = np.tile(np.array(COUNTS), (len(weights), 1))
        nearly = np.clip(1 - wanted[:, 0] / (1000 * CLOSED), 0, 1)
        counts[:, 0] *= 1 + (CLOSED_COUNTS - 1) * nearly
        return solve(1000 * own.T, wanted, counts, prior, PRIOR, MORE)


@lru_cache(maxsize=4)
def default_measures(names: tuple[str, ...]) -> tuple[Array, float]:
    """Give (n, 6) measures of the default head's shapes, and its mouth's width, in metres."""
    head = default_head()
    lips = find_lips(head)
    assert lips is not None
    shapes = head.basis[head.columns(names)]
    return lips.measure(shapes).astype(np.float64), float(lips.measure(head.vertices)[1])


def solve(
    matrix: Array, wanted: Array, counts: Array, prior: Array, hold: float, more: float = 0.0
) -> Array:
    """Weights w in 0..1 for the least ``|counts (matrix w - wanted)|^2 + hold^2 |w - prior|^2``.

    Args:
        matrix: (M, K).
        wanted: (T, M).
        counts: (T, M).
        prior: (T, K), where the weights are without anything wanted.
        hold: how strongly they are held to it, more than 0.
        more: what a weight beyond its prior costs besides.

    Returns:
        (T, K) weights.
    """
    return _descend(
        np.ascontiguousarray(matrix, np.float64),
        np.ascontiguousarray(wanted, np.float64),
        np.ascontiguousarray(counts, np.float64),
        np.ascontiguousarray(prior, np.float64),
        float(hold) ** 2,
        float(more),
    )


@njit(cache=True, nogil=True)
def _descend(
    matrix: Array, wanted: Array, counts: Array, prior: Array, hold: float, more: float
) -> Array:
    many, size = matrix.shape
    found = np.empty((wanted.shape[0], size))
    rows = np.empty((many, size))
    error = np.empty(many)
    for t in range(wanted.shape[0]):
        for m in range(many):
            for k in range(size):
                rows[m, k] = counts[t, m] * matrix[m, k]
        weights = found[t]
        for k in range(size):
            weights[k] = min(max(prior[t, k], 0.0), 1.0)
        for m in range(many):
            error[m] = -counts[t, m] * wanted[t, m]
            for k in range(size):
                error[m] += rows[m, k] * weights[k]
        for _ in range(SWEEPS):
            largest = 0.0
            for k in range(size):
                slope, curve = hold * (weights[k] - prior[t, k]), hold
                for m in range(many):
                    slope += rows[m, k] * error[m]
                    curve += rows[m, k] * rows[m, k]
                value = weights[k] - slope / curve
                if value > prior[t, k]:
                    value = max(value - 0.5 * more / curve, prior[t, k])
                value = min(max(value, 0.0), 1.0)
                step = value - weights[k]
                if step != 0.0:
                    weights[k] = value
                    for m in range(many):
                        error[m] += rows[m, k] * step
                    largest = max(largest, abs(step))
            if largest < ENOUGH:
                break
    return found
