"""A lock on a folder that the system lets go when its holder ends, however it ends."""

from __future__ import annotations

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

    InputError, which names ``what``, when another process keeps it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait
    with open(path, "a+", encoding="utf-8") as file:
        while not _taken(file):
            if time.monotonic() >= until:
                raise InputError(f"another process is at work on {what}: wait until it ends, or choose another folder")
            time.sleep(0.1)
        yield


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
