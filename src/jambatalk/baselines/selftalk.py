"""SelfTalk: motion for all frames at once, and a lip reader that must find the text in it.

Peng, Luo, Shi, Xu, Zhu, Liu, He and Fan, "SelfTalk: A Self-Supervised Commutative Training
Diagram to Comprehend 3D Talking Faces", ACM Multimedia 2023, arXiv 2306.10799. A transformer
decoder layer without masks turns the features of the sound into offsets, in one pass. In
training a second transformer, the lip-reading interpreter, reads the lips of that motion: its
latent is drawn to the text features of a frozen speech recognizer (latent consistency), its
letters to the recognized text (CTC). Its gradients reach the motion through the lips; at
inference it does nothing.

What is active depends on ``recognizer``:
- Set to a wav2vec2-CTC network, as in the paper: latent consistency with its last hidden state
  at 50 Hz, and CTC with its transcript. It is loaded at the first step of training and
  never becomes part of the weights on disk.
- Empty (the default; so GRID is trained): no text and no CTC term. The lip reader, trained
  jointly, is drawn to the features of the system's own speech encoder, one per motion frame, at
  zero mean and unit variance across their width and without gradients to the encoder. That is
  the audio side of the paper's diagram, but not text that a recognizer learned elsewhere.

What else differs from the paper:
- The speech encoder is the one that all baselines share. The released code folds two encoder
  frames into one on BIWI; here one vector per motion frame comes from the encoder on every
  corpus.
- As in the released code no position is encoded: what order there is comes from the encoder.
  That code prepares a biased mask and does not use it; there is none here.
- By default the lip reader is smaller (the paper: width 1024, 8 heads, 6 + 6 layers). It reads
  offsets in units of their spread where the settings ask for it.
- Without ``lips``, and with a ``lip_share``, the vertices that move most stand for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square
from jambatalk.errors import InputError
from jambatalk.models.asr import SpeechRecognizer, collapsed
from jambatalk.models.lip_reader import LipReader, LipReaderConfig, ctc_per_letter


@dataclass(frozen=True)
class SelfTalkConfig(BaselineConfig):
    """The decoder, the lip reader and what it reads, and the weights of the loss' terms."""

    kind: str = "selftalk"
    width: int = 192
    """Of the decoder and the encoder's output; 512 on VOCASET, 1024 on BIWI."""
    heads: int = 4
    layers: int = 1
    inner: int = 384
    """Of the feed-forward part; twice the width."""
    dropout: float = 0.1
    lips: list[int] = field(default_factory=list)
    """Vertices; empty: those that move most, found before training."""
    lip_share: float = 0.1
    """Of all vertices that these are; 0: the lips of the training's settings."""
    recognizer: str = ""
    """Wav2vec2-CTC network, hub id or local folder; empty: the own encoder in its place, and no
    text."""
    letters: int = 0
    """Of the recognizer, blank included; 0 without one."""
    read_width: int = 192
    """Of the lip reader: the recognizer's, 1024 in the paper; without one the encoder's."""
    read_heads: int = 4
    """Of the lip reader."""
    read_layers: int = 2
    """Of its encoder, and of its decoder."""
    read_inner: int = 384
    """Of its feed-forward parts."""
    position: float = 1.0
    """Weight of the mean squared error of the offsets; 1000 in the paper, in meters."""
    velocity: float = 1.0
    """Weight of that of their changes from frame to frame; 1000 in the paper."""
    latent: float = 0.1
    """Weight of the latent consistency; 0.001 in the paper."""
    ctc: float = 0.01  # weight of -log p(text) per letter; 0.0001 in the paper; needs a recognizer

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "inner", "read_layers", "read_inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for width, heads in (("width", "heads"), ("read_width", "read_heads")):
            if (
                getattr(self, heads) < 1
                or getattr(self, width) < 1
                or getattr(self, width) % getattr(self, heads)
            ):
                raise ValueError(
                    f"{width} is {getattr(self, width)}, expected a multiple of {heads}, "
                    f"which is {getattr(self, heads)}"
                )
        vertices = self.outputs // 3
        if bad := [lip for lip in self.lips if not 0 <= lip < vertices]:
            raise ValueError(f"lips has {bad[0]}, expected vertices of 0 to {vertices - 1}")
        if not 0 <= self.lip_share <= 1:
            raise ValueError(f"lip_share is {self.lip_share}, expected at least 0 and at most 1")
        if self.recognizer and self.letters < 2:
            raise ValueError(
                f"letters is {self.letters}, expected as many as the recognizer "
                f"{self.recognizer!r} has"
            )
        if not self.recognizer and self.read_width != self.width:
            raise ValueError(
                f"read_width is {self.read_width}, expected the width of {self.width} without a "
                "recognizer"
            )


class SelfTalk(Baseline):
    """Encoder, transformer decoder, linear layer; the lip reader for training alone."""

    Config: ClassVar[type[BaselineConfig]] = SelfTalkConfig
    config: SelfTalkConfig

    lip_index: Tensor

    def __init__(self, config: SelfTalkConfig) -> None:
        super().__init__(config, config.width)
        c = config
        layer = nn.TransformerDecoderLayer(c.width, c.heads, c.inner, c.dropout, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, c.layers)
        self.motion_out = nn.Linear(c.width, c.outputs)
        nn.init.zeros_(self.motion_out.weight)
        nn.init.zeros_(self.motion_out.bias)
        vertices = c.outputs // 3
        lips = (
            torch.tensor(c.lips) if c.lips else torch.arange(max(1, round(c.lip_share * vertices)))
        )
        self.register_buffer(
            "lip_index", lips
        )  # without ``lips`` in the settings ``fit`` finds them
        sizes = LipReaderConfig(
            c.read_width,
            c.read_heads,
            c.read_layers,
            c.read_inner,
            max(c.letters, 1),
            c.dropout,
            text={},
        )
        self.reader = LipReader(len(lips), sizes)
        self.reader.lm_head.requires_grad_(bool(c.recognizer))
        self._recognizer: SpeechRecognizer | None = None

    @torch.no_grad()
    def fit(self, offsets: Tensor) -> None:
        """Without ``lips`` in the settings: take the vertices whose position varies most over the
        frames (N, 3 V).
        """
        if not self.config.lips:
            varies = offsets.reshape(len(offsets), -1, 3).var(0, unbiased=False).sum(1)
            self.lip_index.copy_(
                varies.argsort(descending=True, stable=True)[: len(self.lip_index)].sort().values
            )

    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        c = self.config
        features = self.hearing(samples, offsets.shape[1])
        predicted, true = self._decode(features), self.normal(offsets)
        terms = {
            "position": c.position * mean_square(predicted, true),
            "velocity": c.velocity * mean_square(predicted.diff(dim=1), true.diff(dim=1)),
        }
        weights = {"latent": c.latent, "ctc": c.ctc}
        return terms | {
            name: weights[name] * term
            for name, term in self._read(predicted, features, samples).items()
        }

    def consistency(self, samples: Tensor, offsets: Tensor) -> Tensor:
        """() mean squared distance of what is read off the lips of any motion (B, T, 3 V) from what
        the sound (B, n).

        Of use after training: the lower, the better the motion fits the speech in the lip reader's
        eyes.
        """
        features = self.hearing(samples, offsets.shape[1])
        return self._read(self.normal(offsets), features, samples)["latent"]

    @torch.no_grad()
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        return self.natural(self._decode(self.hearing(samples, frames)))

    def _decode(self, features: Tensor) -> Tensor:
        """(B, T, width) -> (B, T, 3 V) in units of the spread. Features are queries and memory at
        once.
        """
        return self.motion_out(self.decoder(features, features))  # type: ignore[no-any-return]

    def _read(self, motion: Tensor, features: Tensor, samples: Tensor) -> dict[str, Tensor]:
        """The terms ``latent`` and, with a recognizer, ``ctc``, unweighted. motion: (B, T, 3 V) in
        units of the spread.
        """
        lips = motion.reshape(*motion.shape[:2], -1, 3)[:, :, self.lip_index].flatten(
            2
        )  # (B, T, 3 L)
        if not self.config.recognizer:
            latent, _ = self.reader(lips, self.config.fps, lips.shape[1])
            return {
                "latent": mean_square(latent, F.layer_norm(features.detach(), features.shape[2:]))
            }
        recognizer = self._text_side()
        read = [recognizer.read(row.detach().cpu().numpy(), motion.device) for row in samples]
        wanted = torch.stack([torch.from_numpy(one.latent) for one in read]).to(
            motion
        )  # (B, T50, read_width)
        latent, logits = self.reader(lips, self.config.fps, wanted.shape[1])
        texts = [
            torch.tensor(collapsed(one.letters, recognizer.blank), dtype=torch.long) for one in read
        ]
        ctc = ctc_per_letter(logits, [wanted.shape[1]] * len(texts), texts, recognizer.blank)
        return {"latent": mean_square(latent, wanted), "ctc": ctc}

    def _text_side(self) -> SpeechRecognizer:
        """The frozen recognizer. InputError when it is of another size than in the settings."""
        if self._recognizer is None:
            c, found = self.config, SpeechRecognizer(self.config.recognizer)
            if (found.width, found.letters) != (c.read_width, c.letters):
                raise InputError(
                    f"the recognizer {c.recognizer!r} has width {found.width} and "
                    f"{found.letters} letters, "
                    f"expected read_width {c.read_width} and letters {c.letters}"
                )
            self._recognizer = found
        return self._recognizer
