"""A cheap, causal ear: is there speech, where do pauses and utterances begin, which syllables are
stressed.

It gets one level in dB per 10 ms and knows nothing of what comes later. An onset is where the
quick envelope rises above the slow one, as in the classic onset detectors; stress is how loud the
syllable's peak is among the speech of the last seconds (loudness is the strongest single cue of
prominence: Kochanski et al. 2005).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


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


HOP = 160
"""Samples at 16 kHz per level: 10 ms."""

TICK = 0.01
"""Seconds of the same."""

SILENCE = -100.0  # dB of full scale
QUIETEST_SPEECH = -52.0  # dB: softer sound is never taken for speech
ABOVE_FLOOR = 10.0  # dB over the background
# seconds without loud sound after which speech is a pause: longer than most stops' closures
HANGOVER = 0.15
QUICK, SLOW, USUAL = (
    0.02,
    0.15,
    3.0,
)  # seconds: time constants of the envelopes and of the usual level of speech
RISE = 4.0  # dB by which the quick envelope passes the slow one at an onset
LONGEST_RISE = 0.15  # seconds from an onset to its peak
UTTERANCE_GAP = 0.4  # seconds of pause after which speech counts as a new utterance


def levels(samples: NDArray[np.float32]) -> list[float]:
    """(n * HOP,) samples -> n levels in dB of full scale."""
    rows = samples.reshape(-1, HOP).astype(np.float64)
    # Each row is summed by itself, so that it does not matter how many there are; math.log10 for
    # the same reason.
    return [
        10.0 * math.log10(energy / HOP + 1e-10)
        for energy in np.einsum("nt,nt->n", rows, rows, optimize=False).tolist()
    ]


class Prosody(StateDict):
    """What the ear makes of the levels, tick by tick.

    speaking: whether there is speech. paused, started: whether at this tick a pause or an utterance
    began. stress: 0, or at the tick of a syllable's peak how prominent it is (about 1 is well above
    the usual level).
    """

    remembered = (
        "speaking",
        "paused",
        "started",
        "stress",
        "floor",
        "quick",
        "slow",
        "usual",
        "since_loud",
        "since_speech",
        "rising",
        "above",
        "last",
    )

    def __init__(self) -> None:
        self.speaking = self.paused = self.started = self.above = False
        self.stress = 0.0
        self.floor = -70.0
        self.quick = self.slow = self.last = SILENCE
        self.usual = -30.0
        self.since_loud = self.since_speech = 10.0
        self.rising = 0.0  # seconds since the onset whose peak has not come, 0: none

    def tick(self, level: float) -> None:
        """The next 10 ms at ``level`` dB."""
        # The background: down at once, up slowly, so that a long sentence does not become its own
        # background.
        self.floor = min(max(min(self.floor + 2.0 * TICK, level), -80.0), -35.0)
        self.quick += (level - self.quick) * (TICK / QUICK)
        self.slow += (level - self.slow) * (TICK / SLOW)
        loud = level > max(QUIETEST_SPEECH, self.floor + ABOVE_FLOOR)
        self.since_loud = 0.0 if loud else min(self.since_loud + TICK, 10.0)
        spoke = self.speaking
        self.speaking = self.since_loud < HANGOVER
        self.paused = spoke and not self.speaking
        self.started = self.speaking and not spoke and self.since_speech > UTTERANCE_GAP
        self.since_speech = 0.0 if self.speaking else min(self.since_speech + TICK, 10.0)
        if loud:
            self.usual += (level - self.usual) * (TICK / USUAL)
        self._syllable(loud)
        self.last = self.quick

    def _syllable(self, loud: bool) -> None:
        self.stress = 0.0
        above = self.quick > self.slow + RISE
        if above and not self.above and loud and not self.rising:
            self.rising = TICK
        elif self.rising:
            self.rising += TICK
            if self.quick < self.last or self.rising > LONGEST_RISE:
                self.stress = max((self.quick - self.usual) / 6.0, 0.0)
                self.rising = 0.0
        self.above = above
