"""Speech: mono float32 audio at 16 kHz."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.blocks import RATE, check_samples, open_blocks
from jambatalk.audio.long import LONG_SECONDS, gather
from jambatalk.errors import InputError

__all__ = ["LONG_SECONDS", "RATE", "Speech"]


@dataclass(frozen=True, eq=False)
class Speech:
    """Mono sound, ready for the network.

    samples: (n,) float32 in -1..1, n >= 1, no NaN and no infinity. Longer than ``LONG_SECONDS`` it may be a memory map of
        a temporary file that vanishes together with the array.
    rate: samples per second, always 16000; use ``Speech.load(array, rate=...)`` for anything else.
    """

    samples: NDArray[np.float32]
    rate: int = RATE

    def __post_init__(self) -> None:
        if self.rate != RATE:
            raise InputError(
                f"a Speech has {RATE} samples per second, not {self.rate}: use Speech.load(samples, rate={self.rate})"
            )
        samples = np.asanyarray(self.samples)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise InputError(
                f"a Speech holds (n,) float samples, not {samples.dtype} {samples.shape}: use Speech.load(samples, rate=...)"
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
        """The samples in blocks of ``seconds`` (the last one may be shorter), in order.

        Of a memory-mapped Speech, pages already read are given back to the system, so that walking through hours of sound
        keeps only one block resident.
        """
        step = max(1, round(seconds * self.rate))
        pages = self.samples.base if isinstance(self.samples, np.memmap) else None
        for start in range(0, len(self.samples), step):
            yield np.asarray(self.samples[start : start + step])
            if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def load(cls, source: Any, rate: int | None = None) -> Speech:
        """Decode anything that sounds to 16 kHz mono.

        source: a path (wav, flac, mp3, ogg, opus, m4a, aac ... or a video with a sound track), ``"-"`` for standard input,
            bytes, a binary file object, a Speech, or an array: (n,), (n, channels) or (channels, n), floats in -1..1 or
            integers of any width. Channels are averaged.
        rate: samples per second of an array; files know their own.
        Raises InputError for whatever cannot be heard: missing, empty, damaged or cut-off files, files without sound,
        NaN or infinite samples.
        """
        if isinstance(source, Speech):
            return source
        return cls(gather(open_blocks(source, rate)))
