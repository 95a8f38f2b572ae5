"""Noise of any colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE

Array = NDArray[Any]


def coloured_noise(length: int, exponent: float, rng: np.random.Generator) -> Array:
    """(length,) noise whose power falls as 1 / f ** exponent: 0 white, 1 pink, 2 brown; flat below
    50 Hz.
    """
    size = fast_length(length)
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0)
    return np.fft.irfft(spectrum * (frequency / 50.0) ** (-exponent / 2), size)[:length].astype(
        np.float32
    )


def fast_length(count: int) -> int:
    """The smallest length of at least ``count`` that is 2 ** k times 1, 3, 5, 7, 9 or 15: quick to
    transform.
    """
    return min(part << max(0, (-(-count // part) - 1).bit_length()) for part in (1, 3, 5, 7, 9, 15))
