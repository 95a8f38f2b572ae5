"""Writing files so that an interrupted run leaves no half file behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jambatalk.errors import InputError

LEFT_OVER = re.compile(r"\..*\.(?P<pid>\d+)-(?P<host>[0-9a-f]{8})\.[a-z0-9_]{8}(?:\..*)?")
"""Names of temporary files: hidden, with the process and the machine that writes them."""

ABANDONED = 86_400.0
"""Seconds after which a temporary file is removed whose writer cannot be asked for: it runs on
another machine.
"""

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_lock = threading.Lock()
_in_use: set[str] = set()
_cleaned: set[Path] = set()


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` on success, delete it on any
    error.

    The temporary file keeps the final suffix, since encoders choose a format by it. What killed
    processes left behind in the folder is removed on the first write there.

    Raises:
        InputError: the folder is missing or cannot be written to, or the name is too long.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            # fails for a name that is too long, which the rename would do after all the work
            target.lstat()
        _remove_left_overs(target.parent)
        handle, name = tempfile.mkstemp(
            prefix=f".{_start(target)}.{os.getpid()}-{_HOST}.",
            suffix=target.suffix,
            dir=target.parent,
        )
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    _in_use.add(temporary.name)
    try:
        yield temporary
        # mkstemp makes the file private (0600); a result should follow the user's umask like any
        # other file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
        _in_use.discard(temporary.name)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all; errors as ``atomic_write``."""
    with atomic_write(path) as temporary:
        text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
        temporary.write_text(text, encoding="utf-8")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_temporary(path: Path) -> bool:
    """Whether this is a temporary file of ``atomic_write``, or one that a killed process left
    behind: never an input.
    """
    return LEFT_OVER.fullmatch(path.name) is not None


def _start(target: Path) -> str:
    """As much of the name as leaves room for the rest: names have at most 255 bytes on common file
    systems.
    """
    return target.stem.encode()[:100].decode(errors="ignore")


def _remove_left_overs(folder: Path) -> None:
    """Remove temporary files whose writer is gone; once per process and folder."""
    with _lock:
        place = folder.resolve()
        if place in _cleaned:
            return
        _cleaned.add(place)
        for path in place.iterdir():
            found = LEFT_OVER.fullmatch(path.name)
            if found and path.name not in _in_use:
                with suppress(OSError):
                    if _writer_gone(path, int(found["pid"]), found["host"]):
                        path.unlink()


def _writer_gone(path: Path, pid: int, host: str) -> bool:
    if host != _HOST or os.name != "posix":
        return time.time() - path.stat().st_mtime > ABANDONED
    if pid == os.getpid():  # in a container, the process before often had the same number
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass  # it lives, and belongs to somebody else
    return False
