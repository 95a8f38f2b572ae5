"""Chances from a counter: number n of a stream is a function of (seed, stream, n) alone, so one
integer is all its state.

The idea of counter-based generators is Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3
(2011); the mixing function is that of SplitMix64 (Steele, Lea, Flood, Fast Splittable Pseudorandom
Number Generators, 2014).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

# What a part of life remembers, as numbers by name.


class StateDict:
    """``remembered``: the attributes that are its whole memory; numbers, truths, or other parts
    that remember."""

    remembered: ClassVar[tuple[str, ...]] = ()

    def state(self) -> dict[str, Any]:
        """All of it, as JSON values; floats come back to the bit."""
        values = {name: getattr(self, name) for name in self.remembered}
        return {
            name: value.state() if isinstance(value, StateDict) else value
            for name, value in values.items()
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. KeyError, TypeError or ValueError when it is none."""
        for name in self.remembered:
            own = getattr(self, name)
            if isinstance(own, StateDict):
                own.load_state(state[name])
            else:
                setattr(self, name, type(own)(state[name]))


MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """64 bits -> 64 bits that look unrelated."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def stream_key(seed: int, stream: int) -> int:
    """The key of one of a seed's streams."""
    return mix((mix((seed + GOLDEN) & MASK) + (stream + 1) * GOLDEN) & MASK)


def draw(key: int, index: int) -> float:
    """Number ``index`` of a stream, uniform in [0, 1)."""
    return (mix((key + (index + 1) * GOLDEN) & MASK) >> 11) * 2.0**-53


class CounterRNG(StateDict):
    """One stream's numbers, one after another."""

    remembered = ("count",)

    def __init__(self, seed: int, stream: int) -> None:
        self.key = stream_key(seed, stream)
        self.count = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform in [low, high)."""
        self.count += 1
        return low + (high - low) * draw(self.key, self.count - 1)

    def log_normal(self, median: float, spread: float) -> float:
        """Log-normal: ``spread`` is the standard deviation of its logarithm."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return median * math.exp(spread * radius * math.cos(2.0 * math.pi * self.uniform()))
