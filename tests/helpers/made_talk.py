"""A made speaker for the tests of the autoregressive baselines: a few vertices that move as loud
and as bright as the sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from jambatalk.models.config import EncoderConfig, MelConfig

HOP = 640
"""Samples per motion frame at 25 fps."""

TINY: dict[str, Any] = {
    "outputs": 12,
    "mel": MelConfig(bands=24),
    "encoder": EncoderConfig(widths=[16, 24], blocks=1, kernel=5, dropout=0.0),
    "width": 32,
    "heads": 4,
    "inner": 64,
}


def made_talk(clips: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sound (B, frames * HOP) of two noises that come and go, and offsets (B, frames, 12) that
    follow them."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / 25
    phases, speeds = rng.uniform(0, 6, (2, clips, 1)), rng.uniform(2, 4, (2, clips, 1))
    loud = np.clip(np.sin(2 * np.pi * speeds * t + phases), 0.05, 1)  # (2, B, frames)
    noise = rng.standard_normal((clips, frames * HOP))
    rough, smooth = (
        noise,
        np.stack([np.convolve(row, np.ones(24) / 5, "same") for row in noise[:, ::-1]]),
    )
    slow = np.repeat(loud, HOP, axis=2)
    sound = 0.1 * (slow[0] * rough + slow[1] * smooth)
    directions = np.random.default_rng(7).standard_normal((2, 12))
    offsets = loud[0][:, :, None] * directions[0] + loud[1][:, :, None] * directions[1]
    return torch.from_numpy(sound.astype(np.float32)), torch.from_numpy(offsets.astype(np.float32))
