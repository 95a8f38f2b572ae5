"""Pairs of truth and prediction for tests of metrics: random ones, and given opening curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from jambatalk.datasets.regions import Regions
from jambatalk.evaluation.metrics import Accumulator
from jambatalk.evaluation.metrics.base import ClipPair, Unit

VERTICES = 9
REGIONS = Regions(np.array([1, 2, 3, 4]), np.array([5, 6, 7]), (1, 2), "made for tests", VERTICES)
TEMPLATE = np.random.default_rng(0).normal(0, 1, (VERTICES, 3)).astype(np.float32)


def pair(
    truth: np.ndarray,
    predicted: np.ndarray,
    unit: str = "centimetres",
    fps: float = 25.0,
    **others: Any,
) -> ClipPair:
    """Of offsets (T, 9, 3)."""
    return ClipPair(
        others.pop("name", "clip"), truth, predicted, TEMPLATE, fps, REGIONS, Unit(unit), **others
    )


def random_pair(seed: int, frames: int = 20, unit: str = "centimetres", **others: Any) -> ClipPair:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.normal(0, 0.3, (2, frames, VERTICES, 3)).astype(np.float32)
    return pair(truth, predicted, unit, name=f"clip{seed}", **others)


def opening_offsets(curve: np.ndarray) -> np.ndarray:
    """(T, 9, 3) offsets that put the two opening vertices ``curve`` (T,) apart."""
    offsets = np.zeros((len(curve), VERTICES, 3))
    upper, lower = REGIONS.opening
    offsets[:, upper] = TEMPLATE[lower].astype(np.float64) - TEMPLATE[upper]
    offsets[:, upper, 1] += curve
    return offsets


def opening_pair(truth: np.ndarray, predicted: np.ndarray, **others: Any) -> ClipPair:
    """Mouths that open by two curves (T,)."""
    return pair(opening_offsets(truth), opening_offsets(predicted), **others)


def measure(one: ClipPair, into: Accumulator | None = None, **options: bool) -> dict[str, float]:
    """Add a pair to a new (or the given) accumulator; its row of numbers."""
    gathered = into or Accumulator(one.unit, **options)
    gathered.add(one)
    return gathered.rows()[one.name]
