"""The GRID protocol: a system's lip gap on the default head against the speaker's tracked gap.

Curves are compared at the tracked 25 frames per second. Everything about a prediction (closed
level, 95th percentile) is taken from the prediction itself, everything about the truth from the
truth: the rule is the same, the scale need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.registry import load_clips
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import sound_clip
from jambatalk.evaluation.metrics.closure import bilabial_onsets, closure_rate, gap_at, touch_rate
from jambatalk.evaluation.metrics.mouth import (
    correlation,
    fit_curve,
    mean_correlation,
    mean_opening_error,
    pooled_correlation,
)
from jambatalk.evaluation.metrics.timing import lag_ms, sound_level
from jambatalk.evaluation.systems import System, check_names
from jambatalk.face.face import Face
from jambatalk.streaming.resampler import resample_frames

if TYPE_CHECKING:
    from rich.console import Console

    from jambatalk.text.phone_motion import PhoneMotion

Array = NDArray[Any]
SPLITS = ("val", "test_seen", "test_unseen")
CLOSURE_SPLITS = ("val", "test_seen")
SHUFFLED = "shuffled audio"
Predictor = Callable[[Clip], tuple[Array, float]]
"""A clip -> (weights (T, K) on the face's shapes, frames per second)."""


def score_folder(
    systems: Sequence[System], folder: Path, face: Face, cache: Path | None = None
) -> list[GridScore]:
    """Score systems on a GRID folder, beside controls and upper bounds.

    Args:
        cache: A folder that keeps the retargeted motion.

    Returns:
        Each system, and the same with another clip's sound; a static face; the retargeted truth;
        the measured truth.
    """
    check_names(systems)
    clips = load_clips(folder, SPLITS, face, cache)
    partner, rows = shuffled(clips), []
    for system in systems:
        weights = predict(clips, predictor(system, face))
        rows.append(score_weights(system.name, clips, weights, face))
        wrong = {clip.id: _continued(weights[partner[clip.id].id], clip.frames) for clip in clips}
        rows.append(score_weights(f"{system.name}, {SHUFFLED}", clips, wrong, face))
    still = {clip.id: np.zeros((clip.frames, len(face.names)), np.float32) for clip in clips}
    rows.append(score_weights("static face", clips, still, face))
    rows.append(retargeted_truth(clips, face))
    measured = {clip.id: clip.gap for clip in clips if clip.gap is not None}
    rows.append(score_gaps("measured truth", clips, measured))
    return rows


def predictor(system: System, face: Face) -> Predictor:
    """Animate the sound of clips by a system."""
    return lambda clip: (system.weights(sound_clip(clip.samples, clip.fps), face), clip.fps)


def retargeted_truth(clips: Sequence[Clip], face: Face) -> GridScore:
    """Score the speakers' own motion on the face: what a perfect network would reach."""
    weights = {clip.id: clip.weights for clip in clips}
    return score_weights("retargeted truth", clips, weights, face)


@dataclass(frozen=True)
class GridScore:
    """One row of the table; correlations are of lip gaps, prediction against tracked truth.

    Attributes:
        seen, unseen: Mean over clips of the correlation within each.
        seen_pooled, unseen_pooled: The correlation over all frames together.
        unseen_clips: Clip -> correlation.
        closure: Share of the ``closure_count`` bilabial onsets at which the lips close.
        closure_mm: Mean over those onsets of the smallest gap within ±40 ms, on the head (on the
            speaker for the measured truth).
        lag_ms: Prediction after truth.
        sound_lag_ms: Gap after sound level.
        opening_error_mm: Mean |gap - retargeted gap| (MOD).
        lip_error_mm: Mean over frames of the largest distance of a lip vertex from the retargeted
            truth.
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
            raise InputError(f"clip {clip.id}: the system gave no frames")
        at_rate = weights if fps == clip.fps else resample_frames(weights, fps, clip.fps)
        predicted[clip.id] = _continued(np.asarray(at_rate, np.float32), clip.frames)
    return predicted


def _continued(frames: Array, count: int) -> Array:
    """Cut to ``count`` frames, or continue with the last one."""
    return frames[np.minimum(np.arange(count), len(frames) - 1)]


def shuffled(clips: Sequence[Clip]) -> dict[str, Clip]:
    """id -> another clip of the same split (the next one), for the control that hears the wrong
    audio.
    """
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
            [fit_curve(gaps[clip.id], clip.frames) for clip in group],
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
    """Score weights (id -> (T, K) on ``face.names``) by the gap they give on ``face``; errors in mm
    are on test_seen.
    """
    gaps = {clip.id: face.lip_gap(weights[clip.id]) for clip in clips}
    score = score_gaps(name, clips, gaps)
    seen = [clip for clip in clips if clip.split == "test_seen"]
    opening = (
        mean_opening_error(
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


# The table.


COLUMNS: tuple[tuple[str, Callable[[GridScore], str]], ...] = (
    ("seen", lambda s: f"{s.seen:.3f}"),
    ("unseen", lambda s: f"{s.unseen:.3f}"),
    ("val", lambda s: f"{s.val:.3f}"),
    ("seen pooled", lambda s: f"{s.seen_pooled:.3f}"),
    ("unseen pooled", lambda s: f"{s.unseen_pooled:.3f}"),
    ("closure", lambda s: f"{100 * s.closure:.1f} %"),
    ("gap there mm", lambda s: f"{s.closure_mm:.2f}"),
    ("lag ms", lambda s: f"{s.lag_ms:+.0f}"),
    ("after sound ms", lambda s: f"{s.sound_lag_ms:+.0f}"),
    ("opening mm", lambda s: "" if s.opening_error_mm is None else f"{s.opening_error_mm:.2f}"),
    ("lips mm", lambda s: "" if s.lip_error_mm is None else f"{s.lip_error_mm:.2f}"),
)


def print_table(rows: Sequence[GridScore], console: Console) -> None:
    """Print all rows, and the correlation of each unseen speaker's clip."""
    from rich.table import Table

    table = Table(title="GRID: lip gap on the default head against the tracked gap")
    table.add_column("")
    for title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row.name, *(show(row) for _, show in COLUMNS))
    console.print(table)
    clips = Table(title="each unseen speaker's clip")
    clips.add_column("")
    for clip in rows[0].unseen_clips:
        clips.add_column(clip, justify="right")
    for row in rows:
        clips.add_row(row.name, *(f"{value:.3f}" for value in row.unseen_clips.values()))
    console.print(clips)


# The phone model on the same kind of clips.


def score_phone_motion(model: PhoneMotion, clips: Sequence[Clip], face: Face) -> dict[str, float]:
    """Compare the motion made of phones alone with the tracked motion of clips with phones.

    Returns:
        Mean correlation of the lip gap, lag, bilabials with closed lips and opening, of the model
        and in the film.
    """
    made = [face.lip_gap(model.weights(clip.phones, clip.frames, clip.fps)) * 1e3 for clip in clips]
    true = [face.lip_gap(clip.weights) * 1e3 for clip in clips]
    phones = [clip.phones for clip in clips]
    return {
        "gap correlation": float(np.mean([correlation(a, b) for a, b in zip(made, true)])),
        "lag ms": lag_ms(true, made, clips[0].fps),
        "bilabials closed": touch_rate(made, phones, clips[0].fps),
        "bilabials closed in the film": touch_rate(true, phones, clips[0].fps),
        "opening at its 95th percentile, mm": float(np.percentile(np.concatenate(made), 95)),
        "the same in the film, mm": float(np.percentile(np.concatenate(true), 95)),
    }
