"""Base of all baselines: speech in, vertex offsets out, a loss, the shared speech encoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from jambatalk.models.config import EncoderConfig, MelConfig, SpeechEncoderConfig, check_encoder
from jambatalk.models.encoders import EncoderOwner, encode_clip, make_encoder


class ClipEncoder(EncoderOwner):
    """The speech encoder that all baselines share, so that a table compares what comes after it.

    Samples (B, n) at 16 kHz -> (B, frames, width). With a streaming encoder, vector t depends on
    the sound up to frame t + delay.
    """

    def __init__(
        self, config: SpeechEncoderConfig, mel: MelConfig, fps: int, delay: int, width: int
    ) -> None:
        super().__init__()
        check_encoder(config, mel, fps, delay)
        self.fps, self.delay = fps, delay
        self.encoder = make_encoder(config, mel, fps, width)
        self.config: SpeechEncoderConfig = self.encoder.filled_config()

    def forward(self, samples: Tensor, frames: int) -> Tensor:
        """Encode clips; sound that is too short is followed by silence."""
        return encode_clip(self.encoder, samples, frames, self.delay, self.fps)[:, self.delay :]


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of all baselines; those of each one follow in its subclass."""

    kind: str = ""  # which baseline
    fps: int = 25  # motion frames per second
    outputs: int = 1404  # values per frame: x, y, z of each vertex
    subjects: list[str] = field(
        default_factory=list
    )  # training speakers, for baselines that are conditioned on them
    # Look-ahead of the built-in encoder in frames; 0 with an encoder that needs the whole clip
    delay: int = 4
    mel: MelConfig = field(default_factory=MelConfig)
    encoder: SpeechEncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        for name, least in (("fps", 1), ("outputs", 3), ("delay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")


class Baseline(nn.Module, ABC):
    """A published system, re-implemented from its paper.

    A subclass calls ``super().__init__(config, width)`` with the width of the encoder's output that
    it wants and finds the encoder as ``self.hearing``. Offsets are in the corpus' unit, from the
    subject's template, (B, T, 3 V) with x, y, z of each vertex side by side. ``output_mean`` and
    ``output_scale`` (3 V,) are the mean and spread of the training motion when the training's
    ``vertices: spread`` is true, else 0 and 1: ``normal`` and ``natural`` convert. Nothing is
    random but by the seed that ``animate`` is given.

    Config: the class of the settings. quick: settings that only make a first try shorter, for
    ``--smoke``; they change no tensor. stochastic: whether another seed gives another motion.
    bidirectional: whether what comes after the encoder needs the whole clip. streams: False for all
    baselines so far; they animate whole clips.
    """

    Config: ClassVar[type[BaselineConfig]]
    quick: ClassVar[dict[str, Any]] = {}
    stochastic: ClassVar[bool] = False
    bidirectional: ClassVar[bool] = True

    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, config: BaselineConfig, width: int) -> None:
        super().__init__()
        self.config = config
        # Named as in the checkpoints of before.
        self.hearing = ClipEncoder(config.encoder, config.mel, config.fps, config.delay, width)
        self.register_buffer("output_mean", torch.zeros(config.outputs))
        self.register_buffer("output_scale", torch.ones(config.outputs))

    @abstractmethod
    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        """The weighted terms of the loss by name, each () and a mean over the clips; their sum is
        minimised.

        samples: (B, n) at 16 kHz. offsets: (B, T, 3 V). subjects: (B,) indices into
        ``config.subjects``. step: from 0 on, for baselines that learn in stages. Clips of a call
        have one length; dropout and noise come from torch's generator, which the loop seeds.
        """

    @abstractmethod
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """(B, n) samples at 16 kHz -> (B, frames, 3 V) offsets. subjects: (B,) indices; None speaks
        as the first one.

        Each row depends on its own sound and the seed alone, and not on the other rows.
        """

    def fit(self, offsets: Tensor) -> None:
        """Called once before training with some training frames (N, 3 V), after output_mean and
        output_scale are set.
        """

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time the frame depends on, in milliseconds; infinite
        for the whole clip.
        """
        if self.bidirectional or not self.config.encoder.streaming:
            return math.inf
        return (self.config.delay + 1) * 1000.0 / self.config.fps

    def normal(self, offsets: Tensor) -> Tensor:
        """Offsets in units of the training motion's spread; a coordinate that never moves is 0."""
        moves = self.output_scale > 0
        scale = torch.where(moves, self.output_scale, torch.ones_like(self.output_scale))
        return torch.where(moves, (offsets - self.output_mean) / scale, torch.zeros_like(offsets))

    def natural(self, normal: Tensor) -> Tensor:
        """The inverse of ``normal``: offsets in the corpus' unit."""
        return self.output_mean + self.output_scale * normal


def mean_square(predicted: Tensor, true: Tensor) -> Tensor:
    """() mean of the squared differences; the shapes must be equal."""
    if predicted.shape != true.shape:
        raise ValueError(f"shapes {tuple(predicted.shape)} and {tuple(true.shape)} differ")
    return (predicted - true).square().mean()
