"""Prosody of a stream, causal and cheap: where speech, pauses and utterances begin, which syllables
are stressed, and whether the voice rises as it ends.

It gets one level in dB and one fundamental frequency per 10 ms and knows nothing of what comes
later. An onset is where the quick envelope rises above the slow one, as in the classic onset
detectors; stress is how loud the syllable's peak is among the speech of the last seconds (loudness
is the strongest single cue of prominence: Kochanski et al. 2005).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE


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
HEIGHT = 3.0  # seconds: time constant of the usual height of the voice
ENDING, BEFORE_ENDING, REMEMBERED = 12, 25, 60  # voiced ticks at and before an utterance's end
RISEN = 2.0  # semitones by which a voice has risen that asks
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


PITCH_WINDOW = 640
"""Samples under which a fundamental frequency is measured: 40 ms, three periods of a low voice."""

LOWEST, HIGHEST = 70.0, 400.0  # Hz, of voices
VOICED = 0.5  # share of the energy that comes back a period later in voiced sound
OCTAVE = 0.02  # of that share by which a period must beat one of half the frequency
_WINDOW = np.hanning(PITCH_WINDOW)
_SIZE = 2048  # of the Fourier transform: no lag wraps around
_OWN = np.fft.irfft(np.abs(np.fft.rfft(_WINDOW, _SIZE)) ** 2)
_LAGS = np.arange(round(SAMPLE_RATE / HIGHEST), round(SAMPLE_RATE / LOWEST) + 1)
_COST = OCTAVE * np.log2(_LAGS / _LAGS[0])


def pitch(window: NDArray[np.float32]) -> float:
    """Measure the fundamental frequency of (PITCH_WINDOW,) samples at 16 kHz.

    The highest peak of the autocorrelation, divided by that of the window (Boersma, Accurate
    short-term analysis of the fundamental frequency, 1993).

    Returns:
        Hz in LOWEST..HIGHEST; 0 for sound that is not voiced.
    """
    samples = window.astype(np.float64)
    spectrum = np.fft.rfft((samples - samples.mean()) * _WINDOW, _SIZE)
    power = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)
    if power[0] <= 1e-9:
        return 0.0
    likeness = power[_LAGS] / power[0] * (_OWN[0] / _OWN[_LAGS])
    best = int(np.argmax(likeness - _COST))
    return SAMPLE_RATE / float(_LAGS[best]) if likeness[best] >= VOICED else 0.0


class Prosody(StateDict):
    """What the levels and the fundamental frequencies say, tick by tick.

    speaking: whether there is speech. paused, started: whether at this tick a pause or an utterance
    began. stress: 0, or at the tick of a syllable's peak how prominent it is (about 1 is well above
    the usual level). accent: semitones by which the voice is above its usual height, 0 where there
    is none. question: whether at this tick a pause began after a voice that rose as it ended.
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
        "height",
        "accent",
        "question",
        "recent",
    )

    def __init__(self) -> None:
        self.speaking = self.paused = self.started = self.above = False
        self.stress = 0.0
        self.floor = -70.0
        self.quick = self.slow = self.last = SILENCE
        self.usual = -30.0
        self.since_loud = self.since_speech = 10.0
        self.rising = 0.0  # seconds since the onset whose peak has not come, 0: none
        self.height = 0.0  # usual height of the voice: semitones over LOWEST; 0 before any
        self.accent, self.question = 0.0, False
        self.recent: list[float] = []  # heights of the last voiced ticks of this utterance

    def tick(self, level: float, hertz: float = 0.0) -> None:
        """The next 10 ms at ``level`` dB, with the voice at ``hertz`` (0: not voiced)."""
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
        self._voice(hertz if loud else 0.0)
        self._syllable(loud)
        self.last = self.quick

    def _voice(self, hertz: float) -> None:
        self.question, self.accent = False, 0.0
        if self.started:
            self.recent = []
        if hertz:
            height = 12.0 * math.log2(hertz / LOWEST)
            self.height += (height - self.height) * (TICK / HEIGHT if self.height else 1.0)
            self.accent = height - self.height
            self.recent = [*self.recent[1 - REMEMBERED :], height]
        elif self.paused and len(self.recent) >= ENDING + BEFORE_ENDING:
            ending, before = self.recent[-ENDING:], self.recent[-ENDING - BEFORE_ENDING : -ENDING]
            rise = sum(ending) / ENDING - sum(before) / BEFORE_ENDING
            self.question = rise >= RISEN and ending[-1] - self.height >= RISEN

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
