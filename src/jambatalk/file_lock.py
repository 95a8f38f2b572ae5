"""A lock on a folder that the system lets go when its holder ends, however it ends."""

from __future__ import annotations

import errno
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jambatalk.errors import InputError


@contextmanager
def locked(path: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the file ``path`` (made when absent) while the block runs; ``wait``: seconds to wait for another holder.

    InputError, which names ``what`` and the process, when another one keeps it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait
    with open(path, "a+", encoding="utf-8") as file:
        while not _taken(file):
            if time.monotonic() >= until:
                raise InputError(
                    f"another process{_holder(path)} is at work on {what}: wait until it ends, or "
                    "choose another folder"
                )
            time.sleep(0.1)
        # The first character is the one that Windows locks.
        file.truncate(0)
        file.write(f" process {os.getpid()} on {platform.node() or 'this machine'}")
        file.flush()
        yield


def _holder(path: Path) -> str:
    """Return `` (process 123 on host)``, or nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            file.seek(1)
            name = file.read(120).strip()
    except OSError:
        return ""
    return f" ({name})" if name else ""


def is_locked(path: Path) -> bool:
    """Whether a process holds it now."""
    if not path.exists():
        return False
    with open(path, "a+", encoding="utf-8") as file:
        return not _taken(file)


def _taken(file: IO[str]) -> bool:
    """Whether the lock was free; it is let go when the file is closed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# A file that one process at a time may hold; the system lets go of it when the process dies.


class Held(OSError):
    """Somebody else holds it."""


TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)


class FileLock:
    """Held from the start until ``close``. Held (after ``patience`` seconds) when another process has it, OSError where the
    file cannot be written or the file system has no locks."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + patience
        try:
            while not self._take():
                if time.monotonic() >= until:
                    raise Held(f"{path} is held by another process")
                time.sleep(0.05)
        except BaseException:
            os.close(self._handle)
            raise

    def _take(self) -> bool:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self._handle, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in TAKEN:
                return False
            raise
        return True

    def close(self) -> None:
        """Let go."""
        os.close(self._handle)
