"""What a sound can come from, opened as one seekable binary file."""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from jambatalk.errors import InputError


@dataclass(frozen=True)
class Source:
    """A seekable binary file.

    Attributes:
        file: the file.
        name: how messages call it.
        ours: whether it was opened here, and has to be closed here.
    """

    file: IO[bytes]
    name: str
    ours: bool

    def part(self, start: int, end: int, patches: Mapping[int, bytes] | None = None) -> Source:
        """Return the bytes from ``start`` to ``end`` as a source of their own, see ``Part``."""
        part: Any = Part(self.file, start, end, patches or {})
        return replace(self, file=part, ours=False)


class Part(io.RawIOBase):
    """A stretch of a file as a file.

    Args:
        file: the whole file.
        start, end: the stretch, in bytes.
        patches: bytes to show instead of those at a place, counted from ``start``.
    """

    def __init__(self, file: IO[bytes], start: int, end: int, patches: Mapping[int, bytes]) -> None:
        self.whole, self.start, self.size, self.patches = file, start, end - start, patches
        self.place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = max(0, base + offset)
        return self.place

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def read(self, count: int = -1) -> bytes:
        left = max(0, self.size - self.place)
        self.whole.seek(self.start + self.place)
        found = bytearray(self.whole.read(left if count < 0 else min(count, left)))
        for at, piece in self.patches.items():
            for place, value in enumerate(piece, at - self.place):
                if 0 <= place < len(found):
                    found[place] = value
        self.place += len(found)
        return bytes(found)


def open_source(source: Any) -> Source:
    """Open a path, ``"-"`` (standard input), bytes or a binary file object.

    What cannot seek (a pipe, a FIFO) is copied to a temporary file first: some formats keep their
    index at the end.

    Raises:
        InputError: it cannot be opened, or is empty.
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
        f"cannot read sound from a {type(source).__name__}: "
        "expected a path, '-', bytes, a binary file or an array"
    )


def _open_path(path: Path) -> Source:
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected an audio or video file")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from error
    if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"{path} is a device, expected an audio or video file, or a pipe")
    if file.seekable():
        return _filled(file, str(path), True)
    with file:
        return _filled(_copied(file), str(path), True)


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
