"""A clip: one training example, speech with the motion of a face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.motion import Motion
from jambatalk.text.phones import Timed

Array = NDArray[Any]


@dataclass(frozen=True)
class Clip:
    """One training example.

    id: unique within its corpus. subject: who speaks. split: "train", "val", "test_seen", …
    samples: (n,) float32 mono speech at 16 kHz, in -1..1. motion: the motion on a face; frame t
    belongs to the time t / fps of the samples. gap: (T,) float32 metres, the inner-lip gap as it
    was measured on the speaker (not on the head that it is applied to), or None. tracked: (T,)
    bool, False where the motion was interpolated because tracking failed; None means all true.
    words, phones: with their times in seconds, empty when unknown. corpus: the corpus' name.
    pseudo: True when the motion was made by a model rather than measured.
    """

    id: str
    subject: str
    split: str
    samples: Array
    motion: Motion
    gap: Array | None = None
    tracked: Array | None = None
    words: tuple[Timed, ...] = ()
    phones: tuple[Timed, ...] = ()
    corpus: str = ""
    pseudo: bool = False

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise InputError(
                f"clip {self.id}: samples are {self.samples.dtype} {self.samples.shape}, expected "
                "float32 (n,)"
            )
        for name in ("gap", "tracked"):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.motion),):
                raise InputError(
                    f"clip {self.id}: {name} has shape {values.shape}, "
                    f"expected ({len(self.motion)},)"
                )

    @property
    def weights(self) -> Array:
        """(T, K) float32 shape weights on ``motion.names``. InputError when the motion is vertex
        offsets.
        """
        if self.motion.weights is None:
            raise InputError(f"clip {self.id} holds vertex offsets, not shape weights")
        return self.motion.weights

    @property
    def fps(self) -> float:
        return self.motion.fps

    @property
    def frames(self) -> int:
        return len(self.motion)
