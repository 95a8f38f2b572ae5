"""The lip reader of the paper: reads text off the lips' motion, to be compared with what is read
off the sound.

It serves training alone: its latent is drawn to that of a frozen speech recognizer (L_lat), its
letters to the recognized text (L_ctc). Names within the module are those of the authors'
checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.encoders.pretrained import (
    XLSR_53_LARGE,
    WaveReader,
    settings_of,
    transformers_library,
)

TEXT_RATE = 50.0
"""Frames per second of the recognizer, to which the lips' motion is brought."""


@dataclass(frozen=True)
class LipReaderConfig:
    """Sizes; by default those of the released checkpoints."""

    width: int = 1024  # features per frame
    heads: int = 8
    layers: int = 6  # of the encoder, and of the decoder
    hidden: int = 2048  # hidden width of the feed-forward parts
    letters: int = 33  # what can be read at each frame, blank included
    dropout: float = 0.1
    # The recognizer, as transformers' configuration; empty: none within, what it reads comes from
    # elsewhere.
    text: dict[str, Any] = field(default_factory=lambda: dict(XLSR_53_LARGE))


class TextReader:
    """Reads text off sound with a wav2vec2-CTC network of transformers that it does not own."""

    def __init__(self, network: Any, normalize: bool) -> None:
        """normalize: whether the network was trained on sound of zero mean and unit variance."""
        self.network = network
        self._reader = WaveReader(getattr(network, network.base_model_prefix), normalize)

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """samples (B, n) at 16 kHz -> the network's last hidden state (B, T50, width) and logits
        (B, T50, letters).
        """
        if not self._reader.length(samples.shape[1]):
            raise ValueError(
                f"{samples.shape[1]} samples are too few to recognize text in, expected at least "
                f"{self._reader.reach}"
            )
        stats = self._reader.stats(samples, whole=True)
        latent = self._reader.network((samples - stats.mean) * stats.scale)[0]
        return latent, self.network.lm_head(latent)


class LipReader(nn.Module):
    """Lip vertices -> (latent, letters) at 50 Hz; a frozen recognizer gives the same of sound."""

    def __init__(self, lip_vertices: int, config: LipReaderConfig) -> None:
        """lip_vertices: how many vertices the lips have.

        Raises MissingExtraError, InputError or ValueError.
        """
        super().__init__()
        c = config
        if c.text and c.text.get("vocab_size") != c.letters:
            raise ValueError(
                f"the recognizer knows {c.text.get('vocab_size')} letters, the lip reader "
                f"{c.letters}"
            )
        if c.text and c.text.get("hidden_size") != c.width:
            raise ValueError(
                f"the recognizer's latent is {c.text.get('hidden_size')} wide, the lip reader's "
                f"{c.width}"
            )
        self.config = config
        self.lip_map = nn.Linear(3 * lip_vertices, c.width)
        self.transformer = nn.Transformer(
            c.width, c.heads, c.layers, c.layers, c.hidden, c.dropout, batch_first=True
        )
        self.lm_head = nn.Linear(c.width, c.letters)
        if not c.text:
            return
        transformers = transformers_library()
        recognizer: Any = transformers.AutoModelForCTC.from_config(
            settings_of(transformers, c.text)
        )
        self.text_encoder = recognizer.float().eval().requires_grad_(False)
        self._text = TextReader(recognizer, bool(c.text.get("do_normalize", True)))

    def train(self, mode: bool = True) -> LipReader:
        """As in torch, but the recognizer stays in evaluation: what it reads off a clip never
        changes.
        """
        super().train(mode)
        if self.config.text:
            self.text_encoder.eval()
        return self

    def forward(self, lips: Tensor, fps: float, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """lips (B, T, lip_vertices * 3) metres -> latent (B, T50, width), logits (B, T50, letters).

        T50 is ``frames``, the length of ``text``'s answer, or by default int(T / fps * 50).
        """
        count = int(lips.shape[1] / fps * TEXT_RATE) if frames is None else frames
        x = self.lip_map(lips).transpose(1, 2)
        x = F.interpolate(x, size=count, mode="linear", align_corners=True).transpose(1, 2)
        # Encoder and decoder are both given the lips, and see all of them: this is how the authors
        # use the Transformer.
        latent = self.transformer(x, x)
        return latent, self.lm_head(latent)

    def text(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """samples (B, n) at 16 kHz -> the recognizer's last hidden state (B, T50, width) and logits
        (B, T50, letters).
        """
        return self._text(samples)


def ctc_per_letter(
    logits: Tensor, frames: Sequence[int], texts: Sequence[Tensor], blank: int
) -> Tensor:
    """Mean over the clips of -log p(text) / letters of the text.

    logits (B, T, letters), of which ``frames`` are real. A text that is too long for its clip
    counts as 0, an empty one is taken as one letter long.
    """
    length = logits.new_tensor([len(text) for text in texts], dtype=torch.long)
    loss = F.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1),
        torch.cat([text.to(logits.device) for text in texts]),
        logits.new_tensor(list(frames), dtype=torch.long),
        length,
        blank,
        reduction="none",
        zero_infinity=True,
    )
    return (loss / length.clamp_min(1)).mean()
