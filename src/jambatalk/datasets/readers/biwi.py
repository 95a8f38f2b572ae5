"""BIWI (B3D(AC)²) as its owners ship it: a binary .vl file per frame, in folders or archives, and a
template per subject.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.datasets.source import (
    METRES,
    OWN_UNIT,
    ClipData,
    CorpusKind,
    Issue,
    Key,
    PrepareOptions,
    Scheme,
    SourceClip,
    SourceCorpus,
    every_nth,
    number,
    require,
    visible,
)
from jambatalk.errors import InputError, reason, shown
from jambatalk.face.mesh import load_mesh

Array = NDArray[Any]
VERTICES = 23370
FPS = 25.0
FACES, SCANS = "faces", "rigid_scans"
LICENCE = (
    "BIWI 3D Audiovisual Corpus: not for passing on; the terms are those its owner gave you with it"
)
ARCHIVES = (".tar", ".tgz", ".tar.gz")
DAMAGES = (OSError, EOFError, tarfile.TarError, zlib.error)
SENTENCE = re.compile(r"e?\d+")
SOUND_FOLDERS = ("wav", "audio", "videos", "faces")
SOUND_SUFFIXES = (".wav", ".flac", ".flv")
METRE_SIZES = ((0.1, 0.6, 1.0), (10.0, 60.0, 0.01), (100.0, 600.0, 0.001))
"""A head's largest extent from, to, and metres per unit: what the numbers of a template mean."""


TRAINING_SUBJECTS = ("F2", "F3", "F4", "M3", "M4", "M5")
OTHER_SUBJECTS = ("F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6")


def open_biwi(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """The clips of a BIWI folder, neutral (``01``) and emotional (``e01``) sentences.

    Frames: faces/<subject>/<sentence>/*.vl, or the same in faces/<subject>/<sentence>.tar or .tgz,
    or in one archive faces/<subject>.tar or .tgz. Sound: <subject>_<sentence>.wav or
    <subject>/<sentence>.wav in wav/ or audio/ (or the videos). Templates:
    rigid_scans/<subject>.obj. Positions become metres when a template's size shows its unit.
    """
    require(folder, (FACES, SCANS), "BIWI")
    fps = options.fps or FPS
    step = every_nth(options.source_fps or FPS, fps)
    templates, triangles, problems = _templates(folder / SCANS)
    scale = _metres_per_unit(templates)
    clips = []
    for subject, sentence, frames in _sequences(folder / FACES, problems):
        name = f"{subject}_{sentence}"
        scan = folder / SCANS / f"{subject}.obj"
        sound = _sound(folder, subject, sentence)
        if subject not in templates:
            problems.append(Issue(name, f"{SCANS}/{subject}.obj is missing or unreadable"))
        elif sound is None:
            problems.append(Issue(name, f"no sound: expected wav/{name}.wav"))
        else:
            load = partial(
                _load, frames, sentence, len(templates[subject]), step, scale or 1.0, sound
            )
            clips.append(SourceClip(subject, sentence, (frames, sound, scan), load))
    return SourceCorpus(
        "biwi",
        folder,
        LICENCE,
        fps,
        METRES if scale else OWN_UNIT,
        {subject: template * np.float32(scale or 1.0) for subject, template in templates.items()},
        triangles,
        SCHEMES,
        tuple(clips),
        tuple(problems),
    )


def _templates(folder: Path) -> tuple[dict[str, Array], Array, list[Issue]]:
    templates: dict[str, Array] = {}
    triangles, problems = None, []
    for path in visible(folder.glob("*.obj")):
        try:
            face = load_mesh(path)
            if triangles is None:
                triangles = face.triangles
                vertices = len(face.vertices)
            if len(face.vertices) != vertices:
                raise InputError(
                    f"{path} has {len(face.vertices)} vertices, the other templates have {vertices}"
                )
            templates[path.stem] = face.vertices
        except InputError as error:
            problems.append(Issue(path.stem, str(error)))
    if triangles is None:
        reason = problems[0].reason if problems else "expected one <subject>.obj for every subject"
        raise InputError(f"{folder} holds no template that can be read: {reason}")
    return templates, triangles, problems


def _metres_per_unit(templates: dict[str, Array]) -> float | None:
    size = float(np.median([np.ptp(template, axis=0).max() for template in templates.values()]))
    return next((metres for low, high, metres in METRE_SIZES if low <= size <= high), None)


def _sound(folder: Path, subject: str, sentence: str) -> Path | None:
    for place in SOUND_FOLDERS:
        for stem in (
            f"{subject}_{sentence}",
            f"{subject}/{sentence}",
            f"{subject}/{subject}_{sentence}",
        ):
            for suffix in SOUND_SUFFIXES:
                path = folder / place / f"{stem}{suffix}"
                if path.is_file():
                    return path
    return None


def _sequences(faces: Path, problems: list[Issue]) -> Iterator[tuple[str, str, Path]]:
    """(subject, sentence, folder or archive with its frames) of everything below ``faces``."""
    for entry in visible(faces.iterdir()):
        if entry.is_dir():
            found: dict[str, list[Path]] = {}
            for path in visible(entry.iterdir()):
                sentence = _without_archive(path) if path.is_file() else path.name
                if sentence and SENTENCE.fullmatch(sentence):
                    found.setdefault(sentence, []).append(path)
            for sentence, places in found.items():
                yield entry.name, sentence, min(places, key=_preference)
        elif subject := _without_archive(entry):
            try:
                sentences = sorted(
                    {PurePosixPath(member).parent.name for member in _members(entry)}
                )
            except InputError as error:
                problems.append(Issue(subject, str(error)))
                continue
            for sentence in sentences:
                if SENTENCE.fullmatch(sentence):
                    yield subject, sentence, entry


def _preference(path: Path) -> tuple[bool, bool, bool]:
    """Beside each .tar of frames lies a .tgz with pictures, perhaps unpacked: folders of frames
    first, .tar, .tgz, the rest.
    """
    return not any(path.glob("*.vl")), path.suffix != ".tar", path.is_dir()


def _without_archive(path: Path) -> str | None:
    """An archive's name without its suffix, None for other files."""
    return next(
        (path.name[: -len(end)] for end in ARCHIVES if path.name.lower().endswith(end)), None
    )


def _is_frame(name: str) -> bool:
    return name.endswith(".vl") and not PurePosixPath(name).name.startswith(".")


def _members(path: Path) -> list[str]:
    """Names of the frames in an archive, checked; InputError when it is damaged or hostile."""
    with _opened(path) as archive:
        return [member.name for member in _checked(archive, path) if _is_frame(member.name)]


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path)
    except DAMAGES as error:
        raise InputError(
            f"{path} is damaged, cut off or not a tar archive ({reason(error)})"
        ) from error


def _checked(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """The archive's files. Nothing is ever unpacked by its name, but an archive with such names is
    not to be trusted.
    """
    try:
        for member in archive:
            name = member.name
            if (
                PurePosixPath(name).is_absolute()
                or PureWindowsPath(name).drive
                or PureWindowsPath(name).root
            ):
                raise InputError(
                    f"{path} is refused: its member {shown(name)} has an absolute path"
                )
            if ".." in PureWindowsPath(name).parts:
                raise InputError(
                    f"{path} is refused: its member {shown(name)} leads out of the archive"
                )
            if member.isdir():
                continue
            if not member.isreg():
                kind = "a link" if member.issym() or member.islnk() else "a device or the like"
                raise InputError(
                    f"{path} is refused: its member {shown(name)} is {kind}, expected plain files"
                )
            yield member
    except (*DAMAGES, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or cut off ({reason(error)})") from error


def _load(
    frames: Path, sentence: str, vertices: int, step: int, scale: float, sound: Path
) -> ClipData:
    """Positions (T, V, 3) in metres, or the corpus' own unit, and the sound of one sentence."""
    found: dict[int, Array] = {}
    for name, content in _files(frames, sentence, 4 + 12 * vertices):
        place = number(PurePosixPath(name).stem)
        if place < 0 or place in found:
            raise InputError(f"{frames}: {shown(name)} has no frame number of its own")
        found[place] = read_vl(
            content,
            vertices,
            f"{frames}: {shown(name)}" if frames.is_file() else f"{frames / name}",
        )
    if not found:
        raise InputError(f"{frames} holds no .vl files of sentence {sentence}")
    first, last = min(1, *found), max(found)  # counted from 0 or from 1
    if missing := sorted(set(range(first, last + 1)) - found.keys()):
        raise InputError(f"{frames} lacks frame {missing[0]} of {first} to {last}")
    positions = np.stack([found[place] for place in range(first, last + 1, step)]) * np.float32(
        scale
    )
    return ClipData(positions, Speech.load(sound))


def _files(frames: Path, sentence: str, size: int) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every frame; never more than ``size`` bytes and one are read, so that
    nothing can swell.
    """
    if frames.is_dir():
        for path in visible(frames.glob("*.vl")):
            with path.open("rb") as file:
                yield path.name, file.read(size + 1)
        return
    whole_subject = not SENTENCE.fullmatch(_without_archive(frames) or "")
    with _opened(frames) as archive:
        for member in _checked(archive, frames):
            if not _is_frame(member.name) or (
                whole_subject and PurePosixPath(member.name).parent.name != sentence
            ):
                continue
            try:
                content = archive.extractfile(member)
                yield member.name, content.read(size + 1) if content else b""
            except DAMAGES as error:
                raise InputError(
                    f"{frames} is cut off in {shown(member.name)} ({reason(error)})"
                ) from error


def read_vl(content: bytes, vertices: int, name: str) -> Array:
    """(V, 3) float32 positions of one frame: a little-endian int32 count, then x, y, z of each
    vertex as float32.
    """
    count = int(np.frombuffer(content[:4], "<i4")[0]) if len(content) >= 4 else 0
    if count != vertices:
        raise InputError(f"{name} holds {count} vertices, its template {vertices}")
    if len(content) != 4 + 12 * vertices:
        raise InputError(
            f"{name} is damaged or cut off: {count} vertices take {4 + 12 * count} bytes, it holds "
            f"{len(content)}"
        )
    return np.frombuffer(content, "<f4", offset=4).reshape(-1, 3).astype(np.float32)


def _codetalker(clips: Sequence[Key]) -> list[str | None]:
    """The emotional sentences of BIWI: 192 train, 24 val, 24 test_a (subjects of train) and 32
    test_b (other subjects).
    """
    return [_codetalker_split(subject, sentence) for subject, sentence in clips]


def _codetalker_split(subject: str, sentence: str) -> str | None:
    if not sentence.startswith("e"):
        return None
    place = number(sentence)
    if subject in TRAINING_SUBJECTS:
        for split, first, last in (("train", 1, 32), ("val", 33, 36), ("test_a", 37, 40)):
            if first <= place <= last:
                return split
    return "test_b" if subject in OTHER_SUBJECTS and 37 <= place <= 40 else None


def _scantalk(clips: Sequence[Key]) -> list[str | None]:
    """The neutral sentences of BIWI: subjects F7 and M5 val, F8 and M6 test, ten others train."""
    held = {"F7": "val", "M5": "val", "F8": "test", "M6": "test"}
    known = TRAINING_SUBJECTS + OTHER_SUBJECTS
    return [
        held.get(subject, "train") if subject in known and sentence.isdigit() else None
        for subject, sentence in clips
    ]


SCHEMES: Mapping[str, Scheme] = {"codetalker": _codetalker, "scantalk": _scantalk}

BIWI = CorpusKind(
    "biwi",
    open_biwi,
    holds="`faces/`, `rigid_scans/<subject>.obj`, `wav/` or `audio/`",
    splits="`codetalker` 192/24/24/32, `scantalk`",
    rate="25",
    unit="metres, see below",
)
