"""What a single camera misses of speech, put back by rule from phones with their times.

A tracker of one camera sees neither a lip under the teeth nor how far lips protrude, and it
flattens how wide they are. The rule draws single shapes into the range that phonetics gives for a
phone and then gives the gap between the lips its measured course back (scaled at open vowels, shut
at bilabials, at the teeth's edge at labiodentals). A motion that already lies in the ranges stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.text.phones import BILABIALS, DIPHTHONGS, SILENCE, VOWELS, Timed

Array = NDArray[Any]
Range = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """What a class of phones asks of the mouth."""

    shapes: Mapping[str, Range]
    """Lowest and highest weight of single shapes; of those that are not named, nothing is asked."""
    dominance: float = 1.0
    """Against neighbours that ask for another weight of the same shape."""
    ramp: float = 0.06
    """Seconds before and after the phone over which it sets in and fades."""
    jaw: float = 1.0
    """Factor of the jaw's opening."""
    gap: float = 1.0
    """Factor of the gap between the lips."""
    parted: float = 0.0
    """Metres; the gap is at least this."""


def _both(name: str, low: float, high: float = 1.0) -> dict[str, Range]:
    return {f"{name}Left": (low, high), f"{name}Right": (low, high)}


_NOT_ROUND: dict[str, Range] = {"mouthPucker": (0.0, 0.04), "mouthFunnel": (0.0, 0.04)}

# Dominance and ramps after Cohen and Massaro (1993), "Modeling coarticulation in synthetic visual
# speech": labial consonants dominate, vowels yield. Rounding begins earlier than other gestures
# (Bell-Berti and Harris 1979, "Anticipatory coarticulation": a fixed time before the vowel).
# Which phones have a shape of their own: Fisher (1968), Jackson (1988), both on lip-readers.
POSES: dict[str, Pose] = {
    # Löfqvist and Gracco (1997), "Lip and jaw kinematics in bilabial stop consonant production":
    # lips meet at high speed and are pressed together, their tissue rolls in.
    "bilabial": Pose(
        _both("mouthPress", 0.15, 0.4)
        | {"mouthRollLower": (0.12, 0.3), "mouthRollUpper": (0.1, 0.25), "mouthFunnel": (0.0, 0.1)},
        dominance=6.0,
        ramp=0.04,
    ),
    # Ladefoged and Maddieson (1996), section 5.1: the lower lip's inner side at the edge of the
    # upper incisors, the upper lip lifted off them, the jaw high.
    "labiodental": Pose(
        _both("mouthUpperUp", 0.28, 0.5)
        | {"mouthRollLower": (0.55, 0.7), "mouthRollUpper": (0.0, 0.05), "jawOpen": (0.03, 0.09)}
        | {"mouthPucker": (0.0, 0.05), "mouthFunnel": (0.0, 0.05)}
        | _both("mouthLowerDown", 0.0, 0.05)
        | _both("mouthPress", 0.0, 0.05),
        dominance=6.0,
        ramp=0.05,
    ),
    # Ladefoged and Maddieson (1996), section 5.3: the tongue's tip at or between the teeth.
    # On the default head it is seen there from 0.4 on; from 0.6 on it cuts through the lower lip.
    "dental": Pose(
        {"tongueOut": (0.42, 0.48), "jawOpen": (0.07, 0.3)}, dominance=2.0, ramp=0.05, parted=0.0035
    ),
    # The tip at the ridge behind the teeth, seen below the upper ones (Jackson 1988).
    "lateral": Pose({"tongueOut": (0.2, 0.28), "jawOpen": (0.1, 0.4)}, ramp=0.05, parted=0.0025),
    # The same for /t d n/, shorter and with less of the tongue in sight.
    "tip": Pose({"tongueOut": (0.08, 0.12)}, ramp=0.04),
    # Shadle (1991) and Stone (1991): sibilants need teeth a millimetre or two apart, so the jaw is
    # the most constrained of all there; lips a little spread for /s z/ ...
    "alveolar": Pose(
        _both("mouthStretch", 0.1, 0.3) | {"jawOpen": (0.0, 0.08), "mouthFunnel": (0.0, 0.1)},
        dominance=3.0,
        gap=0.8,
    ),
    # ... and protruded for English /sh zh ch j/ (Ladefoged and Maddieson 1996, section 5.3).
    "postalveolar": Pose(
        {"mouthFunnel": (0.5, 0.6), "mouthPucker": (0.22, 0.4), "jawOpen": (0.0, 0.1)}
        | _both("mouthStretch", 0.0, 0.0)
        | _both("mouthSmile", 0.0, 0.05),
        dominance=4.0,
        ramp=0.08,
    ),
    # Delattre and Freeman (1968): English r is mildly rounded.
    "rhotic": Pose({"mouthFunnel": (0.22, 0.4), "mouthPucker": (0.3, 0.45)}, ramp=0.07),
    # Fromkin (1964), "Lip positions in American English vowels": width from widest to narrowest
    # i, e, ... o, u; area smallest for u, w.
    "close rounded": Pose(
        {"mouthPucker": (0.6, 0.85), "mouthFunnel": (0.25, 0.45)}
        | _both("mouthStretch", 0.0, 0.0)
        | _both("mouthSmile", 0.0, 0.0),
        dominance=3.0,
        ramp=0.08,
        parted=0.0015,
    ),
    "mid rounded": Pose(
        {"mouthPucker": (0.45, 0.7), "mouthFunnel": (0.25, 0.4)}
        | _both("mouthStretch", 0.0, 0.0)
        | _both("mouthSmile", 0.0, 0.0),
        dominance=2.0,
        ramp=0.08,
        jaw=1.2,
    ),
    "open rounded": Pose(
        {"mouthFunnel": (0.28, 0.45), "mouthPucker": (0.4, 0.6)}, ramp=0.07, jaw=1.6, gap=1.2
    ),
    "spread": Pose(
        _both("mouthStretch", 0.25, 0.4) | _both("mouthSmile", 0.12, 0.3) | _NOT_ROUND, ramp=0.07
    ),
    "half spread": Pose(_both("mouthStretch", 0.16, 0.4) | _NOT_ROUND),
    # Lindblom and Sundberg (1971), "Acoustical consequences of lip, tongue, jaw, and larynx
    # movement": the jaw opens with the vowel's height. s1 of GRID opens the lips with little jaw.
    "half open": Pose(_NOT_ROUND, jaw=1.3, gap=1.1),
    "open": Pose({**_NOT_ROUND, "jawOpen": (0.3, 0.9)}, jaw=1.6, gap=1.2),
}

OPEN = ("half open", "open", "open rounded")
"""Poses whose gap is the jaw's: FACEGOOD's performer opens 93 % of gaps above 10 mm by the jaw, s1
of GRID 77 %.
"""

CLASSES: dict[str, str] = {
    **dict.fromkeys(BILABIALS, "bilabial"),
    **dict.fromkeys(("f", "v"), "labiodental"),
    **dict.fromkeys(("θ", "ð"), "dental"),
    "l": "lateral",
    **dict.fromkeys(("t", "d", "n", "ɾ"), "tip"),
    **dict.fromkeys(("s", "z"), "alveolar"),
    **dict.fromkeys(("ʃ", "ʒ", "ʧ", "ʤ"), "postalveolar"),
    "ɹ": "rhotic",
    "ɝ": "rhotic",
    **dict.fromkeys(("u", "w"), "close rounded"),
    **dict.fromkeys(("o", "ʊ"), "mid rounded"),
    "ɔ": "open rounded",
    "i": "spread",
    **dict.fromkeys(("ɪ", "e", "j"), "half spread"),
    **dict.fromkeys(("ɑ", "æ", "a", "ʌ"), "open"),
    "ɛ": "half open",
}
"""Phones of which something is asked -> their pose in ``POSES``."""

LONGEST_CONSONANT = 0.15
"""Seconds; of a longer consonant only its end counts: aligners give the silence or breath before a
first stop to it.
"""
TOO_OPEN, ABOUT = 0.009, 0.06
"""Metres and seconds: where the lips stay farther apart than this all around a labial consonant,
the mark is mistimed (one camera sees that much), and nothing is asked.
"""

SHUT_REACH = 0.03
"""Seconds around the middle of a bilabial in which the lips are shut, and over which they part."""
SHUT_GAP = 0.0
"""Metres between the inner lips of a bilabial."""
TEETH_HALF_WIDTH = 0.006
"""Metres; the incisors lie this near to the middle."""
JAW_SHARE = 0.5
"""Of a change of the gap that is to be taken back, the part that the jaw takes; lips the rest."""
LEAST_JAW = 0.02
MOST_PARTED = 0.4
"""Weight of lips that part without the jaw, at most."""
REST_PUCKER = 0.12
"""Weight of mouthPucker in the tracked speaker's resting face: his mouth is narrower than the
head's, nothing that he does. It is taken out of all frames.
"""
PAUSE_EDGE = 0.12
"""Seconds from a pause's beginning and end over which rounding fades there."""


def teeth_edge(face: Face) -> float:
    """The height (y, metres) of the edge of the upper incisors, which no shape moves.

    Raises:
        InputError: the face has no region ``upper_teeth``.
    """
    if "upper_teeth" not in face.regions:
        raise InputError("this face has no region 'upper_teeth', expected one for /f/ and /v/")
    teeth = face.vertices[face.regions["upper_teeth"]]
    return float(teeth[np.abs(teeth[:, 0]) < TEETH_HALF_WIDTH, 1].min())


def articulate(weights: Array, phones: Sequence[Timed], fps: float, face: Face) -> Array:
    """Put back what a tracker misses.

    Args:
        weights: (T, K) in 0..1 on the shapes of ``face``; frame t belongs to t / fps seconds.
        phones: in IPA. Unknown ones change nothing; without any the motion stays as it is.
        fps: frames per second.
        face: the face with its ARKit shapes and its teeth.

    Returns:
        (T, K) float32 in 0..1, a new array.

    Raises:
        InputError: the face lacks a shape or its teeth, or the weights do not fit it.
    """
    weights = np.asarray(weights, np.float32)
    if weights.ndim != 2 or weights.shape[1] != len(face.names):
        raise InputError(
            f"weights of shape {weights.shape}, expected (T, {len(face.names)}) for this face"
        )
    if not len(weights) or not phones:
        return np.clip(weights, 0.0, 1.0)
    times = np.arange(len(weights)) / fps
    moved = weights.astype(np.float64)
    pucker = face.columns(["mouthPucker"])[0]
    moved[:, pucker] = np.maximum(moved[:, pucker] - REST_PUCKER, 0.0) * (
        1.0 - _pauses(phones, times)
    )
    seen = face.lip_gap(weights).astype(np.float64)
    spans = [span for span in _spans(phones) if not _mistimed(span, seen, times)]
    if not spans:
        return np.clip(moved, 0.0, 1.0).astype(np.float32)
    strength = np.stack([_window(times, s, e, POSES[c].ramp) for c, s, e in spans])  # (N, T)
    gap = np.maximum(seen, 0.0)
    gap *= _factor(spans, strength, "gap")
    for (name, _, _), row in zip(spans, strength):
        gap = np.maximum(gap, row * POSES[name].parted)
    jaw = face.columns(["jawOpen"])[0]
    moved[:, jaw] *= _factor(spans, strength, "jaw")
    _draw_into_ranges(moved, spans, strength, face)
    _restore(moved, gap, face, np.max([_strongest(spans, strength, c) for c in OPEN], axis=0))
    _tuck(moved, _strongest(spans, strength, "labiodental"), face)
    moved = np.clip(moved, 0.0, 1.0)
    shut = np.zeros(len(times))
    for name, start, end in spans:
        if name == "bilabial":
            shut = np.maximum(shut, _window(times, *_middle(start, end), SHUT_REACH))
    wanted = (1 - shut) * np.maximum(face.lip_gap(moved), 0.0) + shut * SHUT_GAP
    _restore(moved, np.where(shut > 0, wanted, face.lip_gap(moved)), face, np.zeros(len(times)))
    return np.clip(moved, 0.0, 1.0).astype(np.float32)


def articulated(clip: Clip, face: Face) -> Clip:
    """The clip with ``articulate``'s weights; its measured gap stays."""
    weights = articulate(clip.weights, clip.phones, clip.fps, face)
    return replace(clip, motion=replace(clip.motion, weights=weights))


def spoken_part(phone: Timed) -> Timed:
    """The phone without the silence that aligners give to a first stop: a consonant's end."""
    if phone.text in VOWELS or phone.text == SILENCE:
        return phone
    return phone._replace(start=max(phone.start, phone.end - LONGEST_CONSONANT))


def _spans(phones: Sequence[Timed]) -> Iterator[tuple[str, float, float]]:
    """(pose, start, end) of phones of which something is asked; diphthongs in two parts."""
    for phone, start, end in map(spoken_part, phones):
        # The first vowel is held until a half, the second reached after two thirds.
        half, late = start + (end - start) * 0.5, start + (end - start) * 0.67
        first, last = DIPHTHONGS.get(phone, (phone, ""))
        if first in CLASSES:
            yield CLASSES[first], start, half if last else end
        if last in CLASSES:
            yield CLASSES[last], late, end


def _mistimed(span: tuple[str, float, float], gap: Array, times: Array) -> bool:
    """Whether the lips are wide apart all around a labial consonant."""
    name, start, end = span
    near = (times >= start - ABOUT) & (times <= end + ABOUT)
    labial = name in ("bilabial", "labiodental")
    return labial and bool(near.any()) and float(gap[near].min()) > TOO_OPEN


def _middle(start: float, end: float) -> tuple[float, float]:
    """The part of a bilabial in which its lips are shut: up to the burst."""
    return start + 0.2 * (end - start), start + 0.65 * (end - start)


def _window(times: Array, start: float, end: float, ramp: float) -> Array:
    """(T,) 1 from start to end, raised-cosine ramps around; 1 at the nearest frame at least."""
    # A phone shorter than a frame is shown by the frame next to its middle.
    if len(times):
        nearest = times[np.argmin(np.abs(times - (start + end) / 2))]
        if abs(nearest - (start + end) / 2) <= (times[1] if len(times) > 1 else np.inf):
            start, end = min(start, nearest), max(end, nearest)
    outside = np.maximum(np.maximum(start - times, times - end), 0.0)
    return 0.5 + 0.5 * np.cos(np.pi * np.minimum(outside / ramp, 1.0))  # type: ignore[no-any-return]


def _pauses(phones: Sequence[Timed], times: Array) -> Array:
    """(T,) 1 inside pauses and around the phones, 0 in speech."""
    nearest = np.full(len(times), np.inf)
    for phone, start, end in phones:
        if phone != SILENCE:
            nearest = np.minimum(nearest, np.maximum(np.maximum(start - times, times - end), 0.0))
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(nearest / PAUSE_EDGE, 1.0))  # type: ignore[no-any-return]


def _factor(spans: Sequence[tuple[str, float, float]], strength: Array, name: str) -> Array:
    """(T,) factor of the jaw or the gap: the mean of the phones' factors by their strength."""
    values = np.array([getattr(POSES[c], name) for c, _, _ in spans])[:, None]
    share = strength * np.array([POSES[c].dominance for c, _, _ in spans])[:, None]
    total = share.sum(0)
    mean = (share * strength * (values - 1.0)).sum(0) / np.maximum(total, 1e-9)
    return 1.0 + mean  # type: ignore[no-any-return]


def _strongest(spans: Sequence[tuple[str, float, float]], strength: Array, name: str) -> Array:
    rows = [row for row, (c, _, _) in zip(strength, spans) if c == name]
    return np.max(rows, axis=0) if rows else np.zeros(strength.shape[1])


def _draw_into_ranges(
    moved: Array, spans: Sequence[tuple[str, float, float]], strength: Array, face: Face
) -> None:
    """Draw single shapes (in place) into the ranges of the phones, by strength and dominance."""
    for shape in dict.fromkeys(shape for c, _, _ in spans for shape in POSES[c].shapes):
        column = face.columns([shape])[0]
        rows = [n for n, (c, _, _) in enumerate(spans) if shape in POSES[c].shapes]
        poses = [POSES[spans[n][0]] for n in rows]
        low, high = np.array([pose.shapes[shape] for pose in poses]).T[..., None]
        value = moved[:, column]
        change = np.clip(value, low, high) - value
        own = strength[rows]
        share = own * np.array([pose.dominance for pose in poses])[:, None]
        moved[:, column] += (share * own * change).sum(0) / np.maximum(share.sum(0), 1e-9)


def _restore(moved: Array, gap: Array, face: Face, by_jaw: Array) -> None:
    """Give the lips (in place) the wanted gap (T,) metres by jaw, lips and mouthClose.

    by_jaw: (T,) how far the jaw keeps its opening, and lips part less instead.
    """
    names = ("jawOpen", "mouthClose", "mouthLowerDownLeft", "mouthLowerDownRight")
    columns = face.columns([*names, "mouthUpperUpLeft", "mouthUpperUpRight"])
    jaw, close, *lips = columns
    assert face.gap_vertices is not None
    upper, lower = face.gap_vertices
    reach = (face.basis[:, upper, 1] - face.basis[:, lower, 1]).astype(np.float64)
    # Too wide: lips that part less, half by the jaw, the rest by the lips' own closing.
    over = np.maximum(face.lip_gap(moved) - gap, 0.0)
    parted = moved[:, lips] @ reach[lips]
    moved[:, lips] *= 1.0 - (by_jaw * np.minimum(over / np.maximum(parted, 1e-9), 1.0))[:, None]
    over = np.maximum(face.lip_gap(moved) - gap, 0.0)
    room = np.maximum(moved[:, jaw] - LEAST_JAW, 0.0)
    moved[:, jaw] -= (1.0 - by_jaw) * np.minimum(JAW_SHARE * over / reach[jaw], 0.5 * room)
    over = np.maximum(face.lip_gap(moved) - gap, 0.0)
    moved[:, close] += over / -reach[close]
    # Too narrow: first less closing, then lips that part.
    under = np.maximum(gap - face.lip_gap(moved), 0.0)
    moved[:, close] -= np.minimum(under / -reach[close], moved[:, close])
    under = np.maximum(gap - face.lip_gap(moved), 0.0)
    most = np.maximum(moved[:, lips], MOST_PARTED)
    moved[:, lips] = np.minimum(moved[:, lips] + (under / reach[lips].sum())[:, None], most)
    # What the lips cannot do without baring the gums is the jaw's.
    under = np.maximum(gap - face.lip_gap(moved), 0.0)
    moved[:, jaw] = np.minimum(moved[:, jaw] + under / reach[jaw], 1.0)


def _tuck(moved: Array, strength: Array, face: Face) -> None:
    """Bring the lower lip (in place) to the height of the upper teeth's edge, by ``strength``."""
    assert face.gap_vertices is not None
    lower = face.gap_vertices[1]
    jaw, close = face.columns(["jawOpen", "mouthClose"])
    rise = face.basis[:, lower, 1].astype(np.float64)
    for _ in range(2):  # mouthClose goes down to 0, what is left is the jaw's
        height = face.vertices[lower, 1] + moved @ rise
        missing = strength * (teeth_edge(face) - height)
        moved[:, close] += np.maximum(missing, -moved[:, close] * rise[close]) / rise[close]
        height = face.vertices[lower, 1] + moved @ rise
        too_high = strength * np.minimum(teeth_edge(face) - height, 0.0)
        moved[:, jaw] += too_high / rise[jaw]
