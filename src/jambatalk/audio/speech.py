"""Speech: mono float32 audio at 16 kHz."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.decode import SAMPLE_RATE, check_samples, open_blocks
from jambatalk.errors import InputError

__all__ = ["LONG_SECONDS", "SAMPLE_RATE", "Speech"]

LONG_SECONDS = 600.0
"""Sound longer than this (38 MB of samples) is kept in a temporary file."""


@dataclass(frozen=True, eq=False)
class Speech:
    """Mono sound, ready for the network.

    Attributes:
        samples: (n,) float32 in -1..1, n >= 1, no NaN and no infinity. Longer than
            ``LONG_SECONDS`` it may be a memory map of a temporary file that vanishes together with
            the array.
        rate: samples per second, always 16000; use ``Speech.load(array, rate=...)`` for anything
            else.
        notes: what the user of its file may want to know, such as which of several tracks it is.
    """

    samples: NDArray[np.float32]
    rate: int = SAMPLE_RATE
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rate != SAMPLE_RATE:
            raise InputError(
                f"a Speech has {SAMPLE_RATE} samples per second, not {self.rate}: "
                f"use Speech.load(samples, rate={self.rate})"
            )
        samples = np.asanyarray(self.samples)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise InputError(
                f"a Speech holds (n,) float samples, not {samples.dtype} {samples.shape}: "
                "use Speech.load(samples, rate=...)"
            )
        if not len(samples):
            raise InputError("a Speech holds at least one sample, but the array is empty")
        object.__setattr__(self, "samples", samples.astype(np.float32, copy=False))
        for block in self.blocks():
            check_samples(block, "the samples")

    @property
    def seconds(self) -> float:
        """How long the sound lasts."""
        return len(self.samples) / self.rate

    def blocks(self, seconds: float = 10.0) -> Iterator[NDArray[np.float32]]:
        """Give the samples in blocks of ``seconds`` (the last one may be shorter), in order.

        Of a memory-mapped Speech, pages already read are returned to the system, so that walking
        through hours of sound keeps only one block resident.
        """
        step = max(1, round(seconds * self.rate))
        pages = self.samples.base if isinstance(self.samples, np.memmap) else None
        for start in range(0, len(self.samples), step):
            yield np.asarray(self.samples[start : start + step])
            if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def load(cls, source: Any, rate: int | None = None, track: int | None = None) -> Speech:
        """Decode anything that sounds to 16 kHz mono.

        The clock is the file's: gaps in its time stamps are silence, and so is the time before a
        sound track that begins after the pictures.

        Args:
            source: a path (wav, flac, mp3, ogg, opus, m4a, aac ... or a video with a sound track),
                ``"-"`` for standard input, bytes, a binary file object, a Speech, an array or
                tensor ((n,), (n, channels) or (channels, n), floats in -1..1 or integers of any
                width), or a pair (rate, array) or (array, rate). Channels are averaged.
            rate: samples per second of an array; files know their own.
            track: number of the sound track, from 1, in a file of several; by default the one that
                the file marks as its default, else the first.

        Raises:
            InputError: the source is missing, empty, damaged, cut off, without sound, or has
                samples that are NaN or infinite.
        """
        if isinstance(source, Speech):
            return source
        notes: list[str] = []
        samples = gather(open_blocks(source, rate, track=track, notes=notes))
        return cls(samples, notes=tuple(notes))


def gather(
    blocks: Iterable[NDArray[np.float32]], limit: float = LONG_SECONDS
) -> NDArray[np.float32]:
    """Join float32 blocks into one (n,) array.

    Beyond ``limit`` seconds it is a read-only memory map of a temporary file. The file has no name
    on POSIX and is deleted on closing on Windows: nothing is left behind even after a crash.
    """
    kept: list[NDArray[np.float32]] = []
    count = 0
    spool: IO[bytes] | None = None
    for block in blocks:
        count += len(block)
        if spool is None and count > limit * SAMPLE_RATE:
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
