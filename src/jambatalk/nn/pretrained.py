"""Pretrained speech encoders of the wav2vec 2.0 family and Whisper, at the frame rate of the motion.

They hear the whole clip, sound to come included, so they are for recordings; the streaming encoder is in ``encoder.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from jambatalk.nn.pretrained_config import ALIGNMENTS, FAMILIES, FREEZING, XLSR_53_LARGE, PretrainedConfig
from jambatalk.nn.pretrained_source import build_network, unfilled_networks
from jambatalk.nn.pretrained_waves import PIECE, WaveReader
from jambatalk.nn.pretrained_whisper import WhisperReader

__all__ = [
    "ALIGNMENTS", "FAMILIES", "FREEZING", "XLSR_53_LARGE", "PretrainedConfig", "PretrainedEncoder", "unfilled_networks",
]  # fmt: skip

RATE = 16000


class PretrainedEncoder(nn.Module):
    """Sound -> one vector per motion frame.

    ``network`` is the transformers module under its own names, so that published weights map one to one; ``project`` leads
    from its features (of two frames, folded, with align "pairs") to the decoder's width.

    Sound longer than ``config.window`` goes through in windows that overlap by twice ``config.context``, in evaluation
    only (training hears every clip whole, but for Whisper, which cannot). What is heard at a time is bounded, and so is
    memory beyond sound and result. Windows see the convolutions' features of the whole clip exactly, group norms included;
    what differs is what attention would have heard beyond the context, and the positional convolution, which reaches 64
    frames to each side (2.6 s at 25 fps, with align "features"): the context should not be shorter than that.

    Measured (``benchmarks/encoder_seams.py``; wav2vec2-base's size with random weights, whose attention is even; 90 s of
    speech, windows of 30 s): rms error within 0.2 s of a seam, relative to how much features vary over time, 24 % without
    context, 29 % with 1 s, 4.6 % with 2 s, 2.3 % with 3 s (the default). The rest of the clip differs by 2.5 % there and
    by no less with 5 s: that is what even attention takes from the sound outside the window, and no seam. Where attention
    is sharp at random places (queries times 8), both are 13 %. Trained networks attend mostly nearby; none was at hand.
    """

    def __init__(self, config: PretrainedConfig, fps: float, width: int) -> None:
        """fps: motion frames per second. width: of the vectors returned. Raises MissingExtraError, InputError, ValueError."""
        super().__init__()
        network, architecture = build_network(config)
        self.config, self.fps, self.width = config, float(fps), width
        self._architecture = architecture
        self.network = network
        self.reader: WaveReader | WhisperReader
        settings: Any = network.config
        if architecture["model_type"] == "whisper":
            if config.align != "outputs":
                raise ValueError(f"align is {config.align!r}, but Whisper's encoder needs 'outputs'")
            self.reader = WhisperReader(network)
            hidden = settings.d_model
        else:
            self.reader = WaveReader(network, bool(architecture.get("do_normalize", True)))
            hidden = settings.hidden_size
        self.rate = RATE / self.reader.stride  # frames per second of the network, 50 in every published one
        if config.align == "pairs" and self.rate != 2 * self.fps:
            raise ValueError(f"align 'pairs' folds {self.rate:g} Hz to {self.rate / 2:g} Hz, but the motion has {self.fps:g} fps")
        self.project = nn.Linear(hidden * (2 if config.align == "pairs" else 1), width)
        self._freeze()

    def _freeze(self) -> None:
        network: Any = self.network
        frozen: list[Any] = []
        if self.config.frozen == "all":
            frozen = [network]
        elif self.config.frozen == "conv":
            whisper = isinstance(self.reader, WhisperReader)
            frozen = [network.conv1, network.conv2] if whisper else [network.feature_extractor]
        for module in frozen:
            module.requires_grad_(False)
        if frozen and not isinstance(self.reader, WhisperReader):
            # transformers' mark: without it the extractor asks for gradients of the sound.
            network.feature_extractor._requires_grad = False

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """As in torch, but a network that is frozen as a whole stays in evaluation: no dropout, no masking."""
        super().train(mode)
        if self.config.frozen == "all":
            self.network.eval()
        return self

    def filled_config(self) -> PretrainedConfig:
        """The configuration with the whole architecture in it: enough to build this encoder again without any other file."""
        return replace(self.config, architecture=self._architecture)

    def frames(self, samples: int) -> int:
        """Motion frames of a clip of so many samples at 16 kHz: the authors' rule."""
        return self._count(self.reader.length(samples))

    def _count(self, length: int) -> int:
        return length // 2 if self.config.align == "pairs" else int(length / self.rate * self.fps)

    def forward(self, samples: Tensor, frames: int | None = None) -> Tensor:
        """samples (B, n) at 16 kHz -> (B, T, width).

        T is ``frames``, or by default ``self.frames(n)``; with align "pairs" it never exceeds the latter. A clip too short
        for one frame gives T = 0, or a ValueError when frames are demanded of it.
        """
        length = self.reader.length(samples.shape[1])
        count = self._count(length) if frames is None else frames
        if self.config.align == "pairs":
            count = min(count, length // 2)
        elif count and not length:
            raise ValueError(f"{samples.shape[1]} samples are too few for a speech encoder to make {count} frames of")
        if not count:
            return samples.new_zeros(len(samples), 0, self.width, dtype=self.project.weight.dtype)
        whole, keep, context = self._plan(length, count)
        stats: Any = self.reader.stats(samples, whole and (torch.is_grad_enabled() or length <= PIECE))
        parts = []
        for first in range(0, count, keep):
            part = self._hear(samples, stats, length, count, first, min(first + keep, count), context)
            parts.append(self.project(part.to(self.project.weight.dtype)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _plan(self, length: int, count: int) -> tuple[bool, int, int]:
        """(is the clip heard whole?, motion frames kept of a window, network frames heard at each side of them)."""
        window = self.config.window * self.rate
        if isinstance(self.reader, WhisperReader):
            window = float(self.reader.positions)
            whole = length <= window
        else:
            whole = self.training or length <= window
        if whole:
            return True, count, max(length, count)
        # A frame of the transformer is a motion frame when the features were resampled before it.
        per_second = self.fps if self.config.align == "features" else self.rate
        context = round(self.config.context * per_second)
        seconds = window / self.rate - 2 * self.config.context
        keep = int(seconds * self.rate * count / length) - 4  # room for rounding
        return False, max(keep, 1), context

    def _hear(self, samples: Tensor, stats: Any, length: int, count: int, a: int, b: int, context: int) -> Tensor:
        """Network outputs (B, b - a, features) of the motion frames a ... b - 1."""
        reader = self.reader
        if self.config.align == "pairs":
            first, last = max(0, 2 * a - context), min(length, 2 * b + context)
            y = reader.read(samples, stats, first, last)[:, 2 * a - first : 2 * b - first]
            return y.reshape(len(y), b - a, -1)
        step = (length - 1) / max(count - 1, 1)  # features or outputs of the network between two motion frames
        if self.config.align == "features":
            assert isinstance(reader, WaveReader)
            first, last = max(0, a - context), min(count, b + context)
            positions = torch.arange(first, last, dtype=torch.float64) * step
            lower, upper = int(positions[0]), min(int(positions[-1]) + 2, length)
            features = interpolate(reader.features(samples, stats, lower, upper), positions - lower)
            return reader.transform(features)[:, a - first : b - first]
        positions = torch.arange(a, b, dtype=torch.float64) * step
        first, last = max(0, int(positions[0]) - context), min(length, int(positions[-1]) + 2 + context)
        return interpolate(reader.read(samples, stats, first, last), positions - first)


def interpolate(values: Tensor, positions: Tensor) -> Tensor:
    """values (B, n, C) at 0 ... n - 1 -> (B, T, C) at ``positions`` (T,), linear in between.

    As ``F.interpolate(mode="linear", align_corners=True)`` does it, with positions exact over any length.
    """
    lower = positions.floor().clamp(0, values.shape[1] - 1)
    upper = (lower + 1).clamp(max=values.shape[1] - 1)
    share = (positions - lower).to(values)[:, None]
    low, high = (values[:, index.long().to(values.device)] for index in (lower, upper))
    return torch.lerp(low, high, share.expand_as(low))
