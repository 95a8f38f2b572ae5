"""What finds a face in pictures, and which of several faces is followed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LANDMARKS = 468

FOUND_AGAIN = 1.0
"""Seconds without the followed face after which another one may be taken for it."""


@dataclass(frozen=True)
class Tracked:
    """A face in N pictures.

    landmarks: (N, 468, 3) float32 pixels of the picture: x right, y down, z away from the camera, on x's scale; NaN where no
        face was found. scores: (N, S) float32 on the tracker's ``score_names``, 0..1, NaN likewise. found: (N,) bool.
    faces: (N,) int, faces seen in each picture, the followed one included.
    """

    landmarks: Array
    scores: Array
    found: Array
    faces: Array


class Tracker(Protocol):
    """Finds the face of one person in a row of pictures.

    key: changes whenever the tracker would give other results; cached tracks are kept under it.
    score_names: names of the scores, ARKit's where they mean the same.
    canonical: (468, 3) centimetres, the face that landmarks are registered to: x to its own left, y up, z forward.
    """

    key: str
    score_names: tuple[str, ...]
    canonical: Array

    def track(self, frames: Iterable[Array], times: Iterable[float]) -> Tracked:
        """frames: (H, W, 3) uint8 RGB. times: seconds of each, increasing. Both are read picture by picture."""
        ...


class Follower:
    """Chooses, picture by picture, which of the faces seen is the one being followed.

    First the largest, the more so the nearer to the middle; then whichever is nearest to where the face was last. A face that
    jumps by more than its own width is another one: it is not taken before ``FOUND_AGAIN`` seconds have passed.
    """

    def __init__(self) -> None:
        self._last: tuple[float, Array, float] | None = None  # seconds, centre, width

    def choose(self, faces: list[Array], size: tuple[int, int], time: float) -> int | None:
        """Index of the face to take, None for none. faces: (n, 3) landmarks in pixels each. size: (width, height)."""
        boxes = [(face[:, :2].mean(axis=0), float(np.ptp(face[:, 0]))) for face in faces]
        if not boxes:
            return None
        if self._last is not None and time - self._last[0] <= FOUND_AGAIN:
            _, place, width = self._last
            distances = [float(np.linalg.norm(centre - place)) for centre, _ in boxes]
            best = int(np.argmin(distances))
            if distances[best] > max(width, boxes[best][1]):
                return None
        else:
            middle = np.array(size) / 2
            off = [float(np.linalg.norm(centre - middle)) / max(size) for centre, _ in boxes]
            best = int(np.argmax([width * (1.0 - o) for (_, width), o in zip(boxes, off)]))
        self._last = (time, *boxes[best])
        return best
