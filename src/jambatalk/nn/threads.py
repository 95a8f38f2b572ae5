"""One thread for work that is too small to be shared.

OpenMP's threads wait for each other in a loop. Where another program has their core they wait long: beside torch programs on both
of two cores one hop of 40 ms took 980 ms with two threads, 14 ms with one. On idle cores two threads gain 5 to 15 %.
``benchmarks/busy_cores.py`` measures it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """torch and our kernels run what is inside on the calling thread; then as many threads as before. It costs less than 1 us.

    torch's setting belongs to the whole program: what other threads compute meanwhile may run on one thread, too.
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
        _inside += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
        torch.set_num_threads(_before)
