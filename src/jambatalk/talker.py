"""A talker: a trained network bound to a face."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.atomic import file_sha256
from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.errors import InputError
from jambatalk.face.deform import check_speaks
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.models.checkpoint import SHIPPED, find_weights, load_weights, torch_defaults
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import pretranspose_linear_weights
from jambatalk.motion import Motion
from jambatalk.ops.threads import free_threads
from jambatalk.session import Session, articulation_gains

if TYPE_CHECKING:
    from jambatalk.export.runtime import ExportedModel
    from jambatalk.idle import IdleSettings
    from jambatalk.streaming.overlay import MotionOverlay

DEFAULT_WEIGHTS = SHIPPED["base"]


class Talker:
    """Speech in, motion of a face out.

    Args:
        model: The network.
        names: The shape names of its outputs, none for a network that moves vertices.
        path: The file that the weights came from.
        device: Where the network runs, "cpu" or "cuda".
        articulation: How far the mouth moves; see ``session.articulation_gains``.
        face: The mesh to move; None is the default head for shape weights, and no face for
        vertices.
    """

    def __init__(
        self,
        model: SpeechToMotion | ExportedModel,
        names: tuple[str, ...],
        path: Path,
        device: str = "cpu",
        face: Face | None = None,
        articulation: float = 1.0,
    ) -> None:
        self.model, self.names, self.path, self.device = model, names, path, device
        self.articulation = articulation
        self._gains = articulation_gains(names, articulation)
        self._face = face
        if not names and face is not None and 3 * len(face.vertices) != model.config.outputs:
            raise InputError(
                f"the network moves {model.config.outputs // 3:,} vertices, but the face has "
                f"{len(face.vertices):,}: "
                "expected the mesh that it was trained on"
            )

    def __repr__(self) -> str:
        moves = (
            f"{len(self.names)} shapes"
            if self.names
            else f"{self.model.config.outputs // 3:,} vertices"
        )
        look_ahead = (
            f"{self.look_ahead_ms:.0f} ms look-ahead"
            if self.model.config.streaming
            else "whole recordings"
        )
        parts = [self.path.name, moves, f"{self.fps:g} fps", look_ahead, self.device]
        parts += [f"styles {', '.join(self.styles)}"] if self.styles else []
        return f"Talker({', '.join(parts)})"

    @property
    def fps(self) -> float:
        """Frames per second that the network makes."""
        return float(self.model.config.fps)

    @property
    def styles(self) -> tuple[str, ...]:
        """Ways of speaking that ``load(style=...)`` can choose from, the default first; none where
        there is one way."""
        return tuple(self.model.config.styles)

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time the frame depends on, in milliseconds; infinite
        for the whole clip."""
        return self.model.config.look_ahead_ms

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return file_sha256(self.path)

    @cached_property
    def face(self) -> Face | None:
        """The face that the network moves; None for vertices of a mesh that was not given.

        InputError when it has no shapes that can say what the network drives.
        """
        if not self.names:
            return self._face
        face = self._face or default_head()
        check_speaks(face, self.names)
        return face

    def style_index(self, style: str | None) -> int | None:
        """The number of a speaking style; None for the talker's own.

        Raises:
            InputError: there is no such style, or it was fixed when the network was exported.
        """
        if style is None:
            return None
        if style not in self.styles:
            names = ", ".join(self.styles)
            known = f"choose from {names}" if names else "this network has one way of speaking"
            raise InputError(f"no style {style!r}: {known}")
        if not isinstance(self.model, SpeechToMotion):
            raise InputError(f"{self.path} speaks in the style that it was exported with")
        return self.styles.index(style)

    def stream(
        self,
        rate: int = SAMPLE_RATE,
        fps: float | None = None,
        life: IdleSettings | MotionOverlay | bool | str | None = None,
        style: str | None = None,
        patience: float = 0.06,
        articulation: float | None = None,
        shapes: str = "arkit",
    ) -> Session:
        """A live session for sound at ``rate`` Hz; see ``Session`` for the rest.

        InputError when the network must hear the whole clip first.
        """
        self._check_streaming()
        return Session(self, rate, fps, life, style, patience, articulation, shapes)

    def restore(self, data: bytes, life: IdleSettings | MotionOverlay | None = None) -> Session:
        """Continue a session that ``Session.save`` stored; see ``Session.restore``."""
        self._check_streaming()
        return Session.restore(self, data, life)

    def _check_streaming(self) -> None:
        if not self.model.config.streaming:
            raise InputError(
                "this network needs the whole recording first (look_ahead: full): animate() runs it"
            )

    def animate(
        self,
        source: Any,
        fps: float | None = None,
        life: IdleSettings | bool | str | None = None,
        articulation: float | None = None,
    ) -> Motion:
        """Animate a whole recording: the same path as ``stream``, fed block by block.

        Args:
            source: anything that ``Speech.load`` reads, or a Speech.
            fps: frames per second of the motion; None keeps the network's own.
            life: idle motion over it (blinks, gaze, head, breath, brows): True for all of it, a
                text such as "blinks=0.5,head=0", or settings; None for none.
            articulation: how far the mouth moves, 0.5 (mumbled) to 1.5; None for the talker's.

        Raises:
            InputError: the source cannot be read, or a value is out of range.
        """
        from jambatalk.idle import IdleSettings, add_idle_motion

        idle = IdleSettings.of(life)
        speech = source if isinstance(source, Speech) else Speech.load(source)
        motion = self.animate_blocks(speech.blocks(), speech, articulation)
        motion = motion if fps is None else motion.resampled(fps)
        return add_idle_motion(motion, idle) if life not in (None, False) else motion

    def animate_blocks(
        self,
        blocks: Iterable[NDArray[np.float32]],
        speech: Speech | None = None,
        articulation: float | None = None,
    ) -> Motion:
        """The motion for 16 kHz mono sound that comes in blocks; ``speech`` is attached to the
        motion when given. ``articulation`` as of ``animate``.

        Sound goes through block by block, unless the network needs the whole recording first: then
        it is gathered.
        """
        animate = self._streamed if self.model.config.streaming else self._whole
        values = animate(blocks, articulation)
        if self.names:
            return Motion(self.fps, weights=values, names=self.names, speech=speech, face=self.face)
        return Motion(
            self.fps, offsets=values.reshape(len(values), -1, 3), speech=speech, face=self.face
        )

    def _streamed(
        self, blocks: Iterable[NDArray[np.float32]], articulation: float | None
    ) -> NDArray[np.float32]:
        session = self.stream(articulation=articulation)
        parts = [session.push_array(block)[1] for block in blocks]
        parts.append(session.flush_array()[1])
        values = np.concatenate(parts)
        if not len(values):
            raise InputError("the sound has no samples, expected at least one")
        return values

    def _whole(
        self, blocks: Iterable[NDArray[np.float32]], articulation: float | None
    ) -> NDArray[np.float32]:
        samples = np.concatenate([np.zeros(0, np.float32), *blocks])
        assert isinstance(self.model, SpeechToMotion)  # a network of steps is a streaming one
        with torch.inference_mode(), free_threads():
            y, _ = self.model.forward_offline(torch.from_numpy(samples)[None].to(self.device))
        if not y.shape[1]:
            raise InputError(
                f"the sound has {len(samples)} samples at 16 kHz, too few for one frame"
            )
        values = y[0].float().cpu().numpy()
        if self.names:
            gains = self._gains
            if articulation is not None:
                gains = articulation_gains(self.names, articulation)
            return np.clip(values if gains is None else values * gains, 0.0, 1.0)
        return values


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@torch_defaults()
def load(
    path: str | Path | None = None,
    device: str = "cpu",
    precision: str = "float32",
    face: Face | None = None,
    style: str | None = None,
    articulation: float = 1.0,
) -> Talker:
    """A talker from weights on "cpu" or "cuda".

    ``path``: a file, or "base" (the default) or "light", the weights inside the package. "light"
    is smaller and faster, "base" better on voices that it does not know.
    ``precision``: "float32", or "bfloat16" / "float16" for the weights and products on a GPU
    (features, scans and results stay float32). ``face``: the mesh that a network of vertex offsets
    moves. ``style``: one of the ways of speaking that the weights know (``Talker.styles``); None is
    their default. ``articulation``: 0.5 (mumbled) to 1.5 (over-articulated) times the movement of
    the mouth; closed lips stay closed. Raises InputError when the file is missing or damaged, the
    device is not there, the style is unknown, or the face is not the network's.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}, expected {', '.join(PRECISIONS)}")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try 'cpu'"
        ) from error
    chosen = find_weights(path) if path is not None else DEFAULT_WEIGHTS
    if chosen.suffix.lower() == ".onnx":
        return _load_onnx(chosen, device, precision, face, style, articulation)
    model, names, _ = load_weights(chosen, device)
    try:
        model.choose_style(style)
    except ValueError as error:
        raise InputError(f"{chosen}: {error}") from error
    if precision != "float32":
        model.lower_precision(PRECISIONS[precision])
    elif torch.device(device).type == "cpu" and model.config.streaming:
        pretranspose_linear_weights(model)
    return Talker(model, names, chosen, device, face, articulation)


def _load_onnx(
    path: Path,
    device: str,
    precision: str,
    face: Face | None,
    style: str | None,
    articulation: float,
) -> Talker:
    from jambatalk.export.runtime import load_onnx

    if style is not None:
        raise InputError(
            f"{path} has the style that it was exported with: choose it in jambatalk export --style"
        )
    if torch.device(device).type != "cpu" or precision != "float32":
        raise InputError(
            f"{path} runs on the cpu in the precision that it was exported in, not on {device!r} "
            f"in {precision}"
        )
    model, names, _ = load_onnx(path)
    return Talker(model, names, path, face=face, articulation=articulation)
