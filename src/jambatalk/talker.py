"""A talker: a trained network bound to a face."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.checkpoint import file_sha256, load_weights
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.motion import Motion
from jambatalk.nn.mel import RATE
from jambatalk.nn.model import SpeechToMotion
from jambatalk.session import Session

DEFAULT_WEIGHTS = Path(__file__).parent / "assets" / "base.safetensors"


class Talker:
    """Speech in, motion of a face out.

    model: the network. names: the shape names of its outputs. path: the file that the weights came from.
    """

    def __init__(self, model: SpeechToMotion, names: tuple[str, ...], path: Path, device: str = "cpu") -> None:
        self.model, self.names, self.path, self.device = model, names, path, device

    @property
    def fps(self) -> float:
        """Frames per second that the network makes."""
        return float(self.model.config.fps)

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time the frame depends on, in milliseconds."""
        return self.model.config.look_ahead_ms

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return file_sha256(self.path)

    @cached_property
    def face(self) -> Face:
        """The face that the network moves. InputError when it lacks a shape that the network drives."""
        face = default_head()
        face.columns(self.names)
        return face

    def stream(self, rate: int = RATE) -> Session:
        """A live session for sound at ``rate`` Hz."""
        return Session(self, rate)

    def animate(self, source: Any, fps: float | None = None) -> Motion:
        """The motion for a whole recording (anything that ``Speech.load`` reads, or a Speech).

        The same path as ``stream``, fed block by block. ``fps`` resamples the motion; None keeps the network's own rate.
        """
        speech = source if isinstance(source, Speech) else Speech.load(source)
        motion = self.animate_blocks(speech.blocks(), speech)
        return motion if fps is None else motion.resampled(fps)

    def animate_blocks(self, blocks: Iterable[NDArray[np.float32]], speech: Speech | None = None) -> Motion:
        """The motion for 16 kHz mono sound that comes in blocks; ``speech`` is attached to the motion when given."""
        session = self.stream()
        parts = [session.push_array(block)[1] for block in blocks]
        parts.append(session.flush_array()[1])
        weights = np.concatenate(parts)
        if not len(weights):
            raise InputError("the sound has no samples, expected at least one")
        return Motion(self.fps, weights=weights, names=self.names, speech=speech, face=self.face)


def load(path: str | Path | None = None, device: str = "cpu") -> Talker:
    """A talker from a weights' file (default: the weights inside the package) on "cpu" or "cuda".

    Raises InputError when the file is missing or damaged, or the device is not there.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try 'cpu'") from error
    chosen = Path(path) if path is not None else DEFAULT_WEIGHTS
    model, names, _ = load_weights(chosen, device)
    return Talker(model, names, chosen, device)
