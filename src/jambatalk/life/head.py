"""Head motion: a slow drift, and nods on stressed syllables.

Heads move with the voice: more in speech than in silence, and with quick movements on stressed syllables (Hadar et al., Head
movement correlates of juncture and stress at sentence level, Language and Speech, 1983; Munhall et al., Visual prosody and
speech intelligibility, Psychological Science, 2004). The drift is a cubic B-spline through seeded random values, the nods
are minimum-jerk ways down and back, so angle, speed and acceleration are bounded by construction.
"""

from __future__ import annotations

import math

from jambatalk.life.draws import Draws, draw, stream_key
from jambatalk.life.easing import minimum_jerk
from jambatalk.life.memory import Remembering
from jambatalk.life.prosody import TICK, Prosody

DRIFT = tuple(math.radians(angle) for angle in (2.0, 4.0, 2.0))  # at most, in pitch, yaw, roll
STEP = (1.3, 1.7, 2.1)  # seconds from one of the drift's values to the next
CALM = 0.55  # of the drift while silent
SETTLE = 0.6  # seconds: time constant from calm to speaking and back
NOD = math.radians(3.5)  # at most
DOWN, UP = 0.24, 0.42  # seconds of a nod
TURN = 0.3  # of a nod at most that goes to a side and into a tilt
STRESSED = 0.35  # prominence from which a syllable can bring a nod
OFTEN = 0.75  # chance that it does
REST = (0.1, 0.9)  # seconds after a nod before the next

LARGEST = math.radians(8.0)
FASTEST = math.radians(45.0)
QUICKEST = math.radians(450.0)
"""Bounds of angle, speed (per second) and acceleration (per second squared) of each axis at strength 1."""


class Head(Remembering):
    """The head's pose in radians (pitch, yaw, roll)."""

    remembered = ("draws", "voice", "rate", "start", "size", "side", "tilt", "free")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = Draws(seed, 2)
        self.keys = tuple(stream_key(seed, 3 + axis) for axis in range(3))
        self.voice = self.rate = 0.0  # how much speech there was of late, 0..1, and its change per second
        self.start, self.size, self.side, self.tilt, self.free = -10.0, 0.0, 0.0, 0.0, 0.0

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, where the ear hears ``sound``."""
        # Critically damped towards 1 in speech and 0 in silence.
        pull = (1.0 if sound.speaking else 0.0) - self.voice
        self.rate += TICK * (pull / (SETTLE * SETTLE) - 2.0 * self.rate / SETTLE)
        self.voice += TICK * self.rate
        if sound.stress > STRESSED and time >= self.free and self.draws.uniform() < OFTEN:
            draws = self.draws
            self.start, self.size = time, NOD * min(0.3 + 0.5 * sound.stress, 1.0) * draws.uniform(0.6, 1.0)
            self.side, self.tilt = draws.uniform(-TURN, TURN), draws.uniform(-TURN, TURN)
            self.free = time + DOWN + UP + draws.uniform(*REST)

    def at(self, time: float) -> tuple[float, float, float]:
        """Pitch, yaw and roll in radians."""
        gain = CALM + (1.0 - CALM) * self.voice
        pitch, yaw, roll = (gain * DRIFT[axis] * self._drift(axis, time) for axis in range(3))
        x = time - self.start
        nod = self.size * (minimum_jerk(x / DOWN) if x < DOWN else 1.0 - minimum_jerk((x - DOWN) / UP))
        return self.strength * (pitch + nod), self.strength * (yaw + self.side * nod), self.strength * (roll + self.tilt * nod)

    def _drift(self, axis: int, time: float) -> float:
        """-1..1: uniform cubic B-spline, whose speed is at most 2 / STEP and whose acceleration is at most 4 / STEP**2."""
        position = time / STEP[axis]
        index = int(position)
        x = position - index
        a, b, c, d = (2.0 * draw(self.keys[axis], index + k) - 1.0 for k in range(4))
        y = 1.0 - x
        return (y**3 * a + (3 * x**3 - 6 * x**2 + 4) * b + (3 * y**3 - 6 * y**2 + 4) * c + x**3 * d) / 6.0
