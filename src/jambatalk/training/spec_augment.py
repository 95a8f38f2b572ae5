"""Augmentation of log-mel features: cheap enough to be new at every step.

Each effect does on mel power what an effect on the waveform would do: another vocal tract (a warp
of the frequency axis), another microphone or distance (equalizer, tilt, level, band limits), a
room (decay over time), noise and other voices (added power). All random numbers come from the
generator that is passed in, or from a seed of the sequence's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jambatalk.models.config import MelConfig
from jambatalk.models.features import htk_hz, htk_mel, slaney_hz, slaney_mel

OUTSIDE_BAND = 5.0 * math.log(10.0)
"""Outside a telephone's band the power falls by this (natural logarithm): 50 dB."""


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
    """Applies SpectralAugment to batches of log-mel power (B, T, bands), natural logarithm.

    What is drawn for a sequence comes from ``draw`` and from a seed of its own, so that it is the
    same whatever batch it is in and whatever device computes it.
    """

    def __init__(self, settings: SpectralAugment, mel: MelConfig) -> None:
        self.settings, self.mel = settings, mel
        self.to_mel, to_hz = (htk_mel, htk_hz) if mel.scale == "htk" else (slaney_mel, slaney_hz)
        ends = self.to_mel(torch.tensor([mel.low_hz, mel.high_hz], dtype=torch.float64))
        edges = torch.linspace(float(ends[0]), float(ends[1]), mel.bands + 2)
        self.centres_hz = to_hz(edges[1:-1])  # (bands,)
        self.low_mel, self.step_mel = float(edges[1]), float(edges[1] - edges[0])

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Draw the numbers of one sequence."""
        s = self.settings
        decibel = math.log(10.0) / 10.0
        drawn = {
            "warp": math.exp(rng.uniform(-s.warp, s.warp)),
            "other_warp": math.exp(rng.uniform(-s.warp, s.warp)),
            "babble": math.exp(-decibel * _between(rng, s.babble_snr_db)),
            "has_babble": float(rng.random() < s.babble),
            "has_room": float(rng.random() < s.reverb),
            "decay": rng.uniform(0.05, 0.25),
            "room": rng.uniform(0.1, 0.6),
            "noise_tilt": 2.0 * rng.standard_normal(),
            "noise_bow": rng.standard_normal(),
            "noise": math.exp(-decibel * _between(rng, s.noise_snr_db)),
            "has_noise": float(rng.random() < s.noise),
            "tilt": decibel * s.tilt_db * rng.standard_normal(),
            "is_limited": float(rng.random() < s.band_limit),
            "highest_hz": rng.uniform(2800.0, 6500.0),
            "lowest_hz": rng.uniform(60.0, 350.0),
            "level": decibel * _between(rng, s.level_db),
        }
        for k in range(1, 4):
            drawn[f"ripple_{k}"] = decibel * s.ripple_db * rng.standard_normal()
        return drawn

    def __call__(
        self, x: Tensor, other: Tensor, drawn: Sequence[Mapping[str, float]], seeds: Tensor
    ) -> Tensor:
        """Augment; masks are made by ``hidden``, for the normalized features.

        Args:
            x: (B, T, bands).
            other: (B, T, bands) of who may talk in the background.
            drawn: What ``draw`` gave for each of the B sequences.
            seeds: (B,) int64, of the noise.
        """

        def of(name: str) -> Tensor:
            """(B, 1, 1)"""
            values = torch.tensor([row[name] for row in drawn], dtype=torch.float32)
            return values.to(x.device)[:, None, None]

        power = torch.exp(self._warped(x, of("warp")))
        loud = power.mean((1, 2), keepdim=True)
        behind = torch.exp(self._warped(other, of("other_warp")))
        scale = loud / behind.mean((1, 2), keepdim=True).clamp_min(1e-12) * of("babble")
        power = power + of("has_babble") * behind * scale
        room = self._room(power, of("decay"), of("room"))
        power = torch.where(of("has_room") > 0, room, power)
        axis = torch.linspace(-1.0, 1.0, x.shape[2], device=x.device)
        shape = of("noise_tilt") * axis + of("noise_bow") * torch.cos(math.pi * axis)
        noise = torch.exp(shape) * gamma_field(seeds, x.shape[1], x.shape[2])
        noise = noise / noise.mean((1, 2), keepdim=True) * loud * of("noise")
        power = power + of("has_noise") * noise
        curve = of("tilt") * axis
        for k in range(1, 4):
            curve = curve + of(f"ripple_{k}") * torch.cos(k * math.pi * (axis + 1) / 2)
        centres = self.centres_hz.to(x.device)
        outside = (centres > of("highest_hz")) | (centres < of("lowest_hz"))
        curve = torch.where((of("is_limited") > 0) & outside, curve - OUTSIDE_BAND, curve)
        return torch.log(power * torch.exp(curve + of("level")) + self.mel.floor)

    def hidden(self, frames: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Choose one run of frames and one of bands (SpecAugment, arXiv 1904.08779).

        Returns:
            First frame, frames, first band, bands.
        """
        runs = []
        for size, widest in (
            (frames, self.settings.time_mask),
            (self.mel.bands, self.settings.band_mask),
        ):
            runs += [int(rng.integers(size)), int(rng.integers(widest + 1))]
        return runs[0], runs[1], runs[2], runs[3]

    def _warped(self, x: Tensor, factor: Tensor) -> Tensor:
        """Read band f from f / factor: formants move up by ``factor`` (B, 1, 1)."""
        source_mel = self.to_mel(self.centres_hz.to(x.device) / factor)
        place = (source_mel - self.low_mel) / self.step_mel
        place = place.clamp(0, x.shape[2] - 1)  # (B, 1, bands)
        left = place.long().clamp_max(x.shape[2] - 2)
        share = (place - left).to(x.dtype)
        left = left.expand(-1, x.shape[1], -1)
        return x.gather(2, left) * (1 - share) + x.gather(2, left + 1) * share

    @staticmethod
    def _room(power: Tensor, decay_seconds: Tensor, amount: Tensor) -> Tensor:
        """Add an exponential tail over 0.4 s (40 feature frames of 10 ms).

        decay_seconds (B, 1, 1): time constant of the power. amount (B, 1, 1): the tail's weight.
        """
        times = torch.arange(1, 41, device=power.device) * 0.01
        decay = decay_seconds[:, 0]
        tail = torch.exp(-times / decay) * (0.01 / decay) * amount[:, 0]  # (B, 40)
        size = 1 << (power.shape[1] + 40).bit_length()
        response = torch.fft.rfft(F.pad(tail, (1, 0)), size)[:, :, None]
        added = torch.fft.irfft(torch.fft.rfft(power, size, dim=1) * response, size, dim=1)
        return power + added[:, : power.shape[1]].clamp_min(0)


def gamma_field(seeds: Tensor, frames: int, bands: int) -> Tensor:
    """Draw (B, frames, bands) from a gamma distribution of shape 3 and mean 1.

    So the mel power of Gaussian noise varies from frame to frame: a sum of a few exponential draws
    per band. Every value follows from its row's seed and its place, by a hash of integers.

    Args:
        seeds: (B,) int64.
        frames: Of each row.
        bands: Of each frame.
    """
    place = torch.arange(frames * bands, device=seeds.device).view(1, frames, bands)
    total = torch.zeros(len(seeds), frames, bands, device=seeds.device)
    for draw in range(3):
        uniform = _hashed(seeds[:, None, None] + (place * 3 + draw) * 0x9E3779B1)
        total = total - torch.log(uniform)
    return total / 3.0


def _hashed(x: Tensor) -> Tensor:
    """Map int64 to uniform float32 in (0, 1): two rounds of a 32-bit multiply-xorshift hash."""
    for multiplier in (0x7FEB352D, 0x5BD1E995):
        x = x & 0xFFFFFFFF
        x = ((x ^ (x >> 16)) * multiplier) & 0xFFFFFFFF
        x = x ^ (x >> 15)
    return ((x >> 8).float() + 0.5) * (1.0 / (1 << 24))


def _between(rng: np.random.Generator, limits: Sequence[float]) -> float:
    return float(rng.uniform(limits[0], limits[1]))


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
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        drawn = [self.effects.draw(rng) for _ in mel]
        seeds = torch.from_numpy(rng.integers(2**31, size=len(mel))).to(mel.device)
        chosen = torch.from_numpy(rng.random((len(mel), 1, 1)) < self.share).to(mel.device)
        return torch.where(chosen, self.effects(mel, mel.roll(1, 0), drawn, seeds), mel)
