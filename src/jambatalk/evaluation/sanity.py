"""The rows that every table begins with: they show what the numbers mean on this data, and that they are not broken."""

from __future__ import annotations

import numpy as np

from jambatalk.evaluation.entries import MEAN, STATIC, TRUTH, Array, Entry
from jambatalk.evaluation.test_set import TestClip, TestSet


def truth_entry() -> Entry:
    """The truth against itself: every error is 0."""
    return Entry(TRUTH, lambda clip, seed: clip.truth, notes="the recorded motion against itself")


def static_entry() -> Entry:
    """The subject's template, which never moves."""
    return Entry(STATIC, lambda clip, seed: np.zeros((clip.frames, len(clip.template), 3), np.float32), notes="the template")


def mean_entry(test_set: TestSet) -> Entry:
    """The mean of all training frames, in every frame. InputError when the corpus has no training split."""
    mean = test_set.mean_offset()

    def animate(clip: TestClip, seed: int) -> Array:
        return np.repeat(mean[None], clip.frames, axis=0)

    return Entry(MEAN, animate, notes="the mean of the training motion")


def sanity_entries(test_set: TestSet) -> list[Entry]:
    """Truth, static and mean; without a training split the last one is not known and left out."""
    entries = [truth_entry(), static_entry()]
    if test_set.has_training:
        entries.append(mean_entry(test_set))
    return entries
