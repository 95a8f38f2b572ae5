"""Learning the shapes of phones and how they are blended from filmed speech with timed phones.

Given the dominance functions, a frame is a weighted sum of shapes, so that ridge regression gives the shapes: first a linear map
from articulatory features to shapes, then what each phone's own shape adds to that, held to zero where there is little speech
to tell. Frames at the middle of a bilabial count more than others. A phone that never occurs keeps the shape of its features.
The dominance functions are found by a coarse search, one number at a time: shapes are fitted on every other clip, and the error
on the clips between decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.baselines.visemes import CLASSES, VISEMES, Dominance, Visemes, pulls
from jambatalk.data.clip import Timed
from jambatalk.data.phones import BILABIALS, features_of
from jambatalk.data.prepared import PreparedClip
from jambatalk.errors import InputError

Array = NDArray[Any]

SPANS = (0.015, 0.03, 0.05, 0.08, 0.12, 0.2)
STRENGTHS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
CLOSING = (4.0, 8.0, 16.0, 32.0)
INSETS = (0.0, 0.02, 0.04, 0.08)
LEADS = (-0.08, -0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06, 0.08, 0.12)
"""What the search tries: seconds, and strengths against a vowel's 1."""
RIDGE = 5.0
"""Frames of speech against which a shape is held to its prior."""
CLOSED = 8.0
"""How many times a frame counts in which the lips should meet: those are few and short, and the mean would leave lips apart."""
SEARCHED, TURNS = 100, 3
"""Clips that the search takes, spread evenly; how often it goes through everything at most."""
DIRECTIONS, SAMPLED = 24, 600
"""The search looks at the motion along so many of its principal directions, found on so many frames."""


class Sums:
    """What ridge regression needs of any number of frames.

    gram: (P, P) of the pulls. cross: (P, D) of pulls and motion. total: (D,) of the motion. square: of all motion. count: frames.
    Each is weighted by how much a frame counts.
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
        """(P, D) shapes: the mean, what articulatory features say, and what is left."""
        features = np.stack([features_of(phone)[0] for phone in VISEMES]).astype(np.float64)  # (P, F)
        mean = np.tile(self.total / self.count, (len(VISEMES), 1))
        of_features = features.T @ self.gram @ features + ridge * np.eye(features.shape[1])
        prior = mean + features @ np.linalg.solve(of_features, features.T @ (self.cross - self.gram @ mean))
        own = np.linalg.solve(self.gram + ridge * np.eye(len(VISEMES)), self.cross - self.gram @ prior)
        return prior + own  # type: ignore[no-any-return]

    def error(self, shapes: Array) -> float:
        """The mean over frames of the squared distance between the motion and the blended shapes."""
        missed = self.square - 2 * np.sum(shapes * self.cross) + np.sum(shapes * (self.gram @ shapes))
        return float(missed / self.count)


def counting(phones: Sequence[Timed], frames: int, fps: float) -> Array:
    """(frames,) float64: CLOSED for the frame nearest to the middle of a bilabial, 1 for all others."""
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

    dominance: None searches. progress: called with a line of text. InputError when no clip has phones or meshes differ.
    """
    told = [clip for clip in clips if clip.phones]
    if not told:
        raise InputError(f"none of the {len(clips)} clips has timed phones, which visemes are fitted on")
    kinds = {(clip.corpus.unit, clip.corpus.vertices) for clip in told}
    if len(kinds) > 1:
        raise InputError(f"clips have {' and '.join(f'{count} vertices in {unit}' for unit, count in sorted(kinds))}")
    if dominance is None:
        dominance = search(told[:: -(-len(told) // SEARCHED)], ridge, progress)
    sums, seen = Sums(), np.zeros(len(VISEMES))
    for clip in told:
        moved, tracked = motion_of(clip)
        timing = clip.phones or (), clip.frames, clip.fps
        pull = pulls(*timing, dominance)[tracked]
        sums.add(pull, moved[tracked], counting(*timing)[tracked])
        seen += pull.sum(0)
    if not sums.count:
        raise InputError("no frame of the clips was tracked")
    notes = {
        "clips": len(told),
        "frames": round(seen.sum()),
        "corpora": sorted({clip.corpus.name for clip in told}),
        "ridge": ridge,
    }
    return Visemes(sums.shapes(ridge), seen, dominance, told[0].corpus.unit, notes)


def search(clips: Sequence[PreparedClip], ridge: float, progress: Callable[[str], None] | None = None) -> Dominance:
    """The dominance functions with the least error on every other clip when shapes are fitted on those between."""
    moved = [motion_of(clip) for clip in clips]
    sample = np.concatenate([motion[tracked] for motion, tracked in moved])
    sample = sample[:: -(-len(sample) // SAMPLED)]
    directions = np.linalg.svd(sample - sample.mean(0), full_matrices=False)[2][:DIRECTIONS].T  # (3 V, directions)
    small = [(clip, motion[tracked] @ directions, tracked) for clip, (motion, tracked) in zip(clips, moved, strict=True)]

    def error(dominance: Dominance) -> float:
        halves = Sums(), Sums()
        for i, (clip, motion, tracked) in enumerate(small):
            timing = clip.phones or (), clip.frames, clip.fps
            halves[i % 2].add(pulls(*timing, dominance)[tracked], motion, counting(*timing)[tracked])
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
    """(setting, place in it or -1, value) of all that a turn of the search tries, one after the other."""
    found = [("lead", -1, value) for value in LEADS] + [("inset", -1, value) for value in INSETS]
    for i, kind in enumerate(CLASSES):
        found += [(name, i, value) for name in ("before", "after") for value in SPANS]
        if kind != "vowel":  # the measure of all others
            found += [("strength", i, value) for value in (CLOSING if kind == "bilabial" else STRENGTHS)]
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
    """(rms distance of a vertex from where it was, that of the face at rest), in the corpus' unit, over clips with phones.

    InputError when no clip has phones or the mesh is another one.
    """
    told = [clip for clip in clips if clip.phones]
    if not told:
        raise InputError(f"none of the {len(clips)} clips has timed phones")
    missed = resting = values = 0.0
    for clip in told:
        moved, tracked = motion_of(clip)
        if moved.shape[1] != visemes.shapes.shape[1]:
            raise InputError(
                f"clip {clip.name} has {clip.corpus.vertices} vertices, but the visemes {visemes.shapes.shape[1] // 3}"
            )
        shown = visemes.animate_phones(clip.phones or (), clip.frames, clip.fps)
        missed += float(np.square(shown - moved)[tracked].sum())
        resting += float(np.square(moved)[tracked].sum())
        values += tracked.sum() * clip.corpus.vertices
    return float(np.sqrt(missed / values)), float(np.sqrt(resting / values))
