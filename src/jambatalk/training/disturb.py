"""Other voices, rooms and noise for networks that make their features themselves: a hook between features and normalisation."""

from __future__ import annotations

import torch
from torch import Tensor

from jambatalk.nn.mel import MelConfig
from jambatalk.training.spectral import SpectralAugment, SpectralEffects


class Disturb:
    """Changes a share of the sequences of a batch of log-mel features (B, F, bands), each in its own way.

    What it draws follows from torch's generator, which the loop seeds at every step.
    """

    def __init__(self, settings: SpectralAugment, share: float, mel: MelConfig) -> None:
        self.share = share
        self.effects = SpectralEffects(settings, mel)

    def __call__(self, mel: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        x = mel.cpu()
        changed = self.effects(x, x.roll(1, 0), generator)
        chosen = torch.rand(len(x), 1, 1, generator=generator) < self.share
        return torch.where(chosen, changed, x).to(mel.device)
