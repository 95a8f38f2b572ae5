"""Own recordings: pictures with their times, upright, and the sound of the same file on the same
clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.audio.decode import FORMATS, Native, choose_track, decoded, on_the_clock, resampled
from jambatalk.errors import InputError

Array = NDArray[Any]

SUFFIXES = (
    ".3gp",
    ".asf",
    ".avi",
    ".flv",
    ".m2ts",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".ogv",
    ".ts",
    ".webm",
    ".wmv",
)
"""Files of a folder with one of these endings are taken for recordings."""

LARGEST = 1280
"""Pixels; larger pictures are made smaller before the tracker sees them. It looks at 256 pixels of
a face anyway.
"""

STATES_LENGTH = ("mov", "matroska")
"""Formats whose stated length is exact; that of others is a guess from the bit rate."""

CUT_OFF = 0.5
"""Seconds by which the pictures may end before the length that the file states."""


@dataclass
class Pictures:
    """The pictures of one video: iterate for (seconds, (H, W, 3) uint8 RGB), upright and with
    square pixels.

    seconds are the file's own time stamps, increasing; pictures without one are not shown. After
    the iteration: count, undecodable (packets), shrunk (pixels of the file per pixel shown). Raises
    InputError for what is not a video, holds no picture that can be decoded, or is cut off.
    """

    path: Path
    count: int = 0
    undecodable: int = 0
    shrunk: float = 1.0
    fps: float = 0.0  # as the file states it, 0 when it does not
    size: tuple[int, int] = field(
        default=(0, 0)
    )  # width and height of the file's pictures, upright

    def __iter__(self) -> Iterator[tuple[float, Array]]:
        with _open(self.path) as container:
            if not container.streams.video:
                raise InputError(f"{self.path.name} holds no pictures, expected a video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            self.fps = float(stream.average_rate or 0.0)
            aspect = float(stream.sample_aspect_ratio or 1.0) or 1.0
            last = -np.inf
            for frame in self._frames(container, stream):
                if frame.time is None or frame.time <= last:
                    continue
                last = frame.time
                self.count += 1
                yield last, self._upright(frame, aspect)
            if not self.count:
                raise InputError(
                    f"no picture could be decoded from {self.path.name}: the file is damaged"
                )
            stated = (
                float(stream.duration * stream.time_base)
                if stream.duration
                else (container.duration or 0) / 1e6
            )
            first = float((stream.start_time or 0) * stream.time_base)
            if container.format.name.startswith(
                STATES_LENGTH
            ) and first + stated - last > CUT_OFF + 1.5 / (self.fps or 25.0):
                raise InputError(
                    f"{self.path.name} is cut off: it promises {stated:.1f} s, its pictures end at "
                    f"{last - first:.1f} s"
                )

    def _frames(self, container: Any, stream: Any) -> Iterator[Any]:
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.FFmpegError:
                self.undecodable += 1
                if self.undecodable > 50 + self.count:  # a demuxer that fails for ever
                    return
                continue
            yield from frames

    def _upright(self, frame: Any, aspect: float) -> Array:
        width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
        self.shrunk = max(1.0, max(width, height) / LARGEST)
        shown = {"width": round(width / self.shrunk), "height": round(height / self.shrunk)}
        picture = turned(frame.to_ndarray(format="rgb24", **shown), display_matrix(frame))
        turned_by = picture.shape[0] != shown["height"]
        self.size = (round(height), round(width)) if turned_by else (round(width), round(height))
        return np.ascontiguousarray(picture)


def display_matrix(frame: Any) -> Array | None:
    """(2, 2) int: how a player turns the picture of ``frame`` (row vectors (x, y) times it), None
    when it does not.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
    return np.round(matrix / max(np.abs(matrix).max(), 1.0)).astype(np.int64)


def turned(picture: Array, matrix: Array | None) -> Array:
    """(H, W, 3) as a player shows it: quarter turns and mirrors; other angles stay as they are."""
    if matrix is None or np.abs(matrix).sum() != 2:
        return picture
    (a, b), (c, d) = matrix
    if b or c:  # x becomes y
        picture, a, d = picture.swapaxes(0, 1), c, b
    if a < 0:
        picture = picture[:, ::-1]
    return picture[::-1] if d < 0 else picture


@dataclass(frozen=True)
class Sound:
    """The first sound track: samples (n,) float32 at 16 kHz, the first at ``start`` seconds of the
    file's clock.

    clipped: share of the file's own samples at full scale.
    """

    samples: Array
    start: float
    clipped: float

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / SAMPLE_RATE

    def cut(self, start: float, seconds: float) -> Array:
        """(round(seconds * 16000),) samples from ``start`` on; silence where there is no sound."""
        first, count = round((start - self.start) * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
        out = np.zeros(count, np.float32)
        begin, finish = max(first, 0), min(first + count, len(self.samples))
        if begin < finish:
            out[begin - first : finish - first] = self.samples[begin:finish]
        return out


def read_sound(path: Path) -> Sound:
    """Read the sound of a video, every block at its time stamp.

    Raises:
        InputError: there is none, or none that can be decoded.
    """
    with _open(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path.name} has no sound: record picture and sound together")
        stream = choose_track(container, path.name)
        frames = (frame for frame in decoded(container, stream, []) if frame.samples)
        first = next(frames, None)
        if first is None:
            raise InputError(
                f"no sound could be decoded from {path.name}: the file is damaged or its sound "
                "track empty"
            )
        start = first.time or 0.0
        count = full = 0

        def counted() -> Native:
            nonlocal count, full
            for block, rate in on_the_clock(chain([first], frames), path.name, None, start):
                block = np.nan_to_num(block)
                count += len(block)
                full += int((np.abs(block) >= 0.9995).sum())
                yield block, rate

        samples = np.concatenate(list(resampled(counted())))
    return Sound(np.clip(samples, -1.0, 1.0).astype(np.float32), start, full / max(count, 1))


def _open(path: Path) -> Any:
    try:
        return av.open(str(path), metadata_errors="ignore", options={"format_whitelist": FORMATS})
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"cannot read {path.name}: it is not a video, or a damaged one") from error


def video_seconds(path: Path) -> float:
    """The length that the video states, 0 when it does not."""
    with _open(path) as container:
        return max(0.0, (container.duration or 0) / 1e6)
