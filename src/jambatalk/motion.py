"""Motion: what a face does over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.audio import Speech
    from jambatalk.face.face import Face

Array = NDArray[Any]


@dataclass(frozen=True)
class Motion:
    """What a face does over time: shape weights, or vertex offsets.

    fps: frames per second; frame t belongs to the time t / fps seconds.
    weights: (T, K) float32 on ``names``, or None.
    names: the K shape names.
    offsets: (T, V, 3) float32 metres from the template, or None. Exactly one of weights and offsets is given.
    head_pose: (T, 3) float32 radians (pitch, yaw, roll), or None.
    speech: the sound this motion belongs to, when known; video and glb files take their sound from it.
    face: the face that wears it; None means the default head.
    """

    fps: float
    weights: Array | None = None
    names: tuple[str, ...] = ()
    offsets: Array | None = None
    head_pose: Array | None = None
    speech: Speech | None = field(default=None, compare=False)
    face: Face | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.fps <= 0:
            raise InputError(f"fps is {self.fps}, expected a positive number")
        if (self.weights is None) == (self.offsets is None):
            raise InputError("a Motion holds either weights or offsets, exactly one of them")
        if self.weights is not None and (self.weights.ndim != 2 or self.weights.shape[1] != len(self.names)):
            raise InputError(
                f"weights have shape {self.weights.shape}, expected (T, {len(self.names)}) for {len(self.names)} names"
            )
        if self.offsets is not None and (self.offsets.ndim != 3 or self.offsets.shape[2] != 3):
            raise InputError(f"offsets have shape {self.offsets.shape}, expected (T, V, 3)")
        if self.head_pose is not None and self.head_pose.shape != (len(self), 3):
            raise InputError(f"head_pose has shape {self.head_pose.shape}, expected ({len(self)}, 3)")

    def __len__(self) -> int:
        values = self.weights if self.weights is not None else self.offsets
        assert values is not None
        return len(values)

    @property
    def seconds(self) -> float:
        """How long the motion lasts."""
        return len(self) / self.fps

    def column(self, name: str) -> Array:
        """(T,) weights of one shape, for example ``motion.column("jawOpen")``."""
        if self.weights is None or name not in self.names:
            raise InputError(f"unknown shape {name!r}: this motion has {', '.join(self.names) or 'vertex offsets only'}")
        return self.weights[:, self.names.index(name)]

    def resampled(self, fps: float) -> Motion:
        """The same motion at another frame rate (see ``face/resample.py``)."""
        from jambatalk.face.resample import resample_frames

        if fps == self.fps:
            return self
        if fps <= 0:
            raise InputError(f"fps is {fps}, expected a positive number")
        changed: dict[str, Any] = {"fps": fps}
        for name in ("weights", "offsets", "head_pose"):
            values = getattr(self, name)
            if values is not None:
                changed[name] = resample_frames(values, self.fps, fps)
        if self.weights is not None:
            changed["weights"] = np.clip(changed["weights"], 0.0, 1.0)
        return replace(self, **changed)

    def save(self, path: str | PathLike[str] | Sequence[str | PathLike[str]], **options: Any) -> None:
        """Write the motion; the suffix chooses the format (.mp4, .glb, .csv, .npz; see ``jambatalk.export``)."""
        from jambatalk.export import save_motion

        for one in [path] if isinstance(path, (str, PathLike)) else path:
            save_motion(self, Path(one), **options)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Motion:
        """Read a motion written as .npz or .csv."""
        from jambatalk.export import load_motion

        return load_motion(Path(path))
