"""Networks that read the wave itself (wav2vec 2.0, HuBERT, WavLM, data2vec-audio), any stretch of a clip at a time.

The convolutions see 400 samples a frame, so a stretch's features are those of the whole clip, if what they take from the
whole clip is known: the sound's mean and variance, and, where the first convolution is followed by a group norm, mean and
variance of each of its channels. Both follow from sums over the clip, gathered once; nothing is as long as the clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 1 << 20
"""Samples that sums are gathered over at a time."""


PIECE = 250
"""Frames that the convolutions make at a time outside training: their inner values take some 0.4 MB a frame at full size."""


@dataclass(frozen=True)
class ClipStats:
    """What normalisation takes from the whole clip.

    mean, scale: (B, 1) sound becomes (sound - mean) * scale. channels: (B, C, 1) mean and 1 / deviation of the first
    convolution's outputs, when a group norm follows it and the clip is read in parts.
    """

    mean: Tensor
    scale: Tensor
    channels: tuple[Tensor, Tensor] | None = None


class WaveReader:
    """Reads frames out of clips with a network that it does not own."""

    def __init__(self, network: nn.Module, normalize: bool) -> None:
        self.network: Any = network
        self.normalize = normalize
        settings: Any = network.config
        self.kernels, self.strides = list(settings.conv_kernel), list(settings.conv_stride)
        self.stride = math.prod(self.strides)
        self.reach = 1  # samples under one frame
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides)):
            self.reach = (self.reach - 1) * stride + kernel

    def length(self, samples: int) -> int:
        """Frames that the convolutions make of so many samples."""
        for kernel, stride in zip(self.kernels, self.strides):
            samples = (samples - kernel) // stride + 1
        return max(samples, 0)

    @torch.no_grad()
    def stats(self, samples: Tensor, whole: bool) -> ClipStats:
        """What (B, n) sound must be normalised with; ``whole``: its convolutions will be computed in one piece."""
        mean = samples.new_zeros(len(samples), 1, dtype=torch.float64)
        scale = torch.ones_like(mean)
        if self.normalize:
            total, squares = torch.zeros_like(mean), torch.zeros_like(mean)
            for block in samples.split(BLOCK, dim=1):
                wide = block.double()
                total += wide.sum(1, keepdim=True)
                squares += wide.square().sum(1, keepdim=True)
            mean = total / samples.shape[1]
            # 1e-7 is that of transformers' feature extractor.
            scale = ((squares / samples.shape[1] - mean.square()).clamp(min=0) + 1e-7).rsqrt()
        plain = ClipStats(mean.to(samples.dtype), scale.to(samples.dtype))
        norm = getattr(self.network.feature_extractor.conv_layers[0], "layer_norm", None)
        if whole or not isinstance(norm, nn.GroupNorm):
            return plain
        return ClipStats(plain.mean, plain.scale, self._channels(samples, plain))

    def _channels(self, samples: Tensor, stats: ClipStats) -> tuple[Tensor, Tensor]:
        """Mean and 1 / deviation of the first convolution's channels over the clip.

        A channel is a weighted sum of the kernel's taps, so its moments follow from those of the taps: cheaper than the
        convolution, and exact.
        """
        layer = self.network.feature_extractor.conv_layers[0]
        kernel, stride = self.kernels[0], self.strides[0]
        count = (samples.shape[1] - kernel) // stride + 1
        total = samples.new_zeros(len(samples), kernel, dtype=torch.float64)
        products = samples.new_zeros(len(samples), kernel, kernel, dtype=torch.float64)
        for first in range(0, count, BLOCK // stride):
            last = min(first + BLOCK // stride, count)
            part = samples[:, first * stride : (last - 1) * stride + kernel].double()
            taps = ((part - stats.mean) * stats.scale).unfold(1, kernel, stride)  # (B, last - first, kernel)
            total += taps.sum(1)
            products += taps.transpose(1, 2) @ taps
        weight = layer.conv.weight.double().squeeze(1)  # (C, kernel)
        mean = total @ weight.T / count  # (B, C)
        square = torch.einsum("ck,bkl,cl->bc", weight, products, weight) / count
        deviation = ((square - mean.square()).clamp(min=0) + layer.layer_norm.eps).sqrt()
        if layer.conv.bias is not None:
            mean = mean + layer.conv.bias.double()
        return mean[..., None].to(samples.dtype), deviation.reciprocal()[..., None].to(samples.dtype)

    def features(self, samples: Tensor, stats: ClipStats, first: int, last: int) -> Tensor:
        """Convolution features (B, last - first, C) of the frames first ... last - 1."""
        if torch.is_grad_enabled() or last - first <= PIECE:
            return self._convolved(samples, stats, first, last)
        cuts = [*range(first, last, PIECE), last]
        return torch.cat([self._convolved(samples, stats, a, b) for a, b in pairwise(cuts)], dim=1)

    def _convolved(self, samples: Tensor, stats: ClipStats, first: int, last: int) -> Tensor:
        extractor = self.network.feature_extractor
        kind = next(self.network.parameters()).dtype
        if (first, last) == (0, self.length(samples.shape[1])) and stats.channels is None:
            part = samples
        else:
            part = samples[:, first * self.stride : (last - 1) * self.stride + self.reach]
        part = ((part - stats.mean) * stats.scale).to(kind)
        if stats.channels is None:
            return extractor(part).transpose(1, 2)
        layer = extractor.conv_layers[0]
        mean, scale = (value.to(kind) for value in stats.channels)
        x = (layer.conv(part[:, None]) - mean) * scale
        x = layer.activation(x * layer.layer_norm.weight[:, None] + layer.layer_norm.bias[:, None])
        for layer in extractor.conv_layers[1:]:
            x = layer(x)
        return x.transpose(1, 2)

    def transform(self, features: Tensor) -> Tensor:
        """(B, T, C) convolution features -> (B, T, hidden) through projection and transformer."""
        x = self.network.feature_projection(features)
        x = x[0] if isinstance(x, tuple) else x
        # transformers refuses sequences shorter than one masked span.
        if self.network.training and x.shape[1] > self.network.config.mask_time_length:
            x = self.network._mask_hidden_states(x)
        return self.network.encoder(x)[0]

    def read(self, samples: Tensor, stats: ClipStats, first: int, last: int) -> Tensor:
        """(B, last - first, hidden): frames first ... last - 1, heard on their own."""
        return self.transform(self.features(samples, stats, first, last))
