"""A motion worn by a face: the vertices of any frame, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.render.geometry import blend

Array = NDArray[Any]


class WornMotion:
    """Finds the vertices of one frame without making those of all the others.

    motion: shape weights or vertex offsets; ``motion.face`` wears it, or the default head when there is none.
    identity: one of the face's identities, or None.
    Raises InputError for an unknown identity or shape name, or for offsets that do not fit the face.
    """

    def __init__(self, motion: Motion, identity: str | None = None) -> None:
        face = default_head() if motion.face is None else motion.face
        self.face: Face = face if identity is None else face.with_identity(identity)
        self._motion = motion
        if motion.offsets is not None:
            if motion.offsets.shape[1:] != self.face.vertices.shape:
                raise InputError(
                    f"the motion moves {motion.offsets.shape[1]} vertices, but the face has {len(self.face.vertices)}: "
                    "give the motion the face it was made for (Motion.face)"
                )
        else:
            self._columns = self.face.columns(motion.names)
            self._basis = np.ascontiguousarray(self.face.basis, np.float32).reshape(len(self.face.names), -1)
            self._neutral = np.ascontiguousarray(self.face.vertices, np.float32).reshape(-1)

    def __len__(self) -> int:
        return len(self._motion)

    def vertices(self, frame: int) -> Array:
        """(V, 3) float32 metres, before the head turns."""
        if self._motion.offsets is not None:
            return np.asarray(self.face.vertices + self._motion.offsets[frame], np.float32)
        assert self._motion.weights is not None
        weights = np.ascontiguousarray(self._motion.weights[frame], np.float32)
        return np.asarray(blend(self._neutral, self._basis, self._columns, weights)).reshape(-1, 3)

    def head_pose(self, frame: int) -> Array | None:
        """(3,) radians, or None when the motion leaves the head still."""
        return None if self._motion.head_pose is None else self._motion.head_pose[frame]
