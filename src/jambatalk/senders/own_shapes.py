"""Frames as weights of a character's own shapes, for whichever protocol sends them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.transfer import ShapeTransfer
from jambatalk.senders.base import Sender, Target, safe_weights

if TYPE_CHECKING:
    from jambatalk.session import Frame

VRM0_NAMES = {
    "a": "A",
    "i": "I",
    "u": "U",
    "e": "E",
    "o": "O",
    "blink": "Blink",
    "blink_l": "Blink_L",
    "blink_r": "Blink_R",
    "lookup": "LookUp",
    "lookdown": "LookDown",
    "lookleft": "LookLeft",
    "lookright": "LookRight",
}
"""VRM 0's presets as files name them -> as receivers of VMC do (vrm.dev's list of presets)."""


class OwnShapesSender(Sender):
    """Solves each frame's weights for a character (see ``face.transfer``) and sends those.

    Args:
        target: the receiver's address; for VMC without ``shapes=`` its ``shapes=own`` is taken.
        names: shapes of the frames, of ARKit.
        fps: frames per second.
        face: the character.
        open: makes the sender that sends them on.

    Raises:
        InputError: the character has no shape that can say what the frames do.
    """

    def __init__(
        self,
        target: Target,
        names: Sequence[str],
        fps: float,
        face: Face,
        open: Callable[[Target, Sequence[str], float], Sender],
    ) -> None:
        super().__init__(target, names, fps)
        self._transfer = ShapeTransfer(face, names)
        used = self._transfer.used
        self._columns = face.columns(used)
        vrm = getattr(face.source, "vrm", None)
        renamed = VRM0_NAMES if target.scheme == "vmc" and vrm and vrm.version == 0 else {}
        self._names = tuple(
            renamed.get(name, name)
            for name in (shape.removesuffix(" (expression)") for shape in used)
        )
        if len(set(self._names)) < len(self._names):
            raise InputError(f"{target.url}: two shapes of the character have the same name")
        if target.scheme == "vmc":
            target = replace(target, options={"shapes": "own", **target.options})
        self._inner = open(target, self._names, fps)

    def send(self, frame: Frame) -> None:
        """Send one frame now."""
        weights = self._transfer(safe_weights(frame)[None])[0, self._columns]
        self._inner.send(replace(frame, weights=np.asarray(weights), names=self._names))
        self.sent, self.failed = self._inner.sent, self._inner.failed

    def close(self) -> None:
        """Close the sender behind."""
        self._inner.close()
