"""The units of a corpus in the names of its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from jambatalk.data.raw import CENTIMETRES, METRES

_METRES = {METRES: ("m", 1.0), CENTIMETRES: ("cm", 0.01), "millimetres": ("mm", 0.001)}


@dataclass(frozen=True)
class Unit:
    """The unit of a corpus by its name, such as "metres"; anything that is no known length is the corpus' own.

    short: m, cm, mm or own, as in ``LVE_cm2``. to_mm: millimetres per unit, 1 when unknown. length: mm or own, as in ``MVE_mm``.
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
