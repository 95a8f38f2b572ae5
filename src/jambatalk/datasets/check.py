"""Looking a prepared corpus over before days are spent on training with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import file_sha256
from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.av_sync import clip_opening, lag_curve, loudness, opening_lag_curve, peak
from jambatalk.datasets.dataset import OFFSETS, WEIGHTS, PreparedClip, PreparedCorpus, open_prepared
from jambatalk.datasets.source import METRES, Issue
from jambatalk.errors import InputError

Array = NDArray[Any]

LENGTHS = 0.2
"""Seconds by which sound and motion may differ."""

FARTHEST = 0.05
"""Metres: no vertex of a talking face is farther than this from where it rests."""

FROZEN = 0.5
"""Share of frames equal to the one before, beyond which a clip is frozen. Cleaned pauses of weights
stand still rightly: there only frames with sound count.
"""

AUDIBLE = 25.0
"""Decibels below a clip's loud parts within which a frame has sound."""

CORPUS_LAG, CLIP_LAG = 0.06, 0.12
"""Seconds of lag worth naming. One clip shows its lag only roughly: on GRID, clips of 3 s scatter
by 0.16 s.
"""

CLEARLY = {OFFSETS: 0.3, WEIGHTS: 0.6}
"""A clip is out of step if its correlation is higher by this at its own lag than at the corpus'
lag. The curves of weights are steeper: at 0.6 none of GRID's 980 clips is named, at 0.3 two in a
hundred.
"""

ENOUGH, UNRELATED = 8, 0.1
"""From this many clips on, a mean correlation below this says that the motion does not belong to
the sound.
"""


@dataclass(frozen=True)
class Report:
    """What was found. ok: no problems.

    speakers: subject -> clips and seconds. splits: scheme -> split -> clips, seconds and subjects.
    lag_ms, correlation: of motion behind sound, over all clips; None when no clip is long enough.
    left_out: clips that could not be prepared, and why. shapes: how many the weights move, 0 for
    vertices. pseudo: clips whose motion was made by a model. repeated: clips in which a speaker
    says the same text as in another split. That may be meant, so it is not a problem.
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
    problems: tuple[Issue, ...]
    shapes: int = 0
    pseudo: int = 0
    repeated: tuple[Issue, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        named = {key: [p._asdict() for p in getattr(self, key)] for key in ("problems", "repeated")}
        return {"ok": self.ok, **asdict(self), **named}


@dataclass
class _Seen:
    """What one clip showed."""

    problems: list[str] = field(default_factory=list)
    curve: Array | None = None


def check(
    folder: str | Path, jobs: int = 1, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Read every clip of a prepared corpus and name what is wrong with it.

    Checksums, lengths, NaN, offsets beyond 5 cm (where the unit is metres) or weights outside 0..1,
    frozen motion, lag of motion behind sound, and recordings that are in two splits at once. jobs:
    threads. Raises InputError when ``folder`` is not a prepared corpus.
    """
    corpus = open_prepared(folder)
    clips = corpus.clips()
    seen: list[_Seen] = []
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        for one in pool.map(lambda clip: _look(clip, corpus.unit), clips):
            seen.append(one)
            if progress is not None:
                progress(len(seen), len(clips))
    problems = [
        Issue(clip.name, reason) for clip, one in zip(clips, seen) for reason in one.problems
    ]
    lag, correlation, out_of_step = _lags(corpus, clips, [one.curve for one in seen])
    problems += out_of_step + _duplicates(corpus, clips)
    if not clips:
        problems.append(Issue(str(folder), "holds no clips"))
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
        shapes=len(corpus.names),
        pseudo=sum(clip.pseudo for clip in clips),
        repeated=tuple(_repeated(corpus, clips)),
    )


def _seconds(clips: list[PreparedClip]) -> float:
    return round(sum(clip.frames / clip.fps for clip in clips), 2)


def _split_table(corpus: PreparedCorpus, scheme: str) -> dict[str, dict[str, float]]:
    table = {}
    for split in corpus.splits(scheme):
        clips = corpus.clips(split, scheme)
        table[split] = {
            "clips": len(clips),
            "seconds": _seconds(clips),
            "subjects": len({clip.subject for clip in clips}),
        }
    return table


def _look(clip: PreparedClip, unit: str) -> _Seen:
    seen = _Seen()
    weights = clip.corpus.motion == WEIGHTS
    try:
        motion, samples = (
            np.asarray(clip.weights if weights else clip.offsets, np.float32),
            clip.samples,
        )
        template = None if weights else clip.template
        gap = clip.gap
        found = [
            ("motion", clip.motion_path, clip.motion_sha256),
            ("sound", clip.audio_path, clip.audio_sha256),
        ]
        if clip.extra_sha256 is not None:
            found.append(("measured gap", clip.extra_path, clip.extra_sha256))
        changed = [what for what, path, noted in found if file_sha256(path) != noted]
    except (InputError, OSError) as error:
        seen.problems.append(str(error))
        return seen
    for what in changed:
        seen.problems.append(f"its {what} is not what was prepared (another checksum)")
    sound, shown = len(samples) / SAMPLE_RATE, len(motion) / clip.fps
    if abs(sound - shown) > LENGTHS:
        seen.problems.append(f"its sound lasts {sound:.2f} s and its motion {shown:.2f} s")
    if template is not None and not np.isfinite(template).all():
        seen.problems.append(f"the template of {clip.subject} holds positions that are not finite")
    if gap is not None and not np.isfinite(gap).all():
        seen.problems.append(
            f"frame {np.flatnonzero(~np.isfinite(gap))[0]} of its measured gap is not finite"
        )
    if len(bad := np.argwhere(~np.isfinite(motion))):
        what = clip.corpus.names[bad[0][1]] if weights else f"vertex {bad[0][1]}"
        seen.problems.append(f"frame {bad[0][0]}, {what} is not finite")
        return seen
    counted = np.ones(max(len(motion) - 1, 0), bool)
    if weights:
        seen.problems += _beyond_weights(clip, motion)
        level = loudness(samples, len(motion), clip.fps)
        counted = level[1:] > np.percentile(level, 95) - AUDIBLE
    else:
        seen.problems += _beyond_metres(motion) if unit == METRES else []
    equal = (np.diff(motion, axis=0) == 0).reshape(len(counted), -1).all(axis=1)
    still = float(equal[counted].mean()) if counted.any() else 0.0
    if still > FROZEN:
        seen.problems.append(f"frozen: {still:.0%} of its frames repeat the one before")
    if np.abs(samples).max(initial=0.0) < 1e-4:
        seen.problems.append("silent: its sound is empty")
    if weights:
        seen.curve = opening_lag_curve(clip_opening(clip, samples), samples, clip.fps)
    else:
        seen.curve = lag_curve(motion, samples, clip.fps)
    return seen


def _beyond_metres(offsets: Array) -> list[str]:
    distance = np.linalg.norm(offsets, axis=-1)
    if distance.max(initial=0.0) <= FARTHEST:
        return []
    frame, vertex = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return [
        f"frame {frame}, vertex {vertex} is {100 * distance[frame, vertex]:.1f} cm from the "
        "template, "
        f"expected at most {100 * FARTHEST:g} cm"
    ]


def _beyond_weights(clip: PreparedClip, weights: Array) -> list[str]:
    if not len(wrong := np.argwhere((weights < 0) | (weights > 1))):
        return []
    frame, shape = wrong[0]
    return [
        f"frame {frame}: {clip.corpus.names[shape]} is {weights[frame, shape]:.3g}, expected a "
        "weight in 0..1"
    ]


def _lags(
    corpus: PreparedCorpus, clips: list[PreparedClip], curves: list[Array | None]
) -> tuple[float | None, float | None, list[Issue]]:
    """(lag of the corpus in seconds, its correlation, what is out of step)."""
    known = [(clip, curve) for clip, curve in zip(clips, curves) if curve is not None]
    if not known:
        return None, None, []
    mean = np.mean([curve for _, curve in known], axis=0)
    lag, correlation = peak(mean, corpus.fps)
    problems = []
    if len(known) >= ENOUGH and correlation < UNRELATED:
        problems.append(
            Issue(
                corpus.name, f"its motion does not follow its sound (correlation {correlation:.2f})"
            )
        )
    elif len(known) >= ENOUGH and abs(lag) > CORPUS_LAG:
        problems.append(Issue(corpus.name, f"its motion comes {_late(lag)} the sound"))
    common = int(np.argmax(mean))
    for clip, curve in known:
        if clip.pseudo:
            # made from phones, whose times hold: single clips would only be named by chance
            continue
        own, best = peak(curve, clip.fps)
        if (
            abs(own - lag) > CLIP_LAG
            and best - curve[common] > CLEARLY[corpus.motion]
            and 0 < np.argmax(curve) < len(curve) - 1
        ):
            problems.append(
                Issue(
                    clip.name, f"its motion comes {_late(own)} its sound (correlation {best:.2f})"
                )
            )
    return lag, correlation, problems


def _late(lag: float) -> str:
    return f"{abs(1000 * lag):.0f} ms {'after' if lag > 0 else 'before'}"


def _duplicates(corpus: PreparedCorpus, clips: list[PreparedClip]) -> list[Issue]:
    """Recordings that a scheme puts into two splits."""
    problems = []
    for what in ("audio", "motion"):
        groups: dict[str, list[PreparedClip]] = {}
        for clip in clips:
            groups.setdefault(
                clip.audio_sha256 if what == "audio" else clip.motion_sha256, []
            ).append(clip)
        for same in groups.values():
            for scheme in corpus.schemes:
                first = next((clip for clip in same if clip.splits[scheme] is not None), None)
                for clip in same:
                    split = clip.splits[scheme]
                    if first is not None and split not in (None, first.splits[scheme]):
                        other = f"{first.name} in {first.splits[scheme]}"
                        problems.append(
                            Issue(
                                clip.name, f"in {split} by {scheme}, has the same {what} as {other}"
                            )
                        )
    return problems


def _repeated(corpus: PreparedCorpus, clips: list[PreparedClip]) -> list[Issue]:
    """Clips whose speaker says the same in a split named before, by the usual scheme."""
    earlier: dict[tuple[str, str], PreparedClip] = {}
    found = []
    for clip in clips:
        split = clip.splits[corpus.schemes[0]]
        text = "".join(
            letter for letter in (clip.text or "").casefold() if letter.isalnum() or letter == " "
        ).strip()
        if not text or split is None:
            continue
        first = earlier.setdefault((clip.subject, text), clip)
        if (other := first.splits[corpus.schemes[0]]) != split:
            found.append(Issue(clip.name, f"in {split}, says the same as {first.name} in {other}"))
    return found
