"""The built-in streaming encoder: log-mel features, running norm, causal convolutions.

``MelEncoder`` is what it shares with other streaming encoders on log-mel features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.config import EncoderConfig, MelConfig
from jambatalk.models.features import LogMel, NormState, RunningNorm
from jambatalk.models.layers import CausalDepthwiseConv, CausalStridedConv, RMSNorm


@dataclass
class StreamingState:
    """The state of a ``MelEncoder``; its field names are those of exported steps' inputs."""

    samples: Tensor
    """(B, window - hop): the last samples, under the next window too."""
    norm: NormState
    """Of the running norm."""
    encoder: list[Any]
    """Of each step after the norm: left context of a convolution, keys and values of attention."""


class MelEncoder(nn.Module):
    """A streaming encoder on normalized log-mel features; subclasses have the steps after them.

    Features at 100 Hz and their running norm are always computed in float32; the steps in the
    precision of their weights.
    """

    def __init__(self, config: Any, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.mel, self.norm = LogMel(mel), RunningNorm(mel)
        self.steps = nn.ModuleList()
        self.feature_augment: Callable[[Tensor], Tensor] | None = None
        """Applied to log-mel features (B, F, bands) in training: other voices, rooms, noise."""

    def filled_config(self) -> Any:
        """Return the settings, which are all that is needed to build the encoder again."""
        return self.config

    def init_state(self, batch: int) -> StreamingState:
        """Return the state before the first sample: silence."""
        return StreamingState(
            self.mel.init_state(batch), self.norm.init_state(batch), self.init_contexts(batch)
        )

    def init_contexts(self, batch: int) -> list[Any]:
        """Return the state of each step before the first feature."""
        return [step.init_state(batch) for step in self.steps]  # type: ignore[operator]

    def forward(self, samples: Tensor, state: StreamingState) -> tuple[Tensor, StreamingState]:
        """Encode samples (B, T * hop) at 16 kHz: (B, T, width) and the state after them."""
        mel, tail = self.mel(samples, state.samples)
        if self.training and self.feature_augment is not None:
            mel = self.feature_augment(mel)
        normal, norm = self.norm(mel, state.norm)
        x, contexts = self.encode_normalized(normal, state.encoder)
        return x, StreamingState(tail, norm, contexts)

    def encode_normalized(self, normal: Tensor, contexts: list[Any]) -> tuple[Tensor, list[Any]]:
        """Encode normalized features (B, F, bands): (B, T, width) and each step's new state."""
        x, after = normal.to(next(self.steps.parameters()).dtype), []
        for step, context in zip(self.steps, contexts, strict=True):
            x, context = step(x, context)
            after.append(context)
        return x, after

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Turn the weights of the steps to ``dtype``; features stay in float32."""
        self.steps.to(dtype)


class StreamingEncoder(MelEncoder):
    """Samples (B, T * hop) -> features (B, T, width), strictly causal.

    Two stages of convolutions take 100 Hz to 25 Hz.
    """

    def __init__(self, config: EncoderConfig, fps: float, width: int, mel: MelConfig) -> None:
        super().__init__(config, mel)
        modules: list[nn.Module] = [CausalStridedConv(mel.bands, config.widths[0], kernel=3)]
        for here, after in zip(config.widths, [*config.widths[1:], width], strict=True):
            modules += [
                ConvBlock(here, config.kernel, config.dropout) for _ in range(config.blocks)
            ]
            modules += [CausalStridedConv(here, after, kernel=4, stride=2)]
        self.steps.extend(modules)


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
