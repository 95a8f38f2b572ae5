"""How late one curve is against another, in milliseconds, finer than a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

Array = NDArray[Any]


def cross_correlation(leader: Array, follower: Array, reach: int) -> Array:
    """(2 * reach + 1,) correlations of leader[t] with follower[t + lag], lag from -reach to +reach frames.

    Both curves are taken about their means and padded with them; 0 everywhere when either does not move.
    """
    leader, follower = np.asarray(leader, np.float64), np.asarray(follower, np.float64)
    if leader.shape != follower.shape or leader.ndim != 1:
        raise InputError(f"curves have shapes {leader.shape} and {follower.shape}, expected two of the same length")
    leader, follower = leader - leader.mean(), follower - follower.mean()
    scale = np.sqrt((leader @ leader) * (follower @ follower))
    if scale < 1e-15:
        return np.zeros(2 * reach + 1)
    padded = np.pad(follower, reach)
    return np.array([leader @ padded[i : i + len(leader)] for i in range(2 * reach + 1)]) / scale


def peak(values: Array) -> float:
    """Position of the maximum of sampled values, refined by the parabola through it and its two neighbours."""
    i = int(np.argmax(values))
    if i == 0 or i == len(values) - 1:
        return float(i)
    left, middle, right = values[i - 1 : i + 2]
    bend = left - 2 * middle + right
    return float(i) if bend == 0 else float(i + 0.5 * (left - right) / bend)


def lag_ms(leaders: Sequence[Array], followers: Sequence[Array], fps: float, reach_ms: float = 400.0) -> float:
    """Milliseconds by which the followers come after the leaders; negative when they come before.

    The cross-correlations of all clips are averaged before the maximum is taken, so that one odd clip does not decide.
    Returns nan when nothing moves.
    """
    reach = max(1, round(reach_ms * fps / 1000))
    total = np.mean([cross_correlation(a, b, reach) for a, b in zip(leaders, followers, strict=True)], axis=0)
    if not total.any():
        return float("nan")
    return (peak(total) - reach) * 1000 / fps


def sound_level(samples: Array, rate: int, fps: float, frames: int) -> Array:
    """(frames,) level of the sound in dB (floor -60) in a window of two frames centred on each frame's time t / fps."""
    power = np.concatenate([[0.0], np.cumsum(np.asarray(samples, np.float64) ** 2)])
    centres = np.arange(frames) * (rate / fps)
    half = rate / fps
    first = np.clip(np.round(centres - half), 0, len(samples)).astype(np.int64)
    last = np.clip(np.round(centres + half), 0, len(samples)).astype(np.int64)
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    return np.maximum(10.0 * np.log10(mean + 1e-12), -60.0)
