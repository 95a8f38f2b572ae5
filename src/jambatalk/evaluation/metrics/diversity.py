"""Metrics of models that draw at random: several predictions of one clip.

Each takes the pair with one prediction and the other predictions (T, V, 3) of the same clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from jambatalk.evaluation.metrics.base import Array, ClipPair, Ratio
from jambatalk.evaluation.metrics.vertices import lip_vertex_error


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
