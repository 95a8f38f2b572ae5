"""Sound in place of sound that never came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# A voice's period lies between these, in seconds (400 down to 66 Hz), as in the standard below.
SHORTEST_PERIOD, LONGEST_PERIOD = 0.0025, 0.015
# The last period is repeated at full level for so long, and is gone after so long.
HELD, GONE = 0.010, 0.060
HISTORY = 3 * LONGEST_PERIOD
"""Seconds of sound before a gap that are needed to fill it."""


def concealed(history: Array, start: int, count: int, rate: int) -> Array:
    """``count`` samples to stand for those from ``start`` samples into a gap on; history (n,) is the sound before the gap.

    The last pitch period goes on, fading out within 60 ms, and silence follows (after ITU-T G.711 Appendix I, which
    holds 10 ms and then fades to the same end). A longer gap is silence, in which the network brings the face to rest.
    """
    out = np.zeros(count, np.float32)
    sounding = min(count, max(round(GONE * rate) - start, 0))
    period = _period(history, rate)
    if not sounding or period is None:
        return out
    index = np.arange(start, start + sounding)
    level = np.clip(1.0 - (index / rate - HELD) / (GONE - HELD), 0.0, 1.0)
    out[:sounding] = history[len(history) - period + index % period] * level
    return out


def _period(history: Array, rate: int) -> int | None:
    """The lag at which the end of the sound repeats itself best; None without enough sound."""
    least, most = max(round(SHORTEST_PERIOD * rate), 1), round(LONGEST_PERIOD * rate)
    if len(history) < 3 * most:
        return None
    tail = history[len(history) - 3 * most :].astype(np.float64)
    # Compare in about 8 kHz, where a period is found as well at a fraction of the cost.
    step = max(rate // 8000, 1)
    tail = tail[::-1][::step][::-1]
    least, most = max(least // step, 1), most // step
    end = tail[-most:]
    windows = np.lib.stride_tricks.sliding_window_view(tail, len(end))
    before = windows[len(tail) - len(end) - most : len(tail) - len(end) - least + 1][::-1]  # lags least ... most
    power = np.sqrt((before * before).sum(axis=1) * (end @ end))
    if not power.any():
        return None
    match = before @ end / np.maximum(power, 1e-12)
    return int(least + np.argmax(match)) * step
