"""One live stream of speech through a talker, in memory that does not grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.nn.mel import RATE

if TYPE_CHECKING:
    from jambatalk.talker import Talker

Array = NDArray[np.float32]

# Hops that go through the network at once at most: bounds memory when someone pushes an hour in one piece.
LARGEST_CHUNK = 256


@dataclass(frozen=True)
class Frame:
    """What the face does at one moment.

    time: seconds since the first sample. weights: (K,) float32 in 0..1. names: the K shape names.
    """

    time: float
    weights: Array
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> float:
        """The weight of one shape: ``frame["jawOpen"]``."""
        return float(self.weights[self.names.index(name)])


class Session:
    """Push sound in any pieces, get frames as soon as their look-ahead has been heard.

    The frame at time t comes out once the sound up to t + look-ahead is in. ``flush`` ends the stream: the rest is
    treated as followed by silence, and the session is ready for a new one.
    """

    def __init__(self, talker: Talker, rate: int = RATE) -> None:
        if rate < 1000:
            raise InputError(f"sample rate is {rate}, expected at least 1000 Hz")
        self.talker, self.rate = talker, rate
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._state: Any = self.talker.model.init_state()
        self._pending = np.zeros(0, np.float32)
        self._heard = 0  # samples at 16 kHz
        self._steps = 0  # hops that went through the network
        self._resampler = None if self.rate == RATE else soxr.ResampleStream(self.rate, RATE, 1, dtype="float32")

    def push(self, samples: NDArray[Any]) -> list[Frame]:
        """samples (n,) mono in -1..1 at the session's rate (int16 is scaled) -> the frames that became ready."""
        return self._frames(self.push_array(samples))

    def flush(self) -> list[Frame]:
        """The frames that are still owed; then the session starts afresh."""
        return self._frames(self.flush_array())

    def push_array(self, samples: NDArray[Any]) -> tuple[int, Array]:
        """As ``push``, but (index of the first frame, weights (n, K))."""
        return self._run(self._resampled(_checked(samples), last=False), last=False)

    def flush_array(self) -> tuple[int, Array]:
        """As ``flush``, but (index of the first frame, weights (n, K))."""
        result = self._run(self._resampled(np.zeros(0, np.float32), last=True), last=True)
        self.reset()
        return result

    def _resampled(self, samples: Array, last: bool) -> Array:
        if self._resampler is None:
            return samples
        return np.asarray(self._resampler.resample_chunk(samples, last=last), np.float32)

    def _run(self, samples: Array, last: bool) -> tuple[int, Array]:
        config = self.talker.model.config
        hop, delay = config.hop, config.delay
        self._heard += len(samples)
        parts = [self._pending, samples]
        total = -(-self._heard // hop)  # frames that this much sound owes in the end
        if last and self._heard:
            parts.append(np.zeros((total + delay) * hop - self._heard, np.float32))
        pending = np.concatenate(parts)
        usable = len(pending) // hop * hop
        self._pending = pending[usable:].copy()
        first = max(self._steps - delay, 0)
        outputs = []
        for start in range(0, usable, LARGEST_CHUNK * hop):
            chunk = torch.from_numpy(pending[start : min(start + LARGEST_CHUNK * hop, usable)])[None]
            with torch.inference_mode():
                y, self._state = self.talker.model(chunk.to(self.talker.device), self._state)
            skip = max(delay - self._steps, 0)
            self._steps += y.shape[1]
            outputs.append(y[0, skip:].float().cpu().numpy())
        values = np.concatenate(outputs) if outputs else np.zeros((0, config.outputs), np.float32)
        return first, np.clip(values, 0.0, 1.0) if self.talker.names else values

    def _frames(self, indexed: tuple[int, Array]) -> list[Frame]:
        first, weights = indexed
        fps, names = self.talker.fps, self.talker.names
        return [Frame((first + i) / fps, row, names) for i, row in enumerate(weights)]


def _checked(samples: NDArray[Any]) -> Array:
    array = np.asarray(samples)
    if array.ndim != 1:
        raise InputError(f"pushed samples have shape {array.shape}, expected one channel (n,)")
    if array.dtype == np.int16:
        return array.astype(np.float32) / 32768.0
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"pushed samples are {array.dtype}, expected float32 in -1..1 or int16")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError("pushed samples hold NaN or infinity, expected finite numbers in -1..1")
    return array
