"""What every baseline is: speech in, vertex offsets out, with its own loss, on the shared encoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.models.encoders.pretrained import PretrainedConfig
from jambatalk.models.encoders.streaming import EncoderConfig, StreamingEncoder
from jambatalk.models.features import LogMel, MelConfig, RunningNorm
from jambatalk.models.speech_to_motion import WHOLE_CLIP_ENCODERS

# The speech encoder that all baselines share, so that a table compares what comes after it.


class Hearing(nn.Module):
    """Speech (B, n) at 16 kHz -> one vector per motion frame (B, T, width).

    encoder: the built-in streaming one (log-mel, running normalisation, causal convolutions; frame t has heard the sound up to
    frame t + delay), or one of the wav2vec 2.0 family, which hears the whole clip (delay must be 0).
    """

    def __init__(
        self,
        encoder: EncoderConfig | PretrainedConfig,
        mel: MelConfig,
        fps: int,
        delay: int,
        width: int,
    ) -> None:
        super().__init__()
        self.fps, self.delay, self.width = fps, delay, width
        self.whole_clip = encoder.kind in WHOLE_CLIP_ENCODERS
        self.disturb: Callable[[Tensor], Tensor] | None = (
            None  # changes log-mel features (B, F, bands) in training
        )
        self.encoder: nn.Module
        if self.whole_clip:
            if delay:
                raise ValueError(
                    f"delay is {delay}, expected 0 with an encoder that hears the whole clip"
                )
            pretrained = WHOLE_CLIP_ENCODERS[encoder.kind](encoder, fps, width)
            self.encoder, self.config = pretrained, pretrained.filled_config()  # type: ignore[operator]
            return
        self.config = encoder = cast(EncoderConfig, encoder)
        self.hop = SAMPLE_RATE // fps
        features, reduction = self.hop // mel.hop, 2 ** len(encoder.widths)
        if SAMPLE_RATE % fps or self.hop % mel.hop or features != reduction:
            raise ValueError(
                f"fps {fps}: {len(encoder.widths)} encoder stages reduce {reduction} feature frames of {mel.hop} samples to one, "
                f"but a motion frame spans {SAMPLE_RATE / fps / mel.hop:g}"
            )
        self.mel, self.norm = LogMel(mel), RunningNorm(mel)
        self.encoder = StreamingEncoder(mel.bands, width, encoder)

    def forward(self, samples: Tensor, frames: int) -> Tensor:
        """samples (B, n) -> (B, frames, width); sound that is too short is filled up with silence."""
        if self.whole_clip:
            return self.encoder(samples, frames)  # type: ignore[no-any-return]
        wanted = (frames + self.delay) * self.hop
        samples = F.pad(samples, (0, max(wanted - samples.shape[1], 0)))[:, :wanted]
        with torch.no_grad():
            mel, _ = self.mel(samples, self.mel.init_state(len(samples)))
            if self.training and self.disturb is not None:
                mel = self.disturb(mel)
            normal, _ = self.norm(mel, self.norm.init_state(len(samples)))
        x, _ = self.encoder(normal, self.encoder.init_state(len(samples)))  # type: ignore[operator]
        return cast(Tensor, x)[:, self.delay :]


@dataclass(frozen=True)
class BaselineConfig:
    """What all baselines are told; each one's own settings follow in its subclass."""

    kind: str = ""  # which baseline; tells the settings apart
    fps: int = 25  # motion frames per second
    outputs: int = 1404  # values per frame: x, y, z of each vertex
    subjects: list[str] = field(
        default_factory=list
    )  # training speakers, for baselines that are conditioned on them
    delay: int = 4  # frames that the built-in encoder hears ahead; 0 with an encoder that hears the whole clip
    mel: MelConfig = field(default_factory=MelConfig)
    encoder: EncoderConfig | PretrainedConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        for name, least in (("fps", 1), ("outputs", 3), ("delay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")


class Baseline(nn.Module, ABC):
    """A published system, re-implemented from its paper.

    A subclass calls ``super().__init__(config, width)`` with the width of the encoder's output that it wants and finds the
    encoder as ``self.hearing``. Offsets are in the corpus' unit, from the subject's template, (B, T, 3 V) with x, y, z of each
    vertex side by side. ``output_mean`` and ``output_scale`` (3 V,) are the mean and spread of the training motion when the
    training's ``vertices: spread`` is true, else 0 and 1: ``normal`` and ``natural`` convert. Nothing is random but by the
    seed that ``animate`` is given.

    Config: the class of the settings. stochastic: whether another seed gives another motion. bidirectional: whether what
    comes after the encoder hears the whole clip. streams: False for all baselines so far; they animate whole clips.
    """

    Config: ClassVar[type[BaselineConfig]]
    stochastic: ClassVar[bool] = False
    bidirectional: ClassVar[bool] = True

    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, config: BaselineConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.hearing = Hearing(config.encoder, config.mel, config.fps, config.delay, width)
        self.register_buffer("output_mean", torch.zeros(config.outputs))
        self.register_buffer("output_scale", torch.ones(config.outputs))

    @abstractmethod
    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        """The weighted terms of the loss by name, each () and a mean over the clips; their sum is minimised.

        samples: (B, n) at 16 kHz. offsets: (B, T, 3 V). subjects: (B,) indices into ``config.subjects``. step: from 0 on, for
        baselines that learn in stages. Clips of a call have one length; dropout and noise come from torch's generator, which
        the loop seeds.
        """

    @abstractmethod
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """(B, n) samples at 16 kHz -> (B, frames, 3 V) offsets. subjects: (B,) indices; None speaks as the first one.

        Each row depends on its own sound and the seed alone, and not on the other rows.
        """

    def fit(self, offsets: Tensor) -> None:
        """Called once before training with some training frames (N, 3 V), after output_mean and output_scale are set."""

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time the frame depends on, in milliseconds; infinite for the whole clip."""
        if self.bidirectional or self.hearing.whole_clip:
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
