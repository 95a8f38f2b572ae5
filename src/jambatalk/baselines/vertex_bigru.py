"""A plain bidirectional GRU after the shared encoder: what every published system should beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square


@dataclass(frozen=True)
class VertexBiGRUConfig(BaselineConfig):
    """Width and depth of the recurrent part, and the weights of the two terms of the loss."""

    kind: str = "bigru"
    width: int = 192  # of the encoder's output
    hidden: int = 256  # in each direction
    layers: int = 2
    dropout: float = 0.1
    position: float = 1.0  # weight of the mean squared error of the offsets, in units of their spread
    velocity: float = 0.0  # weight of that of their changes from frame to frame


class VertexBiGRU(Baseline):
    """Encoder, bidirectional GRU, linear layer."""

    Config: ClassVar[type[BaselineConfig]] = VertexBiGRUConfig
    config: VertexBiGRUConfig

    def __init__(self, config: VertexBiGRUConfig) -> None:
        super().__init__(config, config.width)
        self.gru = nn.GRU(
            config.width, config.hidden, config.layers, batch_first=True, bidirectional=True, dropout=config.dropout
        )  # fmt: skip
        self.head = nn.Linear(2 * config.hidden, config.outputs)

    def _normal(self, samples: Tensor, frames: int) -> Tensor:
        x, _ = self.gru(self.hearing(samples, frames))
        return self.head(x)  # type: ignore[no-any-return]

    def loss(self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int) -> dict[str, Tensor]:
        predicted, true = self._normal(samples, offsets.shape[1]), self.normal(offsets)
        terms = {"position": self.config.position * mean_square(predicted, true)}
        if self.config.velocity:
            terms["velocity"] = self.config.velocity * mean_square(predicted.diff(dim=1), true.diff(dim=1))
        return terms

    @torch.no_grad()
    def animate(self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0) -> Tensor:
        return self.natural(self._normal(samples, frames))
