"""Keeping hours of samples out of memory: beyond a limit they go to a temporary file that is mapped back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.blocks import RATE

LONG_SECONDS = 600.0
"""Sound longer than this (38 MB of samples) is kept in a temporary file."""


def gather(blocks: Iterable[NDArray[np.float32]], limit: float = LONG_SECONDS) -> NDArray[np.float32]:
    """Join float32 blocks into one (n,) array; beyond ``limit`` seconds a read-only memory map of a temporary file.

    The file has no name on POSIX and is deleted on closing on Windows, so that nothing is left behind even after a crash.
    """
    kept: list[NDArray[np.float32]] = []
    count = 0
    spool: IO[bytes] | None = None
    for block in blocks:
        count += len(block)
        if spool is None and count > limit * RATE:
            # Lives as long as the memory map needs it: closing the object does not end the mapping.
            spool = tempfile.TemporaryFile(prefix="jambatalk-")  # noqa: SIM115
            for earlier in kept:
                spool.write(np.ascontiguousarray(earlier).data)
            kept.clear()
        if spool is None:
            kept.append(block)
        else:
            spool.write(np.ascontiguousarray(block).data)
    if spool is None:
        return np.concatenate(kept) if kept else np.zeros(0, np.float32)
    spool.flush()
    with spool:
        return np.memmap(spool, dtype=np.float32, mode="r", shape=(count,))
