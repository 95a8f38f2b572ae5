"""FACEGOOD-Audio2Face: one performer speaking Mandarin, as weights of an artist's rig, carried over to ARKit shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import RATE, Clip
from jambatalk.data.facegood_map import facegood_weights
from jambatalk.data.pauses import cuts_at_pauses
from jambatalk.data.prepared import SAFE_NAME, read_flac
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.resample import resample_frames
from jambatalk.motion import Motion

Array = NDArray[Any]
COLUMNS = "columns.json"
SOURCE_FPS, FPS = 30.0, 25.0
HELD_OUT = ("1114_3_15",)
"""Recordings kept for testing: the only one of fluent speech, the others are words with pauses between them."""

LONGEST = 10.0
"""Seconds of a clip, about: recordings of minutes are cut at pauses."""

VALIDATION = 0.1
"""Share at the end of every training recording that validates."""

SLACK = 0.25
"""Seconds by which a recording's sound and motion may differ in length; both are cut to the shorter."""


@dataclass(frozen=True)
class FacegoodEntry:
    """A piece of a recording: frames first <= t < last at 25 frames a second, and the samples of the same time."""

    id: str
    subject: str
    split: str
    recording: str
    first: int
    last: int


class FacegoodCorpus:
    """a folder with columns.json, <id>.npy (artist weights at 30 fps) and <id>.flac (FACEGOOD-Audio2Face)

    The motion was tracked from video and cleaned by artists; there is no text and no measured gap. Eyes and brows are still.
    Raises InputError, naming the file, when something is missing or does not fit.
    """

    name = "facegood"
    credit = "FACEGOOD-Audio2Face data set: FACEGOOD (2021), MIT licence."

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return (folder / COLUMNS).is_file() and any(folder.glob("*.npy"))

    @classmethod
    def open(cls, folder: Path) -> FacegoodCorpus:
        return cls(folder)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the rig's weights."""
        path = self.folder / COLUMNS
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path} holds {type(names).__name__}, expected a list of names")
        return tuple(names)

    @cached_property
    def recordings(self) -> tuple[str, ...]:
        """Names of the recordings. InputError for a name that cannot be a clip's."""
        names = sorted(path.stem for path in self.folder.glob("*.npy") if not path.name.startswith("."))
        for name in names:
            if not SAFE_NAME.fullmatch(name):
                raise InputError(f"{self.folder}: {name[:80]!r} is no name for clips: letters, digits, _ - and . only")
        return tuple(names)

    @cached_property
    def entries(self) -> tuple[FacegoodEntry, ...]:
        """All clips, in order; reads the sounds to find the pauses."""
        return tuple(entry for name in self.recordings for entry in self.cut(name))

    @property
    def splits(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for entry in self.entries:
            counts[entry.split] = counts.get(entry.split, 0) + 1
        return counts

    def cut(self, recording: str) -> list[FacegoodEntry]:
        """The clips of one recording."""
        samples = read_flac(self.folder / f"{recording}.flac")
        frames = min(self._frames(recording), int(len(samples) * FPS / RATE))
        if frames < 1:
            raise InputError(f"{self.folder / recording}.npy and .flac hold less than a frame")
        edges = cuts_at_pauses(samples, frames, FPS, LONGEST)
        if recording in HELD_OUT:
            splits = ["test"] * (len(edges) - 1)
        else:
            tail = min(edges[1:-1], key=lambda edge: abs(edge - (1 - VALIDATION) * frames), default=frames)
            splits = ["val" if edge >= tail else "train" for edge in edges[:-1]]
        subject = recording.split("_")[0]
        return [
            FacegoodEntry(f"{recording}_{n:02d}", subject, split, recording, first, last)
            for n, (first, last, split) in enumerate(zip(edges, edges[1:], splits))
        ]

    def weights(self, recording: str, face: Face) -> Array:
        """(T, K) float32 in 0..1 on ``face.names`` at 25 frames a second, a whole recording."""
        values = self._values(recording)
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(f"{self.folder / recording}.npy: frame {bad} is not finite")
        return np.clip(resample_frames(facegood_weights(values, self.columns, face), SOURCE_FPS, FPS), 0.0, 1.0)

    def samples(self, entry: FacegoodEntry) -> Array:
        """(n,) float32 speech of one clip, exactly as long as its motion."""
        per_frame = round(RATE / FPS)
        return read_flac(self.folder / f"{entry.recording}.flac")[entry.first * per_frame : entry.last * per_frame]

    def clips(self, split: str | Sequence[str], face: Face, cache: Path | None = None) -> list[Clip]:
        """The clips of one or several splits, their motion worn by ``face``, speech in memory. Nothing is cached: it is quick."""
        wanted = [split] if isinstance(split, str) else list(split)
        for one in wanted:
            if one not in self.splits:
                raise InputError(f"{self.folder} has no split {one!r}: choose from {', '.join(self.splits)}")
        clips = []
        for recording in self.recordings:
            chosen = [entry for entry in self.entries if entry.recording == recording and entry.split in wanted]
            weights = self.weights(recording, face) if chosen else None
            for entry in chosen:
                assert weights is not None
                motion = Motion(fps=FPS, weights=weights[entry.first : entry.last], names=face.names)
                clips.append(Clip(entry.id, entry.subject, entry.split, self.samples(entry), motion, corpus=self.name))
        return clips

    def _values(self, recording: str) -> Array:
        path = self.folder / f"{recording}.npy"
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged or cut off ({error})") from error
        if values.ndim != 2 or values.shape[1] != len(self.columns) or values.dtype.kind != "f":
            raise InputError(f"{path} holds {values.dtype} {values.shape}, expected floats (T, {len(self.columns)})")
        return values

    def _frames(self, recording: str) -> int:
        """Frames at 25 a second that motion and sound of a recording should have."""
        import soundfile

        frames = len(self._values(recording))
        path = self.folder / f"{recording}.flac"
        try:
            heard = soundfile.info(path).duration
        except (soundfile.LibsndfileError, OSError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        if abs(heard - frames / SOURCE_FPS) > SLACK:
            raise InputError(f"{path} lasts {heard:.2f} s and its motion {frames / SOURCE_FPS:.2f} s: one of them is cut off")
        return round(frames * FPS / SOURCE_FPS)
