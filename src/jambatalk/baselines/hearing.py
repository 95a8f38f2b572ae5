"""The speech encoder that all baselines share, so that a table compares what comes after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.nn.encoder import EncoderConfig, StreamingEncoder
from jambatalk.nn.mel import RATE, LogMel, MelConfig, RunningNorm
from jambatalk.nn.model import WHOLE_CLIP_ENCODERS
from jambatalk.nn.pretrained import PretrainedConfig


class Hearing(nn.Module):
    """Speech (B, n) at 16 kHz -> one vector per motion frame (B, T, width).

    encoder: the built-in streaming one (log-mel, running normalisation, causal convolutions; frame t has heard the sound up to
    frame t + delay), or one of the wav2vec 2.0 family, which hears the whole clip (delay must be 0).
    """

    def __init__(self, encoder: EncoderConfig | PretrainedConfig, mel: MelConfig, fps: int, delay: int, width: int) -> None:
        super().__init__()
        self.fps, self.delay, self.width = fps, delay, width
        self.whole_clip = encoder.kind in WHOLE_CLIP_ENCODERS
        self.disturb: Callable[[Tensor], Tensor] | None = None  # changes log-mel features (B, F, bands) in training
        self.encoder: nn.Module
        if self.whole_clip:
            if delay:
                raise ValueError(f"delay is {delay}, expected 0 with an encoder that hears the whole clip")
            pretrained = WHOLE_CLIP_ENCODERS[encoder.kind](encoder, fps, width)
            self.encoder, self.config = pretrained, pretrained.filled_config()  # type: ignore[operator]
            return
        self.config = encoder = cast(EncoderConfig, encoder)
        self.hop = RATE // fps
        features, reduction = self.hop // mel.hop, 2 ** len(encoder.widths)
        if RATE % fps or self.hop % mel.hop or features != reduction:
            raise ValueError(
                f"fps {fps}: {len(encoder.widths)} encoder stages reduce {reduction} feature frames of {mel.hop} samples to one, "
                f"but a motion frame spans {RATE / fps / mel.hop:g}"
            )
        self.mel, self.norm = LogMel(mel), RunningNorm(mel)
        self.encoder = StreamingEncoder(mel.bands, width, encoder)

    def forward(self, samples: Tensor, frames: int) -> Tensor:
        """samples (B, n) -> (B, frames, width); sound that is too short is filled up with silence."""
        if self.whole_clip:
            return self.encoder(samples, frames)  # type: ignore[no-any-return]
        wanted = (frames + self.delay) * self.hop
        samples = F.pad(samples, (0, max(wanted - samples.shape[1], 0)))[:, :wanted]
        with torch.no_grad():
            mel, _ = self.mel(samples, self.mel.init_state(len(samples)))
            if self.training and self.disturb is not None:
                mel = self.disturb(mel)
            normal, _ = self.norm(mel, self.norm.init_state(len(samples)))
        x, _ = self.encoder(normal, self.encoder.init_state(len(samples)))  # type: ignore[operator]
        return cast(Tensor, x)[:, self.delay :]
