"""From what was typed (files, folders, patterns, ``-``; outputs) to jobs: one input and the files to make of it."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jambatalk.errors import InputError
from jambatalk.export import FORMATS, READABLE, check_outputs

SOUND_SUFFIXES = frozenset((
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".aifc", ".amr", ".ac3", ".au", ".caf",
    ".wma", ".wv", ".weba", ".webm", ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".3gp", ".flv",
))  # fmt: skip
"""What is taken from a folder; files named one by one may be called anything."""

DEFAULT_FOLDER = "out"


@dataclass(frozen=True)
class Job:
    """One input (a path, or ``-`` for standard input) and its outputs."""

    source: str
    outputs: tuple[Path, ...]

    @property
    def is_motion(self) -> bool:
        """Whether the input is a motion that was saved, rather than sound."""
        return Path(self.source).suffix.lower() in READABLE

    def is_done(self) -> bool:
        """Whether every output exists and is no older than the input."""
        if self.source == "-" or not os.path.exists(self.source):
            return False
        made = os.path.getmtime(self.source)
        return all(output.exists() and output.stat().st_mtime >= made for output in self.outputs)


@dataclass(frozen=True)
class Plan:
    """All jobs; ``batch`` is true for several inputs, a folder or a pattern: then what is done is skipped."""

    jobs: tuple[Job, ...]
    batch: bool


def plan(inputs: Sequence[str], outputs: Sequence[str], out_dir: str | None, formats: str | None) -> Plan:
    """Pair every input with its outputs.

    inputs: files, folders (their sound and video files, not deeper), patterns such as ``*.wav`` or ``**/*.mp3``, ``-``.
    outputs: file names for a single input, or folders (existing, or written with a slash at the end).
    out_dir, formats: a folder and a list such as ``mp4,csv`` for names made from the inputs (``talk`` for ``-``); without any
    output the folder is ``out``, so that results never mix with, or replace, what was recorded.
    InputError for what does not fit together or cannot be written, before any work is done.
    """
    sources, batch = _sources(inputs)
    suffixes = _suffixes(formats)
    folders = [Path(name) for name in outputs if _is_folder(name)] + ([Path(out_dir)] if out_dir is not None else [])
    files = [Path(name) for name in outputs if not _is_folder(name)]
    if formats is not None and files and not folders:
        raise InputError(f"--format goes with --out-dir; -o {files[0]} already says its format by its name")
    if files and batch:
        raise InputError(
            f"-o {files[0]} is one file, but there are {len(sources)} inputs: give a folder, such as -o {files[0].stem}/"
        )
    check_outputs(files)
    if not files and not folders:
        folders = [Path(DEFAULT_FOLDER)]
    jobs = tuple(
        Job(source, (*files, *(folder / f"{_stem(source)}{suffix}" for folder in folders for suffix in suffixes)))
        for source in sources
    )
    _check_clashes(jobs)
    check_outputs(output for job in jobs for output in job.outputs)
    return Plan(jobs, batch)


def _sources(inputs: Sequence[str]) -> tuple[list[str], bool]:
    found: list[str] = []
    batch = len(inputs) > 1
    for name in inputs:
        if name != "-" and os.path.isdir(name):
            inside = sorted(str(p) for p in Path(name).iterdir() if p.is_file() and p.suffix.lower() in SOUND_SUFFIXES)
            if not inside:
                raise InputError(f"{name} holds no sound or video files")
            found += inside
            batch = True
        elif any(sign in name for sign in "*?[") and not os.path.exists(name):
            # Windows shells leave patterns to the program.
            matches = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
            if not matches:
                raise InputError(f"no file matches {name}")
            found += matches
            batch = True
        else:
            found.append(name)
    return list(dict.fromkeys(found)), batch


def _suffixes(formats: str | None) -> list[str]:
    suffixes = ["." + word.strip().lower().lstrip(".") for word in (formats or "mp4").split(",")]
    for suffix in suffixes:
        if suffix not in FORMATS:
            known = ", ".join(name[1:] for name in FORMATS)
            raise InputError(f"--format {formats!r}: unknown format {suffix[1:]!r}, expected some of {known}")
    return list(dict.fromkeys(suffixes))


def _is_folder(name: str) -> bool:
    return name.endswith(("/", os.sep)) or os.path.isdir(name)


def _stem(source: str) -> str:
    return "talk" if source == "-" else Path(source).stem


def _check_clashes(jobs: Sequence[Job]) -> None:
    inputs = {_key(job.source) for job in jobs if job.source != "-"}
    seen: dict[str, str] = {}
    for job in jobs:
        for output in job.outputs:
            key = _key(output)
            if key in inputs:
                raise InputError(f"{output} is an input, it would be overwritten: choose another name with -o")
            if key in seen:
                raise InputError(
                    f"both {seen[key]} and {job.source} would be written to {output}: rename one, or use other folders"
                )
            seen[key] = job.source


def _key(path: str | Path) -> str:
    return os.path.normcase(os.path.abspath(path))
