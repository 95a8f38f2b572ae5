"""Gaze: where the eyes look, in small jumps that stay with the viewer most of the time.

Between two eyes and a mouth of the viewer lie a degree or two at a conversation's distance; the eyes jump among them. At the
start of an utterance a speaker tends to look away for a moment (Kendon, Some functions of gaze-direction in social
interaction, Acta Psychologica, 1967). A jump of A degrees lasts about 21 + 2.2 A ms (Carpenter, Movements of the Eyes, 1988).
Eyes turn against the head, so that the viewer stays looked at while it moves (the vestibulo-ocular reflex).
"""

from __future__ import annotations

import math

from jambatalk.life.draws import Draws
from jambatalk.life.easing import minimum_jerk
from jambatalk.life.memory import Remembering
from jambatalk.life.prosody import Prosody

FIXATION = (0.8, 0.5)  # seconds, median and spread of the logarithm, of one look at a spot of the viewer
AWAY = (0.75, 0.3)  # and past the viewer
AT_START = 0.65  # chance to look away as an utterance begins
THINKING = 0.05  # chance per look to do so while speaking
WIDE = (5.0, 10.0)  # degrees to a side when looking away
TALL = (-4.0, 4.0)  # and up
SPOT = (1.2, 1.5, 0.6)  # degrees to a side, down and up, of the spots on the viewer


class Gaze(Remembering):
    """The eyes' direction in degrees, to the face's own left and up."""

    remembered = ("draws", "x0", "y0", "x1", "y1", "start", "lasts", "until", "away")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = Draws(seed, 1)
        self.x0 = self.y0 = self.x1 = self.y1 = 0.0
        self.start, self.lasts = -1.0, 0.021
        self.until = self.draws.uniform(0.3, 1.0)
        self.away = False

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, where the ear hears ``sound``."""
        if time < self.start + self.lasts:
            return
        begins = sound.started and not self.away and self.draws.uniform() < AT_START
        if begins or (time >= self.until and not self.away and sound.speaking and self.draws.uniform() < THINKING):
            side = 1.0 if self.draws.uniform() < 0.5 else -1.0
            self.away = True
            self._jump(time, side * self.draws.uniform(*WIDE), self.draws.uniform(*TALL), AWAY)
        elif time >= self.until:
            self.away = False
            self._jump(time, self.draws.uniform(-SPOT[0], SPOT[0]), self.draws.uniform(-SPOT[1], SPOT[2]), FIXATION)

    def _jump(self, time: float, x: float, y: float, stay: tuple[float, float]) -> None:
        self.x0, self.y0, self.x1, self.y1 = self.x1, self.y1, x, y
        self.start, self.lasts = time, 0.021 + 0.0022 * math.hypot(x - self.x0, y - self.y0)
        self.until = time + min(self.draws.log_normal(*stay), 4.0)

    def at(self, time: float) -> tuple[float, float]:
        """Degrees to the left and up, in space."""
        share = minimum_jerk((time - self.start) / self.lasts)
        return (
            self.strength * (self.x0 + share * (self.x1 - self.x0)),
            self.strength * (self.y0 + share * (self.y1 - self.y0)),
        )
