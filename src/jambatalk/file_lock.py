"""A lock that the system releases when its holder ends, however it ends."""

from __future__ import annotations

import errno
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jambatalk.errors import InputError

HELD = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)
LOCK_BYTE = 1 << 20
"""What is locked on Windows, where a locked byte cannot be read: far behind the holder's name."""


class LockHeldError(OSError):
    """Another process holds the lock; ``holder`` describes it."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is held by {holder}")
        self.holder = holder


class FileLock:
    """Holds a file, made when absent, until ``close``; a context manager.

    Args:
        path: the file. It holds the name of its holder, and stays behind unlocked.
        wait: seconds to wait for another holder.

    Raises:
        LockHeldError: another process holds it.
        OSError: the file cannot be written, or the file system has no locks.
    """

    def __init__(self, path: Path, wait: float = 0.0) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + wait
        try:
            while not self._try_lock():
                if time.monotonic() >= until:
                    raise LockHeldError(path, self._holder())
                time.sleep(0.05)
        except BaseException:
            os.close(self._handle)
            raise
        with suppress(OSError):  # a full disk: the lock holds without a name
            os.ftruncate(self._handle, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            name = f"process {os.getpid()} on {platform.node() or 'this machine'} since {since}"
            os.write(self._handle, name.encode())

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        os.close(self._handle)

    def _holder(self) -> str:
        os.lseek(self._handle, 0, os.SEEK_SET)
        name = os.read(self._handle, 100).decode("utf-8", "replace").strip()
        return f"another process ({name})" if name.startswith("process ") else "another process"

    def _try_lock(self) -> bool:
        try:
            if sys.platform == "win32":
                import msvcrt

                os.lseek(self._handle, LOCK_BYTE, os.SEEK_SET)
                msvcrt.locking(self._handle, msvcrt.LK_NBLCK, 1)
                os.lseek(self._handle, 0, os.SEEK_SET)
            else:
                import fcntl

                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                return False
            raise
        return True


@contextmanager
def locked(path: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: the lock's file; its folder is made when absent.
        what: names the folder or file that is worked on, for the message.
        wait: seconds to wait for another holder.

    Raises:
        InputError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, wait)
    except LockHeldError as error:
        raise InputError(
            f"{error.holder} is at work on {what}: wait until it ends, or choose another folder"
        ) from None
    with lock:
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock now."""
    if not path.exists():
        return False
    try:
        FileLock(path).close()
    except LockHeldError:
        return True
    return False
