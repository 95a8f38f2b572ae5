"""One fit for all programs: a constant lag, a smoothing, and a linear map to a mouth.

Programs that name visemes leave it to a face how wide each of them opens, and many come later than
their sound. Both are chosen here on validation clips, alike for all, so that what is compared is
what a program knows about the sound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.evaluation.metrics.mouth import correlation, fit_curve
from jambatalk.evaluation.metrics.visemes import (
    MouthAtPhones,
    legibility,
    legibility_of,
    named_visemes,
    sample_at_phones,
)
from jambatalk.evaluation.protocols.figures import Figure, Figures, figure
from jambatalk.evaluation.protocols.voices import FPS
from jambatalk.text.phones import Timed

Array = NDArray[Any]

FINE = 100.0
"""Rows a second while outputs are moved in time."""
LAGS = tuple(np.arange(-4, 13) * 0.02)
"""Seconds that an output may be late."""
SMOOTHINGS = (0.0, 0.02, 0.04, 0.08)
"""Standard deviations of a Gaussian in time, seconds."""
RIDGE = 1e-3
"""Of the fit on columns of unit variance: shapes that go together have no solution of their own."""
FOLDS = 5


@dataclass(frozen=True)
class Output:
    """What a program gives for a clip.

    Attributes:
        rows: (T, D), row t at t / rate seconds.
        cpu: Seconds of CPU for a second of sound.
    """

    rows: Array
    rate: float
    cpu: float = math.nan
    version: str = ""


@dataclass(frozen=True)
class Filmed:
    """The truth of a clip behind a lead: gap and width in mm at FPS; ``span`` is speech."""

    id: str
    lead: str
    skip: int  # frames of the lead
    span: slice
    gap: Array
    width: Array


@dataclass(frozen=True)
class Spoken:
    """A sentence's phones."""

    id: str
    phones: tuple[Timed, ...]


@dataclass(frozen=True)
class Fit:
    """From outputs to opening and width (mm): coefficients (D + 1, 2), the last row constant."""

    lag: float = 0.0
    smoothing: float = 0.0
    coefficients: Array = field(default_factory=lambda: np.zeros((1, 2)))


def smooth(output: Output, smoothing: float) -> Array:
    """Interpolate to FINE rows a second and smooth: (N, D)."""
    count = max(int(len(output.rows) / output.rate * FINE), 1)
    times, known = np.arange(count) / FINE, np.arange(len(output.rows)) / output.rate
    rows = np.stack([np.interp(times, known, column) for column in output.rows.T], 1)
    if smoothing == 0.0:
        return rows
    reach = math.ceil(3 * smoothing * FINE)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (smoothing * FINE)) ** 2)
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    kernel /= kernel.sum()
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], 1)


def at_frames(fine: Array, frames: int, lag: float) -> Array:
    """Sample smoothed rows at ``frames`` frames, each ``lag`` seconds later than the sound."""
    at = np.round((np.arange(frames) / FPS + lag) * FINE).astype(int)
    return fine[np.clip(at, 0, len(fine) - 1)]


def solve(rows: Array, truth: Array) -> Array:
    """Fit truth (N, 2) linearly to rows (N, D): (D + 1, 2)."""
    mean, spread = rows.mean(0), np.maximum(rows.std(0), 1e-6)
    x = (rows - mean) / spread
    gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
    slopes = np.linalg.solve(gram, x.T @ (truth - truth.mean(0))) / spread[:, None]
    return np.vstack([slopes, truth.mean(0) - mean @ slopes])


def fit_mouth(outputs: Mapping[str, Output], clips: Sequence[Filmed]) -> Fit:
    """Choose lag and smoothing by cross-validation on the clips, then fit on all of them."""
    truth = [np.stack([clip.gap, clip.width], 1)[clip.span] for clip in clips]
    best, chosen = -math.inf, Fit()
    for smoothing in SMOOTHINGS:
        fine = [smooth(outputs[clip.id], smoothing) for clip in clips]
        for lag in LAGS:
            rows = [
                at_frames(f, clip.skip + len(clip.gap), lag)[clip.skip :][clip.span]
                for f, clip in zip(fine, clips, strict=True)
            ]
            found = []
            for fold in range(FOLDS):
                kept = [n for n in range(len(clips)) if n % FOLDS != fold]
                matrix = solve(*(np.concatenate([p[n] for n in kept]) for p in (rows, truth)))
                for n in range(fold, len(clips), FOLDS):
                    opening = rows[n] @ matrix[:-1, 0]
                    found.append(correlation(opening / 1e3, truth[n][:, 0] / 1e3))
            if np.mean(found) > best:
                best = float(np.mean(found))
                matrix = solve(np.concatenate(rows), np.concatenate(truth))
                chosen = Fit(float(lag), smoothing, matrix)
    return chosen


def use_fit(output: Output, fit: Fit) -> Output:
    """Compute opening and width (T, 2) at FPS."""
    frames = round(len(output.rows) / output.rate * FPS)
    rows = at_frames(smooth(output, fit.smoothing), frames, fit.lag)
    return Output(rows @ fit.coefficients[:-1] + fit.coefficients[-1], FPS)


def score_filmed(mouths: Mapping[str, Output], clips: Sequence[Filmed]) -> Figures:
    """Correlate opening and width with the truth in speech, behind each lead."""
    found: dict[str, list[float]] = {}
    for clip in clips:
        rows = mouths[clip.id].rows[clip.skip :]
        for column, (name, truth) in enumerate((("opening", clip.gap), ("width", clip.width))):
            curve = fit_curve(rows[:, column], len(truth))[clip.span]
            value = correlation(curve / 1e3, truth[clip.span] / 1e3)
            found.setdefault(f"{name}, {clip.lead}", []).append(value)
    return {name: figure(values) for name, values in found.items()}


def sampled(
    outputs: Mapping[str, Output], sentences: Sequence[Spoken], timing: tuple[float, float]
) -> MouthAtPhones:
    """Sample outputs at phones, ``timing`` = (lag, smoothing) in seconds."""
    lag, smoothing = timing
    tracks = [smooth(outputs[sentence.id], smoothing) for sentence in sentences]
    moved = [
        [Timed(p.text, p.start + lag, p.end + lag) for p in sentence.phones]
        for sentence in sentences
    ]
    return sample_at_phones(tracks, moved, FINE)


def choose_legible(
    outputs: Mapping[str, Output], sentences: Sequence[Spoken]
) -> tuple[float, float]:
    """Choose the lag and the smoothing with which a validation voice is read best."""
    timings = [(float(lag), smoothing) for smoothing in SMOOTHINGS for lag in LAGS]
    means = [legibility(sampled(outputs, sentences, timing))["mean"] for timing in timings]
    return timings[int(np.nanargmax(means))]


def score_spoken(
    outputs: Mapping[str, Output], voices: Sequence[Sequence[Spoken]], timing: tuple[float, float]
) -> Figures:
    """Read visemes off outputs, with a discriminant for each voice."""
    read = [named_visemes(sampled(outputs, sentences, timing)) for sentences in voices]
    values, intervals = legibility_of(read)
    nothing = (math.nan, math.nan)
    count = sum(len(group.true) for group in read)
    names = {"mean": "legibility", "p b m": "/p b m/ named", "f v": "/f v/ named"}
    return {
        title: Figure(values[name], *intervals.get(name, nothing), count)
        for name, title in names.items()
        if name in values
    }
