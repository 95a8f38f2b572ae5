"""A plain bidirectional GRU after the shared encoder: what every published system should beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square


@dataclass(frozen=True)
class VertexBiGRUConfig(BaselineConfig):
    """Width and depth of the recurrent part, and the weights of the two terms of the loss."""

    kind: str = "bigru"
    width: int = 192
    """Of the encoder's output."""
    hidden: int = 256
    """In each direction."""
    layers: int = 2
    dropout: float = 0.1
    natural: bool = False
    """Errors are in the corpus' unit, as in JambaTalk's loss, instead of units of the motion's
    spread."""
    position: float = 1.0
    """Weight of the mean squared error of the offsets."""
    velocity: float = 0.0
    """Weight of that of their changes from frame to frame."""
    lips: list[int] = field(default_factory=list)
    """Vertices that count once more."""
    lips_weight: float = 0.0
    """With this weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(not 0 <= vertex < self.outputs // 3 for vertex in self.lips) or bool(self.lips) != (
            self.lips_weight > 0
        ):
            raise ValueError(
                f"lips_weight is {self.lips_weight} with {len(self.lips)} lips: expected both or "
                f"none, and vertices below "
                f"{self.outputs // 3}"
            )


class VertexBiGRU(Baseline):
    """Encoder, bidirectional GRU, linear layer."""

    Config: ClassVar[type[BaselineConfig]] = VertexBiGRUConfig
    config: VertexBiGRUConfig

    def __init__(self, config: VertexBiGRUConfig) -> None:
        super().__init__(config, config.width)
        self.gru = nn.GRU(
            config.width,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout,
        )
        self.head = nn.Linear(2 * config.hidden, config.outputs)

    def _normal(self, samples: Tensor, frames: int) -> Tensor:
        x, _ = self.gru(self.hearing(samples, frames))
        return self.head(x)  # type: ignore[no-any-return]

    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        predicted, true = self._normal(samples, offsets.shape[1]), self.normal(offsets)
        if self.config.natural:
            predicted, true = self.natural(predicted), offsets
        terms = {"position": self.config.position * mean_square(predicted, true)}
        if self.config.velocity:
            terms["velocity"] = self.config.velocity * mean_square(
                predicted.diff(dim=1), true.diff(dim=1)
            )
        if self.config.lips:
            apart = (predicted - true).unflatten(-1, (-1, 3))[:, :, self.config.lips]
            terms["lips"] = self.config.lips_weight * apart.square().mean()
        return terms

    @torch.no_grad()
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        return self.natural(self._normal(samples, frames))
