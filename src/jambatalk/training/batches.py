"""Training sequences: clips joined to long stretches of speech with pauses, drawn anew at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jambatalk.nn.model import ModelConfig
from jambatalk.training.bank import Take, VoiceBank
from jambatalk.training.shapes_config import ShapesConfig
from jambatalk.training.spectral import SpectralEffects


@dataclass(frozen=True)
class Batch:
    """B sequences of T motion frames.

    mel: (B, T * reduction, bands) augmented log power. weights: (B, T, K). position: (B,) of the first frame.
    known: (B, 1) bool, whether the running normalisation has already heard the voice.
    hidden: (B, T * reduction, bands) bool, features that are hidden after normalisation.
    """

    mel: Tensor
    weights: Tensor
    position: Tensor
    known: Tensor
    hidden: Tensor


# A clip is three seconds long; people talk longer, pause, and start again. Shares of the joints that get a pause:
PAUSE_CHANCE = 0.5
LONGEST_PAUSE = 40  # frames
NOISE_LOG_POWER = (-18.0, -2.0)  # natural logarithm of mel power: from a silent room to as loud as speech


class BatchMaker:
    """``batch(step, rows)``: each sequence depends on the seed, the step and its index in the global batch alone."""

    def __init__(self, bank: VoiceBank, config: ShapesConfig, model: ModelConfig, seed: int) -> None:
        self.bank, self.config, self.model, self.seed = bank, config, model, seed
        self.effects = SpectralEffects(config.spectral, model.mel)
        self.reduction = model.hop // model.mel.hop
        self.floor = float(np.log(model.mel.floor))

    def batch(self, step: int, rows: slice) -> Batch:
        """Sequences ``rows`` of the batch of one step."""
        made = [self.one(step, index) for index in range(rows.start, rows.stop)]
        return Batch(*(torch.stack(values) for values in zip(*made, strict=True)))

    def one(self, step: int, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """One sequence: the fields of ``Batch`` without their first dimension."""
        rng = np.random.default_rng([self.seed, 7, step, index])
        mel, weights = self._sequence(rng)
        other, _ = self._sequence(rng)  # who may talk in the background
        position = torch.tensor(int(rng.integers(self.config.max_position)))
        known = torch.tensor([bool(rng.random() < self.config.known_voice)])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        heard = self.effects(torch.from_numpy(mel)[None], torch.from_numpy(other)[None], generator)[0]
        hidden = self.effects.hidden(len(mel), generator)
        return heard, torch.from_numpy(weights), position, known, hidden

    def _sequence(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Random clips end to end, some joints with a pause, cut out at a random place. One voice kind per sequence."""
        length = self.config.sequence
        if self.config.no_speech and rng.random() < self.config.no_speech:
            return self._noise(rng)
        voices = len(self.bank.takes)
        voice = 0 if voices == 1 or rng.random() < self.config.own_voice else int(rng.integers(1, voices))
        row = self.bank.takes[voice]
        mels: list[np.ndarray] = []
        weights: list[np.ndarray] = []
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
                weights.append((1 - mix) * weights[-1][-1] + mix * take.weights[0])
                mels.append(np.full((frames * self.reduction, take.mel.shape[1]), self.floor, np.float32))
                total += frames
            weights.append(take.weights)
            mels.append(take.mel.astype(np.float32))
            total += len(take.weights)
        frame = slice(skip, skip + length)
        feature = slice(skip * self.reduction, (skip + length) * self.reduction)
        return np.concatenate(mels)[feature], np.concatenate(weights)[frame]

    def _noise(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Steady noise of any colour and level, and the face as clips begin: at rest."""
        frames, bands = self.config.sequence * self.reduction, self.model.mel.bands
        axis = np.linspace(-1, 1, bands)
        colour = 3.0 * rng.standard_normal() * axis + 1.5 * rng.standard_normal() * np.cos(np.pi * axis)
        # Mel power of Gaussian noise is close to gamma-distributed around its mean.
        mel = rng.uniform(*NOISE_LOG_POWER) + colour + np.log(rng.gamma(3.0, 1 / 3.0, (frames, bands)) + 1e-6)
        row = self.bank.takes[0]
        rest = row[int(rng.integers(len(row)))].weights[0]
        return mel.astype(np.float32), np.repeat(rest[None], self.config.sequence, axis=0)
