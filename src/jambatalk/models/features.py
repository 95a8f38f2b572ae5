"""Log-mel features of a sound stream, and the running norm that makes voices comparable.

A voice, a microphone and a recording level each add a constant to every band of the log-mel
features. ``RunningNorm`` subtracts a running mean of the speech so far, so that all three cancel.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
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
"""Keeps quotients of loudness finite in digital silence."""

STANDS_OUT = 3.0
"""A frame louder than this many times the background may be speech; noise itself varies as much."""

QUIET_ROOM = 1e-3
"""Peak loudness at the start of a stream: fainter sound does not count as speech."""

UNKNOWN_BACKGROUND = 1e4
"""Background at the start: above every frame, so that the first frame sets it."""


MANY_FRAMES = 10_000
"""Frames over all sequences from which the norm shares them among threads."""


class LogMel(nn.Module):
    """Samples (B, n) -> log mel power (B, n / hop, bands); frame j ends at sample (j + 1) * hop."""

    filters: Tensor
    taper: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        # In units of the floor: forward takes log(1 + p / floor) + log(floor) for log(p + floor),
        # because the optimizer of ONNX exports takes a summand below 1e-8 for zero and would leave
        # the floor out.
        self.register_buffer(
            "filters", mel_filters(config) / (config.window * config.floor), persistent=False
        )
        self.register_buffer("taper", torch.hann_window(config.window), persistent=False)

    def init_state(self, batch: int) -> Tensor:
        """Return the window - hop samples before the first one: silence."""
        return self.taper.new_zeros(batch, self.config.window - self.config.hop)

    def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features in natural logarithm of power, and the samples of the next window.

        Raises:
            ValueError: the samples are not a whole number of hops.
        """
        c = self.config
        if samples.shape[1] % c.hop:
            raise ValueError(
                f"a chunk of {samples.shape[1]} samples is not a multiple of the hop {c.hop}"
            )
        padded = torch.cat([state, samples], dim=1)
        frames = padded.unfold(1, c.window, c.hop) * self.taper
        spectrum = torch.fft.rfft(frames, c.fft)
        power = spectrum.real.square() + spectrum.imag.square()
        tail = padded[:, padded.shape[1] - (c.window - c.hop) :]
        return torch.log(power @ self.filters + 1.0) + math.log(c.floor), tail


@dataclass
class NormState:
    """What ``RunningNorm`` keeps of a stream.

    mean: (B, bands) float32, the running mean (natural logarithm of power).
    level: (B, 3) float32: peak loudness, loud frames so far, loudness of the background. Loudness
        is the square root of a frame's summed power.
    """

    mean: Tensor
    level: Tensor


class RunningNorm(nn.Module):
    """Subtracts a running mean over the loud frames of a stream, and clips.

    Causal, and a plain recursion: the same whatever the chunks. For each frame (10 ms):

    1. Background: the least loudness of late. It may double in ``background_memory`` frames (0.5
       s), so it follows a fan that starts within seconds and hardly moves during a syllable.
    2. Loudness of the frame: what exceeds STANDS_OUT times the background, else 0. Digital silence
       and steady noise have no loudness, so they move nothing.
    3. Peak: the largest loudness so far, halved in ``memory`` frames (30 s).
    4. Forgetting: where a frame is much louder than the peak before it, what was learned so far was
       probably not speech. The mean goes back to the trained mean in its shape over the bands; its
       level (the mean over the bands) stays.
    5. Learning: the mean moves towards the frame by a share that is the frame's loudness relative
       to the peak, divided by the loud frames so far (at most 1 / ``rate``: 2 s of speech). The
       trained mean counts for ``prior`` loud frames in shape but only for ``level_prior`` in level:
       one syllable shows how loud a recording is, but not how a voice is coloured.
    6. The frame less the mean (``normalize: level``: less the mean's average over the bands),
       clipped to ``low`` ... ``high``, is the output.
    """

    start: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("start", torch.zeros(config.bands))

    def init_state(self, batch: int) -> NormState:
        """Return the state before the first frame: the trained mean, no loud frames."""
        level = self.start.new_zeros(batch, 3)
        level[:, 0] = QUIET_ROOM
        level[:, 2] = UNKNOWN_BACKGROUND
        return NormState(self.start.expand(batch, -1).clone(), level)

    @torch.no_grad()
    def forward(
        self, x: Tensor, state: NormState, skip: Tensor | None = None
    ) -> tuple[Tensor, NormState]:
        """Normalize and clip x (B, T, bands); return the same shape and the new state.

        Args:
            x: Log power.
            state: Before the first frame.
            skip: (B,) int64, frames at the beginning of each row that are none (padding): they
                change no state. None: all are real.
        """
        # A graph that torch traces cannot contain a call into numba.
        if tracing():
            return normalize_reference(x, state, self.start, self.config)
        return _normalize_numba(x, state, self.start, self.config, skip)


def normalize_reference(
    x: Tensor, state: NormState, start: Tensor, config: MelConfig
) -> tuple[Tensor, NormState]:
    """Compute ``RunningNorm.forward`` frame by frame in plain torch.

    Args:
        x: (B, T, bands) log power.
        state: Before the first frame.
        start: (bands,) the trained mean.
        config: Settings of the norm.
    """
    # The square root of the power, so that one shout does not outweigh a sentence.
    loudness = torch.exp(x).sum(-1).sqrt()
    decay, growth = 0.5 ** (1.0 / config.memory), 2.0 ** (1.0 / config.background_memory)
    mean, (peak, count, background) = state.mean, state.level.unbind(-1)
    outputs = []
    for t in range(x.shape[1]):
        w = loudness[:, t]
        background = torch.minimum(w, background * growth)
        w = (w - STANDS_OUT * background).clamp_min(0)
        before = peak * decay
        peak = torch.maximum(before, w)
        # 1 while the peak stays; towards 0 the more a frame exceeds it. A mean over count + prior
        # frames of which only keep * count are left is nearer to the prior by the factor kept.
        keep = (1.5 * before + TINY) / (before + 0.5 * peak + TINY)
        kept = keep * (config.prior + count) / (config.prior + keep * count)
        apart = mean - start
        level = apart.mean(-1, keepdim=True)
        mean = start + level + kept[:, None] * (apart - level)
        loud = w / (w + 0.5 * peak + TINY)  # 0 in silence, 2/3 at the peak
        count = (keep * count + loud).clamp_max(1.0 / config.rate)
        step = loud * (1.0 / (count + config.prior)).clamp_min(config.rate)
        level_step = loud * (1.0 / (count + config.level_prior)).clamp_min(config.rate)
        apart = x[:, t] - mean
        level = apart.mean(-1, keepdim=True)
        mean = mean + step[:, None] * (apart - level) + level_step[:, None] * level
        subtracted = mean if config.normalize == "bands" else mean.mean(-1, keepdim=True)
        outputs.append((x[:, t] - subtracted).clamp(config.low, config.high))
    y = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(x)
    return y, NormState(mean, torch.stack([peak, count, background], dim=-1))


@njit(cache=True, nogil=True)
def _normalize(x, mean, level, start, c, skip, out):  # type: ignore[no-untyped-def]
    """As ``normalize_reference`` on float32 arrays; mean and level are changed in place."""
    rate, prior, level_prior, decay, growth, low, high, colored = c
    bands = x.shape[2]
    half, tiny = np.float32(0.5), np.float32(TINY)
    share = np.float32(1.0) / np.float32(bands)
    for b in range(x.shape[0]):
        peak, count, background = level[b, 0], level[b, 1], level[b, 2]
        for t in range(skip[b], x.shape[1]):
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
            average = np.float32(0.0)
            for i in range(bands):
                mean[b, i] += step * (x[b, t, i] - mean[b, i] - total) + level_step * total
                average += mean[b, i]
            average *= share * (np.float32(1.0) - colored)
            for i in range(bands):
                subtracted = colored * mean[b, i] + average
                out[b, t, i] = min(max(x[b, t, i] - subtracted, low), high)
        level[b, 0], level[b, 1], level[b, 2] = peak, count, background


def _normalize_numba(
    x: Tensor, state: NormState, start: Tensor, config: MelConfig, skip: Tensor | None = None
) -> tuple[Tensor, NormState]:
    """As ``normalize_reference``, by ten calls into torch instead of a dozen for every frame."""
    device = x.device
    mean, level = (
        s.to("cpu", torch.float32, copy=True).contiguous() for s in (state.mean, state.level)
    )
    out: NDArray[np.float32] = np.zeros(x.shape, np.float32)
    skipped: NDArray[np.int64] = np.zeros(len(x), np.int64) if skip is None else skip.cpu().numpy()
    decay, growth = 0.5 ** (1.0 / config.memory), 2.0 ** (1.0 / config.background_memory)
    c = config
    colored = float(c.normalize == "bands")  # 1: each band's own mean, 0: their average
    numbers = (c.rate, c.prior, c.level_prior, decay, growth, c.low, c.high, colored)
    settings = tuple(np.float32(n) for n in numbers)
    frames, first = x.float().cpu().contiguous().numpy(), start.float().cpu().numpy()

    def rows(part: slice) -> None:
        states = mean.numpy()[part], level.numpy()[part]
        _normalize(frames[part], *states, first, settings, skipped[part], out[part])

    # Batches of training; the compiled loop releases the interpreter's lock.
    if out.shape[0] * out.shape[1] < MANY_FRAMES:
        rows(slice(None))
    else:
        workers = torch.get_num_threads()
        edges = np.linspace(0, out.shape[0], workers + 1).astype(int)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(rows, map(slice, edges[:-1], edges[1:])))
    return torch.from_numpy(out).to(device), NormState(mean.to(device), level.to(device))


def mel_filters(config: MelConfig) -> Tensor:
    """Return triangular filters on the mel scale: (fft / 2 + 1, bands).

    Height 1 on O'Shaughnessy's scale (htk), area 1 on Slaney's.
    """
    to_mel, to_hz = (htk_mel, htk_hz) if config.scale == "htk" else (slaney_mel, slaney_hz)
    ends = torch.tensor([config.low_hz, config.high_hz], dtype=torch.float64, device="cpu")
    low, high = to_mel(ends).tolist()
    edges = to_hz(torch.linspace(low, high, config.bands + 2, dtype=torch.float64))
    bins = torch.arange(config.fft // 2 + 1, dtype=torch.float64)[:, None]
    hz = bins * (SAMPLE_RATE / config.fft)
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp_min(0)
    if config.scale == "slaney":
        filters = filters * (2.0 / (edges[2:] - edges[:-2]))
    return filters.float()


def htk_mel(hz: Tensor) -> Tensor:
    """Convert frequencies by O'Shaughnessy's formula, which HTK uses."""
    return 2595.0 * torch.log10(1.0 + hz / 700.0)


def htk_hz(mel: Tensor) -> Tensor:
    """Invert ``htk_mel``."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


SLANEY_STEP = 27.0 / math.log(6.4)
"""Slaney's scale is linear to 1 kHz (15 mel) and has 27 mel for a factor of 6.4 above."""


def slaney_mel(hz: Tensor) -> Tensor:
    """Convert frequencies by the formula of Slaney's Auditory Toolbox (1998)."""
    above = 15.0 + SLANEY_STEP * torch.log(hz.clamp_min(1000.0) / 1000.0)
    return torch.where(hz < 1000.0, hz * 3.0 / 200.0, above)


def slaney_hz(mel: Tensor) -> Tensor:
    """Invert ``slaney_mel``."""
    above = 1000.0 * torch.exp((mel - 15.0) / SLANEY_STEP)
    return torch.where(mel < 15.0, mel * 200.0 / 3.0, above)
