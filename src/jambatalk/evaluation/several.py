"""Metrics of models that give another motion every time: several predictions of one clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from jambatalk.evaluation.pair import Array, Pair, Share
from jambatalk.evaluation.vertex_metrics import lip_vertex_error


def shares(pair: Pair, others: Sequence[Array]) -> tuple[Share, Share, Share]:
    """(MEE, CE, diversity) of the pair's own prediction and the others (T, V, 3).

    MEE: the LVE of the mean of all predictions, pooled over frames. CE: the LVE of the prediction whose LVE is the lowest in
    this clip, pooled over frames. Diversity: mean distance over all pairs of predictions, frames and vertices; mm; nan for a
    single prediction.
    """
    predictions = [pair.predicted, *others]
    mean = np.zeros(pair.predicted.shape)
    for one in predictions:
        mean += one
    mean /= len(predictions)
    errors = [lip_vertex_error(replace(pair, predicted=one)) for one in predictions]
    return (
        lip_vertex_error(replace(pair, predicted=mean)),
        min(errors, key=lambda share: share.total),
        diversity(pair, predictions),
    )


def diversity(pair: Pair, predictions: Sequence[Array]) -> Share:
    """Mean distance of the same vertex in two predictions; mm."""
    total, number = 0.0, 0
    for one, other in combinations(predictions, 2):
        total += float(np.linalg.norm(one.astype(np.float64) - other, axis=2).sum())
        number += pair.frames * len(pair.template)
    return Share(total * pair.unit.to_mm, number)
