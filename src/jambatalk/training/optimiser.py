"""The optimiser, its learning rate at every step, and the average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from jambatalk.training.config import TrainConfig
from jambatalk.training.network import Network


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over what is trainable; vectors (biases, gains) are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    betas = (config.betas[0], config.betas[1])
    # The fused kernel takes scaled gradients only as a whole, which clipping in float16 would come before.
    return kind(groups, lr=config.learning_rate, betas=betas, fused=config.precision != "16")


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of ``step`` (from 0 on): a linear warm-up, then the schedule."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


class Average:
    """An exponential mean of a network's weights over the steps, the same on every process."""

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Take in the weights after optimiser step ``step`` (from 0 on)."""
        # A young average follows quickly; later it smooths over 1 / (1 - decay) steps.
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, current in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(current)
