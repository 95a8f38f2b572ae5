"""Resample streams: sound to the network's rate, and frames to the rate that is asked for.

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


class FrameRate:
    """Resamples (n, K) at ``fps`` to (m, K) at ``new_fps``, equal to ``resample_frames``.

    The interpolation is monotone cubic: a frame between two others depends on the one after both,
    for its slope, so the delay is two input frames at most. At rates below ``fps`` there may be one
    frame more at the end: a stream cannot take back what is out.
    """

    def __init__(self, fps: float, new_fps: float) -> None:
        self.fps, self.new_fps = fps, new_fps
        self.reset()

    @property
    def delay(self) -> float:
        """Seconds after a frame's own time that must be known for it, at most."""
        return 0.0 if self.fps == self.new_fps else 2.0 / self.fps

    def reset(self) -> None:
        """Begin a new turn."""
        self._kept: Array | None = None  # input frames that later outputs need
        self._start = 0  # index of the first of them
        self._emitted = 0

    def __call__(self, values: Array, last: bool = False) -> Array:
        """Give the output frames that became ready; with ``last`` all the rest."""
        if self.fps == self.new_fps:
            return values
        kept = values if self._kept is None else np.concatenate([self._kept, values])
        if not len(kept):
            return values
        count = self._start + len(kept)
        if last:
            # A frame may be out already that rounding the motion's length leaves off.
            total = max(1, round(count * self.new_fps / self.fps), self._emitted) if count else 0
        else:
            total = self._emitted
            while self._reach(total) < count:
                total += 1
        wanted = np.arange(self._emitted, total)
        out = self._at(kept, wanted) if len(wanted) else kept[:0]
        self._emitted = total
        # Where the next output lies, one frame before it for the slope.
        first = max(int(total * (self.fps / self.new_fps)) - 1, 0)
        keep = min(max(first - self._start, 0), len(kept))
        self._kept, self._start = kept[keep:].copy(), self._start + keep
        return out

    def _reach(self, index: int) -> int:
        """The last input frame that output ``index`` depends on."""
        time = index * (self.fps / self.new_fps)
        return int(time) + 2 if time > int(time) else int(time)

    def _at(self, kept: Array, wanted: NDArray[np.int64]) -> Array:
        # The interpolation is local: on the kept frames it gives what it gives on all of them.
        # Their first lies one frame before the first output (or is the motion's first), so that no
        # slope at their edge is used.
        return interpolate_frames(kept, wanted * (self.fps / self.new_fps) - self._start)

    def state(self) -> dict[str, Any]:
        """All that it remembers."""
        kept = {} if self._kept is None else {"kept": self._kept.copy()}
        return {"start": self._start, "made": self._emitted} | kept

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self._start, self._emitted = int(state["start"]), int(state["made"])
        self._kept = np.asarray(state["kept"], np.float32) if "kept" in state else None
        if self._kept is not None and self._kept.ndim != 2:
            raise ValueError(f"frames have shape {self._kept.shape}, expected (n, K)")


def resample_frames(values: NDArray[Any], fps: float, new_fps: float) -> Array:
    """Resample (T, ...) frames at ``fps`` to ``new_fps`` by monotone cubic interpolation.

    Monotone (Fritsch, Carlson 1980): a mouth that is closed in two neighbouring frames stays closed
    between them, which a plain cubic spline would overshoot. The result has
    round(T * new_fps / fps) frames (at least 1); its frame i lies at i / new_fps seconds, and times
    after the last frame hold that frame.
    """
    count = len(values)
    if not count:
        return np.asarray(values, np.float32)
    new_count = max(1, round(count * new_fps / fps))
    return interpolate_frames(values, np.arange(new_count) * (fps / new_fps))


def interpolate_frames(values: NDArray[Any], times: NDArray[np.floating[Any]]) -> Array:
    """(T, ...) frames -> (n, ...) at ``times``.

    times: (n,) in frames from the first; outside, the nearest frame is held.
    """
    count = len(values)
    if count < 2:
        return np.repeat(np.asarray(values, np.float32), len(times), axis=0)
    flat = np.asarray(values, np.float64).reshape(count, -1)
    steps = np.diff(flat, axis=0)
    slopes = np.zeros_like(flat)
    # Harmonic mean of neighbouring steps where they agree in sign, zero at extrema: keeps each
    # piece monotone.
    left, right = steps[:-1], steps[1:]
    same = left * right > 0
    slopes[1:-1][same] = 2.0 * left[same] * right[same] / (left[same] + right[same])
    times = np.clip(times, 0, count - 1)
    index = np.minimum(times.astype(np.int64), count - 2)
    u = (times - index)[:, None]
    p0, p1, m0, m1 = flat[index], flat[index + 1], slopes[index], slopes[index + 1]
    h01 = u * u * (3.0 - 2.0 * u)
    out = p0 + h01 * (p1 - p0) + u * (1.0 - u) ** 2 * m0 - u * u * (1.0 - u) * m1
    return out.reshape(len(times), *values.shape[1:]).astype(np.float32)
