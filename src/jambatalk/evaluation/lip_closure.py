"""Closure gathered over clips: per speaker, since what is closed is told against all of a speaker's openings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jambatalk.data.clip import Timed
from jambatalk.data.phones import BILABIALS, OPEN_VOWELS
from jambatalk.evaluation.closure import CLOSED_SHARE, bilabial_onsets, closed_level, gap_at
from jambatalk.evaluation.contact import ROUNDING_METRES, SHORTEST_VOWEL, smallest_gap
from jambatalk.evaluation.pair import Array, Pair, Share

HEAD_METRES = 0.2
"""Where the unit is unknown, the mesh's largest side is taken for this, to tell movement from rounding."""


@dataclass(frozen=True)
class _Spoken:
    """A clip's predicted opening, about metres, and what is said when."""

    subject: str
    opening: Array
    fps: float
    onsets: tuple[float, ...]
    vowels: tuple[Timed, ...]


class Closures:
    """closure_percent: of the phones /p b m/, or where only words are known of the words that begin with /b/ or /p/ by
    ``closure.BILABIAL_WORDS``, the share whose smallest opening within 40 ms of their start is closed: at most 20 % of the way
    from the speaker's closed level (the 10th percentile over all his clips) to the clip's 95th percentile.
    closure_false_percent: the same of the middle third of open vowels of at least 60 ms. Both of the prediction alone.

    The criterion is that of ``contact.score_contact``, onset for onset. Without phones and words there is nothing to tell.
    """

    def __init__(self) -> None:
        self._clips: dict[str, _Spoken] = {}

    def add(self, pair: Pair) -> None:
        last = (pair.frames - 1) / pair.fps  # what begins after the motion ends cannot be seen
        if pair.phones:
            onsets = [start for phone, start, _ in pair.phones if phone in BILABIALS]
            vowels = [timed for timed in pair.phones if timed.text in OPEN_VOWELS and timed.end - timed.start >= SHORTEST_VOWEL]
        else:
            onsets, vowels = bilabial_onsets(pair.words or ()), []
        scale = pair.unit.to_mm / 1000 if pair.unit.known else HEAD_METRES / float(np.ptp(pair.template, axis=0).max())
        self._clips[pair.name] = _Spoken(
            pair.subject,
            pair.predicted_opening * scale,
            pair.fps,
            tuple(onset for onset in onsets if onset <= last),
            tuple(timed for timed in vowels if timed.start <= last),
        )

    def _shares(self) -> dict[str, tuple[Share, Share]]:
        closed = {
            subject: closed_level(clip.opening for clip in self._clips.values() if clip.subject == subject)
            for subject in {clip.subject for clip in self._clips.values()}
        }
        return {name: _closed(clip, closed[clip.subject]) for name, clip in self._clips.items()}

    def rows(self) -> dict[str, dict[str, float]]:
        return {name: _named(*shares) for name, shares in self._shares().items()}

    def totals(self) -> dict[str, float]:
        pairs = list(self._shares().values())
        if not pairs:
            return _named(Share(0, 0), Share(0, 0))
        onsets, vowels = (Share(sum(s.total for s in kind), sum(s.number for s in kind)) for kind in zip(*pairs))
        return _named(onsets, vowels)


def _closed(clip: _Spoken, closed: float) -> tuple[Share, Share]:
    threshold = closed + CLOSED_SHARE * (float(np.percentile(clip.opening, 95)) - closed) + ROUNDING_METRES
    hits = sum(gap_at(clip.opening, onset, clip.fps) <= threshold for onset in clip.onsets)
    false = 0
    for _, start, end in clip.vowels:
        third = (end - start) / 3
        false += smallest_gap(clip.opening, start + third, end - third, clip.fps) <= threshold
    return Share(100.0 * hits, len(clip.onsets)), Share(100.0 * false, len(clip.vowels))


def _named(onsets: Share, vowels: Share) -> dict[str, float]:
    return {"closure_percent": onsets.value, "closure_false_percent": vowels.value}
