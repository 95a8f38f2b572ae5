"""Root-mean-square norm on the CPU in one call: in a streaming step torch's six cost more
than the arithmetic.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from jambatalk.ops.cpu.simd import LANES, at, floats, load, put, splat, store, total
from jambatalk.ops.threads import JOBS_PER_THREAD, run_jobs, thread_count

# Numbers below which starting threads costs more than it saves.
SERIAL_WORK = 1 << 16


@njit(fastmath=True, cache=True, nogil=True)
def _rows(first, stop, jobs, rows, width, x_, weight_, y_, eps):  # type: ignore[no-untyped-def]
    """The rows of jobs ``first`` ... ``stop`` - 1 of ``jobs``; names with ``_`` are addresses."""
    x, weight, y = floats(x_), floats(weight_), floats(y_)
    whole = width // LANES * LANES
    for row in range(first * rows // jobs, stop * rows // jobs):
        start = row * width
        sums = splat(0.0)
        for i in range(0, whole, LANES):
            v = load(x, start + i)
            sums = sums + v * v
        square = total(sums)
        for i in range(whole, width):
            square += at(x, start + i) * at(x, start + i)
        scale = np.float32(1.0) / np.sqrt(square / np.float32(width) + np.float32(eps))
        for i in range(0, whole, LANES):
            store(y, start + i, load(x, start + i) * splat(scale) * load(weight, i))
        for i in range(whole, width):
            put(y, start + i, at(x, start + i) * scale * at(weight, i))


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., width) float32 -> the same shape; no gradient.

    Rows do not depend on how many there are.
    """
    x, weight = x.contiguous(), weight.contiguous()
    y = torch.empty_like(x)
    width = x.shape[-1]
    rows = x.numel() // width if width else 0
    threads = thread_count(x.numel(), SERIAL_WORK)
    jobs = min(rows, JOBS_PER_THREAD * threads) if threads > 1 else 1
    run_jobs(
        _rows,
        jobs,
        threads,
        (jobs, rows, width, x.data_ptr(), weight.data_ptr(), y.data_ptr(), eps),
    )
    return y
