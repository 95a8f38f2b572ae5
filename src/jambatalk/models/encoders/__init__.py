"""Speech encoders: sound at 16 kHz to one feature vector per motion frame.

``ENCODERS`` lists them. A new one is a file with a module that has the methods of
``SpeechEncoder``, its settings (a dataclass below ``models.config.SpeechEncoderConfig`` with its
own ``kind``), and a line in ``ENCODERS``. Networks, baselines and ``jambatalk info`` then take it
by its ``kind``.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.models.config import MelConfig, SpeechEncoderConfig
from jambatalk.models.encoders.pretrained import PretrainedEncoder
from jambatalk.models.encoders.streaming import StreamingEncoder
from jambatalk.models.encoders.whisper import StreamingWhisper


class SpeechEncoder(Protocol):
    """The methods of a speech encoder, which is an ``nn.Module`` besides.

    Encoders are of two kinds, which their settings' ``streaming`` distinguishes:

    streaming: ``forward(samples, state) -> (x, state)`` with samples (B, T * hop) and x (B, T,
        width). Chunks that pass the state on make the result of the whole; vector k depends on the
        samples before (k + 1) * hop only. A state is a tensor, or lists and dataclasses of tensors,
        each with the batch in its first axis; one that was passed in is not changed.
    whole-clip: ``forward(samples, frames) -> x`` with samples (B, n), x (B, T, width). T is
        ``frames`` or, where that is None, what the encoder makes of n samples.
    """

    config: Any
    training: bool

    def __init__(self, config: Any, fps: float, width: int, mel: MelConfig) -> None: ...

    def filled_config(self) -> SpeechEncoderConfig:
        """Return settings that build the encoder again without any other file."""

    def init_state(self, batch: int) -> Any:
        """Return the state before the first sample (streaming encoders)."""

    def __call__(self, samples: Tensor, state_or_frames: Any = None) -> Any: ...


ENCODERS: dict[str, Any] = {
    "streaming": StreamingEncoder,
    "streaming-whisper": StreamingWhisper,
    "pretrained": PretrainedEncoder,
}
"""The speech encoders by the ``kind`` of their settings."""


def make_encoder(config: SpeechEncoderConfig, mel: MelConfig, fps: int, width: int) -> Any:
    """Build the speech encoder that the settings name.

    Args:
        config: the encoder's settings.
        mel: settings of log-mel features, for encoders that work on them.
        fps: motion frames, and vectors, per second.
        width: features of each vector.
    """
    return ENCODERS[config.kind](config, fps, width, mel)


def encode_clip(
    encoder: Any, samples: Tensor, frames: int | None, delay: int, fps: int, piece: int = 0
) -> Tensor:
    """Encode whole clips by an encoder of either kind.

    Args:
        encoder: a ``SpeechEncoder``.
        samples: (B, n) at 16 kHz. For streaming encoders sound that is too short is followed by
            silence, and sound beyond ``frames`` is left out.
        frames: motion frames of the clip; None: as many as the sound has, the last in part.
        delay: frames by which the output is to lag behind the sound (streaming encoders).
        fps: motion frames per second.
        piece: vectors that streaming encoders compute at a time without gradients, which bounds
            memory; 0: all at once.

    Returns:
        (B, frames + delay, width): frame t is at step t + delay, so callers cut ``[:, delay:]``
        from whatever they make of it.
    """
    if not encoder.config.streaming:
        return cast(Tensor, encoder(samples, frames))
    hop = SAMPLE_RATE // fps
    steps = (-(-samples.shape[1] // hop) if frames is None else frames) + delay
    samples = F.pad(samples, (0, max(steps * hop - samples.shape[1], 0)))[:, : steps * hop]
    pieces = piece * hop if piece and not torch.is_grad_enabled() else max(samples.shape[1], 1)
    state, parts = encoder.init_state(len(samples)), []
    for part in samples.split(pieces, dim=1):
        x, state = encoder(part, state)
        parts.append(x)
    return torch.cat(parts, dim=1)


class EncoderOwner(nn.Module):
    """A module whose ``encoder`` is a speech encoder.

    In its state dict the running norm of the streaming encoder keeps the name ``norm.start`` that
    checkpoints have had from the start, instead of ``encoder.norm.start``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._register_state_dict_hook(_kept_names)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if f"{prefix}norm.start" in state_dict and not hasattr(self, "norm"):
            state_dict[f"{prefix}encoder.norm.start"] = state_dict.pop(f"{prefix}norm.start")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _kept_names(module: nn.Module, state: dict[str, Any], prefix: str, unused: Any) -> None:
    if f"{prefix}encoder.norm.start" in state:
        state[f"{prefix}norm.start"] = state.pop(f"{prefix}encoder.norm.start")
