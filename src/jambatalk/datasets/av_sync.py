"""Whether motion follows sound: how far a clip's mouth lags behind its loudness, without knowing
which vertices are a mouth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.dataset import WEIGHTS, PreparedClip
from jambatalk.face.face import Face
from jambatalk.face.head import default_head

Array = NDArray[Any]
REACH = 0.4
"""Seconds of lag looked for in either direction."""

SLOW = 0.5
"""Seconds; slower changes of an opening do not count for its lag."""

WINDOW = 0.02
"""Seconds before and after a frame's time over which its loudness is taken."""

DYNAMIC = 40.0
"""Decibels below the loud parts under which everything counts as silence."""


def loudness(samples: Array, frames: int, fps: float) -> Array:
    """(T,) decibels at each frame's time, from ``DYNAMIC`` below the loud parts upwards."""
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    centre = np.arange(frames) / fps * SAMPLE_RATE
    first = np.clip(centre - WINDOW * SAMPLE_RATE, 0, len(samples)).astype(np.int64)
    last = np.clip(centre + WINDOW * SAMPLE_RATE, 0, len(samples)).astype(np.int64)
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    level = 10 * np.log10(np.maximum(mean, 1e-10))
    return np.maximum(level, np.percentile(level, 95) - DYNAMIC)


def movers(offsets: Array) -> Array:
    """(T, n, 3) float32: the 4 % of the vertices that move most, judged so that a single wild frame
    does not count.
    """
    spread = np.abs(offsets - np.median(offsets, axis=0)).mean(axis=(0, 2))
    chosen = np.argsort(-spread)[: max(1, round(0.04 * len(spread)))]
    return np.asarray(offsets[:, chosen], np.float32)


def openness(moving: Array, level: Array) -> Array:
    """(T,) mean distance of moving vertices (T, n, 3) from where they rest in the quiet quarter of
    the frames.

    On GRID-468 (30 clips) this correlates with loudness as well as the lip gap does (r = 0.63 and
    0.62), best at 7 ms; motion shifted by -120 and 160 ms is found at -117 and 167 ms. The speed of
    the same vertices reaches r = 0.43.
    """
    rest = np.median(moving[level <= np.percentile(level, 25)], axis=0)
    return np.linalg.norm(moving - rest, axis=-1).mean(axis=1)


def lag_curve(offsets: Array, samples: Array, fps: float) -> Array | None:
    """(2 n + 1,) correlation of openness with loudness for lags of -n to n frames, n = REACH;
    positive: motion comes late.

    None when the clip is too short, silent or still.
    """
    reach = round(REACH * fps)
    if len(offsets) < 4 * reach or not len(samples):
        return None
    level = loudness(samples, len(offsets), fps)
    moving = movers(offsets)
    curve = []
    for lag in range(-reach, reach + 1):
        loud = level[max(0, -lag) : len(level) + min(0, -lag)]
        # The pose at rest is found for every lag anew: one found at lag 0 would speak for lag 0.
        mouth = openness(moving[max(0, lag) : len(moving) + min(0, lag)], loud)
        if mouth.std() < 1e-9 or loud.std() < 1e-3:
            return None
        curve.append(np.corrcoef(mouth, loud)[0, 1])
    return np.array(curve)


def opening_lag_curve(opening: Array, samples: Array, fps: float) -> Array | None:
    """The same for a known opening of the mouth (T,), such as the lip gap of a head that has the
    motion.

    Only what changes within ``SLOW`` seconds counts, of both: speakers open their mouths before
    they begin, which means nothing for the lag. On GRID the lags of half of the single clips then
    lie within 50 ms, without it within 230 ms.
    """
    reach = round(REACH * fps)
    if len(opening) < 4 * reach or not len(samples):
        return None
    level, opening = _fast(loudness(samples, len(opening), fps), fps), _fast(opening, fps)
    curve = []
    for lag in range(-reach, reach + 1):
        loud = level[max(0, -lag) : len(level) + min(0, -lag)]
        seen = opening[max(0, lag) : len(opening) + min(0, lag)]
        if seen.std() < 1e-9 or loud.std() < 1e-3:
            return None
        curve.append(np.corrcoef(seen, loud)[0, 1])
    return np.array(curve)


def _fast(values: Array, fps: float) -> Array:
    """Values (T,) minus their moving mean, weighted by a Hann window."""
    half = max(1, round(SLOW / 2 * fps))
    kernel = np.hanning(2 * half + 3)[1:-1]
    padded = np.pad(np.asarray(values, np.float64), half, mode="edge")
    return np.asarray(values - np.convolve(padded, kernel / kernel.sum(), mode="valid"))


def peak(curve: Array, fps: float) -> tuple[float, float]:
    """(lag in seconds, correlation) at the top of a curve of ``lag_curve``, between frames by a
    parabola.
    """
    top = int(np.argmax(curve))
    shift = 0.0
    if 0 < top < len(curve) - 1:
        before, here, after = curve[top - 1 : top + 2]
        bend = before - 2 * here + after
        shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return (top + shift - len(curve) // 2) / fps, float(curve[top])


# How far the mouth of a prepared clip is open, whatever its motion is stored as.


def head_weights(clip: PreparedClip, head: Face) -> Array:
    """(T, K) float32 weights of a clip on the shapes of ``head``; 0 for those that its corpus does
    not move.
    """
    weights = np.zeros((clip.frames, len(head.names)), np.float32)
    place = {name: i for i, name in enumerate(clip.corpus.names)}
    stored = np.asarray(clip.weights, np.float32)
    for i, name in enumerate(head.names):
        if name in place:
            weights[:, i] = stored[:, place[name]]
    return weights


def clip_opening(clip: PreparedClip, samples: Array) -> Array:
    """(T,) the lip gap in metres of the default head that has the weights; for vertices, how far
    the most moving ones are from where they rest in quiet frames. InputError when the clip is
    damaged.
    """
    if clip.corpus.motion == WEIGHTS:
        head = default_head()
        return np.asarray(head.lip_gap(head_weights(clip, head)))
    offsets = np.asarray(clip.offsets, np.float32)
    return openness(movers(offsets), loudness(samples, len(offsets), clip.fps))


# Where a long recording may be cut: in its pauses.


AROUND = 0.3
"""Seconds over which it has to be quiet around a cut."""


def cuts_at_pauses(samples: Array, frames: int, fps: float, longest: float) -> list[int]:
    """Frame numbers 0 = c0 < c1 < … = frames at which to cut, so that pieces are about ``longest``
    seconds at most.

    samples: (n,) speech at 16 kHz. The pieces are of similar length; each cut is the quietest place
    within the middle part between two pieces, so a recording without pauses is cut where it is
    least loud.
    """
    count = max(1, int(np.ceil(frames / (longest * fps))))
    level = loudness(samples, frames, fps)
    width = max(1, round(AROUND * fps))
    # A long pause is cut in its middle: the level around a place counts, most at the place itself.
    kernel = np.hanning(width + 2)[1:-1]
    quiet = np.convolve(
        np.pad(level, (width // 2, width - 1 - width // 2), mode="edge"),
        kernel / kernel.sum(),
        mode="valid",
    )
    edges = [0]
    for n in range(1, count):
        ideal = frames * n / count
        reach = 0.35 * frames / count
        first, last = int(ideal - reach), int(ideal + reach) + 1
        window = quiet[first:last]
        lowest = np.flatnonzero(window <= window.min() + 0.5)
        cut = first + int(lowest[len(lowest) // 2] if len(lowest) else window.argmin())
        edges.append(cut)
    return [*edges, frames]
