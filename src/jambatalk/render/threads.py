"""Sharing the bands of a picture among threads.

The kernels release the interpreter lock, so ordinary threads run them side by side. numba's own ``prange`` is not used on
purpose: some of its threading layers end the process when two Python threads enter them at once, as a live server does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="jambatalk-render")


def share(work: Callable[[int, int], None], threads: int) -> None:
    """Call ``work(first, threads)`` once for each thread, first = 0 .. threads - 1, and wait for all.

    A worker takes bands first, first + threads, ...: neighbouring bands cost alike, so the shares are even; and as no two
    bands touch the same memory, the picture does not depend on the number of threads.
    """
    waiting = [_pool().submit(work, first, threads) for first in range(1, threads)]
    work(0, threads)
    for one in waiting:
        one.result()
