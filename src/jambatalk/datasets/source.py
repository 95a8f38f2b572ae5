"""A corpus as its owner ships it: what every kind provides to ``data prepare``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.errors import InputError, MissingExtraError, reading
from jambatalk.face.mesh import load_mesh
from jambatalk.text.phones import Timed

if TYPE_CHECKING:
    from jambatalk.datasets.registry import Corpus

Array = NDArray[Any]

Key = tuple[str, str]
"""(subject, sentence) of a clip."""

Scheme = Callable[[Sequence[Key]], list[str | None]]
"""All clips of a corpus -> the split of each; None for a clip that the scheme leaves out."""


def number(sentence: str) -> int:
    """The number at the end of a sentence's name, ``sentence07`` -> 7; -1 without one."""
    found = re.search(r"\d+$", sentence)
    return int(found[0]) if found else -1


def own_splits(known: Mapping[Key, str | None]) -> Scheme:
    """The splits that a corpus brings itself, by (subject, sentence)."""
    return lambda clips: [known.get(key) for key in clips]


METRES = "metres"
CENTIMETRES = "centimetres"
OWN_UNIT = "the corpus' own"
IN_METRES = {METRES: 1.0, CENTIMETRES: 0.01}
"""What one of a unit is in metres, where that is known."""
SHAPES = "weights of shapes"
"""The unit of a corpus that moves named shapes rather than vertices."""


class Issue(NamedTuple):
    """What is wrong with one clip (or one file) of a corpus."""

    name: str
    reason: str


@dataclass(frozen=True)
class PrepareOptions:
    """How a corpus is wanted. fps: frames per second, None for the kind's usual rate. source_fps:
    the rate of the raw motion, where its layout does not state it. phones: a model from phones to
    motion, None for the one in the package. subject, model: of own recordings, see
    ``video.VideoOptions``. For kinds that are slow to open: scratch, a folder that keeps their work
    between runs; jobs, how much at a time; progress, called with (done, in all).
    """

    fps: float | None = None
    source_fps: float | None = None
    phones: Path | None = None
    subject: str | None = None
    model: Path | None = None
    scratch: Path | None = None
    jobs: int | None = None
    progress: Callable[[int, int], None] | None = None


class ClipData(NamedTuple):
    """What is in one clip.

    motion: positions (T, V, 3) of the vertices, or weights (T, K) of the corpus' shapes in 0..1, at
    the wanted rate. gap: (T,) metres, the inner-lip gap measured on the speaker; tracked: (T,)
    bool, False where tracking failed; None where unknown. head_pose: (T, 3) radians as ``Motion``
    has them. words, phones: with times in seconds, where they are known only after reading; None
    keeps those of the SourceClip. notes: what was found out on reading, for the clip's record.
    """

    motion: Array
    speech: Speech
    gap: Array | None = None
    tracked: Array | None = None
    words: tuple[Timed, ...] | None = None
    phones: tuple[Timed, ...] | None = None
    head_pose: Array | None = None
    notes: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SourceClip:
    """One clip of a raw corpus, not read yet.

    sources: the files that it is made of; it is made again when one of them changes. load: reads
    the clip; raises InputError. id: its name, None for <subject>_<sentence>. words, phones: (text,
    start s, end s). pseudo: whether its motion was made by a model rather than measured. weight:
    how much the clip counts in training, against 1 for the others. notes: more for the clip's
    record; it is made again when they change.
    """

    subject: str
    sentence: str
    sources: tuple[Path, ...]
    load: Callable[[], ClipData]
    text: str | None = None
    phones: tuple[Timed, ...] | None = None
    words: tuple[Timed, ...] | None = None
    pseudo: bool = False
    weight: float = 1.0
    id: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.id if self.id is not None else f"{self.subject}_{self.sentence}"


@dataclass(frozen=True)
class SourceCorpus:
    """Everything of a raw corpus but the clips' contents.

    licence: name of the licence and its owner, one sentence. unit: of the positions, or SHAPES.
    templates: subject -> (V, 3), empty for SHAPES. triangles: (F, 3) when the folder has them.
    schemes: name -> splits, the usual one first. problems: what is wrong already by the files'
    names. names: the K shapes that move, empty for vertices. recipe: what the motion depends on
    beside the clips' own files, such as a model's checksum; clips are made again when it changes.
    quality: a report to be written beside the manifest. regions: vertex indices by name ("lips",
    "upper_face", "opening": the middle of the inner upper and lower lip), where the corpus' mesh is
    known, and "source", what they follow.
    """

    kind: str
    folder: Path
    licence: str
    fps: float
    unit: str
    templates: Mapping[str, Array]
    triangles: Array | None
    schemes: Mapping[str, Scheme]
    clips: tuple[SourceClip, ...]
    problems: tuple[Issue, ...] = field(default=())
    names: tuple[str, ...] = ()
    recipe: str | None = None
    quality: Mapping[str, Any] | None = None
    regions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class CorpusKind:
    """A kind of corpus as its owner ships it, with its row in docs/how-to/corpora.md.

    Attributes:
        name: as ``data prepare`` names it.
        open: reads a folder of it; raises InputError.
        holds: what the folder holds.
        splits: its schemes, the usual one first.
        rate: frames a second.
        unit: of its motion.
        corpus: the class that trains on such a folder without preparing it.
    """

    name: str
    open: Callable[[Path, PrepareOptions], SourceCorpus]
    holds: str
    splits: str
    rate: str
    unit: str
    corpus: type[Corpus] | None = None


def require(folder: Path, names: tuple[str, ...], what: str) -> None:
    """InputError naming the first of ``names`` that ``folder`` lacks."""
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    for name in names:
        if not (folder / name).exists():
            raise InputError(f"{folder} has no {name}: {what} is {', '.join(names)}")


def read_array(path: Path, mmap: bool = True) -> Array:
    """Read a .npy file, as a memory map or whole. InputError when it is damaged or cut off."""
    with reading(path, "a .npy file of numbers"):
        return np.asanyarray(np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False))


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without the hidden files that systems leave beside others."""
    return sorted(path for path in paths if not path.name.startswith("."))


def every_nth(source_fps: float, fps: float) -> int:
    """Of how many frames one is kept; InputError unless that is a whole number, so that no frame is
    made up.
    """
    step = source_fps / fps if fps > 0 else 0.0
    if step < 1 or step != round(step):
        rates = ", ".join(f"{source_fps / n:g}" for n in (1, 2, 3))
        raise InputError(
            f"{source_fps:g} frames a second cannot become {fps:g} by leaving frames out: choose "
            f"{rates}, ..."
        )
    return round(step)


def fixed_rate(options: PrepareOptions, fps: float) -> None:
    """InputError when another frame rate is asked for than the only one that a corpus has."""
    for wanted in (options.fps, options.source_fps):
        if wanted is not None and wanted != fps:
            raise InputError(
                f"{wanted:g} frames a second asked for, but this corpus is prepared at {fps:g} only"
            )


def check_templates(found: Any, where: Path, vertices: int | None = None) -> dict[str, Array]:
    """Templates (V, 3) float32 by subject, V the same for all; InputError for anything else."""
    if not isinstance(found, dict) or not found:
        raise InputError(f"{where} holds {type(found).__name__}, expected templates by subject")
    templates: dict[str, Array] = {}
    for subject, value in found.items():
        if not isinstance(value, np.ndarray) or value.size == 0 or value.size % 3 or value.ndim > 2:
            raise InputError(f"{where}: the template of {subject} is not an array of shape (V, 3)")
        template = np.asarray(value, np.float32).reshape(-1, 3)
        vertices = vertices or len(template)
        if len(template) != vertices:
            raise InputError(
                f"{where}: the template of {subject} has {len(template)} vertices, expected "
                f"{vertices}"
            )
        if not np.isfinite(template).all():
            raise InputError(
                f"{where}: the template of {subject} holds positions that are not finite"
            )
        templates[str(subject)] = template
    return templates


def find_triangles(folder: Path, vertices: int) -> tuple[Array | None, tuple[Issue, ...]]:
    """The triangles of a mesh file in ``folder`` or its ``templates`` that has as many vertices,
    and the files not read.
    """
    problems = []
    for path in visible(p for place in (folder, folder / "templates") for p in place.glob("*.*")):
        if path.suffix.lower() not in (".obj", ".ply"):
            continue
        try:
            face = load_mesh(path)
        except (InputError, MissingExtraError) as error:
            problems.append(Issue(path.name, str(error)))
            continue
        if len(face.vertices) == vertices:
            return face.triangles, ()
    return None, tuple(problems)
