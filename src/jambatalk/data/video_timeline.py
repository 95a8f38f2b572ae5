"""From pictures at any times to frames at an even rate, and from a long recording to clips."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import RATE
from jambatalk.data.pauses import cuts_at_pauses

Array = NDArray[Any]

BRIDGE = 0.3
"""Seconds without a face that are bridged by interpolation; where the face is away for longer, the clip ends."""

SHORTEST, LONGEST = 1.0, 12.0
"""Seconds of a clip, about. Longer recordings are cut in their pauses."""


@dataclass(frozen=True)
class Span:
    """Frames ``first`` to ``last`` (not included) of a recording's even timeline."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first


def even_times(start: float, end: float, fps: float) -> Array:
    """(T,) seconds start, start + 1 / fps, ... up to ``end``, which a rounding error does not lose."""
    return start + np.arange(int(np.floor((end - start) * fps + 1e-3)) + 1) / fps


def resample(values: Array, times: Array, wanted: Array, fps: float) -> Array:
    """Values (N, ...) seen at ``times`` (N,) at the times ``wanted`` (T,), which lie 1 / fps apart.

    A line is fitted under a triangle of 1 / fps on either side, so that a faster camera is averaged and not thinned out; where
    the camera is slower, the line between the two neighbours is taken. Zero phase; the ends are held.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    out = np.empty((len(wanted), flat.shape[1]))
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    reach = 1.0 / fps
    for i, time in enumerate(wanted):
        if len(times) == 1 or time <= times[0] or time >= times[-1]:
            out[i] = flat[0 if time <= times[0] else -1]
            continue
        a, b = after[i] - 1, after[i]
        first, last = np.searchsorted(times, (time - reach + 1e-6, time + reach - 1e-6))
        if last - first > 2 and first <= a and b < last:
            off = times[first:last] - time
            weight = 1.0 - np.abs(off) / reach
            # A line is fitted, not a mean taken: an uneven rate would lean the mean to its denser side.
            weight *= 1.0 - (weight @ off) / (weight @ off**2) * off
            out[i] = weight @ flat[first:last] / weight.sum()
        else:
            share = (time - times[a]) / (times[b] - times[a])
            out[i] = flat[a] * (1.0 - share) + flat[b] * share
    return out.reshape(len(wanted), *values.shape[1:])


def observed(times: Array, found: Array, wanted: Array, fps: float) -> tuple[Array, Array]:
    """(seen, usable), (T,) bool each: whether a face was seen around a frame, and whether it was at least within BRIDGE.

    times, found: (N,) of all pictures. A frame is seen when the pictures with a face around it are no farther apart than the
    camera's usual step (or 1 / fps, if that is longer).
    """
    known = times[found]
    if not len(known):
        return np.zeros(len(wanted), bool), np.zeros(len(wanted), bool)
    step = max(1.0 / fps, float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
    after = np.searchsorted(known, wanted - 1e-6)
    right = np.where(after < len(known), known[np.minimum(after, len(known) - 1)], np.inf)
    left = np.where(after > 0, known[np.maximum(after - 1, 0)], -np.inf)
    exact = right - wanted < 1e-3
    hole = np.where(exact, 0.0, right - left)
    near = np.minimum(right - wanted, wanted - left)
    return (hole <= 1.5 * step) | (near < 0.1 / fps), (hole <= BRIDGE + step) | (near < 0.1 / fps)


def spans(usable: Array, samples: Array, fps: float) -> list[Span]:
    """The clips of a recording: runs of usable frames, long ones cut in the pauses of ``samples`` (n,) at 16 kHz.

    Runs shorter than SHORTEST are left out.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], usable, [False]]).astype(np.int8)))
    out = []
    for first, last in zip(edges[::2], edges[1::2]):
        if last - first < max(2, int(np.ceil(SHORTEST * fps))):
            continue
        heard = samples[round(first / fps * RATE) : round(last / fps * RATE)]
        cuts = cuts_at_pauses(heard, int(last - first), fps, LONGEST)
        out += [Span(int(first) + a, int(first) + b) for a, b in pairwise(cuts)]
    return out
