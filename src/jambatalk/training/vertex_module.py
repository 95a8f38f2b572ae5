"""What one step of training on vertices computes: the network's motion of a batch, and the terms of its loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.nn.lip_reader import TEXT_RATE
from jambatalk.nn.model import SpeechToMotion
from jambatalk.nn.moe import RouterStats
from jambatalk.training.letters import Letters
from jambatalk.training.lip_reading import Aim, LipReading
from jambatalk.training.recogniser import Reading, Recogniser, collapsed
from jambatalk.training.router import router_terms
from jambatalk.training.vertex_loss import VertexLossConfig, vertex_terms

Array = NDArray[Any]


class Said(NamedTuple):
    """What the lip reader aims at in a sequence, before it is read.

    sound: (n,) the whole clip, numpy. start, end: the sequence in it, seconds. text: of the corpus, as letters, or None.
    """

    sound: Array
    start: float
    end: float
    text: Tensor | None


@dataclass(frozen=True)
class VertexBatch:
    """B sequences, padded at their ends to the longest.

    samples: (B, n) at 16 kHz. offsets: (B, T, 3 V) from the template. rest: (B, 3 L), the template's lips.
    sample_counts, lengths: how many samples and frames of each are real. said: empty when no lips are read.
    subjects: (B,) indices of the speakers, for networks that are told them.
    """

    samples: Tensor
    offsets: Tensor
    rest: Tensor
    sample_counts: tuple[int, ...]
    lengths: tuple[int, ...]
    said: tuple[Said, ...]
    subjects: Tensor


class VertexModule(nn.Module):
    """The network, the lip reader beside it, and what is minimised."""

    lips: Tensor

    def __init__(
        self, network: SpeechToMotion, lips: Array, loss: VertexLossConfig,
        reading: LipReading | None = None, recogniser: Recogniser | Letters | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.loss, self.reading = network, loss, reading
        self.register_buffer("lips", torch.from_numpy(lips), persistent=False)
        self.recogniser = recogniser  # no module: frozen, and in no checkpoint

    def forward(self, batch: VertexBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms that have a weight, and each term by name; means over the batch's sequences."""
        predicted, lengths, router = self._predicted(batch)
        # Fractions of a millimetre, squared, are beyond half precision.
        with torch.autocast(predicted.device.type, enabled=False):
            predicted = predicted.float()
            terms = vertex_terms(predicted, batch.offsets[:, : predicted.shape[1]], lengths, self.lips, self.loss)
        if self.reading is not None:
            fps = float(self.network.config.fps)
            lips = predicted.unflatten(-1, (-1, 3))[:, :, self.lips].flatten(2) + batch.rest[:, None]
            aims = [self._aim(said, length / fps, lips.device) for said, length in zip(batch.said, lengths, strict=True)]
            terms |= self.reading(lips, fps, lengths, aims)
        if self.loss.balance or self.loss.router_z:
            terms |= router_terms(router, predicted)
        total = torch.stack([getattr(self.loss, name) * value for name, value in terms.items() if hasattr(self.loss, name)]).sum()
        return total, terms

    def _predicted(self, batch: VertexBatch) -> tuple[Tensor, list[int], list[RouterStats]]:
        """(B, T, 3 V) with zeros after each sequence's end, the frames of each, and what the routers did.

        Sequences of one length go through together, others one after the other: speech encoders and full attention hear
        everything that they are given, silence after the end included.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for row, lengths in enumerate(zip(batch.sample_counts, batch.lengths, strict=True)):
            groups.setdefault(lengths, []).append(row)
        rows: dict[int, Tensor] = {}
        routers = []
        for (samples, frames), members in groups.items():
            with numpy_follows_torch():
                y, router = self.network.whole(batch.samples[members, :samples], frames)
            rows |= zip(members, y, strict=True)
            routers.append(router)
        counts = [len(rows[row]) for row in range(len(rows))]
        padded = [F.pad(rows[row], (0, 0, 0, max(counts) - counts[row])) for row in range(len(rows))]
        return torch.stack(padded), counts, [RouterStats.joined(list(stats)) for stats in zip(*routers, strict=True)]

    def _aim(self, said: Said, seconds: float, device: torch.device) -> Aim:
        """What the first ``seconds`` of a sequence should be read as."""
        assert self.recogniser is not None
        end = min(said.end, said.start + seconds)
        if self.loss.latent or (self.loss.ctc and said.text is None):
            read = self.recogniser.read(said.sound, device).between(said.start, end)
        else:
            frames = min(self.recogniser.frames(len(said.sound)), round(end * TEXT_RATE)) - round(said.start * TEXT_RATE)
            read = Reading(np.zeros((frames, 0), np.float16), np.zeros(frames, np.int32))
        latent = torch.from_numpy(read.latent).to(device, torch.float32) if self.loss.latent else None
        text = None
        if self.loss.ctc:
            heard = collapsed(read.letters, self.recogniser.blank)
            text = torch.tensor(heard, dtype=torch.long) if said.text is None else said.text
        return Aim(len(read.latent), latent, text)


@contextmanager
def numpy_follows_torch() -> Iterator[None]:
    """Numpy's global generator seeded from torch's: transformers draws the masks of wav2vec 2.0 from it, and a resumed
    run must draw the same ones."""
    state = np.random.get_state()
    np.random.seed(int(torch.randint(2**31, ())))
    try:
        yield
    finally:
        np.random.set_state(state)
