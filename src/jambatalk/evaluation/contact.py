"""Whether the lips meet where /p b m/ are spoken and stay apart in open vowels, by phones with times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import Timed
from jambatalk.data.phones import BILABIALS, OPEN_VOWELS
from jambatalk.errors import InputError
from jambatalk.evaluation.closure import CLOSED_SHARE, closed_level, gap_at

Array = NDArray[Any]

TOUCHING_METRES = 0.001
"""The strict criterion: lips nearer than this touch, whatever the rest of the motion does."""
SHORTEST_VOWEL = 0.06  # seconds; in a shorter one even a careful speaker may hardly open
ROUNDING_METRES = 1e-6  # a curve that never moves lies on its own threshold, give or take float32


@dataclass(frozen=True)
class Contact:
    """Shares are 0..1. "Closed" is: at most 20 % of the way from the closed level (10th percentile over all clips) to the
    clip's own 95th percentile; "touching" is: under 1 mm.

    closures, touches: of ``bilabials`` phones /p b m/, the share whose smallest gap in the frames from the one nearest to
        the phone's start to the one nearest to its end is closed (touching).
    onset_closures: the same within ±40 ms of the phone's start, the window of the GRID protocol.
    false_closures, false_touches: of ``vowels`` open vowels of at least 60 ms, the share whose smallest gap in the frames
        from the one nearest to the start of the vowel's middle third to the one nearest to its end is closed (touching).
    bilabial_mm, vowel_mm: mean of those smallest gaps.
    """

    bilabials: int
    closures: float
    onset_closures: float
    touches: float
    bilabial_mm: float
    vowels: int
    false_closures: float
    false_touches: float
    vowel_mm: float


def smallest_gap(gap: Array, start: float, end: float, fps: float) -> float:
    """The smallest of the gaps (T,) from the frame nearest to ``start`` to the frame nearest to ``end`` (seconds)."""
    first = min(max(round(start * fps), 0), len(gap) - 1)
    last = min(max(round(end * fps), first), len(gap) - 1)
    return float(gap[first : last + 1].min())


def score_contact(gaps: Sequence[Array], phones: Sequence[Sequence[Timed]], fps: float) -> Contact:
    """Score the gaps of several clips of one speaker, (T,) metres each, against the phones spoken in them.

    A face that is always shut closes everywhere, rightly and wrongly. InputError when no clip has a bilabial or an open vowel.
    """
    closed = closed_level(gaps)
    at_bilabials: list[tuple[float, float, float]] = []  # (gap in the phone, gap at its onset, the clip's threshold)
    in_vowels: list[tuple[float, float]] = []
    for gap, spoken in zip(gaps, phones, strict=True):
        threshold = closed + CLOSED_SHARE * (float(np.percentile(gap, 95)) - closed) + ROUNDING_METRES
        for phone, start, end in spoken:
            if phone in BILABIALS:
                at_bilabials.append((smallest_gap(gap, start, end, fps), gap_at(gap, start, fps), threshold))
            elif phone in OPEN_VOWELS and end - start >= SHORTEST_VOWEL:
                third = (end - start) / 3
                in_vowels.append((smallest_gap(gap, start + third, end - third, fps), threshold))
    if not at_bilabials or not in_vowels:
        raise InputError(
            f"{len(at_bilabials)} bilabials and {len(in_vowels)} open vowels in {len(gaps)} clips, expected some of both"
        )
    inside, onset, bound = np.array(at_bilabials).T
    vowel, vowel_bound = np.array(in_vowels).T
    return Contact(
        bilabials=len(inside),
        closures=float(np.mean(inside <= bound)),
        onset_closures=float(np.mean(onset <= bound)),
        touches=float(np.mean(inside < TOUCHING_METRES)),
        bilabial_mm=float(np.mean(inside)) * 1e3,
        vowels=len(vowel),
        false_closures=float(np.mean(vowel <= vowel_bound)),
        false_touches=float(np.mean(vowel < TOUCHING_METRES)),
        vowel_mm=float(np.mean(vowel)) * 1e3,
    )
