"""The first layers of Whisper's speech encoder as a streaming encoder.

Whisper (Radford et al., arXiv 2212.04356; weights under MIT) was trained on 680,000 hours of
speech, so its lower layers tell sounds apart in voices and rooms that no corpus of filmed faces
has. As published it needs 30 s at a time. Here

* the two convolutions see past features only, which shifts their frames by 12.5 ms,
* each layer attends to a window: ``look_back`` frames of 20 ms before its own and a few after it,
  for which the layer waits,
* a learned bias by head and distance takes the place of absolute positions, so that a stream may
  last for hours, and
* the level of the features is normalized by a running norm; Whisper takes the peak of its 30 s.

``tools/convert_whisper.py`` makes the weights to start from; training adapts them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.models.config import MelConfig, StreamingWhisperConfig
from jambatalk.models.encoders.streaming import MelEncoder
from jambatalk.models.layers import CausalStridedConv

PIECE = 512
"""Frames that go through the layers at once outside training, which bounds memory."""

OUTSIDE, MISSING = -3e4, -1e4
"""Added to the scores of keys outside the window, and of those before the stream's first frame.

Finite, and missing keys before those outside: frames before the first one see nothing but missing
keys, must not become NaN, and must not depend on how the stream is cut.
"""


class StreamingWhisper(MelEncoder):
    """Samples (B, T * hop) -> features (B, T, width); see the module's description.

    Output t is about the frames of 20 ms that end ``sum(look_ahead)`` frames before the
    newest one: the network's ``delay`` has to cover them.
    """

    def __init__(
        self, config: StreamingWhisperConfig, fps: float, width: int, mel: MelConfig
    ) -> None:
        super().__init__(config, mel)
        c = config
        firsts = [sum(c.look_ahead[:i]) for i in range(len(c.look_ahead))]
        self.steps.append(GeluConv(mel.bands, c.width, kernel=3))
        self.steps.append(GeluConv(c.width, c.width, kernel=3, stride=2))
        self.steps.extend(
            WhisperLayer(c, ahead, first) for ahead, first in zip(c.look_ahead, firsts, strict=True)
        )
        self.steps.append(FrameStack(c.width, width, round(SAMPLE_RATE / fps) // (2 * mel.hop)))
        if c.weights:
            load_converted(self, Path(c.weights))

    def filled_config(self) -> StreamingWhisperConfig:
        """Return the settings without the file that the weights came from."""
        return replace(self.config, weights="")

    def encode_normalized(self, normal: Tensor, contexts: list[Any]) -> tuple[Tensor, list[Any]]:
        """Encode normalized features (B, F, bands): (B, T, width) and each step's new state."""
        level = self.norm.start.mean() + math.log(self.mel.config.window)
        scaled = (normal + level) / (4.0 * math.log(10.0)) + 1.0
        if torch.is_grad_enabled() or normal.shape[1] <= 2 * PIECE:
            return super().encode_normalized(scaled, contexts)
        parts = []
        for part in scaled.split(2 * PIECE, dim=1):
            x, contexts = super().encode_normalized(part, contexts)
            parts.append(x)
        return torch.cat(parts, dim=1), contexts


class GeluConv(nn.Module):
    """gelu of a causal convolution, plus a learned shift (where positions were added)."""

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = CausalStridedConv(width_in, width_out, kernel, stride)
        self.shift = nn.Parameter(torch.zeros(width_out))

    def init_state(self, batch: int) -> Tensor:
        """Return the left context before the first frame."""
        return self.conv.init_state(batch)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, width_in) -> (B, T / stride, width_out), and the new left context."""
        x, state = self.conv(x, state)
        return F.gelu(x) + self.shift, state


@dataclass
class LayerState:
    """What a layer keeps of a stream.

    keys, values: (B, look_back + ahead, width) of the last frames.
    waiting: (B, ahead, width) inputs whose own frames are not computed yet.
    frames: (B,) int64, inputs so far; it stops counting where all of the window is known.
    """

    keys: Tensor
    values: Tensor
    waiting: Tensor
    frames: Tensor


class WhisperLayer(nn.Module):
    """Pre-norm attention over a window and a feed-forward part; the output lags by ``ahead``.

    Args:
        config: Sizes.
        ahead: Frames after its own that a frame attends to.
        first: Lag of the input: its first frames belong to no sound and are never attended to.
    """

    def __init__(self, config: StreamingWhisperConfig, ahead: int, first: int) -> None:
        super().__init__()
        width = config.width
        self.heads, self.back, self.ahead, self.first = config.heads, config.look_back, ahead, first
        self.dropout = config.dropout
        self.attn_norm = nn.LayerNorm(width)
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.distance = nn.Parameter(torch.zeros(config.heads, self.back + ahead + 1))
        """Added to the scores, by head and by place in the window, the oldest frame first."""
        self.mlp_norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, config.hidden), nn.Linear(config.hidden, width)

    def init_state(self, batch: int) -> LayerState:
        """Return the state before the first frame."""
        zeros = self.key.weight.new_zeros
        width = self.key.weight.shape[0]
        return LayerState(
            zeros(batch, self.back + self.ahead, width),
            zeros(batch, self.back + self.ahead, width),
            zeros(batch, self.ahead, width),
            torch.zeros(batch, dtype=torch.int64, device=self.key.weight.device),
        )

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """x (B, T, width) -> the same shape, about the frames ``ahead`` before, and the state."""
        count, kept = x.shape[1], self.back + self.ahead
        normal = self.attn_norm(x)
        keys = torch.cat([state.keys, self.key(normal)], dim=1)
        values = torch.cat([state.values, self.value(normal)], dim=1)
        waiting = torch.cat([state.waiting, x], dim=1)
        now = waiting[:, :count]
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(self.attn_norm(now)), keys, values)
        )
        scores = self._scores(state.frames, count, q)
        if torch.is_grad_enabled():
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=scores)
        else:  # its strides are guessed wrong when a step is traced for an export
            y = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5 + scores).softmax(-1) @ v
        now = now + self._drop(self.out(y.transpose(1, 2).flatten(2)))
        now = now + self._drop(self.down(F.gelu(self.up(self.mlp_norm(now)))))
        after = LayerState(
            keys[:, keys.shape[1] - kept :],
            values[:, values.shape[1] - kept :],
            waiting[:, count:],
            (state.frames + count).clamp_max(kept + self.first),
        )
        return now, after

    def _scores(self, frames: Tensor, count: int, like: Tensor) -> Tensor:
        """What is added to the scores: (B, heads, count, kept + count)."""
        kept = self.back + self.ahead
        column = torch.arange(kept + count, device=like.device)
        place = column - torch.arange(count, device=like.device)[:, None]  # in the window
        outside = (place < 0) | (place > kept)
        bias = self.distance[:, place.clamp(0, kept)].to(like.dtype)
        # Key column c is input number frames - kept + c, counted from 0.
        missing = column - kept + frames[:, None] < self.first  # (B, columns)
        bias = bias.masked_fill(missing[:, None, None], MISSING)
        return bias.masked_fill(outside, OUTSIDE)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x


class FrameStack(nn.Module):
    """Neighbouring frames, normalized and side by side, to one vector of the motion's rate."""

    def __init__(self, width_in: int, width_out: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.norm = nn.LayerNorm(width_in)
        self.linear = nn.Linear(frames * width_in, width_out)

    def init_state(self, batch: int) -> list[Tensor]:
        """Return no state: frames that belong together come together."""
        return []

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x (B, T * frames, width_in) -> (B, T, width_out)."""
        return self.linear(self.norm(x).unflatten(1, (-1, self.frames)).flatten(2)), state


def load_converted(encoder: StreamingWhisper, path: Path) -> None:
    """Give an encoder the weights that ``tools/convert_whisper.py`` wrote.

    Raises:
        InputError: The file is missing, damaged, or of other sizes.
    """
    from safetensors.torch import load_file

    from jambatalk.errors import InputError, reading

    with reading(path, "converted weights of Whisper"):
        tensors = load_file(path)
    known = encoder.steps.state_dict()
    fits = {name: value for name, value in tensors.items() if name in known}
    wrong = [name for name, value in fits.items() if value.shape != known[name].shape]
    if wrong or not fits:
        raise InputError(
            f"{path} does not fit the encoder's settings ({', '.join(wrong[:3]) or 'no names fit'})"
            ": expected the sizes that it was converted for"
        )
    encoder.steps.load_state_dict({**known, **{name: v.float() for name, v in fits.items()}})
