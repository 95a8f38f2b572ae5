"""What every link has in common: where it sends to, what was sent, and frames that are safe to send."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.live.links.target import Target
    from jambatalk.session import Frame

LOG = logging.getLogger(__name__)


class Link(ABC):
    """One receiver of frames. ``send`` never waits for it and never raises because of it.

    sent, failed: frames that left, and frames (or parts of one) that the receiver's machine refused or that found no room.
    """

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        if not names:
            raise InputError(f"{target.url} takes shape weights, but this network moves the vertices of a mesh")
        if not 1 <= fps <= 240:
            raise InputError(f"frames come at {fps} per second, expected 1 to 240")
        self.target, self.names, self.fps = target, tuple(names), float(fps)
        self.sent = self.failed = 0
        self._warned = False

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Send one frame now; a receiver that is not there is counted in ``failed``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the socket; may be called twice."""

    def trouble(self, reason: object) -> None:
        """Count a failure; only the first one is said, a missing receiver would say it at every frame."""
        self.failed += 1
        if not self._warned:
            self._warned = True
            LOG.warning("%s: %s; frames go on being sent, in case a receiver comes", self.target.url, reason)


def safe_weights(frame: Frame) -> NDArray[np.float32]:
    """(K,) float32 in 0..1: an engine may keep a NaN for ever, so it becomes 0."""
    weights = np.nan_to_num(np.asarray(frame.weights, np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(weights, 0.0, 1.0)


def safe_pose(frame: Frame) -> NDArray[np.float32] | None:
    """(3,) radians (pitch, yaw, roll), or None without a head pose or with one that is not finite."""
    pose = getattr(frame, "head_pose", None)
    if pose is None or not np.isfinite(pose).all():
        return None
    return np.asarray(pose, np.float32)
