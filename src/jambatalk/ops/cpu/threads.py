"""Runs the jobs of a numba kernel in threads.

Plain Python threads around kernels that let go of the interpreter lock: numba's own parallel loops would compile each kernel
several times over, start a second pool beside torch's, and some of its threading layers end the process when two threads
enter them at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

JOBS_PER_THREAD = 4


def thread_count(work: int, least: int) -> int:
    """How many threads a piece of work deserves: one below ``least``, else as many as torch and numba are allowed."""
    return (
        1
        if work < least
        else min(
            torch.get_num_threads(), int(os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1)
        )
    )


def share_count(threads: int, batch: int) -> int:
    """Into how many parts each sequence is split: a few jobs a thread, so that none waits long for one that came late."""
    return 1 if threads == 1 else -(-JOBS_PER_THREAD * threads // max(1, batch))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="jambatalk-kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=_pool.cache_clear
    )  # a forked process has none of its parent's threads


def run_jobs(
    kernel: Callable[..., None], jobs: int, threads: int, arguments: tuple[float, ...]
) -> None:
    """kernel(first job, job behind the last, *arguments) for all jobs. Each thread takes the next job when it is free, the
    calling one too: where the other cores are busy with something else, it simply does them all."""
    if min(threads, jobs) < 2:
        kernel(0, jobs, *arguments)
        return
    waiting = iter(range(jobs))

    def work() -> None:
        for job in waiting:
            kernel(job, job + 1, *arguments)

    others = [_pool().submit(work) for _ in range(min(threads, jobs) - 1)]
    work()
    for other in others:
        if not other.cancel():
            other.result()
