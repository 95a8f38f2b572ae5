"""Log-mel features of a sound stream and their running normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.models.config import MelConfig
from jambatalk.ops.backend import tracing

TINY = 1e-12
STANDS_OUT = (
    3.0  # times the background: what is louder may be speech; noise itself varies by up to so much
)


def mel_filters(config: MelConfig) -> Tensor:
    """(fft / 2 + 1, bands) triangular filters on O'Shaughnessy's mel scale, each of unit height."""
    edges_mel = torch.linspace(
        _mel(config.low_hz), _mel(config.high_hz), config.bands + 2, dtype=torch.float64
    )
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    hz = torch.arange(config.fft // 2 + 1, dtype=torch.float64)[:, None] * (
        SAMPLE_RATE / config.fft
    )
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()


def _mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hz / 700.0))


class LogMel(nn.Module):
    """Samples (B, n) -> log mel power (B, n / hop, bands); frame j ends with sample (j + 1) * hop."""

    filters: Tensor
    taper: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        # In units of the floor: below, log(1 + p / floor) + log(floor) stands for log(p + floor), because the optimiser of
        # ONNX exports takes a sum with less than 1e-8 for a sum with zero and leaves the floor out.
        self.register_buffer(
            "filters", mel_filters(config) / (config.window * config.floor), persistent=False
        )
        self.register_buffer("taper", torch.hann_window(config.window), persistent=False)

    def init_state(self, batch: int) -> Tensor:
        """The window - hop samples before the first one: silence."""
        return self.taper.new_zeros(batch, self.config.window - self.config.hop)

    def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        if samples.shape[1] % c.hop:
            raise ValueError(
                f"a chunk of {samples.shape[1]} samples is no multiple of the hop {c.hop}"
            )
        padded = torch.cat([state, samples], dim=1)
        frames = padded.unfold(1, c.window, c.hop) * self.taper
        spectrum = torch.fft.rfft(frames, c.fft)
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log(power @ self.filters + 1.0) + math.log(c.floor), padded[
            :, padded.shape[1] - (c.window - c.hop) :
        ]


@dataclass
class NormState:
    """mean: (B, bands) running mean; level: (B, 3) float32, peak weight, number of loud frames and background weight."""

    mean: Tensor
    level: Tensor


def normalize_reference(
    x: Tensor, state: NormState, start: Tensor, config: MelConfig
) -> tuple[Tensor, NormState]:
    """The recursion of ``RunningNorm``, one frame after the other, in plain torch; contract as its ``forward``.

    start: (bands,) the trained mean.
    """
    # Loudness: the square root of the frame's power, so that one shout does not outweigh a sentence.
    weight = torch.exp(x).sum(-1).sqrt()
    decay, growth = 0.5 ** (1.0 / config.memory), 2.0 ** (1.0 / config.background_memory)
    mean, (peak, count, background) = state.mean, state.level.unbind(-1)
    outputs = []
    for t in range(x.shape[1]):
        w = weight[:, t]
        background = torch.minimum(w, background * growth)
        # What stands out of the steady background; digital silence and an even noise have nothing that does.
        w = (w - STANDS_OUT * background).clamp_min(0)
        before = peak * decay
        peak = torch.maximum(before, w)
        # All earlier frames weigh less beside a louder one: noise that came before speech is forgotten.
        keep = (1.5 * before + TINY) / (before + 0.5 * peak + TINY)
        kept = keep * (config.prior + count) / (config.prior + keep * count)
        apart = mean - start
        level = apart.mean(-1, keepdim=True)
        mean = start + level + kept[:, None] * (apart - level)
        loud = w / (w + 0.5 * peak + TINY)
        count = (keep * count + loud).clamp_max(1.0 / config.rate)
        step = loud * (1.0 / (count + config.prior)).clamp_min(config.rate)
        level_step = loud * (1.0 / (count + config.level_prior)).clamp_min(config.rate)
        apart = x[:, t] - mean
        level = apart.mean(-1, keepdim=True)
        mean = mean + step[:, None] * (apart - level) + level_step[:, None] * level
        outputs.append((x[:, t] - mean).clamp(config.low, config.high))
    y = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(x)
    return y, NormState(mean, torch.stack([peak, count, background], dim=-1))


@njit(cache=True, nogil=True)
def _normalize(x, mean, level, start, c, out):  # type: ignore[no-untyped-def]
    rate, prior, level_prior, decay, growth, low, high = c
    bands = x.shape[2]
    half, tiny = np.float32(0.5), np.float32(TINY)
    share = np.float32(1.0) / np.float32(bands)
    for b in range(x.shape[0]):
        peak, count, background = level[b, 0], level[b, 1], level[b, 2]
        for t in range(x.shape[1]):
            power = np.float32(0.0)
            for i in range(bands):
                power += np.exp(x[b, t, i])
            w = np.sqrt(power)
            background = min(w, background * growth)
            w = max(w - np.float32(STANDS_OUT) * background, np.float32(0.0))
            before = peak * decay
            peak = max(before, w)
            keep = (np.float32(1.5) * before + tiny) / (before + half * peak + tiny)
            if keep < np.float32(1.0):
                kept = keep * (prior + count) / (prior + keep * count)
                total = np.float32(0.0)
                for i in range(bands):
                    total += mean[b, i] - start[i]
                for i in range(bands):
                    mean[b, i] = (
                        start[i] + total * share + kept * (mean[b, i] - start[i] - total * share)
                    )
            loud = w / (w + half * peak + tiny)
            count = min(keep * count + loud, np.float32(1.0) / rate)
            step = loud * max(rate, np.float32(1.0) / (count + prior))
            level_step = loud * max(rate, np.float32(1.0) / (count + level_prior))
            total = np.float32(0.0)
            for i in range(bands):
                total += x[b, t, i] - mean[b, i]
            total *= share
            for i in range(bands):
                mean[b, i] += step * (x[b, t, i] - mean[b, i] - total) + level_step * total
                out[b, t, i] = min(max(x[b, t, i] - mean[b, i], low), high)
        level[b, 0], level[b, 1], level[b, 2] = peak, count, background


def _normalize_numba(
    x: Tensor, state: NormState, start: Tensor, config: MelConfig
) -> tuple[Tensor, NormState]:
    """As ``normalize_reference``: ten calls into torch instead of a dozen for every frame."""
    device = x.device
    mean, level = (
        s.to("cpu", torch.float32, copy=True).contiguous() for s in (state.mean, state.level)
    )
    out: NDArray[np.float32] = np.empty(x.shape, np.float32)
    decay, growth = 0.5 ** (1.0 / config.memory), 2.0 ** (1.0 / config.background_memory)
    numbers = (
        config.rate,
        config.prior,
        config.level_prior,
        decay,
        growth,
        config.low,
        config.high,
    )
    _normalize(
        x.float().cpu().contiguous().numpy(),
        mean.numpy(),
        level.numpy(),
        start.float().cpu().numpy(),
        tuple(np.float32(n) for n in numbers),
        out,
    )
    return torch.from_numpy(out).to(device), NormState(mean.to(device), level.to(device))


class RunningNorm(nn.Module):
    """Subtracts a running mean that listens to loud frames only, so that voice, microphone and level cancel.

    A frame moves the mean by its loudness relative to the running peak: pauses and background noise hardly move it, and
    the first second moves it fastest. Causal; a plain recursion, the same whatever the chunks.
    """

    start: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("start", torch.zeros(config.bands))

    def init_state(self, batch: int) -> NormState:
        """The trained mean, which counts for ``prior`` loud frames."""
        level = self.start.new_zeros(batch, 3)
        level[:, 0] = 1e-3  # a quiet room: what is fainter does not count as speech at the start
        level[:, 2] = 1e4  # the first frame says how loud the background is
        return NormState(self.start.expand(batch, -1).clone(), level)

    @torch.no_grad()
    def forward(self, x: Tensor, state: NormState) -> tuple[Tensor, NormState]:
        """x (B, T, bands) -> the same shape, normalised and clipped."""
        # A graph that torch traces cannot hold a call into numba.
        return (normalize_reference if tracing() else _normalize_numba)(
            x, state, self.start, self.config
        )
