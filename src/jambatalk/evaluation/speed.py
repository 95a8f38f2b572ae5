"""Speed, measured the same way for every system."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from jambatalk.audio import RATE
from jambatalk.evaluation.entries import Entry
from jambatalk.evaluation.test_set import TestClip, TestSet

SECONDS = 10
REPEATS = 3


def timing_clip(test_set: TestSet, seconds: float = SECONDS) -> TestClip:
    """The set's first clips joined, and repeated as needed, to one of ``seconds``; it has no truth."""
    first = test_set.clips[0]
    wanted, parts, found = round(seconds * RATE), [], 0
    for clip in test_set.clips:
        parts.append(clip.samples)
        found += len(parts[-1])
        if found >= wanted:
            break
    samples = np.resize(np.concatenate(parts), wanted).astype(np.float32)
    frames = int(seconds * first.fps)
    return replace(first, name="timing", frames=frames, read_samples=lambda: samples, phones=None, words=None)


def real_time_factor(entry: Entry, test_set: TestSet, seconds: float = SECONDS) -> float:
    """Seconds that animating takes over the seconds that the sound lasts: the quickest of three runs after a first one.

    0.1 is ten times as fast as the sound. Reading the sound is not counted; on a machine that does other work it is no fact
    about the system.
    """
    clip = timing_clip(test_set, seconds)
    entry.animate(clip, 0)
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        entry.animate(clip, 0)
        taken.append(time.perf_counter() - started)
    return min(taken) / seconds
