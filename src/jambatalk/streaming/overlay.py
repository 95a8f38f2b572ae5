"""Motion over the speech: what a session lets move besides what the network moves."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class MotionOverlay(Protocol):
    """Blinks, gaze, head motion: anything that follows the frames and the sound.

    Nothing may depend on how sound and frames are cut into pieces: a session cuts them as they come. One layer belongs to one
    session, and goes on through its turns.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The shapes of the frames that come out, K2 of them."""

    def hear(self, samples: Array) -> None:
        """Sound (n,) at 16 kHz, in order; at least up to the time of the frames that are asked for next."""

    def apply(self, weights: Array) -> tuple[Array, Array | None]:
        """The next frames (n, K) -> (n, K2) weights in 0..1, and the head's pose (n, 3) in radians or None."""

    def reset(self) -> None:
        """As new."""

    def state(self) -> dict[str, Any]:
        """All that it remembers: JSON values, arrays, and dicts and lists of them."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
