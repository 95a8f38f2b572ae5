"""Any source of sound as a row of 16 kHz mono blocks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from jambatalk.audio.arrays import array_blocks, is_array
from jambatalk.audio.container import decode
from jambatalk.audio.source import open_source
from jambatalk.errors import InputError

RATE = 16000
"""Samples per second of everything inside jambatalk."""

LOUDEST = 32.0
"""Float samples beyond this are not loud (+30 dB over full scale) but on another scale, such as 16-bit integers as floats."""

Native = Iterator[tuple[NDArray[np.float32], int]]


def open_blocks(source: Any, rate: int | None = None, seconds: float = 10.0) -> Iterator[NDArray[np.float32]]:
    """Decode ``source`` block by block.

    source, rate: as in ``Speech.load``.
    seconds: length of a block; the last one is shorter.
    Yields (n,) float32 blocks at 16 kHz in -1..1. Joined they equal ``Speech.load(source).samples`` bit for bit, whatever
    ``seconds`` is. Memory does not grow with the length of a file.
    Raises InputError; what is wrong at the end of a file (cut off, no sound in it) is raised at the end.
    """
    if seconds <= 0:
        raise InputError(f"a block lasts {seconds} seconds, expected a positive number")
    if is_array(source):
        native, name = array_blocks(source, rate), "the array"
    elif rate is not None:
        raise InputError(f"a rate ({rate}) was given for something that is not an array: files know their own rate")
    else:
        opened = open_source(source)
        native, name = decode(opened), opened.name
    return _equal(_finished(native, name), max(1, round(seconds * RATE)))


def check_samples(block: NDArray[np.float32], name: str) -> None:
    """Refuse samples that are not sound: the one rule for files, arrays, streams and sockets.

    Args:
        block: float samples of any shape.
        name: what the samples come from, for the message.

    Raises:
        InputError: a sample is NaN, infinite, or beyond ``LOUDEST``.
    """
    if not len(block):
        return
    peak = np.abs(block).max()  # NaN if any sample is
    if not np.isfinite(peak):
        raise InputError(f"{name} holds samples that are not numbers (NaN or infinity), expected values in -1..1")
    if peak > LOUDEST:
        raise InputError(f"{name} holds float samples up to {peak:.5g}, expected -1..1: divide them by their full scale")


def _finished(native: Native, name: str) -> Iterator[NDArray[np.float32]]:
    """Checked, resampled and clipped; blocks of any length."""
    count = 0
    for block in _resampled(_checked(native, name)):
        if len(block):
            count += len(block)
            yield np.clip(block, -1.0, 1.0)
    if not count:
        raise InputError(f"{name} holds no sound: its length is zero")


def _checked(native: Native, name: str) -> Native:
    for block, rate in native:
        check_samples(block, name)
        yield block, rate


def _resampled(native: Native) -> Iterator[NDArray[np.float32]]:
    """To 16 kHz. soxr's stream gives the same samples for every way of cutting the input into blocks."""
    stream: soxr.ResampleStream | None = None
    current = 0
    nothing = np.zeros(0, np.float32)
    for block, rate in native:
        if rate != current:  # the first block, or a file that changes its rate on the way
            if stream is not None:
                yield stream.resample_chunk(nothing, last=True)
            current = rate
            stream = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
        yield block if stream is None else stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(nothing, last=True)


def _equal(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of ``size``, the last one shorter."""
    waiting: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(waiting)
            whole = count // size * size
            yield from joined[:whole].reshape(-1, size)
            waiting, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)
