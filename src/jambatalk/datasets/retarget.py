"""Retargeting tracked faces to the default head: the speaker's own neutral, closed lips and scale,
then the solver.

The tracker sees lips that touch as a little apart, by an amount that differs between speakers, and
at 25 frames a second the instant of a /b/ often falls between two frames. Hence three corrections
of the measured gap before the head has to follow it: the speaker's closed level becomes 0, the last
half millimetre becomes 0, and where the words say that a bilabial is spoken the deepest frame of
the dip becomes 0. Where they say /f/ or /v/ the lower lip is rolled in, which leaves the gap as it
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.face import Face
from jambatalk.face.fit import LandmarkSolver, SolveSettings, smoothed
from jambatalk.face.landmarks import measured_gap
from jambatalk.text.phones import Timed

Array = NDArray[Any]

CLOSED_PERCENTILE = 10.0
"""A speaker's closed level is this percentile of their measured gaps; the lips of read sentences
rest closed longer than that.
"""


@dataclass(frozen=True)
class RetargetConfig:
    """How a tracked face is retargeted.

    contact: metres on the head; a corrected gap below this counts as touching and everything above
    is lowered by it. landmark_blur: sigma in frames of the zero-phase smoothing of landmarks; the
    gap itself is smoothed by gap_blur. bilabial_window: seconds before and after a bilabial's time
    in which its dip is looked for. bilabial_limit: metres; a dip less deep than this is left as it
    is, the time is then likely wrong. labiodental: weight of mouthRollLower to aim at where /f/ or
    /v/ is spoken: the tracker cannot see the lower lip
        tucked under the teeth.
    """

    contact: float = 0.0006
    labiodental: float = 0.5
    landmark_blur: float = 0.7
    gap_blur: float = 0.35
    bilabial_window: float = 0.08
    bilabial_limit: float = 0.004
    solve: SolveSettings = field(default_factory=SolveSettings)


@dataclass(frozen=True)
class TrackedTake:
    """Everything tracked of one subject: several clips, one after the other.

    positions: (T, 468, 3) metres, registered to a common head pose. scores: (T, S) on
    ``score_names``, 0..1. tracked: (T,) bool. lengths: (clips,) frames per clip. words: per clip,
    empty when unknown.
    """

    positions: Array
    scores: Array
    score_names: tuple[str, ...]
    tracked: Array
    lengths: Array
    fps: float
    words: Sequence[Sequence[Timed]]


def closed_level(gap: Array) -> float:
    """The measured gap of a speaker's closed lips, from all their gaps (T,), in their unit."""
    return float(np.percentile(gap, CLOSED_PERCENTILE))


def resting_frames(gap: Array, lengths: Array) -> Array:
    """(n,) indices of frames in which the lips are closed and still: the quieter half of the most
    closed fifth.
    """
    speed = np.abs(np.gradient(smoothed(gap, lengths, 1.0)))
    closed = np.flatnonzero(gap <= np.percentile(gap, 20.0))
    return closed[speed[closed] <= np.median(speed[closed])]


def bilabial_times(words: Sequence[Timed]) -> list[float]:
    """Seconds at which the lips meet, judged by the spelling: words that begin with b, p or m, and
    the letter m's end.
    """
    times = []
    for word in words:
        if word.text == "m":
            times.append(word.end)
        elif word.text[:1] in ("b", "p", "m"):
            times.append(word.start)
    return times


LABIODENTALS = {"four": (0.1,), "five": (0.1, 0.9), "seven": (0.5,), "f": (0.8,), "v": (0.1,)}
"""Where in a word the /f/ or /v/ lies, as shares of its duration."""


def labiodental_times(words: Sequence[Timed]) -> list[float]:
    """Seconds at which GRID's words have an /f/ or a /v/."""
    return [
        word.start + share * (word.end - word.start)
        for word in words
        for share in LABIODENTALS.get(word.text, ())
    ]


def bumps(times: Sequence[float], frames: int, fps: float) -> Array:
    """(frames,) 1 at the given seconds, fading out over two frames on either side, 0 elsewhere."""
    near = np.arange(frames)[:, None] - np.asarray(times, np.float64)[None] * fps
    return np.exp(-0.5 * near**2).max(axis=1, initial=0.0)


def close_bilabials(
    gap: Array, times: Sequence[float], fps: float, settings: RetargetConfig
) -> Array:
    """Lower the dip of the gap (T,) nearest to each bilabial to 0, fading out over two frames on
    either side.
    """
    gap = gap.copy()
    frames = np.arange(len(gap))
    for time in times:
        first = max(0, int(np.ceil((time - settings.bilabial_window) * fps)))
        last = min(len(gap) - 1, int(np.floor((time + settings.bilabial_window) * fps)))
        if first > last:
            continue
        deepest = first + int(np.argmin(gap[first : last + 1]))
        if gap[deepest] <= settings.bilabial_limit:
            gap -= gap[deepest] * np.exp(-0.5 * (frames - deepest) ** 2)
    return np.maximum(gap, 0.0)


def retarget(
    take: TrackedTake, face: Face, settings: RetargetConfig | None = None
) -> tuple[Array, Array]:
    """Apply the motion of a tracked subject to ``face``.

    Returns (weights (T, K) float32 in 0..1 on ``face.names``, measured gap (T,) float32 metres on
    the speaker).
    """
    settings = settings or RetargetConfig()
    gap = measured_gap(take.positions).astype(np.float64)
    rest = resting_frames(gap, take.lengths)
    neutral = np.median(take.positions[rest], axis=0)
    solver = LandmarkSolver(face, neutral, settings.solve)

    scale = solver.scale * settings.solve.vertical_gain
    wanted = (smoothed(gap, take.lengths, settings.gap_blur) - closed_level(gap)) * scale
    wanted = np.maximum(wanted - settings.contact, 0.0)
    scores = named_scores(take, face, np.median(take.scores[rest], axis=0))
    tucked = face.columns(["mouthRollLower"])[0]
    start = 0
    for length, words in zip(take.lengths, take.words):
        piece = slice(start, start + int(length))
        wanted[piece] = close_bilabials(wanted[piece], bilabial_times(words), take.fps, settings)
        aim = settings.labiodental * bumps(labiodental_times(words), int(length), take.fps)
        scores[piece, tucked] = np.maximum(scores[piece, tucked], aim / settings.solve.score_trust)
        start += int(length)

    positions = smoothed(take.positions, take.lengths, settings.landmark_blur)
    return solver.solve(positions, scores, wanted, take.lengths), gap.astype(np.float32)


def named_scores(take: TrackedTake, face: Face, neutral: Array) -> Array:
    """The tracker's scores above the subject's neutral ones, in the face's column order: (T, K) in
    0..1.
    """
    column: Mapping[str, int] = {name: i for i, name in enumerate(take.score_names)}
    scores = np.zeros((len(take.scores), len(face.names)))
    for i, name in enumerate(face.names):
        if name in column:
            scores[:, i] = np.clip(take.scores[:, column[name]] - neutral[column[name]], 0.0, 1.0)
    return scores
