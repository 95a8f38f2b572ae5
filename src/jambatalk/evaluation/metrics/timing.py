"""Timing: how late one curve follows another, finer than a frame, and dynamic time warping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.base import ClipPair

Array = NDArray[Any]
REACH_MS = 400.0
"""Lags up to this are looked for."""
STILL = 1e-6
"""A curve whose spread is smaller than this share of its height does not move."""


def cross_correlation(leader: Array, follower: Array, reach: int) -> Array:
    """Correlate leader[t] with follower[t + lag], lag from -reach to +reach frames.

    Both curves are taken about their means and padded with them.

    Returns:
        (2 * reach + 1,); 0 everywhere when either curve does not move.
    """
    leader, follower = np.asarray(leader, np.float64), np.asarray(follower, np.float64)
    if leader.shape != follower.shape or leader.ndim != 1:
        raise InputError(
            f"curves have shapes {leader.shape} and {follower.shape}, expected two of the same "
            "length"
        )
    leader, follower = leader - leader.mean(), follower - follower.mean()
    scale = np.sqrt((leader @ leader) * (follower @ follower))
    if scale < 1e-15:
        return np.zeros(2 * reach + 1)
    padded = np.pad(follower, reach)
    return np.array([leader @ padded[i : i + len(leader)] for i in range(2 * reach + 1)]) / scale


def peak(values: Array) -> float:
    """Position of the maximum, refined by the parabola through it and its two neighbors."""
    i = int(np.argmax(values))
    if i == 0 or i == len(values) - 1:
        return float(i)
    left, middle, right = values[i - 1 : i + 2]
    bend = left - 2 * middle + right
    return float(i) if bend == 0 else float(i + 0.5 * (left - right) / bend)


def lag_ms(
    leaders: Sequence[Array], followers: Sequence[Array], fps: float, reach_ms: float = REACH_MS
) -> float:
    """Milliseconds by which the followers come after the leaders; negative when they come before.

    The cross-correlations of all clips are averaged before the maximum is taken, so that one odd
    clip does not decide. nan when nothing moves.
    """
    reach = max(1, round(reach_ms * fps / 1000))
    total = np.mean(
        [cross_correlation(a, b, reach) for a, b in zip(leaders, followers, strict=True)], axis=0
    )
    if not total.any():
        return float("nan")
    return (peak(total) - reach) * 1000 / fps


def sound_level(samples: Array, rate: int, fps: float, frames: int) -> Array:
    """Level of the sound in dB (floor -60), in two frames around each frame's time t / fps."""
    power = np.concatenate([[0.0], np.cumsum(np.asarray(samples, np.float64) ** 2)])
    centres = np.arange(frames) * (rate / fps)
    half = rate / fps
    first = np.clip(np.round(centres - half), 0, len(samples)).astype(np.int64)
    last = np.clip(np.round(centres + half), 0, len(samples)).astype(np.int64)
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    return np.maximum(10.0 * np.log10(mean + 1e-12), -60.0)


class Lags:
    """Measures lag_ms, prediction after truth, and sound_lag_ms, prediction after sound level.

    As in ``lag_ms``, the cross-correlations of the clips are averaged before the maximum is taken;
    kept is their sum. nan where nothing moves.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}
        self._rows: dict[str, dict[str, float]] = {}
        self._fps = 0.0

    def add(self, pair: ClipPair) -> None:
        self._fps = pair.fps
        leaders = {"lag_ms": pair.true_opening}
        if pair.samples is not None:
            leaders["sound_lag_ms"] = sound_level(pair.samples, SAMPLE_RATE, pair.fps, pair.frames)
        reach = max(1, round(REACH_MS * pair.fps / 1000))
        row = self._rows.setdefault(pair.name, {})
        for name, leader in leaders.items():
            found = np.zeros(2 * reach + 1)
            if _moves(pair.predicted_opening) and _moves(leader):
                found = cross_correlation(_scaled(leader), _scaled(pair.predicted_opening), reach)
            row[name] = self._lag(found)
            self._sums[name] = self._sums.get(name, 0.0) + found

    def rows(self) -> Mapping[str, Mapping[str, float]]:
        """Clip -> the lags of this clip alone."""
        return self._rows

    def totals(self) -> Mapping[str, float]:
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


# Dynamic time warping: of the lips' motion, and of the slopes of two curves.
#
# A path goes from the first frames of both to their last ones in steps (1, 1), (1, 0) and (0, 1).
# Among paths of equal cost the diagonal step is preferred, then the one that advances the first
# sequence. Each kernel has its plain form beside it.


def warped_distance(one: Array, other: Array) -> tuple[float, int]:
    """(summed cost, length) of the cheapest path between (T, L, 3) and (S, L, 3).

    The cost of two frames is the mean distance of their points. Memory is that of one row of
    frames.
    """
    total, length = _warped(
        np.ascontiguousarray(one, np.float64), np.ascontiguousarray(other, np.float64)
    )
    return float(total), int(length)


@njit(cache=True, nogil=True)
def _warped(one, other):  # type: ignore[no-untyped-def]
    frames, others, points = one.shape[0], other.shape[0], one.shape[1]
    # Of the row above, then of this one.
    cost, length = np.full(others + 1, np.inf), np.zeros(others + 1, np.int64)
    cost[0] = 0.0
    for i in range(frames):
        above, above_length = cost[0], length[0]  # what lay at j - 1 in the row above
        cost[0], length[0] = np.inf, 0
        for j in range(others):
            distance = 0.0
            for k in range(points):
                x = one[i, k, 0] - other[j, k, 0]
                y = one[i, k, 1] - other[j, k, 1]
                z = one[i, k, 2] - other[j, k, 2]
                distance += np.sqrt(x * x + y * y + z * z)
            best, steps = above, above_length
            if cost[j + 1] < best:
                best, steps = cost[j + 1], length[j + 1]
            if cost[j] < best:
                best, steps = cost[j], length[j]
            above, above_length = cost[j + 1], length[j + 1]
            cost[j + 1], length[j + 1] = best + distance / points, steps + 1
    return cost[others], length[others]


def warped_distance_reference(one: Array, other: Array) -> tuple[float, int]:
    """Compute the same by the whole table of costs and the way back through it."""
    apart = np.linalg.norm(one[:, None].astype(np.float64) - other[None], axis=3).mean(2)  # (T, S)
    path = path_reference(apart)
    return float(sum(apart[i, j] for i, j in path)), len(path)


def warping_path(costs: Array) -> Array:
    """(n, 2) int64 frames of both along the cheapest path through a table of costs (T, S)."""
    path: Array = _path(np.ascontiguousarray(costs, np.float64))
    return path


@njit(cache=True, nogil=True)
def _path(costs):  # type: ignore[no-untyped-def]
    frames, others = costs.shape
    total = np.full((frames + 1, others + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(frames):
        for j in range(others):
            total[i + 1, j + 1] = costs[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    path = np.empty((frames + others, 2), np.int64)
    i, j, n = frames, others, 0
    while i > 0 and j > 0:
        path[n, 0], path[n, 1] = i - 1, j - 1
        n += 1
        best = total[i - 1, j - 1]
        down, right = i - 1, j - 1
        if total[i - 1, j] < best:
            best, down, right = total[i - 1, j], i - 1, j
        if total[i, j - 1] < best:
            best, down, right = total[i, j - 1], i, j - 1
        i, j = down, right
    return path[:n][::-1].copy()


def path_reference(costs: Array) -> list[tuple[int, int]]:
    """The plain form of ``warping_path``."""
    total: dict[tuple[int, int], float] = {(-1, -1): 0.0}
    infinite = float("inf")

    def reached_from(i: int, j: int) -> list[tuple[int, int]]:
        return [(i - 1, j - 1), (i - 1, j), (i, j - 1)]

    for i, row in enumerate(costs):
        for j, cost in enumerate(row):
            total[i, j] = float(cost) + min(
                total.get(before, infinite) for before in reached_from(i, j)
            )
    at, path = (len(costs) - 1, len(costs[0]) - 1), []
    while at != (-1, -1):
        path.append(at)
        # The first of equals.
        at = min(reached_from(*at), key=lambda before: total.get(before, infinite))
    return path[::-1]
