"""The network as a whole: sound in, one motion vector per hop out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from jambatalk.nn.encoder import EncoderConfig, StreamingEncoder
from jambatalk.nn.jamba import DecoderConfig, JambaDecoder
from jambatalk.nn.mel import RATE, LogMel, MelConfig, NormState, RunningNorm
from jambatalk.nn.moe import RouterStats


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again; stored inside every checkpoint."""

    fps: int = 25  # motion frames per second
    delay: int = 4  # frames the output lags behind the input: see look_ahead_ms
    outputs: int = 52  # values per motion frame
    mel: MelConfig = field(default_factory=MelConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    @property
    def hop(self) -> int:
        """Samples per motion frame."""
        return RATE // self.fps

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time the frame depends on.

        Step k has heard the samples before (k + 1) * hop and gives frame k - delay, which lies at (k - delay) * hop.
        """
        return (self.delay + 1) * 1000.0 / self.fps

    def __post_init__(self) -> None:
        if RATE % self.fps or self.hop % self.mel.hop:
            raise ValueError(f"fps {self.fps}: a motion frame must span a whole number of {self.mel.hop}-sample feature hops")
        features, reduction = self.hop // self.mel.hop, 2 ** len(self.encoder.widths)
        if features != reduction:
            raise ValueError(
                f"{len(self.encoder.widths)} encoder stages reduce {reduction} feature frames to one, "
                f"but a motion frame at {self.fps} fps spans {features}"
            )


@dataclass
class ModelState:
    """Everything that the network remembers; its size does not depend on how much it has heard."""

    samples: Tensor
    norm: NormState
    encoder: list[Tensor]
    decoder: list[Any]


class SpeechToMotion(nn.Module):
    """Log-mel features, running normalisation, streaming encoder, Jamba decoder, linear motion head.

    The head's outputs are in units of ``output_scale`` around ``output_mean``, the spread and mean of each output over the
    training data: shapes that move by hundredths are learned as easily as those that move by tenths, and one that never
    moves in the data stays exactly where it is.
    """

    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel)
        self.norm = RunningNorm(config.mel)
        self.encoder = StreamingEncoder(config.mel.bands, config.decoder.width, config.encoder)
        self.decoder = JambaDecoder(config.decoder)
        self.head = nn.Linear(config.decoder.width, config.outputs)
        self.register_buffer("output_mean", torch.zeros(config.outputs))
        self.register_buffer("output_scale", torch.ones(config.outputs))
        # The paper starts its output layer at zero: the untrained network shows a still face.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def init_state(self, batch: int = 1, position: Tensor | None = None) -> ModelState:
        """The state before the first sample."""
        return ModelState(
            self.mel.init_state(batch), self.norm.init_state(batch), self.encoder.init_state(batch),
            self.decoder.init_state(batch, position),
        )  # fmt: skip

    def forward(self, samples: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """samples (B, T * hop) at 16 kHz -> (B, T, outputs); step k belongs to the frame k - delay."""
        mel, tail = self.mel(samples, state.samples)
        normal, norm = self.norm(mel, state.norm)
        y, encoder, decoder, _ = self.decode(normal, state)
        return y, ModelState(tail, norm, encoder, decoder)

    def decode(self, normal: Tensor, state: ModelState) -> tuple[Tensor, list[Tensor], list[Any], list[RouterStats]]:
        """From normalised features (B, T * reduction, bands) on: what training runs, after augmenting the features."""
        x, encoder = self.encoder(normal, state.encoder)
        x, decoder, router = self.decoder(x, state.decoder)
        return self.output_mean + self.output_scale * self.head(x), encoder, decoder, router


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in model.parameters())
