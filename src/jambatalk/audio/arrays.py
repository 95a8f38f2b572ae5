"""Arrays of samples as mono float32 blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

MOST_CHANNELS = 64
STEP = 160_000


def is_array(source: Any) -> bool:
    """Whether ``source`` is an array of samples: numpy, a torch tensor on the CPU, or a plain list of numbers."""
    return isinstance(source, (list, tuple)) or (hasattr(source, "__array__") and not hasattr(source, "read"))


def array_blocks(source: Any, rate: int | None) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Give (mono block, rate) of an array: (n,), (n, channels) or (channels, n).

    Of a two-dimensional array the longer side is time. Integers are divided by their full scale (unsigned ones are centred
    first); floats are taken as they are. InputError for a missing rate or another shape or type.
    """
    values = np.asarray(source)
    if rate is None:
        raise InputError("an array of samples needs its rate, for example Speech.load(samples, rate=48000)")
    if not isinstance(rate, (int, np.integer)) or not 1 <= rate <= 10_000_000:
        raise InputError(f"rate is {rate!r}, expected a whole number of samples per second such as 48000")
    if values.dtype.kind not in "iuf":
        raise InputError(f"samples are {values.dtype}, expected real floats or integers")
    if values.ndim not in (1, 2):
        raise InputError(f"samples have shape {values.shape}, expected (n,) or (n, channels)")
    if values.ndim == 2 and 0 < values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim == 2 and not 1 <= values.shape[1] <= MOST_CHANNELS and len(values):
        raise InputError(f"samples have shape {values.shape}, expected at most {MOST_CHANNELS} channels")
    return _mono(values, int(rate))


def _mono(values: NDArray[Any], rate: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    for start in range(0, len(values), STEP):
        block = to_float(values[start : start + STEP])
        yield (block if block.ndim == 1 else block.mean(axis=1)), rate


def to_float(block: NDArray[Any]) -> NDArray[np.float32]:
    """Float32 of any real samples; integers are scaled to -1..1, unsigned ones centred on half their range."""
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    half = 2.0 ** (8 * block.dtype.itemsize - 1)
    centre = half if block.dtype.kind == "u" else 0.0
    return ((block.astype(np.float64) - centre) / half).astype(np.float32)
