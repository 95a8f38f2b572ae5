"""The built-in streaming speech encoder: log-mel frames to one feature vector per motion frame, strictly causal."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.layers import CausalDepthwiseConv, CausalStridedConv, RMSNorm


@dataclass(frozen=True)
class EncoderConfig:
    """A pyramid of stages; each halves the frame rate but the first, which works at the feature rate (100 Hz)."""

    kind: str = "streaming"  # tells the encoders' settings apart
    widths: list[int] = field(default_factory=lambda: [128, 192])  # width of each stage
    blocks: int = 2  # residual blocks per stage
    kernel: int = 9  # frames under each block's convolution
    dropout: float = 0.1  # on each residual branch, in training


class ConvBlock(nn.Module):
    """x + mlp(rms(causal depthwise convolution of x))."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = CausalDepthwiseConv(width, kernel)
        self.norm = RMSNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = dropout

    def init_state(self, batch: int) -> Tensor:
        return self.conv.init_state(batch)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.conv(x, state)
        y = self.down(F.gelu(self.up(self.norm(y))))
        return x + (F.dropout(y, self.dropout) if self.training else y), state


class StreamingEncoder(nn.Module):
    """(B, T * 2**stages, bands) -> (B, T, width); two stages take 100 Hz features to 25 Hz."""

    def __init__(self, bands: int, width: int, config: EncoderConfig) -> None:
        super().__init__()
        modules: list[nn.Module] = [CausalStridedConv(bands, config.widths[0], kernel=3)]
        for here, after in zip(config.widths, [*config.widths[1:], width], strict=True):
            modules += [
                ConvBlock(here, config.kernel, config.dropout) for _ in range(config.blocks)
            ]
            modules += [CausalStridedConv(here, after, kernel=4, stride=2)]
        self.steps = nn.ModuleList(modules)
        self.reduction = 2 ** len(config.widths)

    def init_state(self, batch: int) -> list[Tensor]:
        """One left context per step."""
        return [step.init_state(batch) for step in self.steps]  # type: ignore[operator]

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        new_state = []
        for step, step_state in zip(self.steps, state, strict=True):
            x, step_state = step(x, step_state)
            new_state.append(step_state)
        return x, new_state
