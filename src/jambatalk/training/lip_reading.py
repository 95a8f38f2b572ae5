"""The two lip-reading terms of the paper: what the lips say is drawn to what a frozen recogniser hears.

latent: mean squared error between the lip reader's latent and the recogniser's, frame by frame at 50 Hz.
ctc: connectionist temporal classification of the text, read off the lips; per letter of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.lip_reader import LipReader, LipReaderConfig, ctc_per_letter
from jambatalk.text.phones import Timed

TEXTS = ("recognised", "corpus")


@dataclass(frozen=True)
class LipReadingConfig:
    """The lip reader of the paper; by default as the authors have it."""

    recogniser: str = "jonatasgrosman/wav2vec2-large-xlsr-53-english"  # wav2vec2-CTC network: hub id or local folder; or letters: none
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
        self,
        lip_vertices: int,
        width: int,
        letters: int,
        blank: int,
        config: LipReadingConfig,
        ctc: bool = True,
    ) -> None:
        """width, letters, blank: the recogniser's. ctc: whether text is read; without, those weights are left alone."""
        super().__init__()
        sizes = LipReaderConfig(
            width, config.heads, config.layers, config.hidden, letters, config.dropout, text={}
        )
        self.reader = LipReader(lip_vertices, sizes)
        self.reader.lm_head.requires_grad_(ctc)
        self.blank = blank

    def forward(
        self, lips: Tensor, fps: float, lengths: Sequence[int], aims: Sequence[Aim]
    ) -> dict[str, Tensor]:
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


# A small lip reader for any corpus with phones: it reads them off the lips' motion, and so do its gradients ask for motion
# that can be read.
#
# ctc: connectionist temporal classification of the phones, per phone.
# latent: how far its latent is from what a frozen teacher hears in the speech, frame by frame at 50 Hz.


RATE = 50.0
"""Frames per second at which lips are read; the teachers' rate."""

SILENT = frozenset({"", "sil", "sp", "spn", "pau"})
"""Symbols that are not to be read off lips."""


@dataclass(frozen=True)
class PhoneReadingConfig:
    """Sizes of the reader."""

    width: int = 128  # features per frame
    layers: int = 4  # convolutions, each with twice the reach of the one below
    kernel: int = 5  # frames at 50 Hz; odd
    dropout: float = 0.1
    unit_mm: float = 3.0  # lips are read in this unit: about how far they move
    teacher_width: int = 0  # features per frame of the teacher; 0: there is none

    def __post_init__(self) -> None:
        for name in ("width", "layers", "kernel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, expected an odd number of frames")
        if self.unit_mm <= 0:
            raise ValueError(f"unit_mm is {self.unit_mm}, expected a positive length")


class PhoneReading(nn.Module):
    """Lips -> (latent, phones) at 50 Hz. Index 0 of the letters is CTC's blank, phone i of ``phones`` is i + 1."""

    rest: Tensor

    def __init__(
        self, lip_vertices: int, phones: tuple[str, ...], config: PhoneReadingConfig
    ) -> None:
        """lip_vertices: how many. phones: the inventory, see ``phone_inventory``."""
        super().__init__()
        if not phones:
            raise ValueError("no phones to read: the clips name none")
        c = config
        self.config, self.phones = config, phones
        self._index = {phone: i + 1 for i, phone in enumerate(phones)}
        # Where the lips rest, so that the first layer sees motion; zero until ``set_rest``.
        self.register_buffer("rest", torch.zeros(3 * lip_vertices))
        self.lips = nn.Linear(3 * lip_vertices, c.width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(c.width, c.width, c.kernel, padding=(c.kernel // 2) * 2**i, dilation=2**i)
            for i in range(c.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(c.width) for _ in range(c.layers))
        self.letters = nn.Linear(c.width, len(phones) + 1)
        self.heard = nn.Linear(c.width, c.teacher_width) if c.teacher_width else None

    def set_rest(self, lips: Tensor) -> None:
        """lips (lip_vertices, 3) metres of the face at rest."""
        self.rest.copy_(lips.reshape(-1))

    def encode(
        self, phones: Sequence[Timed], start: float = 0.0, end: float = float("inf")
    ) -> Tensor:
        """(P,) int64 indices of the phones whose middle lies in ``start`` to ``end`` seconds, silence left out.

        KeyError for a phone that is not in the inventory.
        """
        inside = [
            p.text for p in phones if p.text not in SILENT and start <= (p.start + p.end) / 2 < end
        ]
        return torch.tensor([self._index[text] for text in inside], dtype=torch.long)

    def forward(
        self,
        lips: Tensor,
        fps: float,
        phones: Tensor | None,
        phone_lengths: Tensor | None,
        teacher: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The terms ``ctc`` (when phones are given) and ``latent`` (when a teacher is), () each, means over the sequences.

        lips: (B, T, 3 * lip_vertices) metres. lengths: (B,) real frames of each, None for all. phones: (B, P) indices,
        padded; phone_lengths: (B,), -1 where a sequence's phones are not known, which leaves it out of ``ctc``.
        teacher: (B, T', teacher_width) at 50 Hz from the same instant on; each frame is compared at zero mean and unit
        variance. Padding changes nothing.
        """
        count = (
            torch.full((len(lips),), lips.shape[1], device=lips.device)
            if lengths is None
            else lengths.to(lips.device)
        )
        latent, frames = self.read(lips, fps, count)
        terms = {}
        if phones is not None and phone_lengths is not None:
            terms["ctc"] = self._ctc(
                self.letters(latent), frames, phones.to(lips.device), phone_lengths.to(lips.device)
            )
        if teacher is not None:
            if self.heard is None:
                raise ValueError("a teacher's features are given, but teacher_width is 0")
            shared = min(latent.shape[1], teacher.shape[1])
            wanted = F.layer_norm(teacher[:, :shared].float(), teacher.shape[2:])
            counted = frames.clamp(max=shared)[:, None]
            real = torch.arange(shared, device=lips.device) < counted
            error = torch.where(
                real[..., None], self.heard(latent[:, :shared]).float() - wanted, 0.0
            )
            terms["latent"] = (
                error.square().mean(2).sum(1, keepdim=True) / counted.clamp_min(1)
            ).mean()
        return terms

    def read(self, lips: Tensor, fps: float, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """lips (B, T, 3 * lip_vertices), lengths (B,) -> latent (B, T50, width), its real frames (B,)."""
        frames = (lengths.double() / fps * RATE).round().long()
        longest = int(frames.max())
        real = (torch.arange(longest, device=lips.device) < frames[:, None])[
            ..., None
        ]  # (B, T50, 1)
        position = torch.arange(longest, device=lips.device, dtype=torch.float64) * (fps / RATE)
        last = (lengths - 1).clamp_min(0)[:, None]
        lower = torch.minimum(position.floor().long(), last)  # (B, T50)
        upper = torch.minimum(lower + 1, last)
        share = (position - lower).clamp(0, 1).to(lips.dtype)[..., None]
        x = (lips - self.rest) * (1000.0 / self.config.unit_mm)
        rows = torch.arange(len(lips), device=lips.device)[:, None]
        x = torch.where(real, torch.lerp(x[rows, lower], x[rows, upper], share), 0.0)
        x = self.lips(x)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            # Zeros after the end, as the convolution itself puts them there: a padded sequence is read as on its own.
            y = convolution(torch.where(real, norm(x), 0.0).transpose(1, 2)).transpose(1, 2)
            x = x + F.dropout(F.gelu(y), self.config.dropout, self.training)
        return x, frames

    @staticmethod
    def _ctc(logits: Tensor, frames: Tensor, phones: Tensor, phone_lengths: Tensor) -> Tensor:
        known = phone_lengths >= 0
        loss = F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),
            phones,
            frames,
            phone_lengths.clamp_min(0),
            0,
            reduction="none",
            zero_infinity=True,
        )
        per_phone = torch.where(known, loss / phone_lengths.clamp_min(1), 0.0)
        return per_phone.sum() / known.sum().clamp_min(1)


def phone_inventory(clips: Iterable[Sequence[Timed]]) -> tuple[str, ...]:
    """The symbols in the clips' phones, silence left out, in alphabetical order."""
    return tuple(sorted({phone.text for phones in clips for phone in phones} - SILENT))
