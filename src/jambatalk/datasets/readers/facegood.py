"""FACEGOOD-Audio2Face: one performer speaking Mandarin, as weights of an artist's rig, retargeted
to ARKit shapes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.av_sync import cuts_at_pauses
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.dataset import SAFE_NAME, read_flac
from jambatalk.datasets.source import (
    SHAPES,
    ClipData,
    CorpusKind,
    Issue,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
    fixed_rate,
    own_splits,
    read_array,
    require,
)
from jambatalk.errors import InputError, reading
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.streaming.resampler import resample_frames

# From the 116 shapes of FACEGOOD's rig to the 52 ARKit shapes, by what they do to a mouth.


Array = NDArray[Any]

MAP_VERSION = 1  # raise when the mapping changes, so that prepared clips are made anew

JAW = 0.75
"""jawOpen per unit of mouth_stretch_c: with it the 95th percentile of the default head's lip gap in
sounding frames is 12.5 mm, as in GRID's retargeted motion.
"""

SIDED: Mapping[str, tuple[tuple[str, float], ...]] = {
    "mouth_lipCornerPull": (("mouthSmile", 1.0),),
    "mouth_lipCornerPullOpen": (("mouthSmile", 1.0),),
    "mouth_lipCornerDepress": (("mouthFrown", 1.0),),
    "mouth_lipStretch": (("mouthStretch", 1.0),),
    "mouth_lipStretchOpen": (("mouthStretch", 1.0),),
    "mouth_dimple": (("mouthDimple", 1.0),),
    "mouth_press": (("mouthPress", 1.0),),
    "mouth_lowerLipDepress": (("mouthLowerDown", 1.0),),
    "mouth_upperLipRaise": (("mouthUpperUp", 1.0),),
    "nose_wrinkle": (("noseSneer", 1.0),),
    "cheek_raise": (("cheekSquint", 1.0),),
}
"""<column>_l and _r -> shapes Left and Right with a factor each."""

MIDDLE: Mapping[str, tuple[tuple[str, float], ...]] = {
    "mouth_stretch_c": (("jawOpen", JAW),),
    "jaw_thrust_c": (("jawForward", 1.0),),
    "jaw_sideways_l": (("jawLeft", 1.0),),
    "jaw_sideways_r": (("jawRight", 1.0),),
    "mouth_sideways_l": (("mouthLeft", 1.0),),
    "mouth_sideways_r": (("mouthRight", 1.0),),
    "mouth_chinRaise_d": (("mouthShrugLower", 1.0),),
    "mouth_chinRaise_u": (("mouthShrugLower", 0.6), ("mouthShrugUpper", 0.3)),
    "mouth_lowerLipProtrude_c": (("mouthShrugLower", 0.5),),
    # The lips' four quarters flare one by one on the rig, all at once in ARKit.
    "mouth_funnel_dl": (("mouthFunnel", 0.15),),
    "mouth_funnel_dr": (("mouthFunnel", 0.15),),
    "mouth_funnel_ul": (("mouthFunnel", 0.15),),
    "mouth_funnel_ur": (("mouthFunnel", 0.15),),
    # Rounded vowels: "oh" is open and flared, "oo" is drawn together.
    "mouth_oh_c": (("mouthFunnel", 0.45), ("mouthPucker", 0.45)),
    "mouth_oo_c": (("mouthPucker", 0.7), ("mouthFunnel", 0.1)),
    "mouth_pucker_l": (("mouthPucker", 0.5),),
    "mouth_pucker_r": (("mouthPucker", 0.5),),
    "mouth_suck_dl": (("mouthRollLower", 0.5),),
    "mouth_suck_dr": (("mouthRollLower", 0.5),),
    "mouth_suck_ul": (("mouthRollUpper", 0.5),),
    "mouth_suck_ur": (("mouthRollUpper", 0.5),),
    "cheek_puff_l": (("cheekPuff", 0.5),),
    "cheek_puff_r": (("cheekPuff", 0.5),),
}
"""Columns that are not one of a pair of shapes -> shapes with a factor each."""

OPENERS = (
    "mouthFunnel",
    "mouthShrugUpper",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
)
SEAL = (0.03, 0.12)
"""Pressed or sucked-in lips (in the rig's weights) begin to hold together at the first and touch
from the second on.
"""

TUCKED, TUCKED_SEAL = (0.1, 0.3), 0.6
"""The same for a lower lip that is sucked in alone, and the share of the opening that it takes
away.
"""


def column_shapes() -> dict[str, tuple[tuple[str, float], ...]]:
    """Every column of the rig that moves a speaking mouth -> ((shape, factor), ...).

    The others stay out: eyes, brows and blinks are not speech, teeth and tongue have no shape of
    their own in ARKit, and the "Fix" columns mend the rig's own skin.
    """
    shapes = dict(MIDDLE)
    for column, targets in SIDED.items():
        for end, side in (("l", "Left"), ("r", "Right")):
            shapes[f"{column}_{end}"] = tuple((name + side, factor) for name, factor in targets)
    return shapes


def facegood_weights(values: Array, columns: Sequence[str], face: Face) -> Array:
    """FACEGOOD's artist weights (T, 116) on ``columns`` -> (T, K) float32 in 0..1 on
    ``face.names``.

    Shapes the face lacks, eyes and brows stay at 0. Where lips are pressed or both sucked in they
    touch, whatever the jaw does. Raises InputError when the columns do not fit or
    ``mouth_stretch_c`` is not among them.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise InputError(
            f"FACEGOOD's weights have shape {values.shape}, expected (T, {len(columns)}) for "
            f"{len(columns)} columns"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"frame {np.argwhere(~np.isfinite(values))[0][0]} of FACEGOOD's weights is not finite"
        )
    place = {column: i for i, column in enumerate(columns)}
    if "mouth_stretch_c" not in place:
        raise InputError("FACEGOOD's columns have no mouth_stretch_c, the opening of the jaw")
    index = {name: i for i, name in enumerate(face.names)}
    weights = np.zeros((len(values), len(face.names)))
    for column, targets in column_shapes().items():
        for name, factor in targets:
            if column in place and name in index:
                weights[:, index[name]] += factor * values[:, place[column]]
    weights = np.clip(weights, 0.0, 1.0)

    def mean(*names: str) -> Array:
        found = [values[:, place[name]] for name in names if name in place]
        return np.mean(found, axis=0) if found else np.zeros(len(values))

    # On the rig these shapes hold the lips together; on an ARKit head the jaw parts them until
    # mouthClose holds them. The lower lip sucked in alone is an /f/: it goes up to the teeth, not
    # to the upper lip.
    lower = mean("mouth_suck_dl", "mouth_suck_dr")
    upper = np.maximum(mean("mouth_suck_ul", "mouth_suck_ur"), mean("mouth_chinRaise_u"))
    held = mean("mouth_press_l", "mouth_press_r") + np.minimum(lower, upper)
    seal = np.maximum(_ramp(held, *SEAL), TUCKED_SEAL * _ramp(lower, *TUCKED))
    for name in OPENERS:
        if name in index:
            weights[:, index[name]] *= 1.0 - seal
    if "mouthClose" in index and "jawOpen" in index:
        weights[:, index["mouthClose"]] = seal * weights[:, index["jawOpen"]]
    return weights.astype(np.float32)


def _ramp(values: Array, start: float, end: float) -> Array:
    return np.clip((values - start) / (end - start), 0.0, 1.0)


COLUMNS = "columns.json"
SOURCE_FPS, FPS = 30.0, 25.0
HELD_OUT = ("1114_3_15",)
"""Recordings kept for testing: the only one of fluent speech, the others are words with pauses
between them.
"""

LONGEST = 10.0
"""Seconds of a clip, about: recordings of minutes are cut at pauses."""

VALIDATION = 0.1
"""Share at the end of every training recording that validates."""

SLACK = 0.25
"""Seconds by which a recording's sound and motion may differ in length; both are cut to the
shorter.
"""


@dataclass(frozen=True)
class FacegoodEntry:
    """A piece of a recording: frames first <= t < last at 25 frames a second, and the samples of
    the same time.
    """

    id: str
    subject: str
    split: str
    recording: str
    first: int
    last: int


class FacegoodCorpus:
    """a folder with columns.json, <id>.npy (artist weights at 30 fps) and <id>.flac
    (FACEGOOD-Audio2Face)

    The motion was tracked from video and cleaned by artists; there is no text and no measured gap.
    Eyes and brows are still. Raises InputError, naming the file, when something is missing or does
    not fit.
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
        with reading(path, "a list of names"):
            names = json.loads(path.read_text(encoding="utf-8"))
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) for name in names)
        ):
            raise InputError(f"{path} holds {type(names).__name__}, expected a list of names")
        return tuple(names)

    @cached_property
    def recordings(self) -> tuple[str, ...]:
        """Names of the recordings. InputError for a name that cannot be a clip's."""
        names = sorted(
            path.stem for path in self.folder.glob("*.npy") if not path.name.startswith(".")
        )
        for name in names:
            if not SAFE_NAME.fullmatch(name):
                raise InputError(
                    f"{self.folder}: {name[:80]!r} is not a name for clips: letters, digits, _ - "
                    "and "
                    ". only"
                )
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
        frames = min(self._frames(recording), int(len(samples) * FPS / SAMPLE_RATE))
        if frames < 1:
            raise InputError(f"{self.folder / recording}.npy and .flac hold less than a frame")
        edges = cuts_at_pauses(samples, frames, FPS, LONGEST)
        if recording in HELD_OUT:
            splits = ["test"] * (len(edges) - 1)
        else:
            tail = min(
                edges[1:-1], key=lambda edge: abs(edge - (1 - VALIDATION) * frames), default=frames
            )
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
        return np.clip(
            resample_frames(facegood_weights(values, self.columns, face), SOURCE_FPS, FPS), 0.0, 1.0
        )

    def samples(self, entry: FacegoodEntry) -> Array:
        """(n,) float32 speech of one clip, exactly as long as its motion."""
        per_frame = round(SAMPLE_RATE / FPS)
        return read_flac(self.folder / f"{entry.recording}.flac")[
            entry.first * per_frame : entry.last * per_frame
        ]

    def clips(
        self, split: str | Sequence[str], face: Face, cache: Path | None = None
    ) -> list[Clip]:
        """The clips of one or several splits, their motion applied to ``face``, speech in memory.
        Nothing is cached: it is quick.
        """
        wanted = [split] if isinstance(split, str) else list(split)
        for one in wanted:
            if one not in self.splits:
                raise InputError(
                    f"{self.folder} has no split {one!r}: choose from {', '.join(self.splits)}"
                )
        clips = []
        for recording in self.recordings:
            chosen = [
                entry
                for entry in self.entries
                if entry.recording == recording and entry.split in wanted
            ]
            weights = self.weights(recording, face) if chosen else None
            for entry in chosen:
                assert weights is not None
                motion = Motion(
                    fps=FPS, weights=weights[entry.first : entry.last], names=face.names
                )
                clips.append(
                    Clip(
                        entry.id,
                        entry.subject,
                        entry.split,
                        self.samples(entry),
                        motion,
                        corpus=self.name,
                    )
                )
        return clips

    def _values(self, recording: str) -> Array:
        path = self.folder / f"{recording}.npy"
        values = read_array(path)
        if values.ndim != 2 or values.shape[1] != len(self.columns) or values.dtype.kind != "f":
            raise InputError(
                f"{path} holds {values.dtype} {values.shape}, expected floats (T, "
                f"{len(self.columns)})"
            )
        return values

    def _frames(self, recording: str) -> int:
        """Frames at 25 a second that motion and sound of a recording should have."""
        import soundfile

        frames = len(self._values(recording))
        path = self.folder / f"{recording}.flac"
        with reading(path, "a FLAC file"):
            seconds = soundfile.info(path).duration
        if abs(seconds - frames / SOURCE_FPS) > SLACK:
            raise InputError(
                f"{path} lasts {seconds:.2f} s and its motion {frames / SOURCE_FPS:.2f} s: one of "
                "them is cut off"
            )
        return round(frames * FPS / SOURCE_FPS)


# FACEGOOD-Audio2Face as ``data prepare`` reads it.


def open_facegood(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """The folder that ``datasets.readers.facegood`` describes. A recording that cannot be read is a
    problem, not the end.
    """
    require(folder, (COLUMNS,), "FACEGOOD-Audio2Face")
    fixed_rate(options, FPS)
    corpus, face = FacegoodCorpus.open(folder), default_head()
    weights_of = cache(lambda recording: corpus.weights(recording, face))

    def load(entry: FacegoodEntry) -> ClipData:
        return ClipData(
            weights_of(entry.recording)[entry.first : entry.last], Speech(corpus.samples(entry))
        )

    entries, problems = [], []
    for recording in corpus.recordings:
        try:
            entries += corpus.cut(recording)
        except InputError as error:
            problems.append(Issue(recording, str(error)))
    clips = tuple(
        SourceClip(
            subject=entry.subject,
            sentence=entry.id,
            sources=(folder / f"{entry.recording}.npy", folder / f"{entry.recording}.flac"),
            load=partial(load, entry),
            id=entry.id,
        )
        for entry in entries
    )
    schemes = {
        "recording": own_splits({(entry.subject, entry.id): entry.split for entry in entries})
    }
    digest = hashlib.sha256(f"{MAP_VERSION} {face.names} {corpus.columns}".encode()).hexdigest()[
        :16
    ]
    return SourceCorpus(
        "facegood",
        folder,
        corpus.credit,
        FPS,
        SHAPES,
        {},
        None,
        schemes,
        clips,
        tuple(problems),
        face.names,
        digest,
    )


FACEGOOD = CorpusKind(
    "facegood",
    open_facegood,
    holds="`columns.json`, `<id>.npy`, `<id>.flac`",
    splits="`recording`: train, val, test",
    rate="25 (resampled from 30)",
    unit="weights",
    corpus=FacegoodCorpus,
)
