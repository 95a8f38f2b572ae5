"""The GRID protocol: a talker's lip gap on the default head against the speaker's tracked gap.

Curves are compared at the tracked 25 frames per second. Everything about a prediction (closed level, 95th percentile) is
taken from the prediction itself, everything about the truth from the truth: the rule is the same, the scale need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.mouth import (
    bilabial_onsets,
    closure_rate,
    correlation,
    fitted,
    gap_at,
    mean_correlation,
    pooled_correlation,
)
from jambatalk.evaluation.metrics.mouth import mean_opening_error as opening_error
from jambatalk.evaluation.metrics.timing import lag_ms, sound_level
from jambatalk.face.face import Face
from jambatalk.streaming.frame_rate import resample_frames

Array = NDArray[Any]
SPLITS = ("val", "test_seen", "test_unseen")
CLOSURE_SPLITS = ("val", "test_seen")
Predictor = Callable[[Clip], tuple[Array, float]]
"""A clip -> (weights (T, K) on the face's shapes, frames per second)."""


@dataclass(frozen=True)
class GridScore:
    """One row of the table. Correlations are of lip gaps, prediction against tracked truth.

    seen, unseen: mean over clips of the correlation within each. seen_pooled, unseen_pooled: over all frames together.
    unseen_clips: id -> correlation. closure: share of bilabial onsets at which the lips close, of closure_count.
    closure_mm: mean over those onsets of the smallest gap within ±40 ms, on the head (on the speaker for the truth).
    lag_ms: prediction after truth. sound_lag_ms: gap after sound level. opening_error_mm: mean |gap - worn gap| (MOD).
    lip_error_mm: mean over frames of the largest distance of a lip vertex from the worn truth.
    """

    name: str
    seen: float
    unseen: float
    val: float
    seen_pooled: float
    unseen_pooled: float
    unseen_clips: dict[str, float]
    closure: float
    closure_count: int
    closure_mm: float
    lag_ms: float
    sound_lag_ms: float
    opening_error_mm: float | None
    lip_error_mm: float | None

    def as_dict(self) -> dict[str, Any]:
        """The fields for a JSON file, which knows no nan: a lag that does not exist is null."""
        return {
            key: None if isinstance(value, float) and np.isnan(value) else value
            for key, value in asdict(self).items()
        }


def predict(clips: Sequence[Clip], predictor: Predictor) -> dict[str, Array]:
    """id -> (T, K) weights at the clip's own frame rate and length."""
    predicted = {}
    for clip in clips:
        weights, fps = predictor(clip)
        if len(weights) == 0:
            raise InputError(f"clip {clip.id}: the talker gave no frames")
        at_rate = weights if fps == clip.fps else resample_frames(weights, fps, clip.fps)
        rows = np.minimum(np.arange(clip.frames), len(at_rate) - 1)
        predicted[clip.id] = np.asarray(at_rate, np.float32)[rows]
    return predicted


def shuffled(clips: Sequence[Clip]) -> dict[str, Clip]:
    """id -> another clip of the same split (the next one), for the control that hears the wrong audio."""
    partner = {}
    for split in dict.fromkeys(clip.split for clip in clips):
        group = [clip for clip in clips if clip.split == split]
        if len(group) < 2:
            raise InputError(f"split {split} has {len(group)} clip, shuffling needs at least two")
        partner.update({clip.id: group[(i + 1) % len(group)] for i, clip in enumerate(group)})
    return partner


def score_gaps(name: str, clips: Sequence[Clip], gaps: Mapping[str, Array]) -> GridScore:
    """Score gap curves (id -> (T,) metres) against the clips' measured gaps."""
    by_split = {split: [clip for clip in clips if clip.split == split] for split in SPLITS}
    for split, group in by_split.items():
        if not group:
            raise InputError(
                f"the protocol needs clips of the splits {', '.join(SPLITS)}; {split} has none"
            )
    fps = clips[0].fps
    pairs = {
        split: (
            [fitted(gaps[clip.id], clip.frames) for clip in group],
            [_truth(clip) for clip in group],
        )
        for split, group in by_split.items()
    }
    bilabial = [clip for split in CLOSURE_SPLITS for clip in by_split[split]]
    curves = [curve for split in CLOSURE_SPLITS for curve in pairs[split][0]]
    truths = [curve for split in CLOSURE_SPLITS for curve in pairs[split][1]]
    onsets = [bilabial_onsets(clip.words) for clip in bilabial]
    rate, count = closure_rate(curves, onsets, fps)
    smallest = [gap_at(curve, time, fps) for curve, times in zip(curves, onsets) for time in times]
    levels = [sound_level(clip.samples, SAMPLE_RATE, fps, clip.frames) for clip in bilabial]
    unseen = {
        clip.id: correlation(p, t)
        for clip, p, t in zip(by_split["test_unseen"], *pairs["test_unseen"])
    }
    return GridScore(
        name=name,
        seen=mean_correlation(*pairs["test_seen"]),
        unseen=float(np.mean(list(unseen.values()))),
        val=mean_correlation(*pairs["val"]),
        seen_pooled=pooled_correlation(*pairs["test_seen"]),
        unseen_pooled=pooled_correlation(*pairs["test_unseen"]),
        unseen_clips=unseen,
        closure=rate,
        closure_count=count,
        closure_mm=float(np.mean(smallest)) * 1e3,
        lag_ms=lag_ms(truths, curves, fps),
        sound_lag_ms=lag_ms(levels, curves, fps),
        opening_error_mm=None,
        lip_error_mm=None,
    )


def score_weights(
    name: str, clips: Sequence[Clip], weights: Mapping[str, Array], face: Face
) -> GridScore:
    """Score weights (id -> (T, K) on ``face.names``) by the gap they give on ``face``; errors in mm are on test_seen."""
    gaps = {clip.id: face.lip_gap(weights[clip.id]) for clip in clips}
    score = score_gaps(name, clips, gaps)
    seen = [clip for clip in clips if clip.split == "test_seen"]
    opening = (
        opening_error(
            [gaps[clip.id] for clip in seen], [face.lip_gap(clip.weights) for clip in seen]
        )
        * 1e3
    )
    basis = face.basis[:, face.regions["lips"]]
    largest = []
    for clip in seen:
        apart = np.tensordot(weights[clip.id] - clip.weights, basis, 1)  # (T, lips, 3)
        largest.append(np.linalg.norm(apart, axis=2).max(axis=1))
    return replace(
        score, opening_error_mm=opening, lip_error_mm=float(np.mean(np.concatenate(largest))) * 1e3
    )


def _truth(clip: Clip) -> Array:
    if clip.gap is None:
        raise InputError(f"clip {clip.id} has no measured gap to compare with")
    return clip.gap
