"""Training sequences: clips joined to long stretches of speech with pauses, drawn anew at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jambatalk.data.phones import SILENCE
from jambatalk.nn.model import ModelConfig
from jambatalk.training.bank import PHONE_INDEX, Take, VoiceBank
from jambatalk.training.shapes_config import ShapesConfig
from jambatalk.training.spectral import SpectralEffects


@dataclass(frozen=True)
class Batch:
    """B sequences of T motion frames.

    mel: (B, T * reduction, bands) augmented log power. weights: (B, T, K). position: (B,) of the first frame.
    known: (B, 1) bool, whether the running normalisation has already heard the voice.
    hidden: (B, T * reduction, bands) bool, features that are hidden after normalisation.
    phones: (B, T) int64, -1 where unknown. teacher: (B, T, D). taught: (B, T) bool, where the teacher was heard.
    style: (B,) int64. importance: (B,) of the sequence in the loss.
    """

    mel: Tensor
    weights: Tensor
    phones: Tensor
    teacher: Tensor
    taught: Tensor
    style: Tensor
    importance: Tensor
    position: Tensor
    known: Tensor
    hidden: Tensor


# A clip is three seconds long; people talk longer, pause, and start again. Shares of the joints that get a pause:
PAUSE_CHANCE = 0.5
LONGEST_PAUSE = 40  # frames
NOISE_LOG_POWER = (-18.0, -2.0)  # natural logarithm of mel power: from a silent room to as loud as speech


@dataclass(frozen=True)
class Source:
    """A corpus' clips in many voices, and how they take part."""

    bank: VoiceBank
    share: float  # of the sequences
    style: int = 0
    weight: float = 1.0


@dataclass
class _Stretch:
    """Parts of a sequence, to be put end to end."""

    mel: list[np.ndarray]
    weights: list[np.ndarray]
    phones: list[np.ndarray]
    teacher: list[np.ndarray]
    taught: list[np.ndarray]

    def cut(self, frames: slice, reduction: int) -> list[np.ndarray]:
        fine = slice(frames.start * reduction, frames.stop * reduction)
        rest = (np.concatenate(parts)[frames] for parts in (self.weights, self.phones, self.teacher, self.taught))
        return [np.concatenate(self.mel)[fine], *rest]


class BatchMaker:
    """``batch(step, rows)``: each sequence depends on the seed, the step and its index in the global batch alone."""

    def __init__(self, sources: Sequence[Source], config: ShapesConfig, model: ModelConfig, seed: int) -> None:
        self.sources, self.config, self.model, self.seed = tuple(sources), config, model, seed
        self.effects = SpectralEffects(config.spectral, model.mel)
        self.reduction = model.hop // model.mel.hop
        self.floor = float(np.log(model.mel.floor))
        shares = np.array([source.share for source in sources])
        self.chances = np.cumsum(shares / shares.sum())

    def batch(self, step: int, rows: slice) -> Batch:
        """Sequences ``rows`` of the batch of one step."""
        made = [self.one(step, index) for index in range(rows.start, rows.stop)]
        return Batch(*(torch.stack(values) for values in zip(*made, strict=True)))

    def one(self, step: int, index: int) -> tuple[Tensor, ...]:
        """One sequence: the fields of ``Batch`` without their first dimension."""
        rng = np.random.default_rng([self.seed, 7, step, index])
        source = self.sources[min(int(np.searchsorted(self.chances, rng.random())), len(self.sources) - 1)]
        mel, *targets = self._sequence(rng, source)
        other = self._sequence(rng, source)[0]  # who may talk in the background
        position = torch.tensor(int(rng.integers(self.config.max_position)))
        known = torch.tensor([bool(rng.random() < self.config.known_voice)])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        heard = self.effects(torch.from_numpy(mel)[None], torch.from_numpy(other)[None], generator)[0]
        hidden = self.effects.hidden(len(mel), generator)
        style, importance = torch.tensor(source.style), torch.tensor(source.weight)
        return heard, *(torch.from_numpy(values) for values in targets), style, importance, position, known, hidden

    def _sequence(self, rng: np.random.Generator, source: Source) -> list[np.ndarray]:
        """Random clips end to end, some joints with a pause, cut out at a random place. One voice kind per sequence."""
        length = self.config.sequence
        if self.config.no_speech and rng.random() < self.config.no_speech:
            return self._noise(rng, source)
        takes = source.bank.takes
        voice = 0 if len(takes) == 1 or rng.random() < self.config.own_voice else int(rng.integers(1, len(takes)))
        row = takes[voice]
        parts = _Stretch([], [], [], [], [])
        skip = -1
        total = 0
        while skip < 0 or total < length + skip:
            take: Take = row[int(rng.integers(len(row)))]
            if skip < 0:
                skip = int(rng.integers(len(take.weights)))
            elif rng.random() < PAUSE_CHANCE:
                frames = int(rng.integers(3, LONGEST_PAUSE))
                # The face moves on from where it was to where the next clip finds it; clips start and end at rest.
                mix = np.linspace(0, 1, frames + 2, dtype=np.float32)[1:-1, None]
                parts.weights.append((1 - mix) * parts.weights[-1][-1] + mix * take.weights[0])
                parts.mel.append(np.full((frames * self.reduction, take.mel.shape[1]), self.floor, np.float32))
                parts.phones.append(np.full(frames, PHONE_INDEX[SILENCE], np.int64))
                parts.teacher.append(np.zeros((frames, take.teacher.shape[1]), np.float32))
                parts.taught.append(np.zeros(frames, bool))
                total += frames
            parts.weights.append(take.weights)
            parts.mel.append(take.mel.astype(np.float32))
            parts.phones.append(take.phones.astype(np.int64))
            parts.teacher.append(take.teacher.astype(np.float32))
            parts.taught.append(np.ones(len(take.weights), bool))
            total += len(take.weights)
        return parts.cut(slice(skip, skip + length), self.reduction)

    def _noise(self, rng: np.random.Generator, source: Source) -> list[np.ndarray]:
        """Steady noise of any colour and level, and the face as clips begin: at rest."""
        length = self.config.sequence
        frames, bands = length * self.reduction, self.model.mel.bands
        axis = np.linspace(-1, 1, bands)
        colour = 3.0 * rng.standard_normal() * axis + 1.5 * rng.standard_normal() * np.cos(np.pi * axis)
        # Mel power of Gaussian noise is close to gamma-distributed around its mean.
        mel = rng.uniform(*NOISE_LOG_POWER) + colour + np.log(rng.gamma(3.0, 1 / 3.0, (frames, bands)) + 1e-6)
        row = source.bank.takes[0]
        take = row[int(rng.integers(len(row)))]
        return [
            mel.astype(np.float32), np.repeat(take.weights[:1], length, axis=0), np.full(length, PHONE_INDEX[SILENCE], np.int64),
            np.zeros((length, take.teacher.shape[1]), np.float32), np.zeros(length, bool),
        ]  # fmt: skip
