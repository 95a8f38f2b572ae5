"""A file that one process at a time may hold; the system lets go of it when the process dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path


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
