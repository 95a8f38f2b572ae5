"""``ClipPair``, one clip's truth beside a prediction of it, and the values of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.regions import Regions
from jambatalk.datasets.source import CENTIMETRES, METRES
from jambatalk.errors import InputError
from jambatalk.text.phones import Timed

Array = NDArray[Any]
HEAD_METRES = 0.2
"""The largest side of a head, for meshes of unknown unit."""
_METRES = {METRES: ("m", 1.0), CENTIMETRES: ("cm", 0.01), "millimetres": ("mm", 0.001)}


@dataclass(frozen=True)
class Unit:
    """The unit of a corpus by its name, such as "metres"; any other name is the corpus' own unit.

    Attributes:
        short: m, cm, mm or own, as in ``LVE_cm2``.
        length: mm or own, as in ``MVE_mm``.
        to_mm: Millimetres per unit, 1 when unknown.
    """

    name: str

    @property
    def known(self) -> bool:
        return self.name in _METRES

    @property
    def short(self) -> str:
        return _METRES[self.name][0] if self.known else "own"

    @property
    def length(self) -> str:
        return "mm" if self.known else "own"

    @property
    def to_mm(self) -> float:
        return _METRES[self.name][1] * 1000 if self.known else 1.0

    def to_metres(self, template: Array) -> float:
        """Metres per unit; of an unknown unit, as if the mesh (V, 3) had the size of a head."""
        if self.known:
            return self.to_mm / 1000
        return HEAD_METRES / float(np.ptp(template, axis=0).max())


BLOCK = 512
"""Vertices at a time, so that a long clip of a fine mesh is not copied as a whole."""


class Ratio(NamedTuple):
    """A metric of one clip as a fraction; over several clips totals and numbers are added."""

    total: float
    number: float

    @property
    def value(self) -> float:
        """nan where nothing was counted."""
        return self.total / self.number if self.number else float("nan")


@dataclass(frozen=True)
class ClipPair:
    """One clip's truth and a prediction of it, side by side.

    Args:
        truth, predicted: (T, V, 3) offsets from ``template`` (V, 3), all in ``unit``.
        fps: Frames per second.
        samples: (n,) at 16 kHz.
        phones, words: With times in seconds; None when unknown.

    Raises:
        InputError: The shapes or regions do not fit each other.
    """

    name: str
    truth: Array
    predicted: Array
    template: Array
    fps: float
    regions: Regions
    unit: Unit
    subject: str = ""
    samples: Array | None = None
    phones: tuple[Timed, ...] | None = None
    words: tuple[Timed, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.truth.shape
        if (
            shape != self.predicted.shape
            or shape[1:] != self.template.shape
            or len(shape) != 3
            or not len(self.truth)
        ):
            raise InputError(
                f"clip {self.name}: shapes {shape} of truth, {self.predicted.shape} of prediction "
                f"and {self.template.shape} of template do not fit each other"
            )
        self.regions.check(shape[1])

    @property
    def frames(self) -> int:
        return len(self.truth)

    @cached_property
    def lip_distances(self) -> Array:
        """(T, L) float64 distances of the lip vertices from the truth, in the unit."""
        lips = self.regions.lips
        apart = self.predicted[:, lips].astype(np.float64) - self.truth[:, lips]
        return np.linalg.norm(apart, axis=2)

    @cached_property
    def true_opening(self) -> Array:
        """(T,) float64 distance of the two middle inner-lip vertices, in the unit."""
        return opening(self.truth, self.template, self.regions)

    @cached_property
    def predicted_opening(self) -> Array:
        return opening(self.predicted, self.template, self.regions)

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """Give (truth, prediction) of at most BLOCK vertices at a time, (T, v, 3) float64."""
        for first in range(0, len(self.template), BLOCK):
            part = slice(first, first + BLOCK)
            yield self.truth[:, part].astype(np.float64), self.predicted[:, part].astype(np.float64)


def opening(offsets: Array, template: Array, regions: Regions) -> Array:
    """Distance of the two middle inner-lip vertices: (T, V, 3) offsets -> (T,) float64."""
    upper, lower = regions.opening
    rest = template[upper].astype(np.float64) - template[lower]
    apart: Array = np.linalg.norm(
        rest + offsets[:, upper].astype(np.float64) - offsets[:, lower], axis=1
    )
    return apart
