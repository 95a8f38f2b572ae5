"""Where a long recording may be cut: in its pauses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.sync import loudness

Array = NDArray[Any]

AROUND = 0.3
"""Seconds over which it has to be quiet around a cut."""


def cuts_at_pauses(samples: Array, frames: int, fps: float, longest: float) -> list[int]:
    """Frame numbers 0 = c0 < c1 < … = frames at which to cut, so that pieces are about ``longest`` seconds at most.

    samples: (n,) speech at 16 kHz. The pieces are of similar length; each cut is the quietest place within the middle part
    between two pieces, so a recording without pauses is cut where it is least loud.
    """
    count = max(1, int(np.ceil(frames / (longest * fps))))
    level = loudness(samples, frames, fps)
    width = max(1, round(AROUND * fps))
    # A long pause is cut in its middle: the level around a place counts, most at the place itself.
    kernel = np.hanning(width + 2)[1:-1]
    quiet = np.convolve(np.pad(level, (width // 2, width - 1 - width // 2), mode="edge"), kernel / kernel.sum(), mode="valid")
    edges = [0]
    for n in range(1, count):
        ideal = frames * n / count
        reach = 0.35 * frames / count
        first, last = int(ideal - reach), int(ideal + reach) + 1
        window = quiet[first:last]
        lowest = np.flatnonzero(window <= window.min() + 0.5)
        cut = first + int(lowest[len(lowest) // 2] if len(lowest) else window.argmin())
        edges.append(cut)
    return [*edges, frames]
