"""How well an opening curve follows another: correlation of lip gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.base import ClipPair, Ratio
from jambatalk.evaluation.metrics.timing import warped_distance, warping_path
from jambatalk.face.face import Face
from jambatalk.text.phones import BILABIALS, OPEN_VOWELS, Timed

Array = NDArray[Any]


def correlation(one: Array, other: Array) -> float:
    """Pearson's correlation of two curves (T,); 0 when either does not move (a static face follows nothing)."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise InputError(
            f"curves have shapes {one.shape} and {other.shape}, expected two of the same length (at least 2)"
        )
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    tiny = 1e-9 * len(one)  # float32 rounding of a constant curve in metres stays far below
    if min(one @ one, other @ other) < tiny * 1e-6 or scale == 0:
        return 0.0
    return float(one @ other / scale)


def mean_correlation(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Mean over clips of the correlation within each clip."""
    return float(np.mean([correlation(p, t) for p, t in zip(predicted, true, strict=True)]))


def pooled_correlation(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Correlation over the frames of all clips taken together, so that the size of the openings counts too."""
    return correlation(np.concatenate(list(predicted)), np.concatenate(list(true)))


def mean_opening_error(predicted: Sequence[Array], true: Sequence[Array]) -> float:
    """Mean absolute difference of the openings over all frames (MOD), in the curves' unit."""
    return float(np.mean(np.abs(np.concatenate(list(predicted)) - np.concatenate(list(true)))))


def fitted(curve: Array, frames: int) -> Array:
    """A curve of ``frames`` frames: cut, or continued with its last value (a clip's sound may be a frame shorter)."""
    if len(curve) == 0:
        raise InputError("an empty opening curve cannot be compared")
    if len(curve) >= frames:
        return curve[:frames]
    return np.concatenate([curve, np.repeat(curve[-1:], frames - len(curve))])


# Metrics of how the mouth opens over time, and of the lips' motion but for its timing.


SMOOTH_FRAMES = 2.0
"""Standard deviation in frames of the smoothing before extrema are looked for."""


def opening_error(pair: ClipPair) -> Ratio:
    """MOD: mean over all frames of |opening(y) - opening(p)|; mm."""
    return Ratio(
        float(np.abs(pair.predicted_opening - pair.true_opening).sum()) * pair.unit.to_mm,
        pair.frames,
    )


def opening_correlation(pair: ClipPair) -> Ratio:
    """Pearson's correlation of the two openings, mean over clips; 0 where either does not move."""
    if pair.frames < 2:
        return Ratio(0.0, 0)
    one, other = (_unitless(curve) for curve in (pair.predicted_opening, pair.true_opening))
    return Ratio(correlation(one, other), 1)


def _unitless(curve: Array) -> Array:
    # correlation() holds still what moves less than rounding would in metres: as if the mouth opened some centimetres at most
    largest = float(np.abs(curve).max())
    return curve * (0.03 / largest) if largest > 0 else curve


def lip_warped_distance(pair: ClipPair) -> Ratio:
    """LDTW: along the cheapest warping of the frames, the mean distance of the lip vertices, total over path length, mean over
    clips; mm."""
    lips = pair.regions.lips
    total, length = warped_distance(pair.truth[:, lips], pair.predicted[:, lips])
    return Ratio(total / length * pair.unit.to_mm, 1)


def mouth_timing(pair: ClipPair) -> Ratio:
    """MTM: how far apart in time the same openings and closings are, mean over a clip's matched extrema, then over the clips
    that have any; ms.

    As its authors measure it (Chae-Yeon et al. 2025): both openings are smoothed (sigma = 2 frames), and their slopes are warped
    onto each other. Extrema of the same kind that the path brings together are matched, if the predicted one lies between the
    truth's neighbouring extrema. nan where nothing matches, as for a still face: read it beside ``matched_extrema``, since
    extrema that are missed altogether cost nothing here.
    """
    found = matched_frames(pair.true_opening, pair.predicted_opening)[0]
    if not found:
        return Ratio(0.0, 0)
    return Ratio(float(np.mean([abs(i - j) for i, j in found])) * 1000 / pair.fps, 1)


def matched_extrema(pair: ClipPair) -> Ratio:
    """Percent of the truth's extrema that are matched (see ``mouth_timing``), over all clips."""
    found, number = matched_frames(pair.true_opening, pair.predicted_opening)
    return Ratio(100.0 * len({i for i, _ in found}), number)


def matched_frames(true: Array, predicted: Array) -> tuple[list[tuple[int, int]], int]:
    """(pairs of frames of matched extrema, how many extrema ``true`` has); two curves (T,) of one unit."""
    one, other = smoothed(true), smoothed(predicted)
    kinds, partners = extrema(one), extrema(other)
    if not kinds or not partners:
        return [], len(kinds)
    frames = [0, *kinds, len(one) - 1]
    bounds = {frame: (frames[place], frames[place + 2]) for place, frame in enumerate(kinds)}
    path = warping_path(np.abs(slope(one)[:, None] - slope(other)[None]))
    matched = [
        (i, j)
        for i, j in path.tolist()
        if i in kinds and partners.get(j) == kinds[i] and bounds[i][0] <= j <= bounds[i][1]
    ]
    return matched, len(kinds)


def smoothed(curve: Array, sigma: float = SMOOTH_FRAMES) -> Array:
    """(T,) float64 after a Gaussian of ``sigma`` frames, cut at four sigma; the curve is mirrored at its ends."""
    reach = round(4 * sigma)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    return np.convolve(
        np.pad(np.asarray(curve, np.float64), reach, mode="symmetric"),
        kernel / kernel.sum(),
        mode="valid",
    )


def extrema(curve: Array) -> dict[int, int]:
    """Frame -> 1 for a maximum, -1 for a minimum, in order; the ends are none. A flat one counts at its middle, rounded down.

    A curve that moves less than a millionth of its height has none: that is rounding.
    """
    if np.ptp(curve) <= 1e-6 * np.abs(curve).max():
        return {}
    steps = np.diff(curve)
    moves = np.flatnonzero(steps)
    signs = np.sign(steps[moves])
    turns = np.flatnonzero(signs[:-1] != signs[1:])
    return {int(moves[k] + 1 + moves[k + 1]) // 2: int(signs[k]) for k in turns}


def slope(curve: Array) -> Array:
    """(T,) the step to a frame from the one before it; 0 for the first."""
    return np.diff(curve, prepend=curve[:1])


# Whether the lips close where bilabials are spoken.


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


def closure_rate(
    gaps: Sequence[Array], onsets: Sequence[Sequence[float]], fps: float
) -> tuple[float, int]:
    """Share of onsets at which the lips close, and how many onsets there are, over a speaker's clips (gaps (T,) each)."""
    closed = closed_level(gaps)
    hits = [
        hit
        for gap, times in zip(gaps, onsets, strict=True)
        for hit in closures(gap, times, fps, closed)
    ]
    if not hits:
        raise InputError("no bilabial onset in these clips: closure needs clips with word times")
    return float(np.mean(hits)), len(hits)


# Whether the lips meet where /p b m/ are spoken and stay apart in open vowels, by phones with times.


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
    at_bilabials: list[
        tuple[float, float, float]
    ] = []  # (gap in the phone, gap at its onset, the clip's threshold)
    in_vowels: list[tuple[float, float]] = []
    for gap, spoken in zip(gaps, phones, strict=True):
        threshold = (
            closed + CLOSED_SHARE * (float(np.percentile(gap, 95)) - closed) + ROUNDING_METRES
        )
        for phone, start, end in spoken:
            if phone in BILABIALS:
                at_bilabials.append(
                    (smallest_gap(gap, start, end, fps), gap_at(gap, start, fps), threshold)
                )
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


# Closure gathered over clips: per speaker, since what is closed is told against all of a speaker's openings.


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

    def add(self, pair: ClipPair) -> None:
        last = (pair.frames - 1) / pair.fps  # what begins after the motion ends cannot be seen
        if pair.phones:
            onsets = [start for phone, start, _ in pair.phones if phone in BILABIALS]
            vowels = [
                timed
                for timed in pair.phones
                if timed.text in OPEN_VOWELS and timed.end - timed.start >= SHORTEST_VOWEL
            ]
        else:
            onsets, vowels = bilabial_onsets(pair.words or ()), []
        scale = (
            pair.unit.to_mm / 1000
            if pair.unit.known
            else HEAD_METRES / float(np.ptp(pair.template, axis=0).max())
        )
        self._clips[pair.name] = _Spoken(
            pair.subject,
            pair.predicted_opening * scale,
            pair.fps,
            tuple(onset for onset in onsets if onset <= last),
            tuple(timed for timed in vowels if timed.start <= last),
        )

    def _shares(self) -> dict[str, tuple[Ratio, Ratio]]:
        closed = {
            subject: closed_level(
                clip.opening for clip in self._clips.values() if clip.subject == subject
            )
            for subject in {clip.subject for clip in self._clips.values()}
        }
        return {name: _closed(clip, closed[clip.subject]) for name, clip in self._clips.items()}

    def rows(self) -> dict[str, dict[str, float]]:
        return {name: _named(*shares) for name, shares in self._shares().items()}

    def totals(self) -> dict[str, float]:
        pairs = list(self._shares().values())
        if not pairs:
            return _named(Ratio(0, 0), Ratio(0, 0))
        onsets, vowels = (
            Ratio(sum(s.total for s in kind), sum(s.number for s in kind)) for kind in zip(*pairs)
        )
        return _named(onsets, vowels)


def _closed(clip: _Spoken, closed: float) -> tuple[Ratio, Ratio]:
    threshold = (
        closed + CLOSED_SHARE * (float(np.percentile(clip.opening, 95)) - closed) + ROUNDING_METRES
    )
    hits = sum(gap_at(clip.opening, onset, clip.fps) <= threshold for onset in clip.onsets)
    false = 0
    for _, start, end in clip.vowels:
        third = (end - start) / 3
        false += smallest_gap(clip.opening, start + third, end - third, clip.fps) <= threshold
    return Ratio(100.0 * hits, len(clip.onsets)), Ratio(100.0 * false, len(clip.vowels))


def _named(onsets: Ratio, vowels: Ratio) -> dict[str, float]:
    return {"closure_percent": onsets.value, "closure_false_percent": vowels.value}


# Whether a face is at rest: how far its lips are apart, and how much they tremble.


@dataclass(frozen=True)
class Stillness:
    """Millimetres. mean, largest: of the inner-lip gap's distance from 0. tremble: mean absolute change of the gap from frame
    to frame. lip_tremble: mean distance that a lip vertex moves from frame to frame."""

    mean: float
    largest: float
    tremble: float
    lip_tremble: float


def stillness(weights: Array, face: Face) -> Stillness:
    """Of weights (T, K) on the face's shapes, T at least 2."""
    if len(weights) < 2:
        raise InputError(
            f"{len(weights)} frames found, expected at least 2 to see whether they differ"
        )
    gap = face.lip_gap(weights) * 1e3
    moved = (
        np.tensordot(np.diff(weights, axis=0), face.basis[:, face.regions["lips"]], 1) * 1e3
    )  # (T - 1, lips, 3)
    return Stillness(
        mean=float(np.abs(gap).mean()),
        largest=float(np.abs(gap).max()),
        tremble=float(np.abs(np.diff(gap)).mean()),
        lip_tremble=float(np.linalg.norm(moved, axis=2).mean()),
    )


def joined(parts: list[Stillness]) -> Stillness:
    """Several stretches as one: means of the means, the largest of the largest."""
    mean, largest, tremble, lip_tremble = np.array(
        [[p.mean, p.largest, p.tremble, p.lip_tremble] for p in parts]
    ).T
    return Stillness(
        float(mean.mean()), float(largest.max()), float(tremble.mean()), float(lip_tremble.mean())
    )
