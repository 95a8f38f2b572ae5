"""Motion over the speech, and the way to the neutral face where sound stays away."""

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
