"""Lip closure: do the lips close where /p b m/ are spoken, and stay open in open vowels?

Lips count as closed below a threshold of their own range: 20 % of the way from the *closed level*
(the 10th percentile of the gap over all clips of a speaker or system) to the clip's 95th
percentile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.base import ClipPair, Ratio
from jambatalk.text.phones import BILABIALS, OPEN_VOWELS, Timed

Array = NDArray[Any]
CLOSED_PERCENTILE, OPEN_PERCENTILE = 10.0, 95.0
CLOSED_SHARE = 0.2
WINDOW_SECONDS = 0.04
BILABIAL_WORDS = ("bin", "place", "blue", "by", "please")
"""GRID's words that begin with /b/ or /p/; its single letters have the least certain times."""
SHORTEST_VOWEL = 0.06
"""Seconds; in a shorter vowel even a careful speaker may hardly open."""
TOUCHING_METRES, TOUCHING_MM = 0.001, 1.0
"""The strict criterion: lips nearer than this touch, whatever the rest of the motion does."""
ROUNDING_METRES = 1e-6
"""Added to thresholds: a curve that never moves lies on its own, give or take float32."""


# The criterion.


def closed_level(gaps: Iterable[Array]) -> float:
    """The gap of closed lips: the 10th percentile over all frames of all clips."""
    return float(np.percentile(np.concatenate(list(gaps)), CLOSED_PERCENTILE))


def threshold(gap: Array, closed: float) -> float:
    """The gap under which the lips of a clip (T,) are closed; closed: the ``closed_level``."""
    return closed + CLOSED_SHARE * (float(np.percentile(gap, OPEN_PERCENTILE)) - closed)


def gap_at(gap: Array, time: float, fps: float, window: float = WINDOW_SECONDS) -> float:
    """The smallest gap within ``window`` seconds of the frame nearest to ``time``."""
    middle = round(time * fps)
    reach = round(window * fps)
    first, last = max(0, middle - reach), min(len(gap) - 1, middle + reach)
    if first > last:
        raise InputError(f"{time} s lies outside a curve of {len(gap) / fps} s")
    return float(gap[first : last + 1].min())


def smallest_gap(gap: Array, start: float, end: float, fps: float) -> float:
    """The smallest gap (T,) between the frames nearest to ``start`` and ``end`` seconds."""
    first = min(max(round(start * fps), 0), len(gap) - 1)
    last = min(max(round(end * fps), first), len(gap) - 1)
    return float(gap[first : last + 1].min())


def bilabial_onsets(words: Sequence[Timed]) -> list[float]:
    """Seconds at which the words of ``BILABIAL_WORDS`` begin."""
    return [word.start for word in words if word.text in BILABIAL_WORDS]


def is_open_vowel(phone: Timed) -> bool:
    """Whether a phone is an open vowel that is long enough to open."""
    return phone.text in OPEN_VOWELS and phone.end - phone.start >= SHORTEST_VOWEL


def middle_gap(gap: Array, vowel: Timed, fps: float) -> float:
    """The smallest gap in the middle third of a vowel."""
    third = (vowel.end - vowel.start) / 3
    return smallest_gap(gap, vowel.start + third, vowel.end - third, fps)


def touch_rate(gaps: Sequence[Array], phones: Sequence[Sequence[Timed]], fps: float) -> float:
    """Share of the bilabials in, or one frame around, which a gap (T,) in mm is below 1; or nan."""
    found = []
    for gap, timed in zip(gaps, phones):
        for phone, start, end in timed:
            if phone in BILABIALS:
                first, last = int(np.floor(start * fps)), int(np.ceil(end * fps))
                found.append(bool((gap[max(first, 0) : last + 1] < TOUCHING_MM).any()))
    return float(np.mean(found)) if found else float("nan")


# By word times: the GRID protocol.


def closures(gap: Array, onsets: Sequence[float], fps: float, closed: float) -> list[bool]:
    """Whether the gap (T,) falls under the threshold within ±40 ms of each onset.

    A curve that never opens above ``closed`` closes nowhere: being shut is not having closed.
    """
    bound = threshold(gap, closed)
    return [gap_at(gap, time, fps) < bound for time in onsets]


def closure_rate(
    gaps: Sequence[Array], onsets: Sequence[Sequence[float]], fps: float
) -> tuple[float, int]:
    """Share of onsets with closed lips, and the number of onsets, over the clips of a speaker."""
    closed = closed_level(gaps)
    hits = [
        hit
        for gap, times in zip(gaps, onsets, strict=True)
        for hit in closures(gap, times, fps, closed)
    ]
    if not hits:
        raise InputError("no bilabial onset in these clips: closure needs clips with word times")
    return float(np.mean(hits)), len(hits)


# By phone times: the protocol of the default weights.


@dataclass(frozen=True)
class Contact:
    """Lip contact in phones; shares are 0..1. "Touching" is under 1 mm.

    Attributes:
        bilabials: The number of phones /p b m/.
        closures, touches: The share of them whose smallest gap is closed (touching).
        onset_closures: The same within ±40 ms of the phone's start, the GRID protocol's window.
        bilabial_mm: Mean of the smallest gaps in them.
        vowels: The number of open vowels of at least 60 ms.
        false_closures, false_touches: The share of them whose smallest gap in the middle third is
            closed (touching).
        vowel_mm: Mean of those gaps.
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


def score_contact(gaps: Sequence[Array], phones: Sequence[Sequence[Timed]], fps: float) -> Contact:
    """Score the gaps (T,) in metres of one speaker's clips against the phones spoken in them.

    A face that is always shut closes everywhere, rightly and wrongly.

    Raises:
        InputError: No clip has a bilabial, or none has an open vowel.
    """
    closed = closed_level(gaps)
    at_bilabials: list[tuple[float, float, float]] = []  # in the phone, at its onset, threshold
    in_vowels: list[tuple[float, float]] = []
    for gap, spoken in zip(gaps, phones, strict=True):
        bound = threshold(gap, closed) + ROUNDING_METRES
        for phone in spoken:
            if phone.text in BILABIALS:
                inside = smallest_gap(gap, phone.start, phone.end, fps)
                at_bilabials.append((inside, gap_at(gap, phone.start, fps), bound))
            elif is_open_vowel(phone):
                in_vowels.append((middle_gap(gap, phone, fps), bound))
    if not at_bilabials or not in_vowels:
        raise InputError(
            f"{len(at_bilabials)} bilabials and {len(in_vowels)} open vowels in {len(gaps)} clips, "
            "expected some of both"
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


# Over a test set: per subject, since the closed level is that of all of a subject's clips.


@dataclass(frozen=True)
class _Spoken:
    """A clip's predicted opening (T,) in metres, and the times of what is spoken."""

    subject: str
    opening: Array
    fps: float
    onsets: tuple[float, ...]
    vowels: tuple[Timed, ...]


class Closures:
    """Measures closure_percent and closure_false_percent, both of the prediction alone.

    Onsets are those of the phones /p b m/, or, where only words are known, of ``BILABIAL_WORDS``.
    Without phones and words there is nothing to measure.
    """

    def __init__(self) -> None:
        self._clips: dict[str, _Spoken] = {}

    def add(self, pair: ClipPair) -> None:
        """Add a clip; what begins after the motion ends is left out."""
        last = (pair.frames - 1) / pair.fps
        if pair.phones:
            onsets = [phone.start for phone in pair.phones if phone.text in BILABIALS]
            vowels = [phone for phone in pair.phones if is_open_vowel(phone)]
        else:
            onsets, vowels = bilabial_onsets(pair.words or ()), []
        self._clips[pair.name] = _Spoken(
            pair.subject,
            pair.predicted_opening * pair.unit.to_metres(pair.template),
            pair.fps,
            tuple(onset for onset in onsets if onset <= last),
            tuple(phone for phone in vowels if phone.start <= last),
        )

    def rows(self) -> Mapping[str, Mapping[str, float]]:
        return {name: _named(*ratios) for name, ratios in self._ratios().items()}

    def totals(self) -> Mapping[str, float]:
        pairs = list(self._ratios().values())
        onsets, vowels = (
            Ratio(sum(pair[kind].total for pair in pairs), sum(pair[kind].number for pair in pairs))
            for kind in (0, 1)
        )
        return _named(onsets, vowels)

    def _ratios(self) -> dict[str, tuple[Ratio, Ratio]]:
        openings: dict[str, list[Array]] = {}
        for clip in self._clips.values():
            openings.setdefault(clip.subject, []).append(clip.opening)
        closed = {subject: closed_level(curves) for subject, curves in openings.items()}
        return {name: _closed(clip, closed[clip.subject]) for name, clip in self._clips.items()}


def _closed(clip: _Spoken, closed: float) -> tuple[Ratio, Ratio]:
    bound = threshold(clip.opening, closed) + ROUNDING_METRES
    hits = sum(gap_at(clip.opening, onset, clip.fps) <= bound for onset in clip.onsets)
    false = sum(middle_gap(clip.opening, vowel, clip.fps) <= bound for vowel in clip.vowels)
    return Ratio(100.0 * hits, len(clip.onsets)), Ratio(100.0 * false, len(clip.vowels))


def _named(onsets: Ratio, vowels: Ratio) -> dict[str, float]:
    return {"closure_percent": onsets.value, "closure_false_percent": vowels.value}
