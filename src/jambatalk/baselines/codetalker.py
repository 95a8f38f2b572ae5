"""CodeTalker: speech chooses codes out of a book of facial motion, frame by frame.

Xing, Xia, Zhang, Cun, Wang and Wong, "CodeTalker: Speech-Driven 3D Facial Animation with
Discrete Motion Prior", CVPR 2023, arXiv 2301.02379. First, motion learns to pass through codes
and back (``motion_prior``). Then that part is frozen, and a transformer like FaceFormer's gives
the features of each frame from the motion so far, the speaker and the sound of the frame; the
nearest codes are decoded into motion. The loss of the second stage is the error of that motion
and that of the features against the codes of the true motion.

What differs from the paper:
- Both stages are one run: the first ``prior_steps`` steps learn the codes, the later ones
  speech, and one optimizer with one schedule of the learning rate does both. Before
  ``prior_steps`` the network cannot follow speech yet.
- The speech encoder is the one that all baselines share. With the built-in one, frame t depends
  on the sound up to t + delay and nothing later, as all the rest is causal; with wav2vec 2.0, as
  in the paper, each frame depends on the whole clip.
- The decoder of the codes sees codes up to its frame; the authors' sees the whole clip at the
  end, and the clip so far in inference. With the causal one both are the same, and no frame is
  decoded twice.
- Encoder and decoder of the first stage are layers with the biases and encodings of the second
  between linear layers, so that clips may be longer than those of the training; the authors'
  have absolute positions, and convolutions beside them.
- A code stands for one component of one frame (the paper's temporal unit of one frame).
- The first frame has the speaker alone as its past; the authors' training puts the resting face
  there as well, which their inference does not.
- Codes that go unused are moved onto the motion again (``renew_after``; 0, as in the paper,
  leaves them), and the errors are in units of the motion's spread where the settings ask for it.
- ``teacher_forcing`` as in the paper: the true motion is the past while the network learns.
  False: its own, which is slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square
from jambatalk.baselines.biased_attention import BiasedStack, PeriodicEncoding
from jambatalk.baselines.faceformer import check_decoder, chosen_style, joined
from jambatalk.baselines.motion_prior import MotionPrior


@dataclass(frozen=True)
class CodeTalkerConfig(BaselineConfig):
    """Sizes of both stages, when the second begins, and the weights of their terms."""

    kind: str = "codetalker"
    width: int = 192
    """Of the speaking decoder and the encoder's output; 1,024 in the paper."""
    heads: int = 4
    layers: int = 2
    """6 in the paper."""
    inner: int = 384
    """Of the feed-forward part; twice the width."""
    period: int = 25
    """Frames; the paper takes the frame rate: 30 on VOCASET, 25 on BIWI."""
    dropout: float = 0.1
    teacher_forcing: bool = True
    """Learn from the true past in place of the network's own."""
    prior_steps: int = 2000
    """Of the training's steps: those that learn the codes; the rest learn speech."""
    prior_width: int = 128
    """Of the codes' encoder and decoder; 1,024 in the paper."""
    prior_heads: int = 4
    """8 in the paper."""
    prior_layers: int = 2
    """Of the encoder and of the decoder; 6 in the paper."""
    prior_inner: int = 256
    """1,536 in the paper."""
    components: int = 8
    """Codes per frame: 16 on VOCASET, 8 on BIWI."""
    codes: int = 256
    """In the book."""
    code_width: int = 32
    """64 on VOCASET, 128 on BIWI."""
    renew_after: int = 50
    """Training batches without use after which a code is moved onto the motion again; 0: never."""
    reconstruction: float = 1.0
    """Stage 1: weight of the absolute error of the rebuilt motion."""
    codebook: float = 1.0
    """Stage 1: weight of the squared distance that moves the codes."""
    commitment: float = 0.25
    """Stage 1: weight of the squared distance that moves the features."""
    motion: float = 1.0
    """Stage 2: weight of the mean squared error of the motion."""
    regularity: float = 1.0
    """Stage 2: weight of that of the features against the true motion's codes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decoder(self.width, self.heads, self.layers, self.inner, self.period, self.dropout)
        check_decoder(
            self.prior_width,
            self.prior_heads,
            self.prior_layers,
            self.prior_inner,
            self.period,
            self.dropout,
        )
        for name, least in (
            ("prior_steps", 0),
            ("components", 1),
            ("codes", 2),
            ("code_width", 1),
            ("renew_after", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")


class CodeTalker(Baseline):
    """Encoder, autoregressive decoder, codes, decoder of the codes. Causal after the encoder."""

    Config: ClassVar[type[BaselineConfig]] = CodeTalkerConfig
    bidirectional: ClassVar[bool] = False
    config: CodeTalkerConfig

    def __init__(self, config: CodeTalkerConfig) -> None:
        super().__init__(config, config.width)
        width, c = config.width, config
        self.prior = MotionPrior(
            outputs=c.outputs,
            width=c.prior_width,
            layers=c.prior_layers,
            heads=c.prior_heads,
            inner=c.prior_inner,
            period=c.period,
            dropout=c.dropout,
            components=c.components,
            codes=c.codes,
            code_width=c.code_width,
            renew_after=c.renew_after,
        )
        self.style = nn.Embedding(max(len(c.subjects), 1), width)
        self.motion_in = nn.Linear(c.outputs, width)
        self.place = PeriodicEncoding(width, c.period)
        self.decoder = BiasedStack(c.layers, width, c.heads, c.inner, c.period, c.dropout)
        self.to_features = nn.Linear(width, c.components * c.code_width, bias=False)
        nn.init.zeros_(self.to_features.weight)

    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        c, true, first = self.config, self.normal(offsets), step < self.config.prior_steps
        self.prior.requires_grad_(first).train(
            first and self.training
        )  # frozen in the second stage: no gradient, no dropout
        if first:
            return {name: getattr(c, name) * term for name, term in self.prior.loss(true).items()}
        sound, style = (
            self.hearing(samples, offsets.shape[1]),
            chosen_style(self.style, subjects, len(samples)),
        )
        motion, features = (
            self.teacher_forced(sound, style, true)
            if c.teacher_forcing
            else self.autoregress(sound, style)
        )
        with torch.no_grad():
            codes, _ = self.prior.book(self.prior.features(true))
        return {
            "motion": c.motion * mean_square(motion, true),
            "regularity": c.regularity * mean_square(features, codes),
        }

    @torch.no_grad()
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        style = chosen_style(self.style, subjects, len(samples))
        return self.natural(self.autoregress(self.hearing(samples, frames), style)[0])

    def teacher_forced(self, sound: Tensor, style: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """sound (B, T, width), style (B, width) and a given motion (B, T, 3 V) in normal units ->
        motion (B, T, 3 V) and the features (B, T, components, code_width) that its codes
        are nearest to.

        Frame t of both comes from the frames of the given motion before t; decoding adds the codes
        before t.
        """
        frames = sound.shape[1]
        past = F.pad(
            self.motion_in(motion[:, : frames - 1]), (0, 0, 1, 0)
        )  # the first frame has the speaker alone
        x = self._drop(past + style[:, None] + self.place(0, frames))
        features = self._features(self.decoder.whole(x, self.decoder.cross_attention(sound)))
        return self.prior.decode(self.prior.book(features)[1]), features

    def autoregress(self, sound: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the network's own past, frame by frame."""
        frames, crossed = sound.shape[1], self.decoder.cross_attention(sound)
        around, place = style[:, None] + self.place(0, frames), self.prior.place(0, frames)
        weight, bias = joined(self.prior.motion_out, self.motion_in)
        step, decode = self.decoder.steps(frames), self.prior.decoder.steps(frames)
        x, features, states = around[:, :1], [], []
        for now in range(frames):
            features.append(self._features(step(self._drop(x), crossed)))
            _, codes = self.prior.book(features[-1])
            states.append(decode(self.prior.from_codes(codes.flatten(2)) + place[now]))
            if now + 1 < frames:
                x = F.linear(states[-1], weight, bias) + around[:, now + 1 : now + 2]
        return self.prior.motion_out(torch.cat(states, dim=1)), torch.cat(features, dim=1)

    def _features(self, x: Tensor) -> Tensor:
        return self.to_features(x).unflatten(2, (self.config.components, -1))  # type: ignore[no-any-return]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)
