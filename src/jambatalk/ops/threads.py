"""How many threads work takes: one rule for the network, its kernels, training and drawing.

The most that any work takes is what ``set_thread_limit`` (``--threads``) or JAMBATALK_THREADS
names, else OMP_NUM_THREADS, else the cores that this process may use: those of its CPU affinity,
within the CPU quota of its container. Below that the work decides:

* A live hop takes one thread: it is too small to be shared (``one_thread``).
* Longer stretches of torch's inference take the cores that no other program is using
  (``free_threads``). The threads of OpenMP wait for each other in a loop, so one thread whose core
  is taken delays all others: beside two busy loops on two cores, two threads took 10 to 20 times as
  long as one. ``benchmarks/speed/busy_cores.py`` measures it.
* Jobs of our own kernels and bands of pictures go to whichever thread is free (``run_jobs``,
  ``run_bands``). Ordinary Python threads run them, as the kernels release the interpreter lock;
  numba's own parallel loops would compile each kernel several times over, and some of its threading
  layers end the process when two threads enter them at once.

A forked child takes one thread: OpenMP's threads stay behind in its parent, and waiting for them
would never end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jambatalk.errors import InputError

VARIABLE, OPTION = "JAMBATALK_THREADS", "--threads"
MOST = 1024
JOBS_PER_THREAD = 4
CGROUPS = Path("/sys/fs/cgroup")

_lock = threading.Lock()
_limit: int | None = None
_forked = False
_inside = 0  # thread settings of torch that are in force now, in all Python threads
_before = 1  # torch's setting outside them
_local = threading.local()


# The limit.


def set_thread_limit(count: int | None) -> None:
    """Take at most ``count`` threads for any work from now on; None: what the environment and the
    machine allow.

    Raises:
        InputError: ``count`` is not in 1..1024.
    """
    global _limit
    if count is not None and not 1 <= count <= MOST:
        raise InputError(f"threads is {count}, expected 1 to {MOST}")
    _limit = count


def thread_limit() -> tuple[int, str]:
    """The most threads that any work takes, and why.

    Raises:
        InputError: JAMBATALK_THREADS is not a number in 1..1024.
    """
    if _forked:
        return 1, "forked process"
    if _limit is not None:
        return _limit, OPTION
    wanted = os.environ.get(VARIABLE, "").strip()
    if wanted:
        if not wanted.isascii() or not wanted.isdigit() or not 1 <= int(wanted[:9]) <= MOST:
            raise InputError(f"{VARIABLE} is {wanted[:80]!r}, expected a number from 1 to {MOST}")
        return int(wanted), VARIABLE
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isascii() and first.isdigit() and int(first[:9]):
        return min(int(first[:9]), usable_cores()), "OMP_NUM_THREADS"
    return usable_cores(), "usable cores"


def usable_cores() -> int:
    """Cores that this process may use: those of its CPU affinity, within its container's CPU quota;
    at least 1.
    """
    allowed = _affinity()
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


@cache
def cpu_quota(root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that Linux control groups (version 1 or 2) allow this process; None
    without a quota.

    The smallest quota of the process's group and the groups above it holds. A container often sees
    its own group as the root, whatever name the membership file has for it.
    """
    quotas = []
    for line in _read(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            bases = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [root / controllers, root / "cpu"]
        else:
            continue
        for base in bases:
            group = base / name.lstrip("/")
            while group != base and base in group.parents:
                quotas.append(_quota(group))
                group = group.parent
            quotas.append(_quota(base))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(group: Path) -> float | None:
    """Cores of one group: ``cpu.max`` holds "quota period" or "max period", version 1 has a file
    for each.
    """
    words = _read(group / "cpu.max").split() or [
        *_read(group / "cpu.cfs_quota_us").split(),
        *_read(group / "cpu.cfs_period_us").split(),
    ]
    try:
        quota, period = map(float, words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


# torch's threads.


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch and our kernels on the calling thread; then on as many threads as before. It costs
    less than 1 us.
    """
    with _torch_threads(1):
        yield


@contextmanager
def free_threads() -> Iterator[None]:
    """Run torch and our kernels on as many threads as there are cores that no other program uses,
    within the limit.

    A number that ``set_thread_limit`` or JAMBATALK_THREADS names is taken as it is.
    """
    with _torch_threads(_most_threads(free=True)):
        yield


@contextmanager
def all_threads() -> Iterator[None]:
    """Run torch and our kernels on all threads that are allowed, however busy the cores are.

    For training, whose sums depend on the number of threads in their last bits: a resumed run must
    go on as it was.
    """
    with _torch_threads(_most_threads(free=False)):
        yield


def _most_threads(free: bool) -> int:
    limit, reason = thread_limit()
    outer = getattr(_local, "count", None)
    if outer is not None:
        limit = min(limit, outer)
    if limit == 1 or reason in (OPTION, VARIABLE):
        return limit
    import torch

    limit = min(limit, torch.get_num_threads())
    return min(limit, _free_cores()) if free and limit > 1 else limit


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """torch's setting while the block runs. What other Python threads begin meanwhile may take it
    over, too.
    """
    global _inside, _before
    import torch

    outer = getattr(_local, "count", None)
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
        _inside += 1
    _local.count = count
    torch.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
        _local.count = outer
        torch.set_num_threads(_before if outer is None else outer)


class _Usage(NamedTuple):
    """Seconds since some moment: of the clock, of idle cores, and of cores that this process
    used.
    """

    clock: float
    idle: float
    own: float


def _usage() -> _Usage | None:
    """None where the system does not show how busy its cores are (other than Linux)."""
    try:
        cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        tick = os.sysconf("SC_CLK_TCK")
    except (AttributeError, OSError, ValueError):
        return None
    ticks, seen = 0, 0
    for line in _read(Path("/proc/stat")).splitlines():
        words = line.split()
        if words and words[0] in cores:
            ticks += int(words[4]) + int(words[5])  # idle, and waiting for a disk
            seen += 1
    return _Usage(time.perf_counter(), ticks / tick, time.process_time()) if seen else None


# Seconds of watching before a decision: soon enough to leave a core that another program wants,
# and, after that, long enough not to return between two of its bursts.
WATCH, WATCH_AFTER_BUSY = 0.1, 1.0
# Share of a core that other programs may use and it still counts as free.
SLACK = 0.15

_seen = _usage()
_free = 0  # cores, as last decided; 0 before the first decision


def _free_cores() -> int:
    """Cores that no other program used since the last decision, at least 1; 1 where the system does
    not tell.
    """
    global _seen, _free
    with _lock:
        now = _usage()
        if now is None or _seen is None:
            _seen = now
            return 1
        passed = now.clock - _seen.clock
        if passed >= (WATCH_AFTER_BUSY if _free == 1 else WATCH):
            free = (now.idle - _seen.idle + now.own - _seen.own) / passed
            _free = max(1, int(free + SLACK))
            _seen = now
        return _free or 1


# Jobs of kernels, and bands of pictures.


def thread_count(work: int, least: int) -> int:
    """How many threads a piece of a kernel's work takes: one below ``least``, else as many as torch
    and the limit.
    """
    if work < least:
        return 1
    import torch

    numba = os.environ.get("NUMBA_NUM_THREADS")
    most = min(torch.get_num_threads(), int(numba) if numba else MOST)
    return most if most == 1 else min(most, thread_limit()[0])


def share_count(threads: int, batch: int) -> int:
    """Into how many parts each sequence of a batch is split: a few jobs a thread, as some threads
    come late.
    """
    return 1 if threads == 1 else -(-JOBS_PER_THREAD * threads // max(1, batch))


def run_jobs(
    kernel: Callable[..., None], jobs: int, threads: int, arguments: tuple[float, ...]
) -> None:
    """Call ``kernel(first job, job behind the last, *arguments)`` for all jobs, in ``threads``
    threads.

    Each thread takes the next job when it is free, the calling one too: where other programs have
    the other cores, it simply does them all.
    """
    if min(threads, jobs) < 2:
        kernel(0, jobs, *arguments)
        return
    waiting = iter(range(jobs))

    def work() -> None:
        for job in waiting:
            kernel(job, job + 1, *arguments)

    _in_threads(work, min(threads, jobs))


def run_bands(draw: Callable[[int, int], None], threads: int) -> None:
    """Call ``draw(first, threads)`` for first = 0 .. threads - 1, side by side, and wait for all.

    A call draws the bands first, first + threads, ... of a picture: neighbouring bands cost alike,
    so the shares are even; and as no two bands touch the same memory, the picture does not depend
    on the number of threads.
    """
    waiting = iter(range(threads))

    def work() -> None:
        for first in waiting:
            draw(first, threads)

    _in_threads(work, threads)


def _in_threads(work: Callable[[], None], threads: int) -> None:
    """Run ``work`` in this thread and up to ``threads`` - 1 others; those that did not begin in
    time are not needed.
    """
    others = [_pool().submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():
            other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(8, os.cpu_count() or 1), thread_name_prefix="jambatalk")


def _after_fork() -> None:
    global _lock, _local, _forked, _inside
    _lock, _local, _inside = threading.Lock(), threading.local(), 0
    _pool.cache_clear()
    if "torch" in sys.modules:
        _forked = True
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
