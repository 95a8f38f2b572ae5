"""Fade the face to neutral: when sound stays away, and when a speaker is interrupted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

PATIENCE = 0.3
"""Seconds without sound for which the network alone moves the face."""

FALL, RISE = 0.3, 0.1
"""Seconds from there to the neutral face, and back once there is sound."""

INTERRUPTED = 0.16
"""Seconds in which an interrupted face becomes neutral: faster than a jaw closes in speech would
look like a snap."""


class NeutralFade:
    """A gain per frame: 1 while there is sound, 0 once it has stayed away for PATIENCE + FALL."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.reset()

    def reset(self) -> None:
        """Start at full gain."""
        self.gain, self.missing = 1.0, 0.0

    def step(self, missing: bool) -> float:
        """Give the next frame's gain; ``missing``: whether all its sound was concealed."""
        self.missing = self.missing + 1.0 / self.fps if missing else 0.0
        if self.missing > PATIENCE:
            self.gain = max(self.gain - 1.0 / (FALL * self.fps), 0.0)
        else:
            self.gain = min(self.gain + 1.0 / (RISE * self.fps), 1.0)
        return self.gain


def eased(gain: float) -> float:
    """Map 0..1 to 0..1 with soft ends."""
    return gain * gain * (3.0 - 2.0 * gain)


def fade_to_neutral(last: Array, fps: float) -> Array:
    """Lead from the last frame's weights (K,) to the neutral face: (n, K) frames."""
    count = max(round(INTERRUPTED * fps), 1)
    share = 1.0 - np.arange(1, count + 1) / count
    return (eased(share)[:, None] * last).astype(np.float32)  # type: ignore[arg-type, index]
