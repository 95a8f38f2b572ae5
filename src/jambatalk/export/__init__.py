"""Motions as files: one module per format, chosen by the file's suffix.

A format is one module beside this file with ``save(motion, path, *, ...options)`` and, where the format can be read back,
``load(path) -> Motion``, plus one line in ``FORMATS``. Modules are imported on first use.
"""

from __future__ import annotations

import importlib
import inspect
import os
import tempfile
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.motion import Motion

FORMATS: dict[str, str] = {
    ".mp4": "jambatalk.export.mp4",
    ".glb": "jambatalk.export.glb",
    ".csv": "jambatalk.export.live_link_csv",
    ".npz": "jambatalk.export.npz",
    ".json": "jambatalk.export.json",
}
"""Suffix -> module."""

READABLE = (".npz", ".csv", ".json")
"""The suffixes that ``load_motion`` reads."""


def format_module(path: str | PathLike[str]) -> ModuleType:
    """The module for a file's suffix (case does not matter). InputError lists the known suffixes."""
    suffix = _suffix(path)
    if suffix not in FORMATS:
        raise InputError(f"cannot write {path}: unknown extension {suffix or '(none)'!r}, expected one of {', '.join(FORMATS)}")
    return importlib.import_module(FORMATS[suffix])


def check_outputs(paths: Iterable[str | PathLike[str]]) -> None:
    """InputError if one of ``paths`` cannot be written. For use before the long work whose result goes there."""
    for path in map(Path, paths):
        if _suffix(path) not in FORMATS:
            format_module(path)
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"cannot write {path}: it is read-only")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Asking is not enough (a read-only mount, a full quota, Windows rules): try.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def save_motion(motion: Motion, path: str | PathLike[str], **options: Any) -> None:
    """Write ``motion``; the suffix chooses the format.

    options: passed to the format that knows them (for example ``size`` to .mp4), so that one call can serve several
        formats. InputError for a name that no format knows, an unknown suffix, or an unwritable path.
    """
    module = format_module(path)
    known = _options(module)
    for name in options:
        if name not in known and not any(name in _options(importlib.import_module(other)) for other in FORMATS.values()):
            raise InputError(f"unknown option {name!r} for {path}: {_suffix(path)} knows {', '.join(known) or 'no options'}")
    module.save(motion, Path(path), **{name: value for name, value in options.items() if name in known})


def load_motion(path: str | PathLike[str]) -> Motion:
    """Read a motion back. InputError if the file is missing, damaged, or of a format that cannot be read."""
    path = Path(path)
    if _suffix(path) not in READABLE:
        raise InputError(
            f"cannot read a motion from {path}: extension {_suffix(path) or '(none)'!r}, expected one of {', '.join(READABLE)}"
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a motion file")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    motion: Motion = format_module(path).load(path)
    return motion


def _suffix(path: str | PathLike[str]) -> str:
    return Path(path).suffix.lower()


def _options(module: ModuleType) -> list[str]:
    return [name for name, p in inspect.signature(module.save).parameters.items() if p.kind is p.KEYWORD_ONLY]
