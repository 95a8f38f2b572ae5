"""The two lip-reading terms of the paper: what the lips say is drawn to what a frozen recogniser hears.

latent: mean squared error between the lip reader's latent and the recogniser's, frame by frame at 50 Hz.
ctc: connectionist temporal classification of the text, read off the lips; per letter of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.nn.lip_reader import LipReader, LipReaderConfig

TEXTS = ("recognised", "corpus")


@dataclass(frozen=True)
class LipReadingConfig:
    """The lip reader of the paper; by default as the authors have it."""

    recogniser: str = (
        "jonatasgrosman/wav2vec2-large-xlsr-53-english"  # wav2vec2-CTC network: hub id or local folder; or letters: none
    )
    text: str = "recognised"  # what CTC aims at: recognised (what the recogniser hears) or corpus (what the corpus says)
    heads: int = 8
    layers: int = 6  # of the encoder, and of the decoder
    hidden: int = 2048  # hidden width of the feed-forward parts
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.text not in TEXTS:
            raise ValueError(f"text is {self.text!r}, expected one of {', '.join(TEXTS)}")
        for name in ("heads", "layers", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True)
class Aim:
    """What a clip's lips should say. frames: at 50 Hz. latent: (frames, width). text: (L,) letters. None: not wanted."""

    frames: int
    latent: Tensor | None = None
    text: Tensor | None = None


class LipReading(nn.Module):
    """A lip reader that learns beside the network; its gradients reach the network through the lips."""

    def __init__(
        self, lip_vertices: int, width: int, letters: int, blank: int, config: LipReadingConfig, ctc: bool = True
    ) -> None:
        """width, letters, blank: the recogniser's. ctc: whether text is read; without, those weights are left alone."""
        super().__init__()
        sizes = LipReaderConfig(width, config.heads, config.layers, config.hidden, letters, config.dropout, text={})
        self.reader = LipReader(lip_vertices, sizes)
        self.reader.lm_head.requires_grad_(ctc)
        self.blank = blank

    def forward(self, lips: Tensor, fps: float, lengths: Sequence[int], aims: Sequence[Aim]) -> dict[str, Tensor]:
        """lips (B, T, lip_vertices * 3) positions, of which ``lengths`` frames are real -> terms (), means over the clips.

        Only what the aims hold is computed: ``latent``, ``ctc``, both or neither.
        """
        found: dict[str, list[Tensor]] = {}
        for row, length, aim in zip(lips, lengths, aims, strict=True):
            # One clip at a time: the lip reader attends to everything that it is given, padding would be lips to it.
            for name, value in self._one(row[None, :length], fps, aim).items():
                found.setdefault(name, []).append(value)
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def _one(self, lips: Tensor, fps: float, aim: Aim) -> dict[str, Tensor]:
        latent, logits = self.reader(lips, fps, aim.frames)
        terms = {}
        if aim.latent is not None:
            terms["latent"] = F.mse_loss(latent[0].float(), aim.latent.float())
        if aim.text is not None:
            terms["ctc"] = ctc_per_letter(logits, [aim.frames], [aim.text], self.blank)
        return terms


def ctc_per_letter(logits: Tensor, frames: Sequence[int], texts: Sequence[Tensor], blank: int) -> Tensor:
    """Mean over the clips of -log p(text) / letters of the text.

    logits (B, T, letters), of which ``frames`` are real. A text that is too long for its clip counts as 0, an empty one is
    taken as one letter long.
    """
    length = logits.new_tensor([len(text) for text in texts], dtype=torch.long)
    loss = F.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1), torch.cat([text.to(logits.device) for text in texts]),
        logits.new_tensor(list(frames), dtype=torch.long), length, blank, reduction="none", zero_infinity=True,
    )  # fmt: skip
    return (loss / length.clamp_min(1)).mean()
