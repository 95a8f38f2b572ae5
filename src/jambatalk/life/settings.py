"""How strong each layer of life is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from jambatalk.errors import InputError

STRONGEST = 2.0


@dataclass(frozen=True)
class LifeSettings:
    """Strengths 0 (none) to 2 of the layers, and the seed (0 to 2**63 - 1) that all their chances come from.

    blinks: how often, relative to people's rates. gaze: how far the eyes wander. head: how far the head moves. breath: how
    much a breath shows. InputError for anything else.
    """

    blinks: float = 1.0
    gaze: float = 1.0
    head: float = 1.0
    breath: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("blinks", "gaze", "head", "breath"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not 0 <= value <= STRONGEST:
                raise InputError(f"life's {name} is {value!r}, expected a strength from 0 to {STRONGEST:g}")
            object.__setattr__(self, name, float(value))
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 63:
            raise InputError(f"life's seed is {self.seed!r}, expected a whole number from 0 to 2**63 - 1")

    @property
    def off(self) -> bool:
        """Whether no layer does anything."""
        return not (self.blinks or self.gaze or self.head or self.breath)

    @classmethod
    def parse(cls, text: str) -> LifeSettings:
        """``on``, ``off``, or some values, such as ``blinks=0.5,head=0`` (the rest as in ``on``)."""
        word = text.strip().lower()
        if word == "on":
            return cls()
        if word == "off":
            return cls(0, 0, 0, 0)
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if not equals or name in values:
                raise InputError(f"life is {text!r}, expected on, off, or each value once, such as blinks=0.5,head=0")
            try:
                values[name] = int(number) if name == "seed" else float(number)
            except ValueError:
                raise InputError(f"life's {name} is {number!r}, expected a number") from None
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LifeSettings:
        """Of JSON: any of the fields by name; the rest as in ``LifeSettings()``."""
        if not isinstance(values, Mapping):
            raise InputError(f"life is {values!r}, expected an object such as {{'blinks': 0.5, 'head': 0}}")
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"life has no {name!r}, expected one of {', '.join(known)}")
        return cls(**values)
