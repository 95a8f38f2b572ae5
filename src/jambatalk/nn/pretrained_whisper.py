"""Whisper's encoder: log-mel frames of up to 30 s at a time, one output per 320 samples."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE = 16000
FRAME, HOP = 400, 160
BLOCK = 3000
"""Mel frames that the clip's loudest value is sought in at a time."""


@functools.cache
def mel_filters(bins: int) -> Tensor:
    """(201, bins) triangular filters, as transformers' feature extractor has them."""
    from transformers import WhisperFeatureExtractor

    return torch.as_tensor(WhisperFeatureExtractor(feature_size=bins).mel_filters, dtype=torch.float32)


class WhisperReader:
    """Reads frames out of clips with a Whisper encoder that it does not own.

    The network hears exactly ``positions`` frames (30 s in every published model) at a time, silence after the clip's end
    included. Values are clipped at 80 dB below the loudest of the whole clip.
    """

    stride = 2 * HOP

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network
        settings: Any = network.config
        self.positions: int = settings.max_source_positions
        self.bins: int = settings.num_mel_bins

    def length(self, samples: int) -> int:
        """Outputs that belong to so many samples."""
        return (samples // HOP + 1) // 2

    @torch.no_grad()
    def stats(self, samples: Tensor, whole: bool) -> Tensor:
        """(B, 1, 1): the loudest log-mel value of each clip."""
        frames = (samples.shape[1] + FRAME) // HOP + 1
        blocks = [self._log_mel(samples, first, min(first + BLOCK, frames)) for first in range(0, frames, BLOCK)]
        return torch.stack([block.amax((1, 2), keepdim=True) for block in blocks]).amax(0)

    def _log_mel(self, samples: Tensor, first: int, last: int) -> Tensor:
        """(B, bins, last - first) base-10 logarithms; frame i lies around sample i * 160."""
        begin, end = first * HOP - FRAME // 2, (last - 1) * HOP + FRAME // 2
        part = samples[:, max(begin, 0) : max(end, 1)].float()
        part = F.pad(part, (0, end - max(begin, 0) - part.shape[1]))
        if begin < 0:
            part = torch.cat([part[:, 1 : 1 - begin].flip(1), part], dim=1)
        window = torch.hann_window(FRAME, device=samples.device)
        spectrum = torch.stft(part, FRAME, HOP, window=window, center=False, return_complex=True)
        power = spectrum.abs().square()  # (B, 201, last - first)
        return (mel_filters(self.bins).T.to(power.device) @ power).clamp(min=1e-10).log10()

    def read(self, samples: Tensor, stats: Tensor, first: int, last: int) -> Tensor:
        """(B, last - first, hidden): outputs first ... last - 1, at most ``positions`` of them, heard on their own."""
        mel = self._log_mel(samples, 2 * first, 2 * (first + self.positions))
        mel = (torch.maximum(mel, stats - 8.0) + 4.0) / 4.0
        return self.network(mel.to(next(self.network.parameters()).dtype))[0][:, : last - first]
