"""Resample sound to the network's rate, sample by sample as it arrives.

The library that reads files works in blocks: in a live stream it holds back 19 to 76 ms of sound
(soxr 1.0, 8 to 96 kHz), and its state cannot be stored. A polyphase filter holds back one
millisecond, and its state is a piece of the sound.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CROSSINGS = 16
"""Zero crossings of the sinc on either side, at the lower of the two rates: 1 ms at 16 kHz."""

CUTOFF = 0.93
"""Where the filter's edge lies, as a share of the lower Nyquist frequency."""

KAISER_BETA = 8.0

PIECE = 1 << 15
"""Output samples that are made at once: bounds memory when an hour is pushed in one piece."""


@lru_cache(maxsize=8)
def filter_bank(rate: int, new_rate: int) -> tuple[Array, int, int, int]:
    """Build a Kaiser-windowed sinc as a polyphase filter (Smith, Digital Audio Resampling).

    Returns:
        (bank (L, taps), L, M, half) for the ratio new_rate / rate = L / M. An output at source
        position i + p / L is row p times the source samples i - half + 1 ... i + half. Each row
        adds up to one, so that a constant stays one.
    """
    divisor = math.gcd(rate, new_rate)
    up, down = new_rate // divisor, rate // divisor
    scale = min(1.0, new_rate / rate)  # of the lower rate in source samples
    half = math.ceil(CROSSINGS / scale)
    offsets = np.arange(-half + 1, half + 1)[None] - (np.arange(up) / up)[:, None]  # (L, taps)
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1.0 - (offsets / half) ** 2, 0.0, 1.0)))
    bank = np.sinc(offsets * scale * CUTOFF) * window
    return (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32), up, down, half


class Resampler:
    """Resamples a stream from ``rate`` to ``new_rate``, the same however the stream is cut."""

    def __init__(self, rate: int, new_rate: int) -> None:
        self.rate, self.new_rate = rate, new_rate
        self._bank, self._up, self._down, self._half = filter_bank(rate, new_rate)
        self.reset()

    @property
    def delay(self) -> float:
        """Seconds of sound after a sample's own time that it depends on."""
        return self._half / self.rate

    def reset(self) -> None:
        """Begin a new stream."""
        self._kept = np.zeros(self._half - 1, np.float32)  # before the first sample: silence
        self._start = 1 - self._half  # source index of the first kept sample
        self._emitted = 0  # output samples

    def __call__(self, samples: Array, last: bool = False) -> Array:
        """Give the samples that became ready; with ``last`` all the rest, as before silence."""
        source = np.concatenate([self._kept, samples])
        received = self._start + len(source)
        if last:
            source = np.concatenate([source, np.zeros(self._half, np.float32)])
            total = -(
                -received * self._up // self._down
            )  # outputs whose time lies within the sound
        else:
            # Output n needs the source up to index n * M // L + half.
            known = (received - 1 - self._half) * self._up + self._up - 1
            total = max(known // self._down + 1, self._emitted)
        starts = range(self._emitted, total, PIECE)
        parts = [self._piece(source, n, min(n + PIECE, total)) for n in starts]
        self._emitted = total
        keep = total * self._down // self._up - self._half + 1 - self._start
        self._kept, self._start = source[keep:].copy(), self._start + keep
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _piece(self, source: Array, first: int, end: int) -> Array:
        position = np.arange(first, end, dtype=np.int64) * self._down
        index, phase = position // self._up - self._half + 1 - self._start, position % self._up
        windows = np.lib.stride_tricks.sliding_window_view(source, 2 * self._half)[index]
        # One sum per output, in a fixed order: a matrix product rounds differently for another
        # number of rows.
        return np.einsum("nt,nt->n", windows, self._bank[phase], optimize=False)

    def state(self) -> dict[str, Any]:
        """All that it remembers: ``kept`` samples and two counts."""
        return {"kept": self._kept.copy(), "start": self._start, "made": self._emitted}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self._kept = np.asarray(state["kept"], np.float32)
        self._start, self._emitted = int(state["start"]), int(state["made"])
        if self._kept.ndim != 1:
            raise ValueError(f"samples have shape {self._kept.shape}, expected (n,)")
