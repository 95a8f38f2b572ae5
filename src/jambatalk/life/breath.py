"""Breath: a slow cycle that shows in the head and the brows, and takes its inhalations at pauses of speech.

At rest people breathe 12 to 18 times a minute, in for about two fifths of the cycle; who speaks breathes in quickly in a pause
and lets the air go over the next phrase (Hixon, Goldman, Mead, Kinematics of the chest wall during speech production, Journal
of Speech and Hearing Research, 1973). Lips are left alone: an open mouth between words would be read as speech.
"""

from __future__ import annotations

import math

from jambatalk.life.draws import Draws
from jambatalk.life.easing import minimum_jerk
from jambatalk.life.memory import Remembering
from jambatalk.life.prosody import TICK, Prosody

IN, OUT = 1.6, 2.5  # seconds, median, at rest
QUICK_IN, SLOW_OUT = 0.6, 5.0  # and in speech, where a pause ends the way out sooner
SPREAD = 0.15  # of their logarithms
ENOUGH = 1.5  # seconds of breathing out before a pause brings the next breath
SOFT = 0.12  # seconds: time constant that rounds the turns
LIFT = math.radians(0.45)  # of the head at most
BROW = 0.06  # of browInnerUp at most


class Breath(Remembering):
    """The air in the lungs, 0..1."""

    remembered = ("draws", "inward", "start", "lasts", "origin", "air", "rate", "before")

    def __init__(self, strength: float, seed: int) -> None:
        self.strength = strength
        self.draws = Draws(seed, 6)
        self.inward = False
        self.start, self.lasts, self.origin = 0.0, self.draws.uniform(0.3, 1.0) * OUT, 0.5
        self.air, self.rate = 0.5, 0.0
        self.before = 0.5  # the air a tick ago

    def tick(self, time: float, sound: Prosody) -> None:
        """Up to ``time`` seconds, where the ear hears ``sound``."""
        share = (time - self.start) / self.lasts
        goal = self.origin + ((1.0 if self.inward else 0.0) - self.origin) * minimum_jerk(share)
        early = sound.paused and not self.inward and time > self.start + ENOUGH
        if share >= 1.0 or early:
            self.inward = not self.inward
            if self.inward:
                median = QUICK_IN if early or sound.speaking else IN
            else:
                median = SLOW_OUT if sound.speaking else OUT
            self.start, self.lasts, self.origin = time, self.draws.log_normal(median, SPREAD), goal
        # Critically damped after the goal: a breath that is cut short turns without a jolt.
        self.before = self.air
        self.rate += TICK * ((goal - self.air) / (SOFT * SOFT) - 2.0 * self.rate / SOFT)
        self.air += TICK * self.rate

    def at(self, share: float) -> float:
        """The air between the last two ticks, times the strength; ``share`` 0..1 is how far after the last one it is."""
        return self.strength * (self.before + share * (self.air - self.before))
