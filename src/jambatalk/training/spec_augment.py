"""Augmentation of log-mel features: cheap enough to be new at every step.

Each effect does on mel power what an effect on the waveform would do: another vocal tract (a warp
of the frequency axis), another microphone or distance (equalizer, tilt, level, band limits), a
room (decay over time), noise and other voices (added power). All random numbers come from the
generator that is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from jambatalk.models.config import MelConfig


@dataclass(frozen=True)
class SpectralAugment:
    """Chances (0..1) and ranges [lowest, highest] of the effects, drawn once per sequence."""

    warp: float = 0.25
    """Vocal tract: frequencies times exp(-warp .. warp)."""
    level_db: list[float] = field(default_factory=lambda: [-35.0, 6.0])
    """Loudness."""
    tilt_db: float = 8.0
    """Spectral tilt over the whole axis, standard deviation."""
    ripple_db: float = 4.0
    """Smooth equalizer curve, standard deviation per cosine term."""
    band_limit: float = 0.3
    """Chance of a telephone-like band limit."""
    reverb: float = 0.3
    """Chance of a room."""
    noise: float = 0.7
    """Chance of added noise."""
    noise_snr_db: list[float] = field(default_factory=lambda: [3.0, 40.0])
    """Speech over the noise."""
    babble: float = 0.2
    """Chance that another sequence talks in the background."""
    babble_snr_db: list[float] = field(default_factory=lambda: [8.0, 25.0])
    """Speech over the other sequence."""
    band_mask: int = 10
    """Widest run of bands that is masked."""
    time_mask: int = 8
    """Longest run of feature frames that is masked."""

    def __post_init__(self) -> None:
        for name in ("level_db", "noise_snr_db", "babble_snr_db"):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name} is {getattr(self, name)}, expected [lowest, highest]")


class SpectralEffects:
    """Applies SpectralAugment to batches of log-mel power (B, T, bands), natural logarithm."""

    def __init__(self, settings: SpectralAugment, mel: MelConfig) -> None:
        self.settings, self.mel = settings, mel
        edges = torch.linspace(_to_mel(mel.low_hz), _to_mel(mel.high_hz), mel.bands + 2)
        self.centres_hz = 700.0 * (10.0 ** (edges[1:-1] / 2595.0) - 1.0)  # (bands,)
        self.low_mel, self.step_mel = float(edges[1]), float(edges[1] - edges[0])

    def __call__(self, x: Tensor, other: Tensor, generator: torch.Generator) -> Tensor:
        """Augment; masks are made by ``hidden``, for the normalized features.

        Args:
            x: (B, T, bands).
            other: (B, T, bands) of who may talk in the background.
            generator: Of all random numbers.
        """
        s, batch = self.settings, x.shape[0]

        def uniform(low: float, high: float) -> Tensor:
            return torch.rand(batch, 1, 1, generator=generator) * (high - low) + low

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        def chance(p: float) -> Tensor:
            return torch.rand(batch, 1, 1, generator=generator) < p

        x = self._warped(x, torch.exp(uniform(-s.warp, s.warp)))
        power = torch.exp(x)
        loud = power.mean((1, 2), keepdim=True)
        snr = uniform(*s.babble_snr_db)
        behind = torch.exp(self._warped(other, torch.exp(uniform(-s.warp, s.warp))))
        scale = loud / behind.mean((1, 2), keepdim=True).clamp_min(1e-12) * 10.0 ** (-snr / 10.0)
        power = torch.where(chance(s.babble), power + behind * scale, power)
        power = torch.where(
            chance(s.reverb), self._room(power, uniform(0.05, 0.25), uniform(0.1, 0.6)), power
        )
        axis = torch.linspace(-1.0, 1.0, x.shape[2])
        shape = normal(batch, 1, 1) * axis * 2.0 + normal(batch, 1, 1) * torch.cos(math.pi * axis)
        # Mel power of Gaussian noise varies from frame to frame as a sum of a few exponential
        # draws per band.
        draws = sum(torch.empty_like(x).exponential_(generator=generator) for _ in range(3))
        noise = torch.exp(shape) * draws
        gain = 10.0 ** (-uniform(*s.noise_snr_db) / 10.0)
        noise = noise / noise.mean((1, 2), keepdim=True) * loud * gain
        power = torch.where(chance(s.noise), power + noise, power)
        decibel = math.log(10.0) / 10.0
        curve = s.tilt_db * normal(batch, 1, 1) * axis
        for k in range(1, 4):
            wave = torch.cos(k * math.pi * (axis + 1) / 2)
            curve = curve + s.ripple_db * normal(batch, 1, 1) * wave
        limited = chance(s.band_limit)
        high, low = uniform(2800.0, 6500.0), uniform(60.0, 350.0)
        outside = (self.centres_hz > high) | (self.centres_hz < low)
        curve = torch.where(limited & outside, curve - 50.0, curve) + uniform(*s.level_db)
        return torch.log(power * torch.exp(curve * decibel) + self.mel.floor)

    def hidden(self, frames: int, generator: torch.Generator) -> Tensor:
        """Choose one run of bands and one of frames (SpecAugment, arXiv 1904.08779).

        Returns:
            (frames, bands) bool.
        """
        runs = []
        for size, widest in (
            (frames, self.settings.time_mask),
            (self.mel.bands, self.settings.band_mask),
        ):
            width = torch.randint(0, widest + 1, (1,), generator=generator)
            start = torch.randint(0, size, (1,), generator=generator)
            index = torch.arange(size)
            runs.append((index >= start) & (index < start + width))
        return runs[0][:, None] | runs[1]

    def _warped(self, x: Tensor, factor: Tensor) -> Tensor:
        """Read band f from f / factor: formants move up by ``factor`` (B, 1, 1)."""
        source_mel = 2595.0 * torch.log10(1.0 + self.centres_hz / factor / 700.0)
        place = (source_mel - self.low_mel) / self.step_mel
        place = place.clamp(0, x.shape[2] - 1)  # (B, 1, bands)
        left = place.long().clamp_max(x.shape[2] - 2)
        share = place - left
        left = left.expand(-1, x.shape[1], -1)
        return x.gather(2, left) * (1 - share) + x.gather(2, left + 1) * share

    @staticmethod
    def _room(power: Tensor, decay_seconds: Tensor, amount: Tensor) -> Tensor:
        """Add an exponential tail over 0.4 s (40 feature frames of 10 ms).

        decay_seconds (B, 1, 1): time constant of the power. amount (B, 1, 1): the tail's weight.
        """
        times = torch.arange(1, 41) * 0.01
        decay = decay_seconds[:, 0]
        tail = torch.exp(-times / decay) * (0.01 / decay) * amount[:, 0]  # (B, 40)
        size = 1 << (power.shape[1] + 40).bit_length()
        response = torch.fft.rfft(F.pad(tail, (1, 0)), size)[:, :, None]
        added = torch.fft.irfft(torch.fft.rfft(power, size, dim=1) * response, size, dim=1)
        return power + added[:, : power.shape[1]].clamp_min(0)


def _to_mel(hz: float) -> float:
    return 2595.0 * math.log10(1.0 + hz / 700.0)


class SpecAugment:
    """Augments some sequences of a batch of log-mel features (B, F, bands), each differently.

    Networks that compute their features themselves call it between features and normalization.
    Its random numbers follow from torch's generator, which the training loop seeds at every step.

    Args:
        settings: Of the effects.
        share: Of the sequences that are augmented.
        mel: Settings of the features.
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
