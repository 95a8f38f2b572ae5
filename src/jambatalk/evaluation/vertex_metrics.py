"""Metrics of vertex positions. Each takes a ``Pair`` and gives a ``Share``; sets add up totals and counts.

Symbols: t frames, v vertices, y truth and p prediction, both offsets from the subject's template; L lips, U upper face.
"""

from __future__ import annotations

import numpy as np

from jambatalk.evaluation.pair import Array, Pair, Share


def lip_vertex_error(pair: Pair) -> Share:
    """LVE: the largest squared distance of a lip vertex, mean over all frames; squared unit of the corpus."""
    return Share(float(np.square(pair.lip_distances).max(1).sum()), pair.frames)


def lip_max_error(pair: Pair) -> Share:
    """The largest distance of a lip vertex, mean over all frames; mm."""
    return Share(float(pair.lip_distances.max(1).sum()) * pair.unit.to_mm, pair.frames)


def mean_vertex_error(pair: Pair) -> Share:
    """MVE: the distance of a vertex, mean over all frames and vertices; mm."""
    total = sum(float(np.linalg.norm(p - y, axis=2).sum()) for y, p in pair.blocks())
    return Share(total * pair.unit.to_mm, pair.frames * len(pair.template))


def upper_face_dynamics(pair: Pair) -> Share:
    """FDD: mean over U of std_t(|y|²) - std_t(|p|²), mean over clips; squared unit. Positive: the prediction moves less.

    The standard deviation is the population's. Clips of any length count alike.
    """
    return Share(_dynamics_difference(pair), 1)


def upper_face_dynamics_absolute(pair: Pair) -> Share:
    """|FDD|: mean over clips of the absolute value of a clip's FDD, so that clips of too much and of too little motion do not
    make up for each other; squared unit."""
    return Share(abs(_dynamics_difference(pair)), 1)


def _dynamics_difference(pair: Pair) -> float:
    upper = pair.regions.upper_face
    return float(np.mean(dynamics(pair.truth[:, upper]) - dynamics(pair.predicted[:, upper])))


def dynamics(offsets: Array) -> Array:
    """(V,) float64: the standard deviation over time of the squared distance from the template; offsets (T, V, 3)."""
    moved = np.square(offsets.astype(np.float64)).sum(2)
    deviation: Array = moved.std(0)
    return deviation


def lip_spread_ratio(pair: Pair) -> Share:
    """How much the lips move against the truth: the root mean square distance from their own mean position over time, summed
    over L, prediction over truth. 1 is right, 0 a static face."""
    return Share(
        float(motion_spread(pair.predicted[:, pair.regions.lips]).sum()),
        float(motion_spread(pair.truth[:, pair.regions.lips]).sum()),
    )


def motion_spread(offsets: Array) -> Array:
    """(V,) float64: root mean square distance over time from the mean position; offsets (T, V, 3)."""
    spread: Array = np.sqrt(offsets.astype(np.float64).var(0).sum(1))
    return spread


def fourier_error(pair: Pair) -> Share:
    """FFE: mean over frequencies, vertices and coordinates of |fft(p) - fft(y)|², the Fourier transforms over time, unscaled and
    with their phases; mean over clips; mm².

    By Parseval's theorem this is a clip's number of frames times its mean squared coordinate error: it grows with the length
    of clips and says nothing of frequencies. ``amplitude_error`` does.
    """
    total = sum(float(np.square(np.abs(np.fft.fft(p - y, axis=0))).sum()) for y, p in pair.blocks())
    return Share(total / pair.truth.size * pair.unit.to_mm**2, 1)


def amplitude_error(pair: Pair) -> Share:
    """FFE without phases: mean over frequencies, vertices and coordinates of (|rfft(p)| - |rfft(y)|)² / T², mean over clips;
    mm². It is 0 for the right movements at the wrong time and large for movements that are too slow, quick, small or large."""
    total, number = 0.0, 0
    for y, p in pair.blocks():
        difference = (np.abs(np.fft.rfft(p, axis=0)) - np.abs(np.fft.rfft(y, axis=0))) / pair.frames
        total += float(np.square(difference).sum())
        number += difference.size
    return Share(total / number * pair.unit.to_mm**2, 1)


def jitter(pair: Pair) -> Share:
    """Mean length of the third difference of the predicted positions over frames and vertices; mm (per frame³).

    To be read against the row of the truth, which is not 0.
    """
    total = sum(float(np.linalg.norm(np.diff(p, 3, axis=0), axis=2).sum()) for _, p in pair.blocks())
    return Share(total * pair.unit.to_mm, max(pair.frames - 3, 0) * len(pair.template))
