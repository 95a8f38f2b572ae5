"""Lip reading losses: the predicted lips must be readable.

The paper's reader (``LipReading``, for vertices) follows a frozen speech recognizer:

latent: mean squared error between the latents of lip reader and recognizer, per frame at 50 Hz.
ctc: connectionist temporal classification of the text, read off the lips; per letter.

A smaller reader (``PhoneReading``, for any corpus with phones) has the same two terms with phones
in place of letters and a frozen Whisper in place of the recognizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.models.lip_reader import LipReader, LipReaderConfig, ctc_per_letter
from jambatalk.text.phones import PHONE_INDEX, PHONES, SILENCE

TEXTS = ("recognized", "corpus")
RATE = 50.0
"""Frames per second at which lips are read, and of the recognizers and teachers."""
SPOKEN = tuple(phone for phone in PHONES if phone != SILENCE)


@dataclass(frozen=True)
class LipReadingConfig:
    """The lip reader of the paper; the defaults are the authors'."""

    recognizer: str = "jonatasgrosman/wav2vec2-large-xlsr-53-english"
    """A frozen wav2vec 2.0 network with CTC: hub id or local folder; ``letters``: none."""
    text: str = "recognized"
    """The target of CTC: ``recognized`` (the recognizer's transcript) or ``corpus`` (the corpus'
    own text)."""
    heads: int = 8
    """Attention heads."""
    layers: int = 6
    """Of the encoder, and of the decoder."""
    hidden: int = 2048
    """Hidden width of the feed-forward parts."""
    dropout: float = 0.1
    """In training."""

    def __post_init__(self) -> None:
        if self.text == "recognised":  # the spelling of earlier versions
            object.__setattr__(self, "text", "recognized")
        if self.text not in TEXTS:
            raise ValueError(f"text is {self.text!r}, expected one of {', '.join(TEXTS)}")
        for name in ("heads", "layers", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


@dataclass(frozen=True)
class LipTarget:
    """What should be read off a clip's lips."""

    frames: int
    """At 50 Hz."""
    latent: Tensor | None = None
    """(frames, width) of the recognizer; None: the term is not wanted."""
    text: Tensor | None = None
    """(L,) letters; None: the term is not wanted."""


class LipReading(nn.Module):
    """The paper's lip reader, trained beside the network; its gradients go through the lips.

    Args:
        lip_vertices: How many.
        width: Of the recognizer's latent.
        letters: Of the recognizer's alphabet.
        blank: The letter that is CTC's blank.
        config: Sizes.
        ctc: Whether text is read; without, the weights of that are not trained.
    """

    def __init__(
        self,
        lip_vertices: int,
        width: int,
        letters: int,
        blank: int,
        config: LipReadingConfig,
        ctc: bool = True,
    ) -> None:
        super().__init__()
        sizes = LipReaderConfig(
            width, config.heads, config.layers, config.hidden, letters, config.dropout, text={}
        )
        self.reader = LipReader(lip_vertices, sizes)
        self.reader.lm_head.requires_grad_(ctc)
        self.blank = blank

    def forward(
        self, lips: Tensor, fps: float, lengths: Sequence[int], targets: Sequence[LipTarget]
    ) -> dict[str, Tensor]:
        """Compute the terms that the targets ask for, () each, means over the clips.

        Args:
            lips: (B, T, lip_vertices * 3) positions.
            fps: Frames per second.
            lengths: Real frames of each clip.
            targets: Of each clip.
        """
        terms: dict[str, list[Tensor]] = {}
        for row, length, target in zip(lips, lengths, targets, strict=True):
            # One clip at a time: the reader attends to all frames, padding included.
            latent, logits = self.reader(row[None, :length], fps, target.frames)
            if target.latent is not None:
                error = F.mse_loss(latent[0].float(), target.latent.float())
                terms.setdefault("latent", []).append(error)
            if target.text is not None:
                ctc = ctc_per_letter(logits, [target.frames], [target.text], self.blank)
                terms.setdefault("ctc", []).append(ctc)
        return {name: torch.stack(values).mean() for name, values in terms.items()}


@dataclass(frozen=True)
class PhoneReadingConfig:
    """Sizes of the phone reader."""

    width: int = 128
    """Features per frame."""
    layers: int = 4
    """Convolutions, each dilated twice as much as the one below."""
    kernel: int = 5
    """Frames at 50 Hz; odd."""
    dropout: float = 0.1
    """In training."""
    unit_mm: float = 3.0
    """Unit of the lips' coordinates at the input: about how far they move."""
    teacher_width: int = 0
    """Features per frame of the teacher; 0: none."""

    def __post_init__(self) -> None:
        for name in ("width", "layers", "kernel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, expected an odd number of frames")
        if self.unit_mm <= 0:
            raise ValueError(f"unit_mm is {self.unit_mm}, expected a positive length")


class PhoneReading(nn.Module):
    """A small convolutional lip reader: lips -> (latent, phones) at 50 Hz.

    Index 0 of its outputs is CTC's blank, phone i of ``phones`` is i + 1.

    Args:
        lip_vertices: How many.
        phones: The inventory, without silence.
        config: Sizes.
    """

    rest: Tensor

    def __init__(
        self, lip_vertices: int, phones: tuple[str, ...], config: PhoneReadingConfig
    ) -> None:
        super().__init__()
        if not phones:
            raise ValueError("no phones to read: the clips name none")
        c = config
        self.config, self.phones = config, phones
        # Lips at rest, so that the first layer gets motion; zero until ``set_rest``.
        self.register_buffer("rest", torch.zeros(3 * lip_vertices))
        self.lips = nn.Linear(3 * lip_vertices, c.width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(c.width, c.width, c.kernel, padding=(c.kernel // 2) * 2**i, dilation=2**i)
            for i in range(c.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(c.width) for _ in range(c.layers))
        self.letters = nn.Linear(c.width, len(phones) + 1)
        # The name stands in checkpoints.
        self.heard = nn.Linear(c.width, c.teacher_width) if c.teacher_width else None

    def set_rest(self, lips: Tensor) -> None:
        """Set the lips (lip_vertices, 3) of the face at rest, in meters."""
        self.rest.copy_(lips.reshape(-1))

    def forward(
        self,
        lips: Tensor,
        fps: float,
        phones: Tensor | None,
        phone_lengths: Tensor | None,
        teacher: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the terms ``ctc`` (with phones) and ``latent`` (with a teacher), () each.

        Padding changes nothing.

        Args:
            lips: (B, T, 3 * lip_vertices) meters.
            fps: Frames per second.
            phones: (B, P) indices, padded.
            phone_lengths: (B,); -1 where a sequence's phones are unknown: ``ctc`` leaves it out.
            teacher: (B, T', teacher_width) at 50 Hz from the same instant on; each frame is
                compared at zero mean and unit variance.
            lengths: (B,) real frames of each; None: all.
        """
        if lengths is None:
            count = torch.full((len(lips),), lips.shape[1], device=lips.device)
        else:
            count = lengths.to(lips.device)
        latent, frames = self.read(lips, fps, count)
        terms = {}
        if phones is not None and phone_lengths is not None:
            phones, phone_lengths = phones.to(lips.device), phone_lengths.to(lips.device)
            terms["ctc"] = _ctc_per_phone(self.letters(latent), frames, phones, phone_lengths)
        if teacher is not None:
            terms["latent"] = self._latent(latent, frames, teacher)
        return terms

    def _latent(self, latent: Tensor, frames: Tensor, teacher: Tensor) -> Tensor:
        if self.heard is None:
            raise ValueError("a teacher's features are given, but teacher_width is 0")
        shared = min(latent.shape[1], teacher.shape[1])
        target = F.layer_norm(teacher[:, :shared].float(), teacher.shape[2:])
        counted = frames.clamp(max=shared)[:, None]
        real = torch.arange(shared, device=latent.device) < counted
        error = self.heard(latent[:, :shared]).float() - target
        error = torch.where(real[..., None], error, 0.0)
        return (error.square().mean(2).sum(1, keepdim=True) / counted.clamp_min(1)).mean()

    def read(self, lips: Tensor, fps: float, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read lips (B, T, 3 * lip_vertices) of ``lengths`` (B,) real frames.

        Returns:
            The latent (B, T50, width) and its real frames (B,).
        """
        frames = (lengths.double() / fps * RATE).round().long()
        index = torch.arange(int(frames.max()), device=lips.device)
        real = (index < frames[:, None])[..., None]  # (B, T50, 1)
        position = index.double() * (fps / RATE)
        last = (lengths - 1).clamp_min(0)[:, None]
        lower = torch.minimum(position.floor().long(), last)  # (B, T50)
        upper = torch.minimum(lower + 1, last)
        share = (position - lower).clamp(0, 1).to(lips.dtype)[..., None]
        x = (lips - self.rest) * (1000.0 / self.config.unit_mm)
        rows = torch.arange(len(lips), device=lips.device)[:, None]
        x = torch.where(real, torch.lerp(x[rows, lower], x[rows, upper], share), 0.0)
        x = self.lips(x)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            # Zeros after the end, as the convolution pads: a padded sequence is read as if alone.
            y = convolution(torch.where(real, norm(x), 0.0).transpose(1, 2)).transpose(1, 2)
            x = x + F.dropout(F.gelu(y), self.config.dropout, self.training)
        return x, frames


class BlendshapeLipReading(nn.Module):
    """Reads the lips that predicted blendshape weights move, see ``PhoneReading``.

    Args:
        face: The mesh that the weights move.
        fps: Motion frames per second.
        config: Sizes of the reader.
        ctc: Whether the term ``ctc`` is wanted.
        latent: Whether the term ``latent`` is wanted.

    Raises:
        InputError: The face has no region ``lips``.
    """

    template: Tensor
    basis: Tensor

    def __init__(
        self, face: Face, fps: float, config: PhoneReadingConfig, ctc: bool, latent: bool
    ) -> None:
        super().__init__()
        if "lips" not in face.regions:
            raise InputError("the face has no region lips, which the lip reader needs")
        lips = np.asarray(face.regions["lips"])
        self.fps, self.ctc, self.latent = fps, ctc, latent
        template = np.ascontiguousarray(face.vertices[lips], np.float32)
        self.register_buffer("template", torch.from_numpy(template).reshape(-1))
        basis = np.ascontiguousarray(face.basis[:, lips], np.float32).reshape(len(face.names), -1)
        self.register_buffer("basis", torch.from_numpy(basis))  # (K, n * 3)
        self.reader = PhoneReading(len(lips), SPOKEN, config)
        self.reader.set_rest(self.template)

    def forward(self, weights: Tensor, phones: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compute the wanted terms.

        Args:
            weights: (B, T, K).
            phones: (B, T) int64 indices into PHONES, -1 where unknown.
            teacher: (B, T, D) at the rate of the weights.
        """
        targets, lengths = spoken_runs(phones) if self.ctc else (None, None)
        # The reader works at twice the rate: each frame of the teacher counts twice.
        repeats = round(RATE / self.fps)
        features = teacher.repeat_interleave(repeats, dim=1) if self.latent else None
        lips = self.template + weights @ self.basis
        return self.reader(lips, self.fps, targets, lengths, features)  # type: ignore[no-any-return]


def spoken_runs(phones: Tensor) -> tuple[Tensor, Tensor]:
    """Collapse phones per frame to the phones that are spoken.

    Args:
        phones: (B, T) indices into PHONES. Runs become one phone each, pauses none; a phone too
            short to own a frame is left out.

    Returns:
        (B, P) indices into SPOKEN plus 1, padded with 0, and their number (B,), -1 where a phone of
        the sequence is unknown.
    """
    rows = []
    for sequence in phones.cpu().numpy():
        runs = sequence[np.flatnonzero(np.diff(sequence, prepend=sequence[:1] - 1))]
        rows.append(None if (sequence < 0).any() else runs[runs != PHONE_INDEX[SILENCE]])
    longest = max([1, *(len(row) for row in rows if row is not None)])
    index = np.array([0 if phone == SILENCE else SPOKEN.index(phone) + 1 for phone in PHONES])
    targets = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        if row is not None:
            targets[i, : len(row)] = torch.from_numpy(index[row])
    return targets, torch.tensor([-1 if row is None else len(row) for row in rows])


def _ctc_per_phone(logits: Tensor, frames: Tensor, phones: Tensor, phone_lengths: Tensor) -> Tensor:
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
