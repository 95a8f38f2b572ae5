"""What can be read off a mouth: geometry at phones, and visemes named by a linear discriminant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.articulation import spoken_part, teeth_edge
from jambatalk.face.face import Face
from jambatalk.face.landmarks import split_ring
from jambatalk.text.phones import SILENCE, Timed

Array = NDArray[Any]

VISEMES = (
    *("p b m", "f v", "θ ð", "t d n ɾ", "l", "s z", "ʃ ʒ ʧ ʤ", "k ɡ ŋ h", "ɹ ɝ"),
    *("i ɪ e j eɪ ɨ", "ɛ æ ʌ a ɑ aɪ aʊ ə", "ɔ o oʊ u ʊ w ɔɪ"),
)
"""Twelve classes of phones that look alike (after Fisher 1968), each as its phones."""
AROUND = (-0.08, 0.0, 0.08)
"""Seconds from a phone's centre at which the mouth is measured."""
FOLDS = 5
COLUMNS = ("gap", "width", "protrusion", "lip above teeth's edge", "jaw")
"""The first columns of ``MouthAtPhones.values``; millimetres, the jaw as its weight."""


@dataclass(frozen=True)
class MouthAtPhones:
    """Mouths at phone centres.

    Attributes:
        phones: (N,) IPA.
        values: (N, 3, D). Of mouths D is 7: the five columns of ``COLUMNS``, the inner width (mm)
            and the tongue's weight.
        sentences: (N,) index of the clip.
    """

    phones: Array
    values: Array
    sentences: Array

    def at(self, *phones: str) -> Array:
        """Return the values at the centres of some phones: (n, 7)."""
        values: Array = self.values[np.isin(self.phones, phones), 1]
        return values


def mouth_track(weights: Array, face: Face) -> Array:
    """Measure the mouth in every frame: (T, 7), the columns of ``MouthAtPhones.values``."""
    outer, lower = split_ring(face, "outer_lip_ring")
    inner, _ = split_ring(face, "inner_lip_ring")
    assert face.gap_vertices is not None
    ends = (outer[0], outer[-1], inner[0], inner[-1], *face.gap_vertices)
    used = np.array([*ends, outer[len(outer) // 2], lower[len(lower) // 2]])
    points = face.vertices[used] + np.einsum("tk,kvd->tvd", weights, face.basis[:, used])
    right, left, inner_right, inner_left, top, bottom, above, below = points.swapaxes(0, 1)
    tongue, jaw = face.columns(["tongueOut", "jawOpen"])
    track = np.stack(
        [
            (top - bottom)[:, 1] * 1e3,
            (left - right)[:, 0] * 1e3,
            (above + below)[:, 2] / 2 * 1e3,
            (bottom[:, 1] - teeth_edge(face)) * 1e3,
            weights[:, jaw],
            (inner_left - inner_right)[:, 0] * 1e3,
            weights[:, tongue],
        ],
        axis=1,
    )
    return np.asarray(track, np.float64)


def measure_phones(
    weights: Sequence[Array], phones: Sequence[Sequence[Timed]], fps: float, face: Face
) -> MouthAtPhones:
    """Measure the mouth at every phone's centre and around it.

    Args:
        weights: Of each clip, (T, K) on the shapes of ``face``.
        phones: Of each clip, IPA with times in seconds; pauses are left out.
        fps: Frames a second.
        face: A face with lips and teeth that its regions name.
    """
    tracks = [mouth_track(motion, face) for motion in weights]
    return sample_at_phones(tracks, phones, fps)


def sample_at_phones(
    tracks: Sequence[Array], phones: Sequence[Sequence[Timed]], fps: float
) -> MouthAtPhones:
    """Sample curves of any kind at every phone's centre and around it.

    Args:
        tracks: Of each clip, (T, D): a mouth's measures or any program's outputs.
        phones: Of each clip, IPA with times in seconds; pauses are left out.
        fps: Rows a second.
    """
    names, values, sentences = [], [], []
    for number, (track, spoken) in enumerate(zip(tracks, phones, strict=True)):
        for phone, start, end in map(spoken_part, spoken):
            if phone == SILENCE:
                continue
            frames = ((start + end) / 2 + np.array(AROUND)) * fps
            values.append(track[np.clip(np.round(frames).astype(int), 0, len(track) - 1)])
            names.append(phone)
            sentences.append(number)
    width = tracks[0].shape[1] if len(tracks) else len(COLUMNS) + 2
    return MouthAtPhones(
        np.array(names), np.array(values).reshape(-1, len(AROUND), width), np.array(sentences, int)
    )


def join_mouths(parts: Sequence[MouthAtPhones]) -> MouthAtPhones:
    """Put mouths of several voices together, their sentences numbered on."""
    starts = np.cumsum([0, *(part.sentences.max(initial=-1) + 1 for part in parts)])
    return MouthAtPhones(
        np.concatenate([part.phones for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([p.sentences + start for p, start in zip(parts, starts, strict=False)]),
    )


class Reading(NamedTuple):
    """Phones (N,): the true visemes and the named ones as indices into VISEMES, the sentences."""

    true: Array
    named: Array
    sentences: Array


def legibility(mouths: MouthAtPhones) -> dict[str, float]:
    """Name visemes by a linear discriminant that never saw the sentence.

    Returns:
        The share that is named rightly for each viseme that occurs, over all phones ("all"), and
        the mean of the visemes ("mean"); nan where there is too little to learn from.
    """
    return legibility_of([named_visemes(mouths)])[0]


def legibility_of(
    readings: Sequence[Reading], resamples: int = 1000, seed: int = 0
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Compute legibility with intervals, of one voice or of several together.

    Args:
        readings: Of each voice.
        resamples: How often sentences are drawn again. The discriminants stay as they are: only
            which sentences count changes.
        seed: Of the drawing.

    Returns:
        As ``legibility`` does, and the middle 95 % of each value; none with fewer than three
        sentences.
    """
    right, seen = [], []
    for true, named, sentences in readings:
        of, at = np.unique(sentences, return_inverse=True)
        counts = np.zeros((2, len(of), len(VISEMES)))
        np.add.at(counts[0], (at, true), (true == named).astype(float))
        np.add.at(counts[1], (at, true), 1.0)
        right.append(counts[0])
        seen.append(counts[1])
    hits, asked = np.concatenate(right), np.concatenate(seen)  # (sentences, visemes)
    present = np.flatnonzero(asked.sum(0))
    if not len(present):
        return {"all": float("nan"), "mean": float("nan")}, {}

    def rates(hits: Array, asked: Array) -> dict[str, Array]:
        with np.errstate(invalid="ignore"):
            each = hits[..., present] / asked[..., present]
        table = {"all": hits.sum(-1) / asked.sum(-1), "mean": np.nanmean(each, -1)}
        return table | {VISEMES[n]: each[..., k] for k, n in enumerate(present)}

    values = {name: float(rate) for name, rate in rates(hits.sum(0), asked.sum(0)).items()}
    if len(asked) < 3:
        return values, {}
    drawn = np.random.default_rng(seed).integers(0, len(asked), (resamples, len(asked)))
    again = rates(hits[drawn].sum(1), asked[drawn].sum(1))
    intervals = {}
    for name, found in again.items():
        low, high = np.nanpercentile(found, (2.5, 97.5))
        intervals[name] = (float(low), float(high))
    return values, intervals


def contrast(
    mouths: MouthAtPhones,
    ones: Sequence[str],
    others: Sequence[str],
    column: int,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Compare what the mouth does at the centres of some phones with that of others.

    Returns:
        Mean at ``ones`` less mean at ``others``, and the middle 95 % of it when sentences are drawn
        again; nan where phones are missing, or fewer than three sentences.
    """
    nan = float("nan")
    spoken, at = np.unique(mouths.sentences, return_inverse=True)
    sums, counts = np.zeros((2, 2, len(spoken)))
    for n, names in enumerate((ones, others)):
        chosen = np.isin(mouths.phones, names)
        np.add.at(sums[n], at[chosen], mouths.values[chosen, 1, column])
        np.add.at(counts[n], at[chosen], 1.0)
    if not counts.sum(1).all():
        return nan, nan, nan
    means = sums.sum(1) / counts.sum(1)
    if len(spoken) < 3:
        return float(means[0] - means[1]), nan, nan
    drawn = np.random.default_rng(seed).integers(0, len(spoken), (resamples, len(spoken)))
    with np.errstate(invalid="ignore"):
        again = sums[:, drawn].sum(-1) / counts[:, drawn].sum(-1)  # (2, resamples)
    low, high = np.nanpercentile(again[0] - again[1], (2.5, 97.5))
    return float(means[0] - means[1]), float(low), float(high)


def named_visemes(mouths: MouthAtPhones) -> Reading:
    """Name the visemes of the known phones, with the discriminants of other sentences."""
    viseme = {phone: n for n, group in enumerate(VISEMES) for phone in group.split()}
    known = np.isin(mouths.phones, list(viseme))
    true = np.array([viseme[phone] for phone in mouths.phones[known]], int)
    x = mouths.values[known].reshape(len(true), math.prod(mouths.values.shape[1:]))
    # A mouth that does not move has no spread: a ten thousandth of a millimetre stands for it.
    x = x / np.maximum(x.std(0), 1e-4) if len(true) else x
    fold, named = mouths.sentences[known] % FOLDS, np.full(len(true), -1)
    for left_out in range(FOLDS):
        kept = fold != left_out
        if kept.all() or not kept.any():
            continue
        present = np.unique(true[kept])
        means = np.stack([x[kept & (true == n)].mean(0) for n in present])
        within = x[kept] - means[np.searchsorted(present, true[kept])]
        inverse = np.linalg.inv(np.cov(within.T) + 1e-4 * np.eye(x.shape[1]))
        scores = x @ inverse @ means.T - 0.5 * np.einsum("kd,de,ke->k", means, inverse, means)
        named[~kept] = present[scores[~kept].argmax(1)]
    return Reading(true, named, mouths.sentences[known])
