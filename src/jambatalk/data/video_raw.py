"""Own recordings as ``data prepare`` takes them."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from jambatalk.audio import Speech
from jambatalk.data.clip import Clip
from jambatalk.data.grid import CARRY_VERSION
from jambatalk.data.raw import SHAPES, Loaded, Options, RawClip, RawCorpus
from jambatalk.data.video import CREDIT, FPS, NAME, VideoOptions, read_videos
from jambatalk.data.video_mediapipe import MediaPipeTracker, find_model
from jambatalk.data.video_names import hold_out
from jambatalk.data.video_take import TAKE_VERSION
from jambatalk.face.head import default_head

VIDEO_VERSION = 1  # raise when clips would come out otherwise from the same tracks


def open_video(raw: Path, options: Options) -> RawCorpus:
    """Track the videos in ``raw`` (a folder or one file) and wear them on the default head.

    This is the slow part: ``options.scratch`` keeps what is tracked, ``options.progress`` is told how far it is.
    Raises InputError when no recording can be used, MissingExtraError without MediaPipe.
    """
    wanted = VideoOptions(options.fps or FPS, options.subject, options.model, options.jobs or 2)
    tracker = MediaPipeTracker(find_model(raw, wanted.model))
    face = default_head()
    videos = read_videos(raw, wanted, options.scratch, face, tracker, options.progress)
    digest = hashlib.sha256(f"{VIDEO_VERSION} {TAKE_VERSION} {CARRY_VERSION} {tracker.key}".encode())
    for array in (face.vertices, face.basis):
        digest.update(array.tobytes())
    clips = tuple(
        RawClip(
            subject=clip.subject,
            sentence=clip.id.removeprefix(f"{clip.subject}_"),
            sources=videos.sources[clip.id],
            load=partial(_load, clip),
            id=clip.id,
        )
        for clip in videos.clips
    )
    return RawCorpus(
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


def _load(clip: Clip) -> Loaded:
    return Loaded(clip.weights, Speech(clip.samples), clip.gap, clip.tracked, head_pose=clip.motion.head_pose)
