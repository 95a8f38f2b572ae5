"""The built-in streaming encoder: log-mel features, running norm, causal convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.config import EncoderConfig, MelConfig
from jambatalk.models.features import LogMel, NormState, RunningNorm
from jambatalk.models.layers import CausalDepthwiseConv, CausalStridedConv, RMSNorm


@dataclass
class StreamingState:
    """The state of a ``StreamingEncoder``; its field names are those of exported steps' inputs."""

    samples: Tensor
    """(B, window - hop): the last samples, under the next window too."""
    norm: NormState
    """Of the running norm."""
    encoder: list[Tensor]
    """Left context of each convolution."""


class StreamingEncoder(nn.Module):
    """Samples (B, T * hop) -> features (B, T, width), strictly causal.

    Log-mel features at 100 Hz and their running norm are always computed in float32; the
    convolutions in the precision of their weights. Two stages take 100 Hz to 25 Hz.
    """

    def __init__(self, config: EncoderConfig, fps: float, width: int, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.mel, self.norm = LogMel(mel), RunningNorm(mel)
        modules: list[nn.Module] = [CausalStridedConv(mel.bands, config.widths[0], kernel=3)]
        for here, after in zip(config.widths, [*config.widths[1:], width], strict=True):
            modules += [
                ConvBlock(here, config.kernel, config.dropout) for _ in range(config.blocks)
            ]
            modules += [CausalStridedConv(here, after, kernel=4, stride=2)]
        self.steps = nn.ModuleList(modules)
        self.feature_augment: Callable[[Tensor], Tensor] | None = None
        """Applied to log-mel features (B, F, bands) in training: other voices, rooms, noise."""

    def filled_config(self) -> EncoderConfig:
        """Return the settings, which are all that is needed to build the encoder again."""
        return self.config

    def init_state(self, batch: int) -> StreamingState:
        """Return the state before the first sample: silence."""
        contexts = [step.init_state(batch) for step in self.steps]  # type: ignore[operator]
        return StreamingState(self.mel.init_state(batch), self.norm.init_state(batch), contexts)

    def forward(self, samples: Tensor, state: StreamingState) -> tuple[Tensor, StreamingState]:
        """Encode samples (B, T * hop) at 16 kHz: (B, T, width) and the state after them."""
        mel, tail = self.mel(samples, state.samples)
        if self.training and self.feature_augment is not None:
            mel = self.feature_augment(mel)
        normal, norm = self.norm(mel, state.norm)
        x, contexts = self.convolve(normal, state.encoder)
        return x, StreamingState(tail, norm, contexts)

    def convolve(self, normal: Tensor, contexts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Encode normalized features (B, F, bands): (B, T, width) and the new left contexts."""
        x, after = normal.to(next(self.steps.parameters()).dtype), []
        for step, context in zip(self.steps, contexts, strict=True):
            x, context = step(x, context)
            after.append(context)
        return x, after

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Turn the convolutions' weights to ``dtype``; features stay in float32."""
        self.steps.to(dtype)


class ConvBlock(nn.Module):
    """x + mlp(rms(causal depthwise convolution of x))."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = CausalDepthwiseConv(width, kernel)
        self.norm = RMSNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = dropout

    def init_state(self, batch: int) -> Tensor:
        """Return the convolution's left context before the first frame."""
        return self.conv.init_state(batch)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, width) -> the same shape, and the new left context."""
        y, state = self.conv(x, state)
        y = self.down(F.gelu(self.up(self.norm(y))))
        return x + (F.dropout(y, self.dropout) if self.training else y), state
