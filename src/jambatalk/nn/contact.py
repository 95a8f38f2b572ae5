"""Lips that meet: where the network hears a bilabial, the motion goes all the way to closed lips.

A network that minimises squared error halves a closure that it is not sure of, and lips that nearly meet look wrong. So the
phone is read off the same features, and its probability decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ContactConfig:
    """Which phones close the lips, and how sure one has to be of them."""

    phones: int = 0  # phones that are told apart; 0: nothing is read, and lips meet as the motion has them
    bilabials: list[int] = field(default_factory=list)  # indices of those for which the lips meet
    low: float = 0.1  # probability of a bilabial up to which the motion stays as it is
    high: float = 0.3  # and from which the lips are closed

    def __post_init__(self) -> None:
        if self.phones < 0 or not 0.0 <= self.low < self.high <= 1.0:
            raise ValueError(
                f"phones {self.phones}, low {self.low}, high {self.high}: expected phones >= 0, 0 <= low < high <= 1"
            )
        if self.phones and not (self.bilabials and all(0 <= i < self.phones for i in self.bilabials)):
            raise ValueError(f"bilabials are {self.bilabials}, expected indices below {self.phones}")


class Contact(nn.Module):
    """Reads phones off features, and closes the lips of the motion."""

    closed: Tensor
    chosen: Tensor

    def __init__(self, width: int, outputs: int, config: ContactConfig) -> None:
        super().__init__()
        self.config = config
        self.read = nn.Linear(width, config.phones)
        self.register_buffer("closed", torch.zeros(outputs))  # the pose in which the lips meet
        chosen = torch.zeros(config.phones)
        chosen[config.bilabials] = 1.0
        self.register_buffer("chosen", chosen, persistent=False)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """Features (B, T, width) and motion (B, T, outputs) float32 -> the motion with lips that meet."""
        c = self.config
        sure = (self.read(x).float().softmax(-1) * self.chosen).sum(-1, keepdim=True)
        share = ((sure - c.low) / (c.high - c.low)).clamp(0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        return motion + share * (self.closed - motion)
