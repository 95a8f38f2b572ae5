"""Motion as events beside an agent's sound, in the manner of OpenAI's Realtime API.

    response.output_audio.blendshapes          weights of consecutive frames
    response.output_audio.visemes              changes of what the mouth shows
    response.output_audio.motion.started       the sound began to play (where the program knows)
    response.output_audio.motion.done          the answer is complete
    response.output_audio.motion.interrupted   drop all frames of this answer that were not shown

Times are milliseconds in the answer's own clock: 0 is its first sample. All have ``item_id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Event = dict[str, Any]

PREFIX = "response.output_audio."
BLENDSHAPES, VISEMES = PREFIX + "blendshapes", PREFIX + "visemes"
STARTED, DONE = PREFIX + "motion.started", PREFIX + "motion.done"
INTERRUPTED = PREFIX + "motion.interrupted"

SHORTEST_VISEME = 0.06
"""Seconds; a viseme that shows for less is no change of its own."""


def blendshapes(
    item_id: str,
    offset_ms: float,
    fps: float,
    weights: NDArray[np.float32],
    names: Sequence[str] | None = None,
) -> Event:
    """Weights (n, K): frame i lies at ``offset_ms + 1000 * i / fps``.

    Args:
        item_id: of the answer.
        offset_ms: milliseconds from the answer's first sample to the first frame.
        fps: frames per second.
        weights: in 0..1; three decimals are given.
        names: the K shapes; the first event of an answer has them.
    """
    event: Event = {
        "type": BLENDSHAPES,
        "item_id": item_id,
        "offset_ms": round(offset_ms, 3),
        "fps": fps,
        "weights": [[round(float(value), 3) for value in row] for row in weights],
    }
    return event if names is None else event | {"names": list(names)}


def visemes(item_id: str, changes: Sequence[tuple[float, str]]) -> Event:
    """``changes``: (milliseconds, viseme), in order."""
    shown = [{"offset_ms": round(at, 3), "viseme": name} for at, name in changes]
    return {"type": VISEMES, "item_id": item_id, "visemes": shown}


def started(item_id: str) -> Event:
    """The answer's sound began to play: its clock is at 0 now."""
    return {"type": STARTED, "item_id": item_id}


def done(item_id: str, duration_ms: float) -> Event:
    """The answer is complete; its sound lasts ``duration_ms``."""
    return {"type": DONE, "item_id": item_id, "duration_ms": round(duration_ms, 3)}


def interrupted(item_id: str) -> Event:
    """The answer was broken off: drop its frames that were not shown, and close the mouth."""
    return {"type": INTERRUPTED, "item_id": item_id}


class VisemeChanges:
    """Finds, frame by frame, when the viseme that the mouth shows most changes.

    A change is given once the new viseme has shown for SHORTEST_VISEME, with the time at which it
    began; the first viseme at once. The same as ``face.shape_sets.viseme_events`` on the whole.

    Args:
        names: of the visemes.
        fps: frames per second.
    """

    def __init__(self, names: Sequence[str], fps: float) -> None:
        self._names, self._fps = names, fps
        self._shown: int | None = None
        self._run, self._length, self._start = -1, 0, 0.0
        self._end = 0.0

    @property
    def known_until(self) -> float:
        """Milliseconds up to which no change can be found any more."""
        return self._end if self._run == self._shown else self._start

    def push(self, offset_ms: float, weights: NDArray[np.float32]) -> list[tuple[float, str]]:
        """Add (n, len(names)) weights whose first frame lies at ``offset_ms``; give the changes."""
        found = []
        for i, viseme in enumerate(weights.argmax(axis=1)):
            if viseme != self._run:
                self._run, self._length = int(viseme), 0
                self._start = offset_ms + 1000 * i / self._fps
            self._length += 1
            long_enough = self._length / self._fps >= SHORTEST_VISEME or self._shown is None
            if self._run != self._shown and long_enough:
                self._shown = self._run
                found.append((self._start, self._names[self._run]))
        self._end = offset_ms + 1000 * len(weights) / self._fps
        return found
