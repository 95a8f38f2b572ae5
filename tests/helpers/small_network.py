"""A network small enough for tests, and sound that is like speech."""

from __future__ import annotations

import numpy as np

from jambatalk.models.config import DecoderConfig, EncoderConfig, MelConfig, ModelConfig

SMALL = ModelConfig(
    mel=MelConfig(bands=24),
    encoder=EncoderConfig(widths=[16, 24], blocks=1, kernel=5),
    decoder=DecoderConfig(
        width=32, mlp_hidden=48, heads=4, kv_heads=2, window=16, expert_hidden=32
    ),
)


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """(n,) float32: noise whose loudness rises and falls like syllables, with pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * t) * np.sin(2 * np.pi * 0.4 * t + 0.5), 0, 1)
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 20))
    return (0.05 * envelope * (voice + 0.5 * rng.standard_normal(len(t)))).astype(np.float32)
