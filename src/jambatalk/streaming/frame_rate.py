"""Resample frames to another rate as they come, as ``motion`` does with a whole motion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.motion import interpolated

Array = NDArray[np.float32]


class FrameRate:
    """Resamples (n, K) at ``fps`` to (m, K) at ``new_fps``, equal to ``motion.resample_frames``.

    The interpolation is monotone cubic: a frame between two others depends on the one after both,
    for its slope, so the delay is two input frames at most. At rates below ``fps`` there may be one
    frame more at the end: a stream cannot take back what is out.
    """

    def __init__(self, fps: float, new_fps: float) -> None:
        self.fps, self.new_fps = fps, new_fps
        self.reset()

    @property
    def delay(self) -> float:
        """Seconds after a frame's own time that must be known for it, at most."""
        return 0.0 if self.fps == self.new_fps else 2.0 / self.fps

    def reset(self) -> None:
        """Begin a new turn."""
        self._kept: Array | None = None  # input frames that later outputs need
        self._start = 0  # index of the first of them
        self._emitted = 0

    def __call__(self, values: Array, last: bool = False) -> Array:
        """Give the output frames that became ready; with ``last`` all the rest."""
        if self.fps == self.new_fps:
            return values
        kept = values if self._kept is None else np.concatenate([self._kept, values])
        if not len(kept):
            return values
        count = self._start + len(kept)
        if last:
            # A frame may be out already that rounding the motion's length leaves off.
            total = max(1, round(count * self.new_fps / self.fps), self._emitted) if count else 0
        else:
            total = self._emitted
            while self._reach(total) < count:
                total += 1
        wanted = np.arange(self._emitted, total)
        out = self._at(kept, wanted) if len(wanted) else kept[:0]
        self._emitted = total
        # Where the next output lies, one frame before it for the slope.
        first = max(int(total * (self.fps / self.new_fps)) - 1, 0)
        keep = min(max(first - self._start, 0), len(kept))
        self._kept, self._start = kept[keep:].copy(), self._start + keep
        return out

    def _reach(self, index: int) -> int:
        """The last input frame that output ``index`` depends on."""
        time = index * (self.fps / self.new_fps)
        return int(time) + 2 if time > int(time) else int(time)

    def _at(self, kept: Array, wanted: NDArray[np.int64]) -> Array:
        # The interpolation is local: on the kept frames it gives what it gives on all of them.
        # Their first lies one frame before the first output (or is the motion's first), so that no
        # slope at their edge is used.
        return interpolated(kept, wanted * (self.fps / self.new_fps) - self._start)

    def state(self) -> dict[str, Any]:
        """All that it remembers."""
        kept = {} if self._kept is None else {"kept": self._kept.copy()}
        return {"start": self._start, "made": self._emitted} | kept

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self._start, self._emitted = int(state["start"]), int(state["made"])
        self._kept = np.asarray(state["kept"], np.float32) if "kept" in state else None
        if self._kept is not None and self._kept.ndim != 2:
            raise ValueError(f"frames have shape {self._kept.shape}, expected (n, K)")
