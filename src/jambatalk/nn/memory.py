"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


@cache
def _libc() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None  # not glibc: other allocators give back by themselves, or cannot be asked


def release_freed_memory() -> None:
    """Ask glibc to hand back the holes between its blocks.

    torch's allocations are aligned, and glibc (at least to 2.36) seldom fits an aligned block into the hole that an equal one
    left: over the pieces of one long clip the heap grows by several kB a frame though nothing is kept
    (benchmarks/long_context.py shows the peaks).
    """
    trim = _libc()
    if trim is not None:
        trim(0)
