"""GRID-468: sentences of the GRID corpus with faces tracked from its videos (MediaPipe, 468
landmarks, 25 fps).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.arrays import read_arrays
from jambatalk.atomic import atomic_write
from jambatalk.audio import Speech
from jambatalk.datasets.align import SILENT_WORDS, Aligner
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.dataset import read_flac
from jambatalk.datasets.retarget import RetargetConfig, TrackedTake, resting_frames, retarget
from jambatalk.datasets.source import (
    CENTIMETRES,
    SHAPES,
    ClipData,
    CorpusKind,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
    fixed_rate,
    own_splits,
    require,
)
from jambatalk.errors import InputError, MissingExtraError, reading
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.face.landmarks import (
    INNER_LOWER,
    INNER_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
    find_chin,
    measured_gap,
)
from jambatalk.motion import Motion
from jambatalk.text.phones import Timed

Array = NDArray[Any]
FILES = ("clips.jsonl", "motion.npz", "face468.npz")
RETARGET_VERSION = 1  # raise when retargeting changes, so that caches are made anew


@dataclass(frozen=True)
class GridEntry:
    """One line of clips.jsonl: where a clip's frames lie and the words."""

    id: str
    subject: str
    split: str
    start: int
    frames: int
    fps: float
    words: tuple[Timed, ...]


class GridCorpus:
    """a folder with clips.jsonl, motion.npz, face468.npz and audio/<id>.flac (GRID-468)

    Raises InputError, naming the file, when something is missing or does not fit.
    """

    name = "grid"
    credit = (
        "GRID audiovisual sentence corpus: Cooke, Barker, Cunningham and Shao (2006), CC BY 4.0."
    )

    def __init__(self, folder: Path, settings: RetargetConfig | None = None) -> None:
        self.folder = folder
        self.settings = settings or RetargetConfig()
        self.entries = _read_entries(folder / "clips.jsonl")
        self._tracked: dict[str, Array] | None = None

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return all((folder / name).is_file() for name in FILES)

    @classmethod
    def open(cls, folder: Path) -> GridCorpus:
        return cls(folder)

    @property
    def splits(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for entry in self.entries:
            counts[entry.split] = counts.get(entry.split, 0) + 1
        return counts

    def select(self, split: str | Sequence[str]) -> list[GridEntry]:
        """The entries of one or several splits, in the corpus' order. InputError names an unknown
        split.
        """
        wanted = [split] if isinstance(split, str) else list(split)
        for one in wanted:
            if one not in self.splits:
                raise InputError(
                    f"{self.folder} has no split {one!r}: choose from {', '.join(self.splits)}"
                )
        return [entry for entry in self.entries if entry.split in wanted]

    def samples(self, entry: GridEntry) -> Array:
        """(n,) float32 speech at 16 kHz of one clip."""
        return read_flac(self.folder / "audio" / f"{entry.id}.flac")

    def gap(self, entry: GridEntry) -> Array:
        """(T,) float64 metres: the measured vertical distance of the inner lips' middle (landmarks
        13 and 14).
        """
        return measured_gap(self.positions([entry]))

    def positions(self, entries: Sequence[GridEntry]) -> Array:
        """(T, 468, 3) float32 metres: tracked landmarks of the entries' frames; untracked frames
        are interpolated.
        """
        data = self._load()
        pieces = []
        for entry in entries:
            rows = slice(entry.start, entry.start + entry.frames)
            pieces.append(
                _bridge(data["coefficients"][rows].astype(np.float32), data["tracked"][rows])
            )
        shape = data["offset_mean"] + data["vertices"]
        flat = np.concatenate(pieces) @ data["offset_basis"].reshape(len(data["offset_basis"]), -1)
        return (flat.reshape(-1, *shape.shape) + shape) * np.float32(0.01)

    def clips(
        self, split: str | Sequence[str], face: Face, cache: Path | None = None
    ) -> list[Clip]:
        """Read the clips of one or several splits, their motion applied to ``face``."""
        entries = self.select(split)
        weights, gap = self._retargeted(face, cache)
        tracked = self._load()["tracked"]
        clips = []
        for entry in entries:
            rows = slice(entry.start, entry.start + entry.frames)
            motion = Motion(fps=entry.fps, weights=weights[rows], names=face.names)
            clips.append(
                Clip(
                    id=entry.id,
                    subject=entry.subject,
                    split=entry.split,
                    samples=self.samples(entry),
                    motion=motion,
                    gap=gap[rows],
                    tracked=tracked[rows],
                    words=entry.words,
                    corpus=self.name,
                )
            )
        return clips

    def _retargeted(self, face: Face, cache: Path | None) -> tuple[Array, Array]:
        """Weights (N, K) and measured gap (N,) of every frame of the corpus, from the cache when it
        holds them.
        """
        path = None if cache is None else cache / f"grid-{self.key(face)}.npz"
        if path is not None and path.is_file():
            # A cache cut short by a full disk does not stop the run: it is made anew below.
            with suppress(InputError, KeyError):
                stored = read_arrays(path)
                return stored["weights"].astype(np.float32), stored["gap"]
        weights = np.zeros((len(self._load()["tracked"]), len(face.names)), np.float32)
        gap = np.zeros(len(weights), np.float32)
        for subject in dict.fromkeys(entry.subject for entry in self.entries):
            rows = np.concatenate(
                [
                    np.arange(e.start, e.start + e.frames)
                    for e in self.entries
                    if e.subject == subject
                ]
            )
            weights[rows], gap[rows] = self.retargeted(subject, face)
        if path is not None:
            with atomic_write(path) as temporary:
                np.savez_compressed(temporary, weights=weights.astype(np.float16), gap=gap)
            return weights.astype(np.float16).astype(
                np.float32
            ), gap  # the same bytes as the next time
        return weights, gap

    def retargeted(self, subject: str, face: Face) -> tuple[Array, Array]:
        """(weights (T, K), measured gap (T,)) of all frames of one subject, clip after clip in the
        corpus' order.

        All at once, since the subject's own neutral face is found in all the frames.
        """
        data = self._load()
        entries = [entry for entry in self.entries if entry.subject == subject]
        rows = np.concatenate(
            [np.arange(entry.start, entry.start + entry.frames) for entry in entries]
        )
        take = TrackedTake(
            positions=self.positions(entries),
            scores=np.concatenate([self._scores(entry) for entry in entries]),
            score_names=tuple(str(name) for name in data["blendshape_names"]),
            tracked=data["tracked"][rows],
            lengths=np.array([entry.frames for entry in entries]),
            fps=entries[0].fps,
            words=[entry.words for entry in entries],
        )
        return retarget(take, face, self.settings)

    @property
    def triangles(self) -> Array:
        """(F, 3) int32 of the tracked mesh."""
        return np.asarray(self._load()["faces"], np.int32)

    @property
    def canonical(self) -> Array:
        """(468, 3) vertices of MediaPipe's canonical face, centimetres."""
        return np.asarray(self._load()["vertices"])

    def tracking_key(self) -> str:
        """A hash of the tracked data."""
        digest = hashlib.sha256()
        for name in FILES:
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:16]

    def tracked(self, entry: GridEntry) -> Array:
        """(T,) bool, False where the face was not found and the motion is interpolated."""
        return np.asarray(self._load()["tracked"][entry.start : entry.start + entry.frames])

    def _scores(self, entry: GridEntry) -> Array:
        data = self._load()
        rows = slice(entry.start, entry.start + entry.frames)
        return _bridge(data["blendshapes"][rows].astype(np.float32), data["tracked"][rows])

    def _load(self) -> dict[str, Array]:
        if self._tracked is None:
            loaded: dict[str, Array] = {}
            for name in FILES[1:]:
                loaded |= read_arrays(self.folder / name)
            needed = (
                "coefficients",
                "blendshapes",
                "tracked",
                "vertices",
                "faces",
                "offset_mean",
                "offset_basis",
                "blendshape_names",
            )
            for key in needed:
                if key not in loaded:
                    raise InputError(
                        f"{self.folder} is damaged: {' or '.join(FILES[1:])} should hold the array "
                        f"{key!r}"
                    )
            frames = len(loaded["tracked"])
            for entry in self.entries:
                if entry.start < 0 or entry.start + entry.frames > frames:
                    raise InputError(
                        f"{self.folder / FILES[0]}: clip {entry.id} ends at row "
                        f"{entry.start + entry.frames} of {frames}"
                    )
            self._tracked = loaded
        return self._tracked

    def key(self, face: Face) -> str:
        """A hash of all that the retargeted motion depends on: mouth and chin, tracked data,
        settings, this code's version.
        """
        digest = hashlib.sha256(f"{RETARGET_VERSION} {self.settings!r} {face.names}".encode())
        # Only what the solver reads of a head: new eyes or another skin do not change what its
        # mouth does.
        rings = [
            face.regions[name]
            for name in ("outer_lip_ring", "inner_lip_ring")
            if name in face.regions
        ]
        read = np.concatenate(
            [*rings, np.array(face.gap_vertices or (), np.int64), [find_chin(face)]]
        ).astype(np.int64)
        for array in (face.vertices[read], face.basis[:, read]):
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
        for name in FILES:
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:16]


def _read_entries(path: Path) -> list[GridEntry]:
    entries = []
    with reading(path, "text"):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        with reading(f"{path}, line {number}", "an entry of a clip"):
            row = json.loads(line)
            words = tuple(
                Timed(str(text), float(begin), float(finish))
                for text, begin, finish in row.get("words", [])
            )
            entries.append(
                GridEntry(
                    row["id"],
                    row["subject"],
                    row["split"],
                    int(row["start"]),
                    int(row["frames"]),
                    float(row["fps"]),
                    words,
                )
            )
    if not entries:
        raise InputError(f"{path} is empty, expected one clip per line")
    return entries


def _bridge(values: Array, tracked: Array) -> Array:
    """Fill untracked rows of (T, n) by linear interpolation between the nearest tracked ones,
    holding the ends.
    """
    if tracked.all() or not tracked.any():
        return values
    frames = np.arange(len(values))
    known = np.flatnonzero(tracked)
    after = np.clip(np.searchsorted(known, frames), 0, len(known) - 1)
    before = np.clip(after - (known[after] > frames), 0, len(known) - 1)
    a, b = known[before], known[after]
    share = (
        np.where(b > a, (frames - a) / np.maximum(b - a, 1), 0.0)
        .clip(0, 1)
        .astype(values.dtype)[:, None]
    )
    return values[a] * (1 - share) + values[b] * share


# GRID-468 as ``data prepare`` reads it: faces applied to the default head, one subject after the
# other.
#
# Where pocketsphinx is installed (extra ``align``), clips with words get their phones by forced
# alignment.


def open_grid(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """The folder that ``datasets.readers.grid`` describes. Raises InputError when it is none, or
    another frame rate is asked for.
    """
    require(folder, FILES, "GRID-468")
    corpus, face = GridCorpus.open(folder), default_head()
    aligner = _aligner()
    fps = corpus.entries[0].fps
    fixed_rate(options, fps)
    corpus.tracked(
        corpus.entries[0]
    )  # arrays that cannot be read are the corpus' end, not each clip's
    retargeter = _Retargeter(corpus, face, aligner)
    clips = tuple(
        SourceClip(
            subject=entry.subject,
            sentence=entry.id,
            # motion.npz and face468.npz are in the recipe: their bytes count, not their time.
            sources=(folder / "audio" / f"{entry.id}.flac",),
            load=partial(retargeter.load, entry),
            text=" ".join(word.text for word in entry.words if word.text not in SILENT_WORDS)
            or None,
            words=entry.words or None,
            id=entry.id,
        )
        for entry in corpus.entries
    )
    schemes = {
        "speaker": own_splits({(entry.subject, entry.id): entry.split for entry in corpus.entries})
    }
    return SourceCorpus(
        "grid",
        folder,
        corpus.credit,
        fps,
        SHAPES,
        {},
        None,
        schemes,
        clips,
        names=face.names,
        recipe=corpus.key(face) + ("" if aligner is None else "+phones"),
    )


class _Retargeter:
    """Retargets a subject when the first of the subject's clips is wanted; a run that is stopped
    loses no more.

    The last few subjects stay: where one ends, threads are on clips of both, in any order.
    """

    KEPT = 4

    def __init__(self, corpus: GridCorpus, face: Face, aligner: Aligner | None) -> None:
        self.corpus, self.face, self.aligner = corpus, face, aligner
        self._lock, self._aligning = Lock(), Lock()
        self._retargeted: dict[str, dict[str, tuple[Array, Array]]] = {}

    def load(self, entry: GridEntry) -> ClipData:
        with self._lock:
            if entry.subject not in self._retargeted:
                while len(self._retargeted) >= self.KEPT:
                    del self._retargeted[next(iter(self._retargeted))]
                self._retargeted[entry.subject] = self._retarget(entry.subject)
            weights, gap = self._retargeted[entry.subject][entry.id]
        speech = Speech(self.corpus.samples(entry))
        return ClipData(
            weights, speech, gap, self.corpus.tracked(entry), phones=self._phones(entry, speech)
        )

    def _retarget(self, subject: str) -> dict[str, tuple[Array, Array]]:
        """Weights and gap of each of the subject's clips, by the clip's id."""
        weights, gap = self.corpus.retargeted(subject, self.face)
        clips, start = {}, 0
        for one in self.corpus.entries:
            if one.subject == subject:
                frames = slice(start, start + one.frames)
                clips[one.id] = weights[frames], gap[frames]
                start += one.frames
        return clips

    def _phones(self, entry: GridEntry, speech: Speech) -> tuple[Timed, ...] | None:
        """When which phone of the words is spoken; None where that is not known."""
        words = [word.text for word in entry.words if word.text not in SILENT_WORDS]
        if self.aligner is None or not words:
            return None
        with (
            self._aligning,
            suppress(InputError),
        ):  # a text that does not fit its sound costs the phones, not the clip
            return self.aligner.align(speech.samples, " ".join(words))[0]
        return None


def _aligner() -> Aligner | None:
    with suppress(MissingExtraError):
        return Aligner()
    return None


# GRID-468 as vertices: the tracked faces themselves, 468 vertices in centimetres, for the open
# benchmark.
#
# The template of a subject is their own neutral face: the median over the frames in which their
# lips are closed and still. Where pocketsphinx is installed (extra ``align``), clips get their
# phones by forced alignment; clips of speakers without a transcript take their words from GRID's
# six-letter code at the end of the clip's name.


CODES = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(
        zip(
            "z123456789",
            ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        )
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
"""GRID's sentences letter by letter: command, colour, preposition, letter, digit, adverb (Cooke et
al. 2006).
"""


def spoken(entry: GridEntry) -> str | None:
    """The words of a clip, by its transcript or by the code at the end of its name; None where
    neither is there.
    """
    if words := [word.text for word in entry.words if word.text not in SILENT_WORDS]:
        return " ".join(words)
    code = entry.id[-6:]
    if len(code) == 6 and all(letter in words for words, letter in zip(CODES, code)):
        return " ".join(words[letter] for words, letter in zip(CODES, code))
    return None


def open_grid_vertices(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """The folder that ``datasets.readers.grid`` describes. Raises InputError when it is none, or
    another frame rate is asked for.
    """
    require(folder, FILES, "GRID-468")
    corpus = GridCorpus.open(folder)
    fps = corpus.entries[0].fps
    fixed_rate(options, fps)
    aligner, lock = _aligner(), Lock()
    clips = tuple(
        SourceClip(
            subject=entry.subject,
            sentence=entry.id,
            sources=(folder / "audio" / f"{entry.id}.flac",),
            load=partial(_load, corpus, entry, aligner, lock),
            text=spoken(entry),
            words=entry.words or None,
            id=entry.id,
        )
        for entry in corpus.entries
    )
    templates = {}
    for subject in dict.fromkeys(entry.subject for entry in corpus.entries):
        entries = [entry for entry in corpus.entries if entry.subject == subject]
        positions = corpus.positions(entries)  # (T, 468, 3) metres
        rest = resting_frames(
            measured_gap(positions).astype(np.float64),
            np.array([entry.frames for entry in entries]),
        )
        templates[subject] = (100.0 * np.median(positions[rest], axis=0)).astype(np.float32)
    schemes = {
        "speaker": own_splits({(entry.subject, entry.id): entry.split for entry in corpus.entries})
    }
    return SourceCorpus(
        "grid468",
        folder,
        corpus.credit,
        fps,
        CENTIMETRES,
        templates,
        corpus.triangles,
        schemes,
        clips,
        recipe=corpus.tracking_key() + ("" if aligner is None else "+phones"),
        regions=_regions(corpus),
    )


def _load(corpus: GridCorpus, entry: GridEntry, aligner: Aligner | None, lock: Lock) -> ClipData:
    positions, speech, text = (
        corpus.positions([entry]),
        Speech(corpus.samples(entry)),
        spoken(entry),
    )
    phones: tuple[Timed, ...] | None = None
    if aligner is not None and text:
        with (
            lock,
            suppress(InputError),
        ):  # a text that does not fit its sound costs the phones, not the clip
            phones = aligner.align(speech.samples, text)[0]
    gap = measured_gap(positions).astype(np.float32)
    return ClipData(
        positions * np.float32(100.0), speech, gap, corpus.tracked(entry), phones=phones
    )


def _regions(corpus: GridCorpus) -> dict[str, Any]:
    """The lips' two contours as MediaPipe numbers them (40 vertices); the upper face is all that
    lies above the eyes' corners (landmarks 33 and 263) on the canonical face.
    """
    height = corpus.canonical[:, 1]
    upper = np.flatnonzero(height > height[[33, 263]].mean())
    return {
        "format": "jambatalk-regions-1",  # as datasets.regions reads it
        "vertices": len(height),
        "lips": sorted({*OUTER_UPPER, *OUTER_LOWER, *INNER_UPPER, *INNER_LOWER}),
        "upper_face": upper.tolist(),
        "opening": [13, 14],
        "source": "MediaPipe face mesh: lip contours; above the eyes' corners",
    }


GRID = CorpusKind(
    "grid",
    open_grid,
    holds="`clips.jsonl`, `motion.npz`, `face468.npz`, `audio/`",
    splits="`speaker`: as `clips.jsonl` says",
    rate="25",
    unit="weights",
    corpus=GridCorpus,
)
GRID468 = CorpusKind(
    "grid468",
    open_grid_vertices,
    holds="the same",
    splits="the same",
    rate="25",
    unit="centimetres: the tracked faces themselves",
)
