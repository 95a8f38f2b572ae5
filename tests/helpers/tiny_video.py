"""Videos made up on the spot, and a tracker for them: a picture's brightness tells how far the
mouth is open.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from jambatalk.datasets.video.tracking import STABLE, Tracked
from jambatalk.face.deform import pose_matrix
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES
from tiny_grid import head_as_landmarks

SIZE = (96, 64)  # width and height
NO_FACE = 0
CLOSED, OPEN = 60, 240
WIDEST = 0.35  # weight of jawOpen in the brightest picture
RATE = 16000


def levels(opening: np.ndarray) -> np.ndarray:
    """Openings 0..1 (NaN where there is no face) to brightness."""
    return np.where(
        np.isnan(opening), NO_FACE, CLOSED + np.nan_to_num(opening) * (OPEN - CLOSED)
    ).astype(int)


def write_video(
    path: Path,
    times: np.ndarray,
    brightness: np.ndarray,
    samples: np.ndarray | None,
    sound_start: float = 0.0,
    turn: int = 0,
) -> None:
    """Pictures of one grey each at ``times`` (whole milliseconds), and sound (n,) at 16 kHz that
    starts at ``sound_start``.

    A bright mark is in the first picture's upper left corner. turn: degrees by which players turn
    the picture clockwise.
    """
    codec = {".webm": "libvpx", ".mpg": "mpeg1video"}.get(path.suffix, "mpeg4")
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25 if path.suffix == ".mpg" else 1000)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        if path.suffix == ".webm":
            video.options = {"deadline": "realtime", "cpu-used": "8"}
        if turn:
            video.set_display_rotation(-turn)
        audio = None
        if samples is not None:
            sound = {".mkv": "pcm_s16le", ".webm": "libopus", ".mpg": "mp2"}.get(path.suffix, "aac")
            audio = out.add_stream(sound, rate=48000 if path.suffix == ".webm" else RATE)
            audio.layout = "mono"
        packets = []
        for number, (time, grey) in enumerate(zip(times, brightness)):
            picture = np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
            if number == 0:
                picture[:16, :16] = 255 if grey < 200 else 0
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if path.suffix == ".mpg" else round(time * 1000)
            packets += video.encode(frame)
        packets += video.encode()
        if audio is not None and samples is not None:
            whole = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
            for first in range(0, len(whole), 800):
                block = av.AudioFrame.from_ndarray(
                    whole[None, first : first + 800], format="s16", layout="mono"
                )
                block.sample_rate, block.pts = RATE, first + round(sound_start * RATE)
                packets += audio.encode(block)
            packets += audio.encode()
        for packet in sorted(
            (p for p in packets if p.dts is not None), key=lambda p: p.dts * p.time_base
        ):
            out.mux(packet)


def voice(
    times: np.ndarray, opening: np.ndarray, seconds: float, start: float = 0.0, seed: int = 0
) -> np.ndarray:
    """(n,) noise as loud as the mouth is open, sample 0 at ``start`` seconds."""
    t = start + np.arange(round(seconds * RATE)) / RATE
    loud = np.interp(t, times, np.nan_to_num(opening))
    return (
        0.3 * loud * np.random.default_rng(seed).standard_normal(len(t)).clip(-3, 3) / 3
    ).astype(np.float32)


def mouth(times: np.ndarray, seed: int = 0) -> np.ndarray:
    """An opening 0..1 at any times: syllables with pauses."""
    phase = 0.7 * seed
    return np.clip(
        np.sin(2 * np.pi * 1.7 * times + phase) * np.sin(2 * np.pi * 0.31 * times + 0.4 + phase),
        0,
        1,
    )


class GreyTracker:
    """Sees the head of ``face`` in pictures of one grey: brighter is wider open, black is nobody.

    turning: degrees of yaw at the end of a video, from as many to the other side at its start.
    """

    key = "grey"
    score_names = tuple(name for name in ARKIT_NAMES if name != "tongueOut")

    def __init__(self, face: Face, turning: float = 0.0, pixels: float = 2000.0) -> None:
        self.face, self.turning, self.pixels = face, turning, pixels
        self.calls = 0
        self.fixed = np.random.default_rng(3).uniform(-0.06, 0.06, (len(STABLE), 3))
        self.canonical = self._landmarks(np.zeros(1))[0] * 100

    def _landmarks(self, opening: np.ndarray) -> np.ndarray:
        """(T, 468, 3) metres on the head."""
        weights = np.zeros((len(opening), len(self.face.names)))
        weights[:, self.face.names.index("jawOpen")] = opening * WIDEST
        points = head_as_landmarks(self.face, weights)
        points[:, list(STABLE)] = self.fixed
        return points

    def gap(self, opening: np.ndarray) -> np.ndarray:
        """(T,) metres of the head's lip gap at the given openings."""
        points = self._landmarks(opening)
        return points[:, 13, 1] - points[:, 14, 1]

    def track(self, frames: Iterable[np.ndarray], times: Iterable[float]) -> Tracked:
        self.calls += 1
        grey = np.array([np.median(frame) for frame, _ in zip(frames, times)])
        found = grey > CLOSED / 2
        points = self._landmarks(((grey - CLOSED) / (OPEN - CLOSED)).clip(0, 1))
        yaw = np.radians(np.linspace(-self.turning, self.turning, len(grey)))
        turns = np.stack([pose_matrix(np.array([0.05, angle, -0.03])) for angle in yaw])
        seen = (points @ np.swapaxes(turns, 1, 2)) * self.pixels * np.array([1, -1, -1]) + np.array(
            [50, 30, 0]
        )
        seen[~found] = np.nan
        scores = np.zeros((len(grey), len(self.score_names)), np.float32)
        return Tracked(seen.astype(np.float32), scores, found, found.astype(np.int64))
