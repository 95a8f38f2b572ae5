"""Motion over the speech: what a session moves besides what the network moves."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE

Array = NDArray[np.float32]


@runtime_checkable
class MotionOverlay(Protocol):
    """Blinks, gaze, head motion: anything that follows the frames and the sound.

    Results must not depend on how sound and frames are cut into pieces: a session cuts them as they
    come. One overlay belongs to one session and continues through its turns.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The shapes of the frames that come out, K2 of them."""

    def feed(self, samples: Array) -> None:
        """Add sound (n,) at 16 kHz, in order; at least up to the time of the next frames."""

    def apply(self, weights: Array) -> tuple[Array, Array | None]:
        """Move the next frames.

        Args:
            weights: (n, K) in 0..1.

        Returns:
            (n, K2) weights in 0..1, and the head's pose (n, 3) in radians or None.
        """

    def reset(self) -> None:
        """Forget everything: as new."""

    def state(self) -> dict[str, Any]:
        """All that it remembers: JSON values, arrays, and dicts and lists of them."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""


class OverlayClock:
    """Feeds an overlay the sound that belongs to its frames.

    The overlay's frames and sound run on through all turns, while each turn's sound starts at 0.
    """

    def __init__(self, overlay: MotionOverlay, fps: float) -> None:
        self.overlay, self.fps = overlay, fps
        self.frames = self.samples = 0
        self.ahead = 0
        """Samples of the last turn beyond its frames (less than one frame): the next turn's first
        samples lie at the same times, and are left out."""

    def reset(self) -> None:
        """Forget everything: as new."""
        self.frames = self.samples = self.ahead = 0
        self.overlay.reset()

    def begin_turn(self) -> None:
        """Line up the next turn's first frame with its first sample."""
        self.ahead = max(self.samples - self._due(), 0)

    def apply(self, values: Array, sounds: list[Array]) -> tuple[Array, Array | None]:
        """Move the next frames (n, K); ``sounds``: the next pieces of sound at 16 kHz."""
        self.frames += len(values)
        for sound in sounds:
            skipped = min(self.ahead, len(sound))
            self.ahead -= skipped
            self.overlay.feed(sound[skipped:])
            self.samples += len(sound) - skipped
        # The last frames of a turn and of an interruption have no sound: silence.
        missing = self._due() - self.samples
        if missing > 0:
            self.overlay.feed(np.zeros(missing, np.float32))
            self.samples += missing
        return self.overlay.apply(values)

    def _due(self) -> int:
        """Samples up to the end of the frames so far."""
        return math.ceil(self.frames / self.fps * SAMPLE_RATE)
