"""Metrics of vertex positions: each takes a ``ClipPair`` and returns a ``Ratio``.

Symbols: t frames, v vertices, y truth and p prediction, both offsets from the subject's template;
L lips, U upper face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from jambatalk.evaluation.metrics.base import Array, ClipPair, Ratio


def lip_vertex_error(pair: ClipPair) -> Ratio:
    """LVE: the largest squared distance of a lip vertex, mean over frames; the unit squared."""
    return Ratio(float(np.square(pair.lip_distances).max(1).sum()), pair.frames)


def lip_max_error(pair: ClipPair) -> Ratio:
    """The largest distance of a lip vertex, mean over all frames; mm."""
    return Ratio(float(pair.lip_distances.max(1).sum()) * pair.unit.to_mm, pair.frames)


def mean_vertex_error(pair: ClipPair) -> Ratio:
    """MVE: the distance of a vertex, mean over all frames and vertices; mm."""
    total = sum(float(np.linalg.norm(p - y, axis=2).sum()) for y, p in pair.blocks())
    return Ratio(total * pair.unit.to_mm, pair.frames * len(pair.template))


def upper_face_dynamics(pair: ClipPair) -> Ratio:
    """FDD: mean over U of std_t(|y|²) - std_t(|p|²), mean over clips; the unit squared.

    Positive where the prediction moves less. The standard deviation is the population's. Clips of
    any length count alike.
    """
    return Ratio(_dynamics_difference(pair), 1)


def upper_face_dynamics_absolute(pair: ClipPair) -> Ratio:
    """|FDD|: mean over clips of the absolute value of a clip's FDD; the unit squared.

    Clips of too much and of too little motion do not make up for each other.
    """
    return Ratio(abs(_dynamics_difference(pair)), 1)


def _dynamics_difference(pair: ClipPair) -> float:
    upper = pair.regions.upper_face
    return float(np.mean(dynamics(pair.truth[:, upper]) - dynamics(pair.predicted[:, upper])))


def dynamics(offsets: Array) -> Array:
    """Standard deviation over time of the squared distance from the template.

    offsets (T, V, 3) -> (V,) float64.
    """
    moved = np.square(offsets.astype(np.float64)).sum(2)
    deviation: Array = moved.std(0)
    return deviation


def lip_spread_ratio(pair: ClipPair) -> Ratio:
    """How much the lips move against the truth: 1 is right, 0 a static face.

    The root mean square distance from their mean position over time, summed over L, prediction over
    truth.
    """
    return Ratio(
        float(motion_spread(pair.predicted[:, pair.regions.lips]).sum()),
        float(motion_spread(pair.truth[:, pair.regions.lips]).sum()),
    )


def motion_spread(offsets: Array) -> Array:
    """Root mean square distance over time from the mean position; (T, V, 3) -> (V,) float64."""
    spread: Array = np.sqrt(offsets.astype(np.float64).var(0).sum(1))
    return spread


def fourier_error(pair: ClipPair) -> Ratio:
    """FFE: mean over frequencies, vertices and coordinates of |fft(p) - fft(y)|²; mm².

    The Fourier transforms are over time, unscaled and with their phases; mean over clips. By
    Parseval's theorem this is a clip's number of frames times its mean squared coordinate error: it
    grows with the length of clips and is blind to frequencies. ``amplitude_error`` is not.
    """
    total = sum(float(np.square(np.abs(np.fft.fft(p - y, axis=0))).sum()) for y, p in pair.blocks())
    return Ratio(total / pair.truth.size * pair.unit.to_mm**2, 1)


def amplitude_error(pair: ClipPair) -> Ratio:
    """FFE without phases: mean of (|rfft(p)| - |rfft(y)|)² / T²; mm².

    The mean is over frequencies, vertices and coordinates, then over clips. It is 0 for the right
    movements at the wrong time and large for movements that are too slow, quick, small or large.
    """
    total, number = 0.0, 0
    for y, p in pair.blocks():
        difference = (np.abs(np.fft.rfft(p, axis=0)) - np.abs(np.fft.rfft(y, axis=0))) / pair.frames
        total += float(np.square(difference).sum())
        number += difference.size
    return Ratio(total / number * pair.unit.to_mm**2, 1)


def jitter(pair: ClipPair) -> Ratio:
    """Mean length of the third difference of the predicted positions over frames and vertices; mm
    (per frame³).

    To be read against the row of the truth, which is not 0.
    """
    total = sum(
        float(np.linalg.norm(np.diff(p, 3, axis=0), axis=2).sum()) for _, p in pair.blocks()
    )
    return Ratio(total * pair.unit.to_mm, max(pair.frames - 3, 0) * len(pair.template))


def mean_estimate_error(pair: ClipPair, others: Sequence[Array]) -> Ratio:
    """MEE: the LVE of the mean of all predictions, pooled over frames."""
    mean = np.zeros(pair.predicted.shape)
    for one in (pair.predicted, *others):
        mean += one
    mean /= 1 + len(others)
    return lip_vertex_error(replace(pair, predicted=mean))


def coverage_error(pair: ClipPair, others: Sequence[Array]) -> Ratio:
    """CE: the LVE of the clip's best prediction, pooled over frames."""
    errors = [lip_vertex_error(replace(pair, predicted=one)) for one in (pair.predicted, *others)]
    return min(errors, key=lambda ratio: ratio.total)


def diversity(pair: ClipPair, others: Sequence[Array]) -> Ratio:
    """Mean distance of the same vertex in two predictions, over all pairs of them; mm.

    nan for a single prediction.
    """
    total, number = 0.0, 0
    for one, other in combinations((pair.predicted, *others), 2):
        total += float(np.linalg.norm(one.astype(np.float64) - other, axis=2).sum())
        number += pair.frames * len(pair.template)
    return Ratio(total * pair.unit.to_mm, number)
