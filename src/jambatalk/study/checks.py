"""Sounds that tell headphones from loudspeakers: which of three tones is the quietest?

The test of Woods, Siegel, Traer and McDermott (2017, doi 10.3758/s13414-017-1361-2): three tones of
200 Hz, one of them 6 dB quieter, another in antiphase between the two channels. In the air the
antiphase tone cancels itself and seems the quietest; over headphones it does not. Six trials, five
of them right to pass.
"""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE

Array = NDArray[Any]

HERTZ = 200.0
QUIETER_DB = -6.0
LEVEL = 0.25
GAP_OF_TONE, RAMP_OF_TONE = 0.5, 0.1
KINDS = ("plain", "quiet", "antiphase")
PASS_SHARE = 5 / 6


def tones_needed(trials: int) -> int:
    """How many of ``trials`` must be right to pass: five of six, in proportion."""
    return math.ceil(trials * PASS_SHARE - 1e-9)


def orders() -> list[tuple[str, ...]]:
    """The six orders in which the three tones can come."""
    return list(permutations(KINDS))


def three_tones(order: tuple[str, ...], seconds: float = 1.0) -> Array:
    """(n, 2) float32, 16 kHz: three tones of ``seconds`` with silences half as long between them
    and ramps a tenth as long.
    """
    n = round(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    ramp = max(1, round(RAMP_OF_TONE * n))
    envelope = np.ones(n)
    envelope[:ramp] = np.sin(0.5 * np.pi * np.arange(ramp) / ramp) ** 2
    envelope[n - ramp :] = envelope[:ramp][::-1]
    tone = LEVEL * envelope * np.sin(2 * np.pi * HERTZ * t)
    silence = np.zeros((round(GAP_OF_TONE * n), 2))
    parts: list[Array] = []
    for kind in order:
        left = tone * 10 ** (QUIETER_DB / 20) if kind == "quiet" else tone
        parts += [np.stack([left, -left if kind == "antiphase" else left], axis=1), silence]
    return np.concatenate(parts[:-1]).astype(np.float32)


def noise(seconds: float, seed: int = 0) -> Array:
    """(n, 2) float32: the same noise in both channels, as loud as the tones, by which the volume is
    set.
    """
    n = round(seconds * SAMPLE_RATE)
    values = np.random.default_rng(seed).standard_normal(n)
    spectrum = np.fft.rfft(values)
    spectrum /= np.sqrt(
        np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 50.0)
    )  # pink: like speech, more low than high
    values = np.fft.irfft(spectrum, n)
    values *= LEVEL / math.sqrt(2) / values.std()
    ramp = min(n // 4, SAMPLE_RATE // 10)
    values[:ramp] *= np.linspace(0, 1, ramp)
    values[n - ramp :] *= np.linspace(1, 0, ramp)
    return np.repeat(np.clip(values, -1, 1)[:, None], 2, axis=1).astype(np.float32)


def write_sound(path: Path, samples: Array) -> None:
    """A 16-bit wav file, which every browser plays."""
    import soundfile

    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
