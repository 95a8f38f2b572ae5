"""FaceFormer: an autoregressive transformer, each frame from the motion so far and the sound of
that frame.

Fan, Lin, Saito, Wang and Komura, "FaceFormer: Speech-Driven 3D Facial Animation with
Transformers", CVPR 2022, arXiv 2112.05329. The offsets of the last frame go through a linear
layer, an embedding of the training speaker and a periodic position encoding are added, and a
decoder layer attends to the past (less, the more periods it is away) and to the sound of the
frame itself. A linear layer that starts at zero gives the offsets. Training runs through the
clip in the same way, on the network's own frames.

What differs from the paper:
- The speech encoder is the one that all baselines share. With the built-in one, frame t depends
  on the sound up to t + delay and nothing later, as the decoder is causal; with wav2vec 2.0, as
  in the paper, each frame depends on the whole clip.
- The encoder gives one vector per motion frame on BIWI, too, where the paper has two.
- Offsets are in units of their spread where the settings ask for it; the paper takes them as
  they are.
- Cross-attention to one key is what its value and output maps make of it (``biased_attention``),
  and two linear layers with nothing between them are multiplied once per clip instead of once
  per frame. Both leave the results the same.
- ``teacher_forcing`` learns from the true past in place of the network's own, as the paper's
  ablation does; it is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square
from jambatalk.baselines.biased_attention import BiasedStack, PeriodicEncoding


@dataclass(frozen=True)
class FaceFormerConfig(BaselineConfig):
    """The decoder's size, its period, and what it learns from."""

    kind: str = "faceformer"
    width: int = 192
    """Of the decoder and the encoder's output; 64 on VOCASET, 128 on BIWI."""
    heads: int = 4
    layers: int = 1
    inner: int = 384
    """Of the feed-forward part; twice the width."""
    period: int = 25
    """Frames; the paper takes the frame rate: 30 on VOCASET, 25 on BIWI."""
    dropout: float = 0.1
    teacher_forcing: bool = False
    """Learn from the true past in place of the network's own."""
    position: float = 1.0
    """Weight of the mean squared error of the offsets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decoder(self.width, self.heads, self.layers, self.inner, self.period, self.dropout)


def check_decoder(
    width: int, heads: int, layers: int, inner: int, period: int, dropout: float
) -> None:
    """ValueError when a decoder of biased attention cannot have these settings."""
    for name, value in (("heads", heads), ("layers", layers), ("inner", inner), ("period", period)):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    if width < 2 or width % heads or width % 2:
        raise ValueError(f"width {width} must be even and a multiple of {heads} heads")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}, expected at least 0 and less than 1")


class FaceFormer(Baseline):
    """Encoder, autoregressive decoder, linear layer. Causal after the encoder."""

    Config: ClassVar[type[BaselineConfig]] = FaceFormerConfig
    bidirectional: ClassVar[bool] = False
    config: FaceFormerConfig

    def __init__(self, config: FaceFormerConfig) -> None:
        super().__init__(config, config.width)
        width = config.width
        self.style = nn.Embedding(max(len(config.subjects), 1), width)
        self.motion_in = nn.Linear(config.outputs, width)
        self.place = PeriodicEncoding(width, config.period)
        self.decoder = BiasedStack(
            config.layers, width, config.heads, config.inner, config.period, config.dropout
        )
        self.motion_out = nn.Linear(width, config.outputs)
        nn.init.zeros_(self.motion_out.weight)
        nn.init.zeros_(self.motion_out.bias)

    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        true = self.normal(offsets)
        sound, style = (
            self.hearing(samples, offsets.shape[1]),
            chosen_style(self.style, subjects, len(samples)),
        )
        predicted = (
            self.teacher_forced(sound, style, true)
            if self.config.teacher_forcing
            else self.autoregress(sound, style)
        )
        return {"position": self.config.position * mean_square(predicted, true)}

    @torch.no_grad()
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        style = chosen_style(self.style, subjects, len(samples))
        return self.natural(self.autoregress(self.hearing(samples, frames), style))

    def teacher_forced(self, sound: Tensor, style: Tensor, motion: Tensor) -> Tensor:
        """sound (B, T, width), style (B, width) and a given motion (B, T, 3 V), all in normal units
        -> (B, T, 3 V).

        Frame t of the result comes from the frames of ``motion`` before t.
        """
        frames = sound.shape[1]
        past = F.pad(
            self.motion_in(motion[:, : frames - 1]), (0, 0, 1, 0)
        )  # the first frame has the speaker alone
        x = self._drop(past + style[:, None] + self.place(0, frames))
        return self.motion_out(self.decoder.whole(x, self.decoder.cross_attention(sound)))  # type: ignore[no-any-return]

    def autoregress(self, sound: Tensor, style: Tensor) -> Tensor:
        """The same from the network's own past, frame by frame: sound (B, T, width), style (B,
        width) -> (B, T, 3 V).
        """
        frames, crossed = sound.shape[1], self.decoder.cross_attention(sound)
        around = style[:, None] + self.place(0, frames)  # (B, T, width)
        weight, bias = joined(self.motion_out, self.motion_in)
        step, x, states = self.decoder.steps(frames), around[:, :1], []
        for now in range(frames):
            states.append(step(self._drop(x), crossed))
            if now + 1 < frames:
                x = F.linear(states[-1], weight, bias) + around[:, now + 1 : now + 2]
        return self.motion_out(torch.cat(states, dim=1))  # type: ignore[no-any-return]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)


def joined(first: nn.Linear, second: nn.Linear) -> tuple[Tensor, Tensor]:
    """(weight, bias) of the one linear layer that does ``first`` and then ``second``."""
    return second.weight @ first.weight, second.weight @ first.bias + second.bias


def chosen_style(style: nn.Embedding, subjects: Tensor | None, batch: int) -> Tensor:
    """(B, width) of the speakers; None is the first one. ValueError for one that is not there."""
    if subjects is None:
        subjects = torch.zeros(batch, dtype=torch.long, device=style.weight.device)
    if (
        subjects.numel()
        and not 0 <= int(subjects.min()) <= int(subjects.max()) < style.num_embeddings
    ):
        raise ValueError(
            f"subjects {subjects.tolist()} must lie between 0 and {style.num_embeddings - 1}"
        )
    return style(subjects)  # type: ignore[no-any-return]
