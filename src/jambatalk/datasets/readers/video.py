"""A person's own recordings: videos become clips of the default head's motion with their sound.

Every video is tracked once (``video_take``), its frames freed of head pose (``video_pose``) and
brought to an even rate (``video_timeline``); then all recordings of one person together give their
neutral face, closed lips and scale, and are retargeted (``retarget``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.av_sync import loudness
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.readers.grid import RETARGET_VERSION
from jambatalk.datasets.retarget import RetargetConfig, TrackedTake, retarget
from jambatalk.datasets.source import (
    SHAPES,
    ClipData,
    CorpusKind,
    Issue,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
)
from jambatalk.datasets.video.decode import Sound, read_sound
from jambatalk.datasets.video.quality import (
    ClipQuality,
    FileQuality,
    as_dict,
    clip_quality,
    clip_warnings,
    curve,
    file_warnings,
    overall,
    rounded,
)
from jambatalk.datasets.video.subjects import Recording, find_recordings, hold_out
from jambatalk.datasets.video.timeline import EvenTake, even_take
from jambatalk.datasets.video.tracking import (
    TAKE_VERSION,
    MediaPipeTracker,
    Take,
    Tracker,
    find_model,
    track_once,
)
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.motion import Motion

Array = NDArray[Any]
NAME = "video"
CREDIT = "own recordings; all rights with those who are seen and heard in them"
FPS = 25.0


@dataclass(frozen=True)
class VideoOptions:
    """How recordings are wanted.

    fps: frames per second of the motion. subject: see ``find_recordings``. model: of the face
    landmarker, None to look for it (see ``find_model``). jobs: videos tracked at a time.
    """

    fps: float = FPS
    subject: str | None = None
    model: Path | None = None
    jobs: int = 2


@dataclass(frozen=True)
class Videos:
    """What recordings became.

    clips: with their split, weights on the default head, head pose (radians from the recording's
    mean), measured gap, and which frames were tracked. sources: clip's name -> the files that it
    depends on, its own first. problems: files left out. quality: what is written beside the corpus
    as quality.json.
    """

    clips: tuple[Clip, ...]
    sources: Mapping[str, tuple[Path, ...]]
    problems: tuple[Issue, ...]
    quality: Mapping[str, Any]


def read_videos(
    raw: str | Path,
    options: VideoOptions | None = None,
    cache: Path | None = None,
    face: Face | None = None,
    tracker: Tracker | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Videos:
    """Track every video in ``raw`` and retarget it to ``face`` (the default head).

    cache: a folder that keeps tracks, so that an interrupted run goes on where it stopped. tracker:
    None for MediaPipe's. progress: called with (done, in all) hundredths of a video. Videos that
    cannot be used are named in the result. Raises InputError when there is none that can, and
    MissingExtraError without MediaPipe.
    """
    options, raw = options or VideoOptions(), Path(raw)
    if not 5 <= options.fps <= 120:
        raise InputError(f"{options.fps:g} frames a second, expected 5 to 120")
    recordings, problems = find_recordings(raw, options.subject)
    tracker = tracker or MediaPipeTracker(find_model(raw, options.model))
    face = face or default_head()
    shares = [0.0] * len(recordings)

    def one(number: int) -> tuple[Take, Sound] | Issue:
        recording = recordings[number]

        def report(share: float) -> None:
            shares[number] = share
            if progress is not None:
                progress(int(100 * sum(shares)), 100 * len(shares))

        try:
            sound = read_sound(
                recording.path
            )  # before the slow part: without sound there is no clip
            return track_once(recording.path, tracker, cache, report), sound
        except InputError as error:
            return Issue(_place(recording, raw), str(error))
        finally:
            report(1.0)

    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        try:
            read = list(pool.map(one, range(len(recordings))))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    takes: dict[str, list[EvenTake]] = {}
    for recording, result in zip(recordings, read):
        if isinstance(result, Issue):
            problems.append(result)
            continue
        try:
            take = even_take(recording, *result, tracker.canonical, options.fps)
            takes.setdefault(recording.subject, []).append(take)
        except InputError as error:
            problems.append(Issue(_place(recording, raw), str(error)))
    clips: list[Clip] = []
    sources: dict[str, tuple[Path, ...]] = {}
    quality: dict[str, ClipQuality] = {}
    for own in takes.values():
        for take, clip, measured in retarget_subject(own, face, tracker.score_names, options.fps):
            if clip.id.casefold() in (name.casefold() for name in sources):
                problems.append(
                    Issue(_place(take.recording, raw), f"another video makes a clip {clip.id} too")
                )
                continue
            clips.append(clip)
            quality[clip.id] = measured
            others = tuple(other.recording.path for other in own if other is not take)
            sources[clip.id] = (take.recording.path, *others)
    if not clips:
        reason = f": {problems[0].name}: {problems[0].reason}" if problems else ""
        raise InputError(f"{raw} holds no recording that can be used{reason}")
    # Drawn over all people, of whom some may have a single clip.
    splits = hold_out([(clip.subject, clip.id.removeprefix(f"{clip.subject}_")) for clip in clips])
    clips = [replace(clip, split=split or "") for clip, split in zip(clips, splits)]
    files = {_place(take.recording, raw): take.quality for own in takes.values() for take in own}
    return Videos(
        tuple(clips),
        sources,
        tuple(sorted(problems)),
        report_of(files, quality, clips, problems, options.fps),
    )


def _place(recording: Recording, raw: Path) -> str:
    return recording.path.name if raw.is_file() else recording.path.relative_to(raw).as_posix()


def retarget_subject(
    takes: Sequence[EvenTake],
    face: Face,
    score_names: tuple[str, ...],
    fps: float,
    settings: RetargetConfig | None = None,
) -> list[tuple[EvenTake, Clip, ClipQuality]]:
    """All recordings of one person, applied to ``face``: one neutral, one closed level and one
    scale for all of them.
    """
    pieces = [(take, span) for take in takes for span in take.spans]

    def joined(name: str) -> Array:
        return np.concatenate(
            [getattr(take, name)[span.first : span.last] for take, span in pieces]
        )

    whole = TrackedTake(
        positions=joined("positions"),
        scores=joined("scores"),
        score_names=score_names,
        tracked=joined("seen"),
        lengths=np.array([len(span) for _, span in pieces]),
        fps=fps,
        words=[()] * len(pieces),
    )
    weights, gap = retarget(whole, face, settings)
    names = _names([(take.recording, len(take.spans)) for take in takes])
    out, start = [], 0
    for (take, span), name in zip(pieces, names):
        rows, frames = slice(start, start + len(span)), slice(span.first, span.last)
        start += len(span)
        first, last = (round(frame / fps * SAMPLE_RATE) for frame in (span.first, span.last))
        motion = Motion(
            fps=fps, weights=weights[rows], names=face.names, head_pose=take.pose[frames]
        )
        clip = Clip(
            id=f"{take.recording.subject}_{name}",
            subject=take.recording.subject,
            split="",
            samples=take.samples[first:last],
            motion=motion,
            gap=gap[rows],
            tracked=take.seen[frames],
            corpus=NAME,
        )
        measured = clip_quality(
            take.positions[frames],
            gap[rows],
            take.seen[frames],
            take.pose[frames],
            take.forward[frames],
            take.width[frames],
            clip.samples,
            fps,
        )
        out.append((take, clip, measured))
    return out


def _names(recordings: Sequence[tuple[Recording, int]]) -> list[str]:
    """A name per clip: the recording's, numbered where it became several."""
    return [
        recording.sentence if count == 1 else f"{recording.sentence}-{number:02d}"
        for recording, count in recordings
        for number in range(1, count + 1)
    ]


def report_of(
    files: Mapping[str, FileQuality],
    quality: Mapping[str, ClipQuality],
    clips: Sequence[Clip],
    problems: Sequence[Issue],
    fps: float,
) -> dict[str, Any]:
    """The quality report: per file, per clip and in all, with warnings in words."""
    curves = []
    for clip in clips:
        assert clip.gap is not None
        found = curve(clip.gap.astype(np.float64), loudness(clip.samples, clip.frames, fps), fps)
        if found is not None:
            curves.append(found)
    figures, warnings = overall(quality, curves, fps)
    return {
        "all": {name: rounded(value) for name, value in figures.items()},
        "warnings": warnings,
        "files": {
            name: {**as_dict(one), "warnings": file_warnings(one)} for name, one in files.items()
        },
        "clips": {
            name: {**as_dict(one), "warnings": clip_warnings(one)} for name, one in quality.items()
        },
        "left_out": {problem.name: problem.reason for problem in problems},
    }


# Own recordings as ``data prepare`` reads them.


VIDEO_VERSION = 1  # raise when clips would come out otherwise from the same tracks


def open_video(raw: Path, options: PrepareOptions) -> SourceCorpus:
    """Track the videos in ``raw`` (a folder or one file) and apply their motion to the default
    head.

    This is the slow part: ``options.scratch`` keeps what is tracked, ``options.progress`` is called
    how far it is. Raises InputError when no recording can be used, MissingExtraError without
    MediaPipe.
    """
    wanted = VideoOptions(options.fps or FPS, options.subject, options.model, options.jobs or 2)
    tracker = MediaPipeTracker(find_model(raw, wanted.model))
    face = default_head()
    videos = read_videos(raw, wanted, options.scratch, face, tracker, options.progress)
    digest = hashlib.sha256(
        f"{VIDEO_VERSION} {TAKE_VERSION} {RETARGET_VERSION} {tracker.key}".encode()
    )
    for array in (face.vertices, face.basis):
        digest.update(array.tobytes())
    clips = tuple(
        SourceClip(
            subject=clip.subject,
            sentence=clip.id.removeprefix(f"{clip.subject}_"),
            sources=videos.sources[clip.id],
            load=partial(_load, clip),
            id=clip.id,
        )
        for clip in videos.clips
    )
    return SourceCorpus(
        kind=NAME,
        folder=raw.parent if raw.is_file() else raw,
        licence=CREDIT,
        fps=wanted.fps,
        unit=SHAPES,
        templates={},
        triangles=None,
        schemes={"clips": hold_out},
        clips=clips,
        problems=videos.problems,
        names=face.names,
        recipe=digest.hexdigest()[:16],
        quality=videos.quality,
    )


def _load(clip: Clip) -> ClipData:
    return ClipData(
        clip.weights, Speech(clip.samples), clip.gap, clip.tracked, head_pose=clip.motion.head_pose
    )


VIDEO = CorpusKind(
    "video",
    open_video,
    holds="recordings of people who speak, see [own-face.md](own-face.md)",
    splits="train, val, test within every subject",
    rate="25, or `--fps`",
    unit="weights",
)
