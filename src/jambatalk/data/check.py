"""Looking a prepared corpus over before days are spent on training with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import RATE
from jambatalk.data.prepared import PreparedClip, PreparedCorpus, open_prepared, sha256
from jambatalk.data.raw import METRES, Problem
from jambatalk.data.sync import lag_curve, peak
from jambatalk.errors import InputError

Array = NDArray[Any]

LENGTHS = 0.2
"""Seconds by which sound and motion may differ."""

FARTHEST = 0.05
"""Metres: no vertex of a talking face is farther than this from where it rests."""

FROZEN = 0.5
"""Share of frames equal to the one before, beyond which a clip is frozen."""

CORPUS_LAG, CLIP_LAG = 0.06, 0.12
"""Seconds of lag worth naming. One clip tells its lag only roughly: on GRID, clips of 3 s scatter by 0.16 s."""

CLEARLY = 0.3
"""A clip is out of step if its correlation is higher by this at its own lag than at the corpus' lag."""

ENOUGH, UNRELATED = 8, 0.1
"""From this many clips on, a mean correlation below this says that the motion does not belong to the sound."""


@dataclass(frozen=True)
class Report:
    """What was found. ok: no problems.

    speakers: subject -> clips and seconds. splits: scheme -> split -> clips, seconds and subjects.
    lag_ms, correlation: of motion behind sound, over all clips; None when no clip tells. left_out: clips that could not be
    prepared, and why.
    """

    folder: str
    corpus: str
    licence: str
    unit: str
    fps: float
    vertices: int
    clips: int
    seconds: float
    speakers: Mapping[str, Mapping[str, float]]
    splits: Mapping[str, Mapping[str, Mapping[str, float]]]
    lag_ms: float | None
    correlation: float | None
    left_out: Mapping[str, str]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **asdict(self), "problems": [{"name": p.name, "reason": p.reason} for p in self.problems]}


@dataclass
class _Seen:
    """What one clip showed."""

    problems: list[str] = field(default_factory=list)
    curve: Array | None = None


def check(folder: str | Path, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Report:
    """Read every clip of a prepared corpus and name what is wrong with it.

    Checksums, lengths, NaN, offsets beyond 5 cm (where the unit is metres), frozen motion, lag of motion behind sound, and
    recordings that are in two splits at once. jobs: threads. Raises InputError when ``folder`` is no prepared corpus.
    """
    corpus = open_prepared(folder)
    clips = corpus.clips()
    seen: list[_Seen] = []
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        for one in pool.map(lambda clip: _look(clip, corpus.unit), clips):
            seen.append(one)
            if progress is not None:
                progress(len(seen), len(clips))
    problems = [Problem(clip.name, reason) for clip, one in zip(clips, seen) for reason in one.problems]
    lag, correlation, out_of_step = _lags(corpus, clips, [one.curve for one in seen])
    problems += out_of_step + _duplicates(corpus, clips)
    if not clips:
        problems.append(Problem(str(folder), "holds no clips"))
    return Report(
        folder=str(folder),
        corpus=corpus.name,
        licence=corpus.licence,
        unit=corpus.unit,
        fps=corpus.fps,
        vertices=corpus.vertices,
        clips=len(clips),
        seconds=_seconds(clips),
        speakers={
            subject: {"clips": len(own), "seconds": _seconds(own)}
            for subject in corpus.subjects
            if (own := [clip for clip in clips if clip.subject == subject])
        },
        splits={scheme: _split_table(corpus, scheme) for scheme in corpus.schemes},
        lag_ms=None if lag is None else round(1000 * lag, 1),
        correlation=None if correlation is None else round(correlation, 3),
        left_out=corpus.failed,
        problems=tuple(problems),
    )


def _seconds(clips: list[PreparedClip]) -> float:
    return round(sum(clip.frames / clip.fps for clip in clips), 2)


def _split_table(corpus: PreparedCorpus, scheme: str) -> dict[str, dict[str, float]]:
    table = {}
    for split in corpus.splits(scheme):
        clips = corpus.clips(split, scheme)
        table[split] = {"clips": len(clips), "seconds": _seconds(clips), "subjects": len({clip.subject for clip in clips})}
    return table


def _look(clip: PreparedClip, unit: str) -> _Seen:
    seen = _Seen()
    try:
        offsets, samples = np.asarray(clip.offsets, np.float32), clip.samples
        template = clip.template
        sums = sha256(clip.motion_path), sha256(clip.audio_path)
    except (InputError, OSError) as error:
        seen.problems.append(str(error))
        return seen
    for what, found, noted in zip(("motion", "sound"), sums, (clip.motion_sha256, clip.audio_sha256)):
        if found != noted:
            seen.problems.append(f"its {what} is not what was prepared (another checksum)")
    heard, shown = len(samples) / RATE, len(offsets) / clip.fps
    if abs(heard - shown) > LENGTHS:
        seen.problems.append(f"its sound lasts {heard:.2f} s and its motion {shown:.2f} s")
    if not np.isfinite(template).all():
        seen.problems.append(f"the template of {clip.subject} holds positions that are not finite")
    if len(bad := np.argwhere(~np.isfinite(offsets))):
        seen.problems.append(f"frame {bad[0][0]}, vertex {bad[0][1]} is not finite")
        return seen
    distance = np.linalg.norm(offsets, axis=-1)
    if unit == METRES and distance.max(initial=0.0) > FARTHEST:
        frame, vertex = np.unravel_index(int(np.argmax(distance)), distance.shape)
        seen.problems.append(
            f"frame {frame}, vertex {vertex} is {100 * distance[frame, vertex]:.1f} cm from the template, "
            f"expected at most {100 * FARTHEST:g} cm"
        )
    still = float((np.diff(offsets, axis=0) == 0).all(axis=(1, 2)).mean()) if len(offsets) > 1 else 0.0
    if still > FROZEN:
        seen.problems.append(f"frozen: {still:.0%} of its frames repeat the one before")
    if np.abs(samples).max(initial=0.0) < 1e-4:
        seen.problems.append("silent: its sound is empty")
    seen.curve = lag_curve(offsets, samples, clip.fps)
    return seen


def _lags(
    corpus: PreparedCorpus, clips: list[PreparedClip], curves: list[Array | None]
) -> tuple[float | None, float | None, list[Problem]]:
    """(lag of the corpus in seconds, its correlation, what is out of step)."""
    known = [(clip, curve) for clip, curve in zip(clips, curves) if curve is not None]
    if not known:
        return None, None, []
    mean = np.mean([curve for _, curve in known], axis=0)
    lag, correlation = peak(mean, corpus.fps)
    problems = []
    if len(known) >= ENOUGH and correlation < UNRELATED:
        problems.append(Problem(corpus.name, f"its motion does not follow its sound (correlation {correlation:.2f})"))
    elif len(known) >= ENOUGH and abs(lag) > CORPUS_LAG:
        problems.append(Problem(corpus.name, f"its motion comes {_late(lag)} the sound"))
    common = int(np.argmax(mean))
    for clip, curve in known:
        own, best = peak(curve, clip.fps)
        if abs(own - lag) > CLIP_LAG and best - curve[common] > CLEARLY and 0 < np.argmax(curve) < len(curve) - 1:
            problems.append(Problem(clip.name, f"its motion comes {_late(own)} its sound (correlation {best:.2f})"))
    return lag, correlation, problems


def _late(lag: float) -> str:
    return f"{abs(1000 * lag):.0f} ms {'after' if lag > 0 else 'before'}"


def _duplicates(corpus: PreparedCorpus, clips: list[PreparedClip]) -> list[Problem]:
    """Recordings that a scheme puts into two splits."""
    problems = []
    for what in ("audio", "motion"):
        groups: dict[str, list[PreparedClip]] = {}
        for clip in clips:
            groups.setdefault(clip.audio_sha256 if what == "audio" else clip.motion_sha256, []).append(clip)
        for same in groups.values():
            for scheme in corpus.schemes:
                first = next((clip for clip in same if clip.splits[scheme] is not None), None)
                for clip in same:
                    split = clip.splits[scheme]
                    if first is not None and split not in (None, first.splits[scheme]):
                        other = f"{first.name} in {first.splits[scheme]}"
                        problems.append(Problem(clip.name, f"in {split} by {scheme}, has the same {what} as {other}"))
    return problems
