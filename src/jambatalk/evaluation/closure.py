"""Whether the lips close where bilabials are spoken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import Timed
from jambatalk.errors import InputError

Array = NDArray[Any]

BILABIAL_WORDS = ("bin", "place", "blue", "by", "please")
"""GRID's words that begin with /b/ or /p/ (its single letters are left out: their times are the least certain)."""
CLOSED_PERCENTILE = 10.0
CLOSED_SHARE = 0.2
WINDOW_SECONDS = 0.04


def closed_level(gaps: Iterable[Array]) -> float:
    """The gap of closed lips: the 10th percentile over all frames of a speaker (or of a model's animations of him)."""
    return float(np.percentile(np.concatenate(list(gaps)), CLOSED_PERCENTILE))


def bilabial_onsets(words: Sequence[Timed]) -> list[float]:
    """Seconds at which the words that begin with a bilabial begin."""
    return [word.start for word in words if word.text in BILABIAL_WORDS]


def gap_at(gap: Array, time: float, fps: float, window: float = WINDOW_SECONDS) -> float:
    """The smallest gap among the frame nearest to ``time`` and those within ``window`` seconds of that frame."""
    middle = round(time * fps)
    reach = round(window * fps)
    first, last = max(0, middle - reach), min(len(gap) - 1, middle + reach)
    if first > last:
        raise InputError(f"{time} s lies outside a curve of {len(gap) / fps} s")
    return float(gap[first : last + 1].min())


def closures(gap: Array, onsets: Sequence[float], fps: float, closed: float) -> list[bool]:
    """For each onset, whether the gap (T,) falls under 20 % of the way from ``closed`` to the clip's 95th percentile.

    A curve that never opens above ``closed`` closes nowhere: being shut is no sign of having closed.
    """
    threshold = closed + CLOSED_SHARE * (float(np.percentile(gap, 95)) - closed)
    return [gap_at(gap, time, fps) < threshold for time in onsets]


def closure_rate(gaps: Sequence[Array], onsets: Sequence[Sequence[float]], fps: float) -> tuple[float, int]:
    """Share of onsets at which the lips close, and how many onsets there are, over a speaker's clips (gaps (T,) each)."""
    closed = closed_level(gaps)
    hits = [hit for gap, times in zip(gaps, onsets, strict=True) for hit in closures(gap, times, fps, closed)]
    if not hits:
        raise InputError("no bilabial onset in these clips: closure needs clips with word times")
    return float(np.mean(hits)), len(hits)
