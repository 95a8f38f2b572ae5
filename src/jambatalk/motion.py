"""Motion: what a face does over time, and the registry of the files that hold it.

A motion is written and read by its file's suffix. ``FORMATS`` is the only list of formats: help
texts, error messages, the server's media types and the table in docs/reference/files.md come from
it. A new format is one module in ``jambatalk/formats`` with ``save(motion, path, *, ...options)``
and, if it can be read back, ``load(path) -> Motion``, plus one line in ``FORMATS``.
"""

from __future__ import annotations

import base64
import html
import importlib
import inspect
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.streaming.resampler import resample_frames

if TYPE_CHECKING:
    from jambatalk.audio import Speech
    from jambatalk.face.face import Face

Array = NDArray[Any]

FPS_RANGE = (0.1, 10_000.0)
"""Frame rates that a motion may have; outside, a few bytes of a file would stand for hours of
frames.
"""

MAX_RESAMPLED_VALUES = 2**28
"""Most numbers (frames times shapes or coordinates) that a change of frame rate may make: 1 GB."""

NOTEBOOK_SIZE = (256, 256)
NOTEBOOK_SECONDS = 60.0
"""Size in pixels and longest duration of the video that a notebook plays."""


@dataclass(frozen=True)
class Format:
    """One kind of motion file.

    Args:
        module: name of the module that writes it, imported on first use.
        mime: media type, as HTTP sends it.
        holds: what is in a file, of ``"weights"`` (of shapes), ``"offsets"`` (of vertices),
            ``"mesh"`` (the face) and ``"picture"``. A format with a mesh or pictures takes any
            motion whose face is known.
        summary: a few words for tables of formats.
        readable: whether ``Motion.load`` reads it.
        fps: frames per second that ``animate`` and jobs write when none are asked for, because
            other programs assume them; None for the network's own.
    """

    module: str
    mime: str
    holds: frozenset[str]
    summary: str
    readable: bool = False
    fps: float | None = None

    @property
    def is_picture(self) -> bool:
        """Whether the file is a picture or a video."""
        return "picture" in self.holds

    @property
    def needs_face(self) -> bool:
        """Whether a file shows a face, so that a motion of vertex offsets must come with one."""
        return not self.holds.isdisjoint({"mesh", "picture"})

    @property
    def takes_offsets(self) -> bool:
        """Whether a motion of vertex offsets can be written."""
        return "offsets" in self.holds or self.needs_face

    def load_module(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(self.module)

    def options(self) -> list[str]:
        """Names of the options of its ``save``."""
        parameters = inspect.signature(self.load_module().save).parameters.values()
        return [
            parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
        ]


def _format(
    module: str,
    mime: str,
    holds: str,
    summary: str,
    readable: bool = False,
    fps: float | None = None,
) -> Format:
    module = f"jambatalk.formats.{module}"
    return Format(module, mime, frozenset(holds.split()), summary, readable, fps)


FORMATS: dict[str, Format] = {
    ".mp4": _format("mp4", "video/mp4", "picture", "video with sound"),
    ".glb": _format("glb", "model/gltf-binary", "weights mesh", "animated 3D head, glTF 2.0"),
    ".vrma": _format("vrma", "model/gltf-binary", "weights", "animation for VRM avatars"),
    ".csv": _format(
        "live_link_csv",
        "text/csv; charset=utf-8",
        "weights",
        "recording of Live Link Face",
        readable=True,
        fps=60.0,  # the app's own; importers count rows and assume it
    ),
    ".npz": _format("npz", "application/zip", "weights offsets", "numpy arrays, exact", True),
    ".json": _format("json", "application/json", "weights", "one frame per line", True),
}
"""Suffix -> format. The only list of formats."""


@dataclass(frozen=True, repr=False)
class Motion:
    """What a face does over time: shape weights, or vertex offsets.

    Args:
        fps: frames per second; frame t belongs to the time t / fps seconds.
        weights: (T, K) float32 on ``names``, or None.
        names: the K shape names.
        offsets: (T, V, 3) float32 metres from the template, or None. Exactly one of weights and
            offsets is given.
        head_pose: (T, 3) float32 radians (pitch, yaw, roll), or None.
        speech: the sound this motion belongs to, when known; videos take their sound from it.
        face: the face that the motion moves; None means the default head.
    """

    fps: float
    weights: Array | None = None
    names: tuple[str, ...] = ()
    offsets: Array | None = None
    head_pose: Array | None = None
    speech: Speech | None = field(default=None, compare=False)
    face: Face | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_fps(self.fps)
        if (self.weights is None) == (self.offsets is None):
            raise InputError("a Motion holds either weights or offsets, exactly one of them")
        if self.weights is not None and (
            self.weights.ndim != 2 or self.weights.shape[1] != len(self.names)
        ):
            raise InputError(
                f"weights have shape {self.weights.shape}, "
                f"expected (T, {len(self.names)}) for {len(self.names)} names"
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

    def __repr__(self) -> str:
        moves = f"{len(self.names)} weights"
        if self.offsets is not None:
            moves = f"offsets of {self.offsets.shape[1]:,} vertices"
        parts = [f"{len(self):,} frames at {self.fps:g} fps", f"{self.seconds:.2f} s", moves]
        parts += ["head pose"] * (self.head_pose is not None) + ["speech"] * (
            self.speech is not None
        )
        return f"Motion({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Play the motion in a notebook: a small video; one line of text where no video can be
        made.
        """
        if not 0 < self.seconds <= NOTEBOOK_SECONDS:
            return html.escape(repr(self))
        video = io.BytesIO()
        try:
            self.save(video, format="mp4", size=NOTEBOOK_SIZE)
        except Exception:  # a notebook shows a value; an error of drawing must not hide it
            return html.escape(repr(self))
        data = base64.b64encode(video.getvalue()).decode()
        return (
            f'<video controls title="{html.escape(repr(self))}" src="data:video/mp4;base64,{data}">'
        )

    @property
    def seconds(self) -> float:
        """How long the motion lasts."""
        return len(self) / self.fps

    def column(self, name: str) -> Array:
        """(T,) weights of one shape, for example ``motion.column("jawOpen")``."""
        if self.weights is None or name not in self.names:
            known = ", ".join(self.names) or "vertex offsets only"
            raise InputError(f"unknown shape {name!r}: this motion has {known}")
        return self.weights[:, self.names.index(name)]

    def resampled(self, fps: float) -> Motion:
        """The same motion at another frame rate (see ``resample_frames``)."""
        if fps == self.fps:
            return self
        _check_fps(fps)
        changed: dict[str, Any] = {"fps": fps}
        for name in ("weights", "offsets", "head_pose"):
            values = getattr(self, name)
            if values is None:
                continue
            if values.size * fps / self.fps > MAX_RESAMPLED_VALUES:
                raise InputError(
                    f"the motion of {self.seconds:,.0f} s at {self.fps:g} fps would have "
                    f"{self.seconds * fps:,.0f} frames at {fps:g} fps, too many to hold"
                )
            changed[name] = resample_frames(values, self.fps, fps)
        if self.weights is not None:
            changed["weights"] = np.clip(changed["weights"], 0.0, 1.0)
        return replace(self, **changed)

    def to_shapes(self, name: str) -> Motion:
        """The same motion on another set of shapes: ``arkit``, ``oculus``, ``vrm``, ``microsoft``.

        Its face, which has other shapes, is left out. See ``face.shape_sets``.

        Raises:
            InputError: there is no such set, or the motion has none of ARKit's shapes.
        """
        # By its name, as formats are: a motion itself knows no face.
        sets = importlib.import_module("jambatalk.face.shape_sets")
        converter = sets.ShapeConverter(self.names, name)
        if self.weights is None or converter.names == self.names:
            return self
        weights = converter(self.weights)
        return replace(self, weights=weights, names=converter.names, face=None)

    def save(
        self,
        path: str | PathLike[str] | IO[bytes] | Sequence[str | PathLike[str]],
        *,
        format: str | None = None,
        **options: Any,
    ) -> None:
        """Write the motion to a file, to several, or to a binary file object.

        Args:
            path: the suffix chooses the format (the keys of ``FORMATS``); a list writes each of its
                files. A binary file object (open file, ``io.BytesIO``) needs ``format``.
            format: ``"mp4"``, ``"glb"``, ...; only for file objects.
            options: passed to the formats that take them (``size`` to .mp4), so that one call can
                serve several.

        Raises:
            InputError: an unknown suffix, an option that no format takes, an unwritable path, or a
                motion that the format cannot hold.
        """
        if hasattr(path, "write"):
            self._save_to(path, format, options)  # type: ignore[arg-type]
            return
        if format is not None:
            raise InputError(f"format is for file objects; {path} says its format by its suffix")
        for one in [path] if isinstance(path, (str, PathLike)) else path:  # type: ignore[union-attr]
            found = format_of(one)
            taken = _taken_options(one, found, options)
            found.load_module().save(self, Path(one), **taken)

    def _save_to(self, file: IO[bytes], format: str | None, options: dict[str, Any]) -> None:
        if format is None:
            raise InputError(
                f"a file object needs format=, expected one of {', '.join(format_names())}"
            )
        suffix = suffix_of(format)
        with tempfile.TemporaryDirectory(prefix="jambatalk-") as folder:
            # Through a file: encoders seek, and choose their container by the name.
            path = Path(folder, f"motion{suffix}")
            self.save(path, **options)
            with path.open("rb") as written:
                try:
                    shutil.copyfileobj(written, file)
                except TypeError as error:
                    raise InputError("the file object takes text, expected a binary one") from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Motion:
        """Read a motion back.

        Raises:
            InputError: the file is missing, damaged, or of a format that cannot be read.
        """
        path = Path(path)
        readable = [suffix for suffix, known in FORMATS.items() if known.readable]
        if _suffix(path) not in readable:
            raise InputError(
                f"cannot read a motion from {path}: extension {_suffix(path) or '(none)'!r}, "
                f"expected one of {', '.join(readable)}"
            )
        if path.is_dir():
            raise InputError(f"{path} is a folder, expected a motion file")
        if not path.exists():
            raise InputError(f"{path} does not exist")
        motion: Motion = format_of(path).load_module().load(path)
        return motion


def format_of(path: str | PathLike[str]) -> Format:
    """The format of a file by its suffix (case does not matter).

    InputError lists the known suffixes.
    """
    suffix = _suffix(path)
    if suffix not in FORMATS:
        raise InputError(
            f"cannot write {path}: unknown extension {suffix or '(none)'!r}, "
            f"expected one of {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def format_names() -> list[str]:
    """The formats by name: ``mp4``, ``glb``, ..."""
    return [suffix[1:] for suffix in FORMATS]


def suffix_of(name: str) -> str:
    """The suffix of a format given as ``mp4``, ``.mp4`` or ``MP4``.

    InputError lists the formats.
    """
    suffix = "." + name.strip().lower().lstrip(".")
    if suffix not in FORMATS:
        raise InputError(
            f"unknown format {suffix[1:41]!r}, expected one of {', '.join(format_names())}"
        )
    return suffix


def is_motion_file(path: str | PathLike[str]) -> bool:
    """Whether the suffix is that of a motion that can be read, rather than of sound."""
    found = FORMATS.get(_suffix(path))
    return found is not None and found.readable


def check_outputs(paths: Iterable[str | PathLike[str]]) -> None:
    """InputError if one of ``paths`` cannot be written.

    For use before the long work whose result goes there.
    """
    for path in map(Path, paths):
        format_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                path.lstat()  # fails for a name that is too long
            # Asking is not enough (a read-only mount, a full quota, Windows rules): try.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"cannot write {path}: it is read-only")


def formats_table() -> str:
    """The registry as a Markdown table, for docs/reference/files.md."""
    rows = [
        f"| `{suffix}` | {known.summary} | {', '.join(sorted(known.holds))} | "
        f"{'yes' if known.readable else 'no'} | `{known.mime}` |"
        for suffix, known in FORMATS.items()
    ]
    head = ["| suffix | what it is | holds | read back | media type |", "|---|---|---|---|---|"]
    return "\n".join(head + rows)


def _check_fps(fps: float) -> None:
    lowest, highest = FPS_RANGE
    if not lowest <= fps <= highest:
        raise InputError(f"fps is {fps:.6g}, expected {lowest:g} to {highest:,.0f}")


def _taken_options(
    path: str | PathLike[str], chosen: Format, options: dict[str, Any]
) -> dict[str, Any]:
    """Those of ``options`` that the format takes. InputError for one that no format takes."""
    taken = chosen.options()
    for name in options:
        if name not in taken and not any(name in known.options() for known in FORMATS.values()):
            raise InputError(
                f"unknown option {name!r} for {path}: "
                f"{_suffix(path)} takes {', '.join(taken) or 'no options'}"
            )
    return {name: value for name, value in options.items() if name in taken}


def _suffix(path: str | PathLike[str]) -> str:
    return Path(path).suffix.lower()
