"""Where the clips of a system are found, and how they become videos that browsers play and that
show nothing of their origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from jambatalk.audio.decode import FORMATS
from jambatalk.errors import InputError, reading
from jambatalk.motion import Motion

VIDEOS = (".mp4", ".webm")
MOTIONS = (".npz", ".csv", ".json", ".npy")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
PLAYED = {
    ".mp4": ({"h264", "av1"}, {"aac", "mp3", "opus"}),
    ".webm": ({"vp8", "vp9", "av1"}, {"opus", "vorbis"}),
}
"""Container -> codecs of pictures and of sound that browsers play in it."""


@dataclass(frozen=True)
class RenderOptions:
    """How motions become videos. size: (width, height) pixels. face: a mesh file for vertex
    offsets. fps: of .npy files, which have none. speech: folder of the sounds, named like the
    clips; None looks beside the motions.
    """

    size: tuple[int, int] = (512, 512)
    face: Path | None = None
    fps: float | None = None
    speech: Path | None = None


@dataclass(frozen=True)
class Video:
    """What is in a video file. fps: frames per second."""

    size: tuple[int, int]
    fps: float
    seconds: float


Source = Path | Callable[[], Motion]
"""A video file, or what gives a motion."""


def find_clips(folder: Path, options: RenderOptions) -> dict[str, Source]:
    """Clip name -> where it is. InputError for an empty or mixed folder, or two files of one
    name.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder, expected one with the videos or motions of a system"
        )
    if (folder / "manifest.json").is_file():
        return _prepared(folder)
    found: dict[str, Source] = {}
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or suffix not in VIDEOS + MOTIONS or not path.is_file():
            continue
        if path.stem in found:
            raise InputError(f"{folder} holds two files for the clip {path.stem!r}, expected one")
        found[path.stem] = path if suffix in VIDEOS else _motion_source(path, options)
    if not found:
        raise InputError(
            f"{folder} holds no clips, expected files ending in {', '.join(VIDEOS + MOTIONS)}"
        )
    return found


def _prepared(folder: Path) -> dict[str, Source]:
    """The clips of a prepared corpus, as recorded."""
    from jambatalk.datasets.dataset import WEIGHTS, PreparedClip, open_prepared

    def source(clip: PreparedClip) -> Callable[[], Motion]:
        def load() -> Motion:
            pose = None if clip.head_pose is None else np.asarray(clip.head_pose, np.float32)
            if clip.corpus.motion == WEIGHTS:
                weights = np.asarray(clip.weights, np.float32)
                return Motion(
                    clip.fps,
                    weights=weights,
                    names=tuple(clip.corpus.names),
                    head_pose=pose,
                    speech=clip.speech,
                )
            face = clip.corpus.face(clip.subject)
            if face is None:
                raise InputError(f"{folder} has no triangles, so that {clip.name} cannot be drawn")
            return Motion(
                clip.fps,
                offsets=np.asarray(clip.offsets, np.float32),
                head_pose=pose,
                speech=clip.speech,
                face=face,
            )

        return load

    return {clip.name: source(clip) for clip in open_prepared(folder).clips()}


def _motion_source(path: Path, options: RenderOptions) -> Callable[[], Motion]:
    def load() -> Motion:
        from jambatalk.audio import Speech
        from jambatalk.face.mesh import load_mesh

        motion = (
            _plain_array(path, options.fps) if path.suffix.lower() == ".npy" else Motion.load(path)
        )
        if options.face is not None:
            motion = replace(motion, face=load_mesh(options.face))
        return replace(motion, speech=Speech.load(_sound_of(path, options.speech)))

    return load


def _plain_array(path: Path, fps: float | None) -> Motion:
    """(T, 52) ARKit weights or (T, V, 3) offsets in metres, as ``data prepare`` stores them."""
    from jambatalk.face.head import ARKIT_NAMES

    if fps is None:
        raise InputError(f"{path} has no frame rate: set it with --fps")
    with reading(path, "an .npy array of plain numbers"):
        values = np.load(path, allow_pickle=False)
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise InputError(f"{path} holds {values.dtype} values, expected finite floats")
    if values.ndim == 3 and values.shape[2] == 3:
        return Motion(fps, offsets=values.astype(np.float32))
    if values.ndim == 2 and values.shape[1] == len(ARKIT_NAMES):
        return Motion(fps, weights=values.astype(np.float32), names=tuple(ARKIT_NAMES))
    raise InputError(
        f"{path} has shape {values.shape}, expected (T, {len(ARKIT_NAMES)}) weights or (T, V, 3) "
        "offsets"
    )


def _sound_of(path: Path, speech: Path | None) -> Path:
    folder = path.parent if speech is None else speech
    for suffix in SOUNDS:
        if (folder / f"{path.stem}{suffix}").is_file():
            return folder / f"{path.stem}{suffix}"
    raise InputError(
        f"{path} is a motion without sound: expected {path.stem}.wav beside it or in the folder of "
        "--speech"
    )


def inspect_video(path: Path) -> Video:
    """Check what a video holds. InputError unless browsers play it and it has pictures and
    sound.
    """
    pictures, sounds = PLAYED[path.suffix.lower()]
    try:
        with open_container(path) as file:
            video = next(iter(file.streams.video), None)
            audio = next(iter(file.streams.audio), None)
            if video is None or audio is None:
                raise InputError(
                    f"{path} has no {'pictures' if video is None else 'sound'}, expected a video "
                    "with sound"
                )
            for stream, known in ((video, pictures), (audio, sounds)):
                codec = stream.codec_context.codec.canonical_name
                if codec not in known:
                    raise InputError(
                        f"{path} holds {codec}, which not all browsers play: expected "
                        f"{', '.join(sorted(known))}"
                    )
            start: float | None = None
            end, frames = 0.0, 0
            for packet in file.demux(video):
                if packet.pts is None or packet.time_base is None:
                    continue
                time = float(packet.pts * packet.time_base)
                start = time if start is None else min(start, time)
                end = max(end, time + float((packet.duration or 0) * packet.time_base))
                frames += 1
            size = (video.codec_context.width, video.codec_context.height)
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be read as a video ({error.strerror or error})") from error
    if start is None or end <= start:
        raise InputError(f"{path} has no pictures, expected a video")
    return Video(size, frames / (end - start), end - start)


def open_container(path: Path) -> Any:
    """Open a video file, and nothing that would make it open other files, as playlists do."""
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    return av.open(str(path), options=options)


def mux(pictures: Path, sound: Path, out: Path) -> None:
    """The pictures of one file and the sound of another (or the same), not encoded anew and without
    titles, dates or comments.
    """
    options = {"movflags": "+faststart"} if out.suffix == ".mp4" else {}
    try:
        with (
            open_container(pictures) as video,
            open_container(sound) as audio,
            av.open(str(out), "w", options=options) as file,
        ):
            chosen = (video.streams.video[0], audio.streams.audio[0])
            target = {}
            for stream in chosen:
                target[stream] = file.add_stream_from_template(stream)
                target[stream].metadata.clear()
            waiting = [
                packet
                for source, stream in ((video, chosen[0]), (audio, chosen[1]))
                for packet in source.demux(stream)
            ]
            waiting = [packet for packet in waiting if packet.dts is not None]
            for packet in sorted(waiting, key=lambda one: one.dts * one.time_base):
                packet.stream = target[packet.stream]
                file.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{pictures} with the sound of {sound} cannot be written as {out.suffix} ({error})"
        ) from error
