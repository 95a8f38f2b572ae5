"""Speech as the sound of a video: 48 kHz, pulled out piece by piece, exactly as long as the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from jambatalk.audio import Speech

Array = NDArray[Any]

RATE = 48_000


class Soundtrack:
    """Gives the first ``samples`` samples of a speech at 48 kHz, with silence after its end."""

    def __init__(self, speech: Speech) -> None:
        self._pieces = self._resampled(speech)
        self._rest = np.zeros(0, np.float32)

    @staticmethod
    def _resampled(speech: Speech) -> Iterator[Array]:
        stream = soxr.ResampleStream(speech.rate, RATE, 1, dtype="float32", quality="HQ")
        for block in speech.blocks(1.0):
            yield stream.resample_chunk(np.ascontiguousarray(block))
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)

    def take(self, samples: int) -> Array:
        """The next (samples,) float32, clipped to -1..1."""
        parts, have = [self._rest], len(self._rest)
        while have < samples:
            piece = next(self._pieces, None)
            if piece is None:
                piece = np.zeros(samples - have, np.float32)
            parts.append(piece)
            have += len(piece)
        joined = np.concatenate(parts)
        self._rest = joined[samples:]
        return np.clip(joined[:samples], -1.0, 1.0)
