"""Write pictures and speech to a video: H.264 and AAC by PyAV, which has its own ffmpeg."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.deform import AnimatedMesh
from jambatalk.motion import Motion
from jambatalk.ops.threads import thread_limit
from jambatalk.render.renderer import Renderer

Array = NDArray[Any]

RATE = 48_000
"""Samples a second of the sound."""

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv")
QUALITY = {"crf": "18", "preset": "veryfast"}
SOUND_BITS = 128_000
BT709 = 1  # ffmpeg's number for ITU-R BT.709 as primaries, transfer function and matrix


def write_video(
    motion: Motion,
    path: str | PathLike[str],
    *,
    size: tuple[int, int] = (512, 512),
    fps: float | None = None,
    identity: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> None:
    """Render a motion to a video with its speech as sound.

    Frames pass through one by one, so memory does not grow with length. The sound starts with the
    first frame and is cut, or filled with silence, to the length of the pictures. An interrupted
    or failed run leaves nothing behind.

    Args:
        motion: weights or offsets; without ``motion.speech`` the video is silent.
        path: the suffix chooses the container (.mp4, .m4v, .mov, .mkv).
        size: (width, height) in pixels; an odd number is rounded up to even.
        fps: None keeps the motion's own.
        identity: one of the face's identities.
        progress: called with (frames done, frames in all).
        threads: frames drawn at a time; None uses all cores, at most 8. The pictures do not depend
            on it.

    Raises:
        InputError: an empty motion, one that does not fit its face, or a bad size, fps, suffix or
            identity.
    """
    size = even_size(size)
    if Path(path).suffix.lower() not in CONTAINERS:
        raise InputError(
            f"cannot write a video to {path}: expected a name ending in {', '.join(CONTAINERS)}"
        )
    if fps is not None:
        if not 0 < fps <= 1000:
            raise InputError(f"fps is {fps}, expected more than 0 and at most 1000")
        motion = motion.resampled(fps)
    if len(motion) == 0:
        raise InputError("the motion has no frames to make a video of")
    mesh = AnimatedMesh(motion, identity)
    renderer = Renderer(mesh.face, size, threads=1)
    with (
        atomic_write(path) as temporary,
        VideoFile(temporary, size, motion.fps, motion.speech) as video,
    ):
        for done, picture in enumerate(
            draw_frames(renderer, mesh, threads or min(8, thread_limit()[0])), 1
        ):
            video.add(picture)
            if progress is not None:
                progress(done, len(motion))


def draw_frames(renderer: Renderer, mesh: AnimatedMesh, threads: int) -> Iterator[Array]:
    """Pictures of all frames in order, (H, W, 3) uint8; ``threads`` are drawn at a time."""

    def draw(frame: int) -> Array:
        return renderer.render(mesh.vertices(frame), mesh.head_pose(frame))

    pool = ThreadPoolExecutor(threads, thread_name_prefix="jambatalk-video")
    waiting: deque[Future[Array]] = deque()
    try:
        for frame in range(len(mesh)):
            waiting.append(pool.submit(draw, frame))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class VideoFile:
    """A video being written: add pictures one by one; the sound keeps pace by itself.

    A context manager; the file is complete only when the ``with`` block ends without an error.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: float, speech: Speech | None
    ) -> None:
        self._rate = Fraction(fps).limit_denominator(1001)
        if self._rate <= 0:
            raise InputError(f"fps is {fps}, expected at least 0.001")
        options = {} if path.suffix.lower() == ".mkv" else {"movflags": "+faststart"}
        self._file = av.open(str(path), "w", options=options)
        video = self._file.add_stream("libx264", rate=self._rate, options=QUALITY)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = ColorRange.MPEG
        self._video, self._frames = video, 0
        self._sound: Any = None
        if speech is not None:
            self._track, self._samples = Soundtrack(speech), 0
            self._sound = self._file.add_stream("aac", rate=RATE, layout="mono")
            self._sound.bit_rate = SOUND_BITS

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._file.mux(self._video.encode(None))
                if self._sound is not None:
                    self._file.mux(self._sound.encode(None))
        finally:
            self._file.close()

    def add(self, picture: Array) -> None:
        """Encode one (H, W, 3) uint8 picture and the sound that belongs to it."""
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = self._frames, 1 / self._rate
        self._file.mux(self._video.encode(frame))
        self._frames += 1
        if self._sound is not None:
            end = round(self._frames * RATE / self._rate)
            self._add_sound(self._track.read(end - self._samples))

    def _add_sound(self, samples: Array) -> None:
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._samples, Fraction(1, RATE)
        self._file.mux(self._sound.encode(frame))
        self._samples += len(samples)


class Soundtrack:
    """Speech as the sound of a video: 48 kHz, read piece by piece, then silence."""

    def __init__(self, speech: Speech) -> None:
        self._pieces = self._resampled(speech)
        self._rest = np.zeros(0, np.float32)

    @staticmethod
    def _resampled(speech: Speech) -> Iterator[Array]:
        stream = soxr.ResampleStream(speech.rate, RATE, 1, dtype="float32", quality="HQ")
        for block in speech.blocks(1.0):
            yield stream.resample_chunk(np.ascontiguousarray(block))
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)

    def read(self, samples: int) -> Array:
        """The next (samples,) float32, clipped to -1..1."""
        parts, have = [self._rest], len(self._rest)
        while have < samples:
            piece = next(self._pieces, None)
            if piece is None:
                piece = np.zeros(samples - have, np.float32)
            parts.append(piece)
            have += len(piece)
        joined = np.concatenate(parts)
        self._rest = joined[samples:]
        return np.clip(joined[:samples], -1.0, 1.0)


def even_size(size: tuple[int, int]) -> tuple[int, int]:
    """Round (width, height) up to even numbers: H.264 keeps colour for blocks of 2x2 pixels."""
    width, height = size
    if not (1 <= width <= 8192 and 1 <= height <= 8192):
        raise InputError(
            f"the video's size is {width}x{height}, expected 1 to 8192 pixels each way"
        )
    return width + width % 2, height + height % 2
