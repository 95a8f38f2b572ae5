"""Motion: what a face does over time."""

from __future__ import annotations

import importlib
import inspect
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import ModuleType
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
        if self.weights is not None and (
            self.weights.ndim != 2 or self.weights.shape[1] != len(self.names)
        ):
            raise InputError(
                f"weights have shape {self.weights.shape}, expected (T, {len(self.names)}) for {len(self.names)} names"
            )
        if self.offsets is not None and (self.offsets.ndim != 3 or self.offsets.shape[2] != 3):
            raise InputError(f"offsets have shape {self.offsets.shape}, expected (T, V, 3)")
        if self.head_pose is not None and self.head_pose.shape != (len(self), 3):
            raise InputError(
                f"head_pose has shape {self.head_pose.shape}, expected ({len(self)}, 3)"
            )

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
            raise InputError(
                f"unknown shape {name!r}: this motion has {', '.join(self.names) or 'vertex offsets only'}"
            )
        return self.weights[:, self.names.index(name)]

    def resampled(self, fps: float) -> Motion:
        """The same motion at another frame rate (see ``motion.py``)."""

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

    def save(
        self, path: str | PathLike[str] | Sequence[str | PathLike[str]], **options: Any
    ) -> None:
        """Write the motion; the suffix chooses the format (.mp4, .glb, .csv, .npz; see ``jambatalk.export``)."""

        for one in [path] if isinstance(path, (str, PathLike)) else path:
            save_motion(self, Path(one), **options)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Motion:
        """Read a motion written as .npz or .csv."""

        return load_motion(Path(path))


# Changing the frame rate of a motion without overshoot.


def resample_frames(values: NDArray[Any], fps: float, new_fps: float) -> NDArray[np.float32]:
    """Resample (T, ...) frames at ``fps`` to ``new_fps`` by monotone cubic interpolation (Fritsch, Carlson 1980).

    Monotone: a mouth that is closed in two neighbouring frames stays closed between them, which a plain cubic spline
    would overshoot. The result has round(T * new_fps / fps) frames (at least 1); its frame i lies at i / new_fps
    seconds, and times after the last frame hold that frame.
    """
    count = len(values)
    new_count = max(1, round(count * new_fps / fps)) if count else 0
    if count < 2:
        return (
            np.repeat(np.asarray(values, np.float32), new_count, axis=0)
            if count
            else np.asarray(values, np.float32)
        )
    return interpolated(values, np.arange(new_count) * (fps / new_fps))


def interpolated(values: NDArray[Any], times: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(T, ...) frames -> (n, ...) at ``times`` (n,), in frames from the first; times outside hold the nearest frame."""
    count = len(values)
    if count < 2:
        return np.repeat(np.asarray(values, np.float32), len(times), axis=0)
    flat = np.asarray(values, np.float64).reshape(count, -1)
    steps = np.diff(flat, axis=0)
    slopes = np.zeros_like(flat)
    # Harmonic mean of neighbouring steps where they agree in sign, zero at extrema: keeps each piece monotone.
    left, right = steps[:-1], steps[1:]
    same = left * right > 0
    slopes[1:-1][same] = 2.0 * left[same] * right[same] / (left[same] + right[same])
    times = np.clip(times, 0, count - 1)
    index = np.minimum(times.astype(np.int64), count - 2)
    u = (times - index)[:, None]
    p0, p1, m0, m1 = flat[index], flat[index + 1], slopes[index], slopes[index + 1]
    h01 = u * u * (3.0 - 2.0 * u)
    out = p0 + h01 * (p1 - p0) + u * (1.0 - u) ** 2 * m0 - u * u * (1.0 - u) * m1
    return out.reshape(len(times), *values.shape[1:]).astype(np.float32)


# Motions as files: one module per format, chosen by the file's suffix.
#
# A format is one module beside this file with ``save(motion, path, *, ...options)`` and, where the format can be read back,
# ``load(path) -> Motion``, plus one line in ``FORMATS``. Modules are imported on first use.


FORMATS: dict[str, str] = {
    ".mp4": "jambatalk.formats.mp4",
    ".glb": "jambatalk.formats.glb",
    ".csv": "jambatalk.formats.live_link_csv",
    ".npz": "jambatalk.formats.npz",
    ".json": "jambatalk.formats.json",
}
"""Suffix -> module."""

READABLE = (".npz", ".csv", ".json")
"""The suffixes that ``load_motion`` reads."""


def format_module(path: str | PathLike[str]) -> ModuleType:
    """The module for a file's suffix (case does not matter). InputError lists the known suffixes."""
    suffix = _suffix(path)
    if suffix not in FORMATS:
        raise InputError(
            f"cannot write {path}: unknown extension {suffix or '(none)'!r}, expected one of {', '.join(FORMATS)}"
        )
    return importlib.import_module(FORMATS[suffix])


def check_outputs(paths: Iterable[str | PathLike[str]]) -> None:
    """InputError if one of ``paths`` cannot be written. For use before the long work whose result goes there."""
    for path in map(Path, paths):
        if _suffix(path) not in FORMATS:
            format_module(path)
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"cannot write {path}: it is read-only")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Asking is not enough (a read-only mount, a full quota, Windows rules): try.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def save_motion(motion: Motion, path: str | PathLike[str], **options: Any) -> None:
    """Write ``motion``; the suffix chooses the format.

    options: passed to the format that knows them (for example ``size`` to .mp4), so that one call can serve several
        formats. InputError for a name that no format knows, an unknown suffix, or an unwritable path.
    """
    module = format_module(path)
    known = _options(module)
    for name in options:
        if name not in known and not any(
            name in _options(importlib.import_module(other)) for other in FORMATS.values()
        ):
            raise InputError(
                f"unknown option {name!r} for {path}: {_suffix(path)} knows {', '.join(known) or 'no options'}"
            )
    module.save(
        motion, Path(path), **{name: value for name, value in options.items() if name in known}
    )


def load_motion(path: str | PathLike[str]) -> Motion:
    """Read a motion back. InputError if the file is missing, damaged, or of a format that cannot be read."""
    path = Path(path)
    if _suffix(path) not in READABLE:
        raise InputError(
            f"cannot read a motion from {path}: extension {_suffix(path) or '(none)'!r}, expected one of {', '.join(READABLE)}"
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a motion file")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    motion: Motion = format_module(path).load(path)
    return motion


def _suffix(path: str | PathLike[str]) -> str:
    return Path(path).suffix.lower()


def _options(module: ModuleType) -> list[str]:
    return [
        name
        for name, p in inspect.signature(module.save).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    ]
