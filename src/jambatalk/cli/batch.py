"""From what was typed (files, folders, patterns, ``-``) to jobs: an input, its outputs, and whether
they are made.

Outputs of several inputs lie in folders under the inputs' names. Beside them, ``.jambatalk.json``
records what each was made with, so that a rerun makes again what has changed: the input, the
options or the weights.
"""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jambatalk.atomic import atomic_write, is_temporary
from jambatalk.errors import InputError
from jambatalk.motion import check_outputs, is_motion_file, suffix_of

SOUND_SUFFIXES = frozenset(
    suffix
    for line in (
        ".wav .flac .mp3 .ogg .oga .opus .m4a .aac .aif .aiff .aifc .amr .ac3 .au .caf .wma .wv",
        ".weba .webm .mp4 .m4v .mov .mkv .avi .mpg .mpeg .ts .3gp .flv",
    )
    for suffix in line.split()
)
"""What is taken from a folder; files named one by one may be called anything."""

PIPE = "-"
"""Standard input as an input, standard output as an output."""

DEFAULT_FOLDER = "out"
MANIFEST = ".jambatalk.json"


@dataclass(frozen=True)
class Job:
    """One input and what to make of it.

    Args:
        source: a path, or ``-`` for standard input.
        outputs: the files to write.
        stdout: format (such as ``.csv``) to write to standard output, or None.
        problem: why it cannot be done, known before the work; None if it can.
    """

    source: str
    outputs: tuple[Path, ...]
    stdout: str | None = None
    problem: str | None = None

    @property
    def is_motion(self) -> bool:
        """Whether the input is a motion that was saved, rather than sound."""
        return is_motion_file(self.source)

    @property
    def output_names(self) -> list[str]:
        """The outputs as a person would name them."""
        return [str(output) for output in self.outputs] + ["standard output"] * bool(self.stdout)


@dataclass(frozen=True)
class Plan:
    """All jobs; ``batch`` is true for several inputs, a folder or a pattern: then what is done is
    skipped.
    """

    jobs: tuple[Job, ...]
    batch: bool


@dataclass(frozen=True)
class _Input:
    """A path as typed or found, and the folder below which its own folders are kept: None for files
    named one by one.
    """

    path: str
    root: str | None = None


def plan(
    inputs: Sequence[str], outputs: Sequence[str], out_dir: str | None, formats: str | None
) -> Plan:
    """Pair every input with its outputs.

    Args:
        inputs: files, folders (their sound and video files, not deeper), patterns such as ``*.wav``
            or ``**/*.mp3``, or ``-``.
        outputs: file names for a single input, folders (existing, or written with a slash at the
            end), or ``-``.
        out_dir: a folder for names made from the inputs (``talk`` for ``-`` and other pipes);
            without any output it is ``out``, so that results never mix with, or replace, what was
            recorded.
        formats: a list such as ``mp4,csv`` for the outputs in folders and ``-``; None is mp4.

    Raises:
        InputError: what was typed does not fit together, or no output at all can be written. What
            concerns one of several inputs is the ``problem`` of its job.
    """
    sources, batch = _sources(inputs)
    suffixes = _suffixes(formats)
    stdout = _stdout_format(outputs, formats, suffixes, batch)
    named = [name for name in outputs if name != PIPE]
    folders = [Path(name) for name in named if _is_folder(name)]
    folders += [Path(out_dir)] if out_dir is not None else []
    files = [Path(name) for name in named if not _is_folder(name)]
    if formats is not None and files and not folders and not stdout:
        raise InputError(
            f"--format goes with --out-dir; -o {files[0]} already says its format by its name"
        )
    if files and batch:
        raise InputError(
            f"-o {files[0]} is one file, but there are {len(sources)} inputs: "
            f"give a folder, such as -o {files[0].stem}/"
        )
    _check_repeated(files)
    check_outputs(files)
    if not files and not folders and not stdout:
        folders = [Path(DEFAULT_FOLDER)]
    jobs = []
    for source, name in zip(sources, _output_names(sources), strict=True):
        made = [Path(folder, name + suffix) for folder in folders for suffix in suffixes]
        jobs.append(Job(source.path, (*files, *made), stdout))
    return Plan(_checked(jobs), batch)


def _sources(inputs: Sequence[str]) -> tuple[list[_Input], bool]:
    found: list[_Input] = []
    batch = len(inputs) > 1
    for name in inputs:
        if name != PIPE and os.path.isdir(name):
            inside = sorted(str(path) for path in Path(name).iterdir() if _is_recording(path))
            if not inside:
                raise InputError(f"{name} holds no sound or video files")
            found += [_Input(path, name) for path in inside]
            batch = True
        elif glob.has_magic(name) and not os.path.exists(name):
            # Windows shells leave patterns to the program.
            matches = sorted(
                path for path in glob.glob(name, recursive=True) if os.path.isfile(path)
            )
            if not matches:
                raise InputError(f"no file matches {name}")
            root = _root_of_pattern(name)
            found += [_Input(path, root) for path in matches if not is_temporary(Path(path))]
            batch = True
        else:
            found.append(_Input(name))
    return list({source.path: source for source in reversed(found)}.values())[::-1], batch


def _is_recording(path: Path) -> bool:
    """Hidden files are not: macOS keeps notes on ``x.wav`` in ``._x.wav``, and unfinished outputs
    are hidden, too.
    """
    return (
        path.suffix.lower() in SOUND_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _root_of_pattern(pattern: str) -> str:
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:fixed]))


def _suffixes(formats: str | None) -> list[str]:
    try:
        return list(dict.fromkeys(suffix_of(name) for name in (formats or "mp4").split(",")))
    except InputError as error:
        raise InputError(f"--format {formats!r}: {error}") from error


def _stdout_format(
    outputs: Sequence[str], formats: str | None, suffixes: Sequence[str], batch: bool
) -> str | None:
    if PIPE not in outputs:
        return None
    if batch:
        raise InputError("-o - writes one result to standard output, but there are several inputs")
    if formats is None or len(suffixes) > 1:
        raise InputError("-o - needs one format, such as --format csv")
    return suffixes[0]


def _is_folder(name: str) -> bool:
    return name.endswith(("/", os.sep)) or os.path.isdir(name)


def _output_names(sources: Sequence[_Input]) -> list[str]:
    """Names of outputs, without suffix: folders below a pattern's root are kept.

    Files named one by one lose their folders, unless two would have the same name: then they keep
    those below their common folder. ``talk.wav`` beside ``talk.mp3`` keep their whole names,
    ``talk.wav`` and ``talk.mp3``.
    """
    names = [_below_root(source) for source in sources]
    for longer in (_below_common_folder, _with_suffix, _numbered):
        counts = Counter(map(_key, names))
        clashing = [index for index, name in enumerate(names) if counts[_key(name)] > 1]
        names = longer(sources, names, clashing)
    return names


def _below_root(source: _Input) -> str:
    path = Path(source.path)
    if source.path in (PIPE, "/dev/stdin") or (path.is_fifo() and not path.suffix):
        return "talk"
    if source.root is None:
        return path.stem
    return str(Path(os.path.relpath(path, source.root)).with_suffix(""))


def _below_common_folder(
    sources: Sequence[_Input], names: list[str], clashing: list[int]
) -> list[str]:
    folders = {
        index: os.path.abspath(os.path.dirname(sources[index].path))
        for index in clashing
        if names[index] != "talk"
    }
    places: dict[str, set[str]] = {}
    for index, folder in folders.items():
        places.setdefault(_key(names[index]), set()).add(folder)
    apart = [index for index in folders if len(places[_key(names[index])]) > 1]
    with suppress(ValueError):  # none, or on two drives of Windows
        common = os.path.commonpath([folders[index] for index in apart])
        for index in apart:
            below = Path(os.path.relpath(folders[index], common))
            names[index] = str(below / Path(sources[index].path).stem)
    return names


def _with_suffix(sources: Sequence[_Input], names: list[str], clashing: list[int]) -> list[str]:
    for index in clashing:
        names[index] += Path(sources[index].path).suffix
    return names


def _numbered(sources: Sequence[_Input], names: list[str], clashing: list[int]) -> list[str]:
    """What is left are pipes: talk, talk-2, ..."""
    seen: Counter[str] = Counter()
    for index in clashing:
        seen[_key(names[index])] += 1
        number = seen[_key(names[index])]
        names[index] += f"-{number}" if number > 1 else ""
    return names


def _check_repeated(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        first = seen.setdefault(_key(file), file)
        if first is not file:
            raise InputError(f"-o {first} and -o {file} are both the same file")


def _checked(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, those that cannot be done with their ``problem``; InputError when none can be
    done.
    """
    inputs = {_key(job.source) for job in jobs if job.source != PIPE}
    users: dict[str, list[str]] = {}
    for job in jobs:
        for output in job.outputs:
            users.setdefault(_key(output), []).append(job.source)
    checked = []
    for job in jobs:
        problem = None
        for output in job.outputs:
            shared = users[_key(output)]
            if _key(output) in inputs:
                problem = (
                    f"{output} is an input, it would be overwritten: choose another name with -o"
                )
            elif len(shared) > 1:
                problem = (
                    f"both {shared[0]} and {shared[1]} would be written to {output}: rename one"
                )
        if problem is None:
            try:
                check_outputs(job.outputs)
            except InputError as error:
                problem = str(error)
        checked.append(Job(job.source, job.outputs, job.stdout, problem))
    if checked and all(job.problem for job in checked):
        raise InputError(checked[0].problem or "")
    return tuple(checked)


def _key(path: str | Path) -> str:
    return os.path.normcase(os.path.abspath(path))


@dataclass
class Manifests:
    """What outputs were made with: one small JSON file in each folder of a batch's outputs."""

    _files: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def is_done(self, job: Job, made_with: Mapping[Path, Mapping[str, Any]]) -> bool:
        """Whether every output exists, is no older than the input, and was made with these options
        of this input.
        """
        if not job.outputs or not os.path.isfile(job.source):  # a pipe is read once
            return False
        changed = os.path.getmtime(job.source)
        for output in job.outputs:
            entries = self._files.setdefault(output.parent, _read_manifest(output.parent))
            if entries.get(output.name) != _entry(job, made_with[output]):
                return False
            if not output.exists() or output.stat().st_mtime < changed:
                return False
        return True

    def record(self, job: Job, made_with: Mapping[Path, Mapping[str, Any]]) -> None:
        """Note what the outputs were made with; other runs may write into the same folders
        meanwhile.
        """
        if not os.path.isfile(job.source):
            return
        for folder in {output.parent for output in job.outputs}:
            entries = _read_manifest(folder)
            for output in job.outputs:
                if output.parent == folder:
                    entries[output.name] = _entry(job, made_with[output])
            with atomic_write(folder / MANIFEST) as temporary:
                temporary.write_text(
                    json.dumps({"format": 1, "made": entries}, indent=1), encoding="utf-8"
                )
            self._files[folder] = entries


def _entry(job: Job, options: Mapping[str, Any]) -> dict[str, Any]:
    source = {"input": os.path.abspath(job.source), "bytes": os.path.getsize(job.source)}
    return json.loads(json.dumps(source | dict(options)))  # type: ignore[no-any-return]  # as it will be read


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The entries; none where the file is missing or damaged: then everything is made again."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        made = found["made"] if found["format"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return made if isinstance(made, dict) else {}
