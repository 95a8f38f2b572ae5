"""Blinks: when, and how the lids go.

Rates are those of Bentivoglio et al., Analysis of blink rate patterns in normal subjects (Movement Disorders, 1997): a median of
17 a minute at rest and 26 in conversation; intervals are skewed to the right, here log-normal. Blinks gather at the breaks of
speech (Nakano and Kitazawa, Eyeblink entrainment at breakpoints of speech, Experimental Brain Research, 2010), so a pause
brings on a blink that would have come soon. Lids close in 70 to 100 ms and open in 150 to 200 ms: down about twice as fast as
up, as eyelid recordings show (VanderWerf et al., Journal of Neurophysiology, 2003).
"""

from __future__ import annotations

from jambatalk.life.draws import Draws
from jambatalk.life.easing import minimum_jerk
from jambatalk.life.memory import Remembering
from jambatalk.life.prosody import TICK, Prosody

SPREAD = 0.55  # of the intervals' logarithm
MEDIAN = 2.85  # seconds between blinks at rest, doubles aside
SPEAKING = 1.45  # times as fast does the time to the next blink run while speaking; pauses bring on some more
CLOSE, OPEN = (0.07, 0.10), (0.15, 0.20)  # seconds
CLOSED = 0.04  # seconds: one frame at 25 frames a second, so that one always shows the closed eye
DOUBLE = 0.06  # of the blinks come in pairs
RIPE = 0.3  # share of the interval after which a pause can bring on the blink
AT_PAUSE = 0.65  # chance that it does


class Blinks(Remembering):
    """One blink after another; ``at`` says how far the lids are closed."""

    remembered = ("draws", "wait", "start", "close", "open", "twice")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = Draws(seed, 0)
        self.wait = self.draws.uniform(0.3, 1.0) * MEDIAN  # of time at rest, until the next blink
        self.start, self.close, self.open = -10.0, CLOSE[0], OPEN[0]
        self.twice = False

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, where the ear hears ``sound``."""
        if time < self.start + self.close + CLOSED + self.open:
            return
        self.wait -= TICK * self.strength * (SPEAKING if sound.speaking else 1.0)
        brought = sound.paused and self.wait < (1.0 - RIPE) * MEDIAN and self.draws.uniform() < AT_PAUSE * min(self.strength, 1.0)
        if self.wait <= 0.0 or brought:
            self._blink(time)

    def _blink(self, time: float) -> None:
        draws = self.draws
        self.start, self.close, self.open = time, draws.uniform(*CLOSE), draws.uniform(*OPEN)
        # A second blink follows as soon as the eyes are open, but no third.
        self.twice = not self.twice and draws.uniform() < DOUBLE
        pair = draws.uniform(0.05, 0.25) * self.strength
        interval = draws.log_normal(MEDIAN, SPREAD)
        self.wait = pair if self.twice else interval

    def at(self, time: float) -> float:
        """How far the lids are closed, 0..1."""
        x = time - self.start
        if x <= self.close:
            return minimum_jerk(x / self.close)
        return 1.0 - minimum_jerk((x - self.close - CLOSED) / self.open)
