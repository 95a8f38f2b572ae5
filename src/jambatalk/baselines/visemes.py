"""Motion from timed phones alone, as animators key it: one mouth shape per phone, blended by
dominance functions.

M. M. Cohen, D. W. Massaro, Modeling Coarticulation in Synthetic Visual Speech, in Models and
Techniques in Computer Animation, 1993. Every phone pulls the face to its own shape, most at its
own time and exponentially less before and after it; the face is the mean of all shapes, each
with its pull. No sound is used: the result shows what phones and their times alone can do.

As there: targets, and per class of phones a strength and two rates, one for the time before and
one for the time after. What differs: targets are whole meshes and learned (``fit_visemes``),
where theirs were set by hand for each parameter of a face; the pull rests at its full strength
between ``inset`` after a phone's start and ``inset`` before its end, where theirs has its peak
at the middle, so that long pauses hold their shape; a strength belongs to a class and not to
each parameter; bilabials must have at least CLOSURE times the strength of all others, so that
lips meet. A diphthong is its two vowels, half the time each.

``fit_visemes`` learns shapes and dominance functions from speech with timed phones. Given the
dominance functions, a frame is a weighted sum of shapes, so that ridge regression finds the shapes:
first a linear map from articulatory features to shapes, then what each phone's own shape adds to
that, held to zero where there is little speech. Frames at the middle of a bilabial count more than
others. A phone that never occurs keeps the shape of its features. The dominance functions are found
by a coarse search, one number at a time: shapes are fitted on every other clip, and the error on
the clips between decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jambatalk.atomic import atomic_write
from jambatalk.config import from_mapping
from jambatalk.datasets.dataset import PreparedClip
from jambatalk.errors import InputError, reading, shown
from jambatalk.text.phones import (
    BILABIALS,
    DIPHTHONGS,
    FEATURES,
    PHONES,
    SHORTEST_PAUSE,
    SILENCE,
    VOWELS,
    Timed,
    features_of,
)

Array = NDArray[Any]
FORMAT = "jambatalk-visemes-1"

VISEMES = tuple(phone for phone in PHONES if phone not in DIPHTHONGS)
"""The phones that have a shape of their own."""

CLASSES = ("silence", "vowel", "bilabial", "labiodental", "rounded", "tongue")
"""tongue: all consonants that are made behind the lips and do not round them."""

CLOSURE = 4.0
"""How many times stronger than any other class bilabials must be."""

ROUNDED = 0.4
"""From how much rounding on a consonant counts as rounded."""

SPANS = (0.015, 0.03, 0.05, 0.08, 0.12, 0.2)
STRENGTHS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
CLOSING = (4.0, 8.0, 16.0, 32.0)
INSETS = (0.0, 0.02, 0.04, 0.08)
LEADS = (-0.08, -0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06, 0.08, 0.12)
"""What the search tries: seconds, and strengths against a vowel's 1."""
RIDGE = 5.0
"""Frames of speech against which a shape is held to its prior."""
CLOSED = 8.0
"""How many times a frame counts in which the lips should meet: those are few and short, and the
mean would leave lips apart.
"""
SEARCHED, TURNS = 100, 3
"""Clips that the search takes, spread evenly; how often it goes through everything at most."""
DIRECTIONS, SAMPLED = 24, 600
"""The search looks at the motion along so many of its principal directions, found on so many
frames.
"""


def class_of(phone: str) -> str:
    """Which of CLASSES a phone of VISEMES is in."""
    if phone == SILENCE:
        return "silence"
    if phone in VOWELS:
        return "vowel"
    if phone in BILABIALS:
        return "bilabial"
    if phone in ("f", "v"):
        return "labiodental"
    return "rounded" if features_of(phone)[0][FEATURES.index("round")] >= ROUNDED else "tongue"


_CLASS = np.array([CLASSES.index(class_of(phone)) for phone in VISEMES])


@dataclass(frozen=True)
class Dominance:
    """How the phones of each of CLASSES, in their order, attract the face."""

    strength: list[float] = field(default_factory=lambda: [1.0, 1.0, 8.0, 2.0, 1.0, 0.5])
    before: list[float] = field(default_factory=lambda: [0.05] * 6)
    """Seconds over which the pull grows e-fold."""
    after: list[float] = field(default_factory=lambda: [0.05] * 6)
    """Seconds over which it falls to 1 / e."""
    inset: float = 0.02
    """Seconds inside a phone's ends at which its pull is full; at most half of its length."""
    lead: float = 0.0
    """Seconds by which the face is ahead of the sound."""

    def __post_init__(self) -> None:
        for name in ("strength", "before", "after"):
            values = getattr(self, name)
            if len(values) != len(CLASSES) or not all(
                np.isfinite(value) and value > 0 for value in values
            ):
                raise ValueError(
                    f"{name} is {values}, expected {len(CLASSES)} positive numbers: "
                    f"{', '.join(CLASSES)}"
                )
        lips = CLASSES.index("bilabial")
        others = max(self.strength[:lips] + self.strength[lips + 1 :])
        if self.strength[lips] < CLOSURE * others:
            raise ValueError(
                f"the strength of bilabials is {self.strength[lips]}, expected "
                f"{CLOSURE:g} times the others' {others} or more"
            )
        if self.inset < 0:
            raise ValueError(f"inset is {self.inset}, expected 0 seconds or more")


def segments(phones: Sequence[Timed]) -> list[tuple[int, float, float]]:
    """(index into VISEMES, start s, end s) in order of time, pauses filled in and without end
    before and after the speech.

    InputError for a phone that is unknown or ends before it starts.
    """
    found: list[tuple[int, float, float]] = []
    silence, reached = VISEMES.index(SILENCE), -np.inf
    for phone, start, end in sorted(phones, key=lambda timed: (timed.start, timed.end, timed.text)):
        if phone not in PHONES:
            raise InputError(
                f"{phone!r} is not a known phone, expected IPA symbols as in "
                "jambatalk.text.phones.PHONES"
            )
        if not -np.inf < start <= end < np.inf:
            raise InputError(
                f"phone {phone!r} lasts from {start} to {end} s, expected an end after its start"
            )
        if phone == SILENCE:
            continue  # what no phone fills is a pause
        if start - reached >= SHORTEST_PAUSE:
            found.append((silence, reached, start))
        first, last = DIPHTHONGS.get(phone, (phone, phone))
        middle = (start + end) / 2
        if first == last:
            found.append((VISEMES.index(phone), start, end))
        else:
            found += [(VISEMES.index(first), start, middle), (VISEMES.index(last), middle, end)]
        reached = max(reached, end)
    return [*found, (silence, reached, np.inf)]


def pulls(phones: Sequence[Timed], frames: int, fps: float, dominance: Dominance) -> Array:
    """(frames, len(VISEMES)) float64: the share that each phone's shape has in frame t, at t / fps
    seconds; rows sum to 1.
    """
    index, start, end = (np.array(column) for column in zip(*segments(phones), strict=True))
    kind = _CLASS[index]
    inset = np.minimum(dominance.inset, (end - start) / 2)
    times = (np.arange(frames) / fps + dominance.lead)[:, None]  # (T, 1)
    early, late = (
        np.maximum(start + inset - times, 0),
        np.maximum(times - (end - inset), 0),
    )  # (T, segments)
    pull = (
        np.log(dominance.strength)[kind]
        - early / np.array(dominance.before)[kind]
        - late / np.array(dominance.after)[kind]
    )
    share = np.exp(pull - pull.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    of_phone = np.zeros((len(index), len(VISEMES)))
    of_phone[np.arange(len(index)), index] = 1.0
    return share @ of_phone  # type: ignore[no-any-return]


class Visemes:
    """Shapes of phones and how they are blended. ``animate_phones`` is what it is for.

    shapes: (len(VISEMES), 3 V) float32 offsets from the template in ``unit``, x, y, z of each
    vertex side by side. seen: (len(VISEMES),) frames of the fitted speech in which each phone's
    share summed up to 1; near 0 where the shape comes from the phone's articulatory features alone.
    """

    def __init__(
        self, shapes: Array, seen: Array, dominance: Dominance, unit: str, notes: Mapping[str, Any]
    ) -> None:
        if (
            shapes.ndim != 2
            or len(shapes) != len(VISEMES)
            or shapes.shape[1] % 3
            or not np.isfinite(shapes).all()
        ):
            raise ValueError(
                f"shapes are {shapes.dtype} {shapes.shape}, expected finite ({len(VISEMES)}, 3 V)"
            )
        if seen.shape != (len(VISEMES),):
            raise ValueError(f"seen has shape {seen.shape}, expected ({len(VISEMES)},)")
        self.shapes, self.seen = np.asarray(shapes, np.float32), np.asarray(seen, np.float32)
        self.dominance, self.unit, self.notes = dominance, unit, dict(notes)

    def animate_phones(self, phones: Sequence[Timed], frames: int, fps: float) -> Array:
        """(frames, 3 V) float32 offsets; frame t belongs to t / fps seconds.

        phones: in IPA, in any order, pauses as ``sil`` or left out. InputError for an unknown one.
        """
        return (pulls(phones, frames, fps, self.dominance) @ self.shapes).astype(np.float32)  # type: ignore[no-any-return]


def save_visemes(path: str | Path, visemes: Visemes) -> None:
    """Write one safetensors file."""
    header = {
        "format": FORMAT,
        "phones": json.dumps(VISEMES),
        "dominance": json.dumps(asdict(visemes.dominance)),
        "unit": visemes.unit,
        "notes": json.dumps(visemes.notes),
    }
    with atomic_write(path) as temporary:
        try:
            save_file({"shapes": visemes.shapes, "seen": visemes.seen}, temporary, header)
        except SafetensorError as error:  # a full disk
            raise InputError(f"cannot write {path}: {error}") from error


def is_visemes(path: str | Path) -> bool:
    """Return whether a file holds visemes; False for anything else."""
    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError, ValueError):
        return False


def load_visemes(path: str | Path) -> Visemes:
    """The visemes in a file. InputError when it is missing, damaged or of another kind."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no visemes at {path}: expected a file written by tools/fit_visemes.py")
    with reading(path, "a file of visemes"):
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise InputError(
                    f"{path} is of format {shown(header.get('format'))}, expected {FORMAT!r}"
                )
            shapes, seen = file.get_tensor("shapes"), file.get_tensor("seen")
        if tuple(json.loads(header["phones"])) != VISEMES:
            raise InputError(
                f"{path} holds shapes of other phones than those known here: fit it again"
            )
        dominance = from_mapping(Dominance, json.loads(header["dominance"]), str(path))
        return Visemes(shapes, seen, dominance, header["unit"], json.loads(header["notes"]))


class Sums:
    """What ridge regression needs of any number of frames.

    gram: (P, P) of the pulls. cross: (P, D) of pulls and motion. total: (D,) of the motion. square:
    of all motion. count: frames. Each is weighted by how much a frame counts.
    """

    def __init__(self) -> None:
        self.gram: Any = 0.0
        self.cross: Any = 0.0
        self.total: Any = 0.0
        self.square, self.count = 0.0, 0.0

    def add(self, pull: Array, motion: Array, counts: Array) -> None:
        """pull: (T, P). motion: (T, D). counts: (T,) how much each frame counts."""
        weighted = pull.T * counts
        self.gram = self.gram + weighted @ pull
        self.cross = self.cross + weighted @ motion
        self.total = self.total + counts @ motion
        self.square = self.square + float(counts @ np.square(motion).sum(1))
        self.count = self.count + float(counts.sum())

    def shapes(self, ridge: float) -> Array:
        """(P, D) shapes: the mean, what articulatory features explain, and what is left."""
        features = np.stack([features_of(phone)[0] for phone in VISEMES]).astype(
            np.float64
        )  # (P, F)
        mean = np.tile(self.total / self.count, (len(VISEMES), 1))
        of_features = features.T @ self.gram @ features + ridge * np.eye(features.shape[1])
        prior = mean + features @ np.linalg.solve(
            of_features, features.T @ (self.cross - self.gram @ mean)
        )
        own = np.linalg.solve(
            self.gram + ridge * np.eye(len(VISEMES)), self.cross - self.gram @ prior
        )
        return prior + own  # type: ignore[no-any-return]

    def error(self, shapes: Array) -> float:
        """Average over frames the squared distance of the motion from the blended shapes."""
        missed = (
            self.square - 2 * np.sum(shapes * self.cross) + np.sum(shapes * (self.gram @ shapes))
        )
        return float(missed / self.count)


def counting(phones: Sequence[Timed], frames: int, fps: float) -> Array:
    """(frames,) float64: CLOSED for the frame nearest to the middle of a bilabial, 1 for all
    others.
    """
    counts = np.ones(frames)
    for phone, start, end in phones:
        middle = round((start + end) / 2 * fps)
        if phone in BILABIALS and 0 <= middle < frames:
            counts[middle] = CLOSED
    return counts


def motion_of(clip: PreparedClip) -> tuple[Array, Array]:
    """((T, 3 V) float64 offsets, (T,) bool where they were tracked)."""
    moved = np.asarray(clip.offsets, np.float64).reshape(clip.frames, -1)
    return moved, np.ones(clip.frames, bool) if clip.tracked is None else clip.tracked


def fit_visemes(
    clips: Sequence[PreparedClip],
    dominance: Dominance | None = None,
    ridge: float = RIDGE,
    progress: Callable[[str], None] | None = None,
) -> Visemes:
    """Fit on clips of vertices whose phones are known; others are left out.

    dominance: None searches. progress: called with a line of text. InputError when no clip has
    phones or meshes differ.
    """
    known = [clip for clip in clips if clip.phones]
    if not known:
        raise InputError(
            f"none of the {len(clips)} clips has timed phones, which visemes are fitted on"
        )
    kinds = {(clip.corpus.unit, clip.corpus.vertices) for clip in known}
    if len(kinds) > 1:
        raise InputError(
            "clips have "
            + " and ".join(f"{count} vertices in {unit}" for unit, count in sorted(kinds))
        )
    if dominance is None:
        dominance = search(known[:: -(-len(known) // SEARCHED)], ridge, progress)
    sums, seen = Sums(), np.zeros(len(VISEMES))
    for clip in known:
        moved, tracked = motion_of(clip)
        timing = clip.phones or (), clip.frames, clip.fps
        pull = pulls(*timing, dominance)[tracked]
        sums.add(pull, moved[tracked], counting(*timing)[tracked])
        seen += pull.sum(0)
    if not sums.count:
        raise InputError("no frame of the clips was tracked")
    notes = {
        "clips": len(known),
        "frames": round(seen.sum()),
        "corpora": sorted({clip.corpus.name for clip in known}),
        "ridge": ridge,
    }
    return Visemes(sums.shapes(ridge), seen, dominance, known[0].corpus.unit, notes)


def search(
    clips: Sequence[PreparedClip], ridge: float, progress: Callable[[str], None] | None = None
) -> Dominance:
    """The dominance functions with the least error on every other clip when shapes are fitted on
    those between.
    """
    moved = [motion_of(clip) for clip in clips]
    sample = np.concatenate([motion[tracked] for motion, tracked in moved])
    sample = sample[:: -(-len(sample) // SAMPLED)]
    directions = np.linalg.svd(sample - sample.mean(0), full_matrices=False)[2][
        :DIRECTIONS
    ].T  # (3 V, directions)
    small = [
        (clip, motion[tracked] @ directions, tracked)
        for clip, (motion, tracked) in zip(clips, moved, strict=True)
    ]

    def error(dominance: Dominance) -> float:
        halves = Sums(), Sums()
        for i, (clip, motion, tracked) in enumerate(small):
            timing = clip.phones or (), clip.frames, clip.fps
            halves[i % 2].add(
                pulls(*timing, dominance)[tracked], motion, counting(*timing)[tracked]
            )
        first, second = halves
        if not second.count:
            return first.error(first.shapes(ridge))
        return first.error(second.shapes(ridge)) + second.error(first.shapes(ridge))

    best = Dominance()
    least = error(best)
    for turn in range(TURNS):
        before = least
        for name, place, value in trials():
            tried = changed(best, name, place, value)
            if tried is not None and (missed := error(tried)) < least:
                best, least = tried, missed
        if progress is not None:
            progress(f"search, turn {turn + 1}: error {np.sqrt(least / 2):.4f}")
        if least > 0.998 * before:
            break
    return best


def trials() -> list[tuple[str, int, float]]:
    """(setting, place in it or -1, value) of all that a turn of the search tries, one after the
    other.
    """
    found = [("lead", -1, value) for value in LEADS] + [("inset", -1, value) for value in INSETS]
    for i, kind in enumerate(CLASSES):
        found += [(name, i, value) for name in ("before", "after") for value in SPANS]
        if kind != "vowel":  # the measure of all others
            found += [
                ("strength", i, value) for value in (CLOSING if kind == "bilabial" else STRENGTHS)
            ]
    return found


def changed(dominance: Dominance, name: str, place: int, value: float) -> Dominance | None:
    """The dominance functions with one number replaced; None where lips would no longer close."""
    values: dict[str, Any] = asdict(dominance)
    if place < 0:
        values[name] = value
    else:
        values[name] = [value if i == place else other for i, other in enumerate(values[name])]
    try:
        return Dominance(**values)
    except ValueError:
        return None


def viseme_error(visemes: Visemes, clips: Sequence[PreparedClip]) -> tuple[float, float]:
    """(rms distance of a vertex from where it was, that of the face at rest), in the corpus' unit,
    over clips with phones.

    InputError when no clip has phones or the mesh is another one.
    """
    known = [clip for clip in clips if clip.phones]
    if not known:
        raise InputError(f"none of the {len(clips)} clips has timed phones")
    missed = resting = values = 0.0
    for clip in known:
        moved, tracked = motion_of(clip)
        if moved.shape[1] != visemes.shapes.shape[1]:
            raise InputError(
                f"clip {clip.name} has {clip.corpus.vertices} vertices, but the visemes "
                f"{visemes.shapes.shape[1] // 3}"
            )
        shown = visemes.animate_phones(clip.phones or (), clip.frames, clip.fps)
        missed += float(np.square(shown - moved)[tracked].sum())
        resting += float(np.square(moved)[tracked].sum())
        values += tracked.sum() * clip.corpus.vertices
    return float(np.sqrt(missed / values)), float(np.sqrt(resting / values))
