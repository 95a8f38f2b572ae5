"""Dynamic time warping: of the lips' motion, and of the slopes of two curves.

A path goes from the first frames of both to their last ones in steps (1, 1), (1, 0) and (0, 1). Among paths of equal cost
the diagonal step is preferred, then the one that advances the first sequence. Each kernel has its plain form beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


def warped_distance(one: Array, other: Array) -> tuple[float, int]:
    """(summed cost, length) of the cheapest path between (T, L, 3) and (S, L, 3); the cost of two frames is the mean distance
    of their points. Memory is that of one row of frames."""
    total, length = _warped(np.ascontiguousarray(one, np.float64), np.ascontiguousarray(other, np.float64))
    return float(total), int(length)


@njit(cache=True, nogil=True)
def _warped(one, other):  # type: ignore[no-untyped-def]
    frames, others, points = one.shape[0], other.shape[0], one.shape[1]
    cost, length = np.full(others + 1, np.inf), np.zeros(others + 1, np.int64)  # of the row above, then of this one
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
    """The same by the whole table of costs and the way back through it."""
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
            total[i, j] = float(cost) + min(total.get(before, infinite) for before in reached_from(i, j))
    at, path = (len(costs) - 1, len(costs[0]) - 1), []
    while at != (-1, -1):
        path.append(at)
        at = min(reached_from(*at), key=lambda before: total.get(before, infinite))  # the first of equals
    return path[::-1]
