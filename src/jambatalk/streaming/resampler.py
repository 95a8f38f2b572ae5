"""Sound at any rate to the network's rate, sample by sample as it arrives.

The library that reads files works in blocks: in a live stream it holds back 19 to 76 ms of sound (soxr 1.0, 8 to 96 kHz), and
its memory cannot be stored. A polyphase filter holds back one millisecond, and what it remembers is a piece of the sound.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Zero crossings of the sinc on either side of its centre, at the lower of the two rates: 1 ms at 16 kHz.
CROSSINGS = 16
# Of the lower Nyquist frequency, where the filter's edge lies.
CUTOFF = 0.93
KAISER_BETA = 8.0
# Output samples that are made at once: bounds memory when someone pushes an hour in one piece.
PIECE = 1 << 15


@lru_cache(maxsize=8)
def filter_bank(rate: int, new_rate: int) -> tuple[Array, int, int, int]:
    """(bank (L, taps), L, M, half) for the ratio new_rate / rate = L / M: row p is the filter for outputs of phase p.

    An output at source position i + p / L is the row p times the source samples i - half + 1 ... i + half.
    Kaiser-windowed sinc (Smith, Digital Audio Resampling); each row adds up to one, so that a constant stays one.
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
    """A stream of samples (n,) at ``rate`` -> samples at ``new_rate``, the same however the stream is cut."""

    def __init__(self, rate: int, new_rate: int) -> None:
        self.rate, self.new_rate = rate, new_rate
        self._bank, self._up, self._down, self._half = filter_bank(rate, new_rate)
        self.reset()

    @property
    def delay(self) -> float:
        """Seconds of sound after a sample's own time that it depends on."""
        return self._half / self.rate

    def reset(self) -> None:
        """Forget everything heard."""
        self._kept = np.zeros(self._half - 1, np.float32)  # before the first sample: silence
        self._start = 1 - self._half  # source index of the first kept sample
        self._made = 0  # output samples

    def __call__(self, samples: Array, last: bool = False) -> Array:
        """The output samples that became ready; with ``last`` all that are owed, as if silence followed."""
        source = np.concatenate([self._kept, samples])
        heard = self._start + len(source)
        if last:
            source = np.concatenate([source, np.zeros(self._half, np.float32)])
            total = -(-heard * self._up // self._down)  # outputs whose time lies within the sound
        else:
            # Output n needs the source up to index n * M // L + half.
            total = max(
                ((heard - 1 - self._half) * self._up + self._up - 1) // self._down + 1, self._made
            )
        parts = [
            self._piece(source, n, min(n + PIECE, total)) for n in range(self._made, total, PIECE)
        ]
        self._made = total
        keep = total * self._down // self._up - self._half + 1 - self._start
        self._kept, self._start = source[keep:].copy(), self._start + keep
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _piece(self, source: Array, first: int, end: int) -> Array:
        position = np.arange(first, end, dtype=np.int64) * self._down
        index, phase = position // self._up - self._half + 1 - self._start, position % self._up
        windows = np.lib.stride_tricks.sliding_window_view(source, 2 * self._half)[
            index
        ]  # (n, taps)
        # One sum per output, in a fixed order: a matrix product may round differently for another number of rows.
        return np.einsum("nt,nt->n", windows, self._bank[phase], optimize=False)

    def state(self) -> dict[str, Any]:
        """What it remembers: ``kept`` samples and two counts."""
        return {"kept": self._kept.copy(), "start": self._start, "made": self._made}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self._kept = np.asarray(state["kept"], np.float32)
        self._start, self._made = int(state["start"]), int(state["made"])
