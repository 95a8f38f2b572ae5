"""What the mouth does for each class of phones: how wide it opens, how often it closes, how wide it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import Timed
from jambatalk.data.phones import BILABIALS, FEATURES, OPEN_VOWELS, PHONES, features_of
from jambatalk.evaluation.closure import CLOSED_SHARE, closed_level
from jambatalk.evaluation.contact import ROUNDING_METRES, SHORTEST_VOWEL, smallest_gap

Array = NDArray[Any]

_ROUND = FEATURES.index("round")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "lips meet": BILABIALS,
    "lip on teeth": ("f", "v"),
    "rounded": tuple(p for p in PHONES if p not in OPEN_VOWELS and max(side[_ROUND] for side in features_of(p)) >= 0.7),
    "open vowels": OPEN_VOWELS,
}
"""Classes of phones by what the lips do."""


@dataclass(frozen=True)
class SpokenClip:
    """A clip as this table needs it. true: (T,) opening. speaker: closed lips are told from all clips of a speaker."""

    name: str
    speaker: str
    fps: float
    true: Array
    phones: Sequence[Timed]


@dataclass(frozen=True)
class ClassScore:
    """One class of phones in one system's motion.

    count: phones that the numbers are from. opening: mean opening over their frames. closed: share of them in which the opening
    falls to where the truth of the same clip counts as closed. Both nan where no such phone is spoken.
    """

    count: int
    opening: float
    closed: float


def thresholds(clips: Sequence[SpokenClip]) -> dict[str, float]:
    """Clip -> the opening up to which lips count as closed: 20 % of the way from the speaker's closed lips to the clip's widest.

    Taken from the truth for every system alike: they all wear the same mesh. Closed lips: the 10th percentile over all clips of
    the speaker; widest: the clip's 95th percentile.
    """
    levels = {}
    for speaker in dict.fromkeys(clip.speaker for clip in clips):
        levels[speaker] = closed_level(clip.true for clip in clips if clip.speaker == speaker)
    bounds = {}
    for clip in clips:
        closed = levels[clip.speaker]
        bounds[clip.name] = closed + CLOSED_SHARE * (float(np.percentile(clip.true, 95)) - closed) + ROUNDING_METRES
    return bounds


def score_classes(clips: Sequence[SpokenClip], openings: Mapping[str, Array]) -> dict[str, ClassScore]:
    """Class -> score of a system's openings (clip name -> (T,)); vowels of at least 60 ms, looked at in their middle third."""
    bounds, scores = thresholds(clips), {}
    for name, members in CLASSES.items():
        means, closed = [], []
        for clip in clips:
            curve = openings[clip.name]
            for phone, start, end in clip.phones:
                if phone not in members:
                    continue
                if name == "open vowels":
                    if end - start < SHORTEST_VOWEL:
                        continue
                    third = (end - start) / 3
                    start, end = start + third, end - third
                first = min(max(round(start * clip.fps), 0), len(curve) - 1)
                means.append(float(curve[first : max(round(end * clip.fps), first) + 1].mean()))
                closed.append(smallest_gap(curve, start, end, clip.fps) <= bounds[clip.name])
        if means:
            scores[name] = ClassScore(len(means), float(np.mean(means)), float(np.mean(closed)))
        else:
            scores[name] = ClassScore(0, float("nan"), float("nan"))
    return scores
