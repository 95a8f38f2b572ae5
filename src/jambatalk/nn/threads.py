"""One thread for work that is too small to be shared.

OpenMP's threads wait for each other in a loop. Where another program has their core they wait long: one hop of 40 ms took 600 ms
with two threads on two busy cores, 8 ms with one; on idle cores both take the same.
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
