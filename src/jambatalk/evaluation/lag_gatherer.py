"""How late the mouth opens, after the true mouth and after the sound."""

from __future__ import annotations

import math

import numpy as np

from jambatalk.audio import RATE
from jambatalk.evaluation.lag import cross_correlation, peak, sound_level
from jambatalk.evaluation.pair import Array, Pair

REACH_MS = 400.0
STILL = 1e-6
"""A curve whose spread is smaller than this share of its height is held for still."""


class Lags:
    """lag_ms: prediction after truth. sound_lag_ms: prediction after the sound's level.

    As ``lag.lag_ms``: the cross-correlations of the clips are averaged before the maximum is taken, so that one odd clip does
    not decide. What is kept is their sum. nan where nothing moves.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}
        self._fps = 0.0

    def add(self, pair: Pair) -> dict[str, float]:
        """Add a clip; gives the lags of this clip alone."""
        self._fps = pair.fps
        leaders = {"lag_ms": pair.true_opening}
        if pair.samples is not None:
            leaders["sound_lag_ms"] = sound_level(pair.samples, RATE, pair.fps, pair.frames)
        reach = max(1, round(REACH_MS * pair.fps / 1000))
        row = {}
        for name, leader in leaders.items():
            found = np.zeros(2 * reach + 1)
            if _moves(pair.predicted_opening) and _moves(leader):
                found = cross_correlation(_scaled(leader), _scaled(pair.predicted_opening), reach)
            row[name] = self._lag(found)
            self._sums[name] = self._sums.get(name, 0.0) + found
        return row

    def totals(self) -> dict[str, float]:
        return {name: self._lag(found) for name, found in self._sums.items()}

    def _lag(self, correlations: Array) -> float:
        if not correlations.any():
            return math.nan
        return (peak(correlations) - len(correlations) // 2) * 1000 / self._fps


def _moves(curve: Array) -> bool:
    return float(curve.std()) > STILL * float(np.abs(curve).max())


def _scaled(curve: Array) -> Array:
    scaled: Array = curve / np.abs(curve).max()
    return scaled
