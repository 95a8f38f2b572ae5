"""What a sound can come from, opened as one seekable binary file."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jambatalk.errors import InputError


@dataclass(frozen=True)
class Source:
    """A seekable binary file, the name to call it by in messages, and whether it is ours to close."""

    file: IO[bytes]
    name: str
    ours: bool


def open_source(source: Any) -> Source:
    """Open a path, ``"-"`` (standard input), bytes or a binary file object. InputError if that is impossible or empty.

    What cannot seek (a pipe) is copied to a temporary file first: some formats keep their index at the end.
    """
    if isinstance(source, str) and source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("'-' reads sound from standard input, but nothing is piped into it")
        return _filled(_copied(sys.stdin.buffer), "standard input", True)
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _filled(io.BytesIO(source), "the given bytes", True)
    if hasattr(source, "read"):
        if isinstance(source, io.TextIOBase):
            raise InputError(
                "the given file object is in text mode, expected binary: open it with mode 'rb'"
            )
        name = str(getattr(source, "name", "the given file object"))
        seekable = source.seekable() if hasattr(source, "seekable") else hasattr(source, "seek")
        return _filled(source, name, False) if seekable else _filled(_copied(source), name, True)
    raise InputError(
        f"cannot hear a {type(source).__name__}: expected a path, '-', bytes, a binary file or an array"
    )


def _open_path(path: Path) -> Source:
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected an audio or video file")
    try:
        return _filled(path.open("rb"), str(path), True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _copied(pipe: Any) -> IO[bytes]:
    copy = tempfile.TemporaryFile(prefix="jambatalk-")  # noqa: SIM115 (closed by the decoder)
    shutil.copyfileobj(pipe, copy)
    return copy


def _filled(file: IO[bytes], name: str, ours: bool) -> Source:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not size:
        if ours:
            file.close()
        raise InputError(f"{name} is empty (0 bytes), expected sound")
    return Source(file, name, ours)
