"""Prepared corpora on disk: a folder that any trainer can read without knowing whose corpus it was.

manifest.json           what and whose it is; a record of every clip, with splits and checksums
clips/<name>.npy        float32 or float16, read as a memory map: (T, V, 3) offsets from the
                        subject's template, or (T, K) weights in 0..1 of the named shapes
clips/<name>.flac       16 kHz mono, 16 bits
clips/<name>.npz        gap (T,) metres, tracked (T,), head_pose (T, 3) radians, where known
clips/<name>.json       the clip's record; written last: a clip without it does not exist
regions.json            vertex indices of lips, upper face and lip opening of a known mesh
quality.json            how good the recordings are, where they were tracked here
templates/<subject>.npy (V, 3) float32
triangles.npy           (F, 3) int32, where known
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.arrays import read_arrays
from jambatalk.atomic import atomic_write, file_sha256, write_json
from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.source import IN_METRES, read_array
from jambatalk.errors import InputError, reading, shortened, shown
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.text.phones import Timed

Array = NDArray[Any]
FORMAT = "jambatalk-corpus"
VERSION = 2
READABLE = (1, 2)
"""Versions that open here; the first knew vertices only."""

OFFSETS, WEIGHTS = "offsets", "weights"
MANIFEST = "manifest.json"
SAFE_NAME = re.compile(r"\w[\w.-]{0,150}")
"""Names of clips and subjects become file names: letters, digits, _ - and . only, so that none
leads out of the folder.
"""


@dataclass(frozen=True)
class PreparedClip:
    """One clip of a prepared corpus; its files are read when they are asked for.

    splits: scheme -> split, None where a scheme leaves the clip out. samples_count: of the sound at
    16 kHz. text, phones, words: None when unknown; phones and words are (text, start s, end s).
    pseudo: whether its motion was made by a model. weight: how much it counts in training, against
    1 for the others.
    """

    corpus: PreparedCorpus
    name: str
    subject: str
    sentence: str
    splits: Mapping[str, str | None]
    fps: float
    frames: int
    samples_count: int
    text: str | None
    phones: tuple[Timed, ...] | None
    motion_sha256: str
    audio_sha256: str
    extra_sha256: str | None = None
    words: tuple[Timed, ...] | None = None
    pseudo: bool = False
    weight: float = 1.0

    @property
    def motion_path(self) -> Path:
        return self.corpus.folder / "clips" / f"{self.name}.npy"

    @property
    def audio_path(self) -> Path:
        return self.corpus.folder / "clips" / f"{self.name}.flac"

    @property
    def extra_path(self) -> Path:
        return self.corpus.folder / "clips" / f"{self.name}.npz"

    @property
    def offsets(self) -> Array:
        """(T, V, 3) float32 or float16 memory map, offsets from the template. InputError when
        damaged, or for weights.
        """
        if self.corpus.motion != OFFSETS:
            raise InputError(f"{self.corpus.folder} holds weights of shapes, not vertices")
        return self._motion((self.frames, self.corpus.vertices, 3))

    @property
    def weights(self) -> Array:
        """(T, K) float32 or float16 memory map of the shapes ``corpus.names``. InputError when
        damaged, or for vertices.
        """
        if self.corpus.motion != WEIGHTS:
            raise InputError(f"{self.corpus.folder} holds vertices, not weights of shapes")
        return self._motion((self.frames, len(self.corpus.names)))

    def _motion(self, wanted: tuple[int, ...]) -> Array:
        values = read_array(self.motion_path)
        if values.shape != wanted or values.dtype.kind != "f":
            raise InputError(
                f"{self.motion_path} holds {values.dtype} {values.shape}, the manifest says floats "
                f"{wanted}"
            )
        return values

    @property
    def gap(self) -> Array | None:
        """(T,) float32 metres, the inner-lip gap measured on the speaker; None when unknown.
        InputError when damaged.
        """
        gap = self._extra.get("gap")
        return None if gap is None else np.asarray(gap, np.float32)

    @property
    def tracked(self) -> Array | None:
        """(T,) bool, False where tracking failed; None when unknown. InputError when damaged."""
        tracked = self._extra.get("tracked")
        return None if tracked is None else np.asarray(tracked, bool)

    @property
    def head_pose(self) -> Array | None:
        """(T, 3) float32 radians as ``Motion`` has them; None when unknown. InputError when
        damaged.
        """
        pose = self._extra.get("head_pose")
        return None if pose is None else np.asarray(pose, np.float32)

    @property
    def _extra(self) -> dict[str, Array]:
        if self.extra_sha256 is None:
            return {}
        extra = read_arrays(self.extra_path)
        for key, values in extra.items():
            wanted = (self.frames, 3) if key == "head_pose" else (self.frames,)
            if values.shape != wanted:
                raise InputError(
                    f"{self.extra_path} holds {key} of shape {values.shape}, expected {wanted}"
                )
        return extra

    @property
    def samples(self) -> Array:
        """(n,) float32 speech at 16 kHz. InputError when damaged."""
        samples = read_flac(self.audio_path)
        if len(samples) != self.samples_count:
            raise InputError(
                f"{self.audio_path} holds {len(samples)} samples, the manifest says "
                f"{self.samples_count}"
            )
        return samples

    @property
    def speech(self) -> Speech:
        return Speech(self.samples)

    @property
    def template(self) -> Array:
        """(V, 3) float32, the subject at rest."""
        return self.corpus.template(self.subject)

    def clip(self, scheme: str | None = None) -> Clip:
        """The clip in memory, as training takes it: motion as float32, everything that is known
        filled in.
        """
        corpus = self.corpus
        if corpus.motion == WEIGHTS:
            motion = Motion(
                fps=self.fps,
                weights=np.asarray(self.weights, np.float32),
                names=corpus.names,
                head_pose=self.head_pose,
            )
        else:
            scale = np.float32(IN_METRES.get(corpus.unit, 1.0))
            motion = Motion(
                fps=self.fps,
                offsets=scale * self.offsets.astype(np.float32),
                face=corpus.face(self.subject),
            )
        return Clip(
            id=self.name,
            subject=self.subject,
            split=self.splits[corpus.scheme(scheme)] or "",
            samples=self.samples,
            motion=motion,
            gap=self.gap,
            tracked=self.tracked,
            words=self.words or (),
            phones=self.phones or (),
            corpus=corpus.name,
            pseudo=self.pseudo,
        )


class PreparedCorpus:
    """A prepared corpus, opened by ``open_prepared``.

    name: the kind it was prepared as. licence: one sentence. unit: of offsets and templates:
    "metres", "centimetres" or the corpus' own. schemes: names of the ways to split it; the first is
    used when none is named. motion: "offsets" or "weights". vertices: of its meshes, 0 for weights.
    names: the shapes that the weights move, empty for offsets. fps: of all its clips.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.name: str = manifest["corpus"]
        self.licence: str = manifest["licence"]
        self.source: str = manifest["source"]
        self.unit: str = manifest["unit"]
        self.fps = float(manifest["fps"])
        self.motion: str = manifest.get("motion", OFFSETS)
        if self.motion not in (OFFSETS, WEIGHTS):
            raise InputError(f"its motion is {shown(self.motion)}, expected {OFFSETS} or {WEIGHTS}")
        self.vertices = 0 if self.motion == WEIGHTS else int(manifest["vertices"])
        self.names: tuple[str, ...] = (
            tuple(str(name) for name in manifest["names"]) if self.motion == WEIGHTS else ()
        )
        if self.motion == WEIGHTS and (not self.names or len(set(self.names)) != len(self.names)):
            raise InputError(
                f"it names {len(self.names)} shapes, expected at least one and none twice"
            )
        self.subjects: tuple[str, ...] = tuple(
            safe_name(subject) for subject in manifest["subjects"]
        )
        self.schemes: tuple[str, ...] = tuple(manifest["schemes"])
        self.failed: dict[str, str] = dict(manifest["failed"])
        self._clips = tuple(self._clip(record) for record in manifest["clips"])
        self._templates: dict[str, Array] = {}

    def _clip(self, record: Mapping[str, Any]) -> PreparedClip:
        subject = safe_name(record["subject"])
        if subject not in self.subjects:
            raise InputError(f"a clip of {subject}, who is not among its subjects")
        return PreparedClip(
            corpus=self,
            name=safe_name(record["name"]),
            subject=subject,
            sentence=str(record["sentence"]),
            splits={scheme: record["splits"][scheme] for scheme in self.schemes},
            fps=float(record["fps"]),
            frames=int(record["frames"]),
            samples_count=int(record["samples"]),
            text=record["text"],
            phones=_timed(record["phones"]),
            motion_sha256=str(record["motion_sha256"]),
            audio_sha256=str(record["audio_sha256"]),
            extra_sha256=record.get("extra_sha256"),
            words=_timed(record.get("words")),
            pseudo=bool(record.get("pseudo", False)),
            weight=float(record.get("weight", 1.0)),
        )

    def scheme(self, name: str | None) -> str:
        """The name of a scheme, None for the usual one. InputError names the choices."""
        if name is None:
            return self.schemes[0]
        if name not in self.schemes:
            raise InputError(
                f"{self.folder} has no splits by {name!r}: choose from {', '.join(self.schemes)}"
            )
        return name

    def splits(self, scheme: str | None = None) -> dict[str, int]:
        """Split -> number of clips."""
        counts: dict[str, int] = {}
        for clip in self._clips:
            split = clip.splits[self.scheme(scheme)]
            if split is not None:
                counts[split] = counts.get(split, 0) + 1
        return counts

    def clips(
        self, split: str | Sequence[str] | None = None, scheme: str | None = None
    ) -> list[PreparedClip]:
        """The clips of one or several splits, in the manifest's order; None for all. InputError
        for an unknown split.
        """
        if split is None:
            return list(self._clips)
        scheme, known = self.scheme(scheme), self.splits(scheme)
        wanted = [split] if isinstance(split, str) else list(split)
        for one in wanted:
            if one not in known:
                raise InputError(
                    f"{self.folder} has no split {one!r} by {scheme}: choose from "
                    f"{', '.join(known) or 'none'}"
                )
        return [clip for clip in self._clips if clip.splits[scheme] in wanted]

    def template(self, subject: str) -> Array:
        """(V, 3) float32 positions of a subject at rest. InputError for an unknown subject or a
        damaged file.
        """
        if subject not in self.subjects:
            raise InputError(
                f"{self.folder} has no subject {subject!r}: it has {', '.join(self.subjects)}"
            )
        if self.motion == WEIGHTS:
            raise InputError(f"{self.folder} holds weights of shapes: it has no templates")
        if subject not in self._templates:
            self._templates[subject] = self._array(
                Path("templates") / f"{subject}.npy", "f", self.vertices
            )
        return self._templates[subject]

    @cached_property
    def triangles(self) -> Array | None:
        """(F, 3) int32, None when the raw corpus does not have them."""
        return (
            self._array(Path("triangles.npy"), "i")
            if (self.folder / "triangles.npy").is_file()
            else None
        )

    def face(self, subject: str) -> Face | None:
        """The subject's template as a mesh, in metres where the unit is known; None without
        triangles.
        """
        scale = np.float32(IN_METRES.get(self.unit, 1.0))
        return (
            None if self.triangles is None else Face(scale * self.template(subject), self.triangles)
        )

    def _array(self, name: Path, kind: str, rows: int | None = None) -> Array:
        path = self.folder / name
        array = read_array(path, mmap=False)
        if (
            array.dtype.kind != kind
            or array.ndim != 2
            or array.shape[1] != 3
            or (rows is not None and len(array) != rows)
        ):
            raise InputError(
                f"{path} holds {array.dtype} of shape {array.shape}, expected ({rows or 'n'}, 3)"
            )
        if kind == "i" and (array.min(initial=0) < 0 or array.max(initial=0) >= self.vertices):
            raise InputError(f"{path} names vertex {array.max()}, but there are {self.vertices}")
        return array


class PreparedFolder:
    """a folder with manifest.json, written by jambatalk data prepare

    Raises InputError when the manifest is damaged.
    """

    name = "prepared"

    def __init__(self, folder: Path) -> None:
        self.corpus = open_prepared(folder)
        self.name, self.credit = self.corpus.name, self.corpus.licence

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return (folder / MANIFEST).is_file()

    @classmethod
    def open(cls, folder: Path) -> PreparedFolder:
        return cls(folder)

    @property
    def splits(self) -> dict[str, int]:
        return self.corpus.splits()

    def clips(
        self, split: str | Sequence[str], face: Face, cache: Path | None = None
    ) -> list[Clip]:
        """The clips by the corpus' usual scheme. Vertices stay on the corpus' own mesh; weights
        become those of ``face``, 0 for shapes that the corpus lacks. InputError when it moves
        shapes that the face lacks.
        """
        return [_applied(clip.clip(), face) for clip in self.corpus.clips(split)]


def _applied(clip: Clip, face: Face) -> Clip:
    motion = clip.motion
    if motion.weights is None or motion.names == face.names:
        return clip
    if absent := [name for name in motion.names if name not in face.names]:
        raise InputError(
            f"clip {clip.id} moves {absent[0]}, a shape that the face lacks: it has "
            f"{', '.join(face.names)}"
        )
    weights = np.zeros((len(motion), len(face.names)), np.float32)
    weights[:, [face.names.index(name) for name in motion.names]] = motion.weights
    return replace(clip, motion=replace(motion, weights=weights, names=face.names))


def open_prepared(folder: str | Path) -> PreparedCorpus:
    """The prepared corpus in ``folder``. InputError when there is none, or its manifest is damaged
    or of a newer version.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} is not a prepared corpus: it has no {MANIFEST} (written by jambatalk data "
            "prepare, at its end)"
        )
    try:
        with reading("its content", "a manifest"):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest.get("format") != FORMAT or manifest.get("version") not in READABLE:
                raise InputError(
                    f"its format is {shortened(str(manifest.get('format')))} "
                    f"{shown(manifest.get('version'))}, expected {FORMAT} {VERSION}"
                )
            return PreparedCorpus(folder, manifest)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error


def _timed(values: Any) -> tuple[Timed, ...] | None:
    return (
        None
        if values is None
        else tuple(Timed(str(text), float(start), float(end)) for text, start, end in values)
    )


def safe_name(name: Any) -> str:
    """The name itself. InputError when it could lead out of a folder."""
    if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
        raise InputError(f"{shown(name)} is not a name for a file: letters, digits, _ - and . only")
    return name


def write_clip(
    folder: Path,
    name: str,
    motion: Array,
    samples: Array,
    details: Mapping[str, Any],
    extra: Mapping[str, Array] | None = None,
) -> dict[str, Any]:
    """Write a clip's motion, sound, what else is known of every frame and, last of all, its record;
    gives the record.
    """
    import soundfile

    place = folder / "clips"
    with atomic_write(place / f"{name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(motion), allow_pickle=False)
    whole = np.clip(np.round(samples.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    with atomic_write(place / f"{name}.flac") as temporary:
        try:
            soundfile.write(temporary, whole, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        except soundfile.LibsndfileError as error:  # a full disk
            raise InputError(f"cannot write {place / name}.flac: {error}") from error
    if extra:
        with atomic_write(place / f"{name}.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **extra)
    record = {
        "name": name,
        **details,
        "frames": len(motion),
        "samples": len(whole),
        "motion_sha256": file_sha256(place / f"{name}.npy"),
        "audio_sha256": file_sha256(place / f"{name}.flac"),
        "extra_sha256": file_sha256(place / f"{name}.npz") if extra else None,
    }
    write_json(place / f"{name}.json", record)
    return record


def write_array(path: Path, array: Array) -> None:
    """Write a .npy file, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def read_flac(path: Path) -> Array:
    """(n,) float32 samples of a 16 kHz mono file. InputError when it is missing, damaged or
    anything else.
    """
    import soundfile

    with reading(path, "a FLAC file"):
        path.stat()  # its error for a missing file says so
        samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise InputError(
            f"{path} has {rate} Hz and shape {samples.shape}, expected {SAMPLE_RATE} Hz mono"
        )
    return samples
