"""Training sequences for blendshapes: clips in many voices, joined to stretches of speech.

``AugmentedClips`` holds the features of every clip in several voices, made once. ``BatchMaker``
joins random clips with pauses, changes their features and puts silence before some, new at
every step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.clip import Clip
from jambatalk.models.config import ModelConfig
from jambatalk.models.features import LogMel
from jambatalk.streaming.resampler import resample_frames
from jambatalk.text.phones import PHONE_INDEX, SILENCE
from jambatalk.training.augment import VoiceAugment, augment_voice
from jambatalk.training.config import BlendshapesConfig
from jambatalk.training.spec_augment import SpectralEffects

Array = NDArray[Any]
Teacher = Callable[[Clip], Array]
"""Clip -> (T', D) features of its recorded voice, at the motion's frame rate."""

PAUSE_CHANCE = 0.5
"""Share of the joints between clips that get a pause: clips last three seconds, people talk longer,
pause and start again."""
LONGEST_PAUSE = 40
"""Motion frames."""
NOISE_LOG_POWER = (-18.0, -2.0)
"""Natural logarithm of mel power: from a silent room to as loud as speech."""
LEAD_SNR_DB = (0.0, 40.0)
"""Speech over the room noise that comes before it."""


@dataclass(frozen=True)
class AugmentedClip:
    """One clip in one voice.

    Attributes:
        mel: (T * reduction, bands) float16 log power.
        weights: (T, K) float32.
        phones: (T,) int16 index into PHONES of the phone spoken at each frame, -1 where unknown.
        teacher: (T, D) float16 features of a frozen speech model; D is 0 without one.
    """

    mel: Array
    weights: Array
    phones: Array
    teacher: Array


class AugmentedClips:
    """Clips in several voices: ``voices[v][i]`` is clip i in voice v, voice 0 the recorded one.

    Args:
        clips: The recordings.
        config: The network's settings, for its features and frame rate.
        augment: How the other voices are made.
        count: Voices of each clip, the recorded one included.
        seed: Of everything random.
        progress: Called with (clips made, clips in all).
        teacher: The target for all voices of a clip alike.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        config: ModelConfig,
        augment: VoiceAugment,
        count: int,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        features = LogMel(config.mel)
        recordings = [clip.samples for clip in clips]
        none = np.zeros((1, 0), np.float16)
        targets = [none if teacher is None else teacher(clip) for clip in clips]
        self.voices: list[list[AugmentedClip]] = []
        for voice in range(count):
            row = []
            for i, clip in enumerate(clips):
                samples, weights, time_scale = clip.samples, clip.weights, 1.0
                if voice:
                    rng = np.random.default_rng([seed, voice, i])
                    samples, time_scale = augment_voice(samples, augment, rng, recordings)
                    if time_scale != 1.0:
                        weights = resample_frames(weights, config.fps, config.fps * time_scale)
                row.append(_cut(samples, weights, time_scale, clip, targets[i], features, config))
                if progress is not None:
                    progress(voice * len(clips) + i + 1, count * len(clips))
            self.voices.append(row)

    def mean_mel(self, loud_share: float = 0.5) -> Tensor:
        """Average the log power (bands,) of the recorded voices' loud frames.

        This is where the running normalization starts.
        """
        mel = np.concatenate([clip.mel for clip in self.voices[0]]).astype(np.float32)
        energy = np.exp(mel).sum(1)
        return torch.from_numpy(mel[energy >= np.quantile(energy, 1 - loud_share)].mean(0))


def _cut(
    samples: Array,
    weights: Array,
    time_scale: float,
    clip: Clip,
    target: Array,
    features: LogMel,
    config: ModelConfig,
) -> AugmentedClip:
    """Cut sound and motion to the same whole number of frames."""
    frames = min(len(samples) // config.hop, len(weights))
    sound = torch.from_numpy(np.ascontiguousarray(samples[: frames * config.hop], np.float32))[None]
    mel, _ = features(sound, features.init_state(1))
    times = np.arange(frames) / time_scale  # in frames of the recorded voice
    nearest = np.minimum(np.round(times).astype(np.int64), len(target) - 1)
    return AugmentedClip(
        mel[0].numpy().astype(np.float16),
        np.ascontiguousarray(weights[:frames], np.float32),
        phone_indices(clip, times / config.fps),
        target[nearest].astype(np.float16),
    )


def phone_indices(clip: Clip, seconds: Array) -> Array:
    """Look up the phones at given times: (T,) int16 indices into PHONES, -1 where unknown."""
    indices = np.full(len(seconds), -1, np.int16)
    for phone, start, end in clip.phones:
        indices[(seconds >= start) & (seconds < end)] = PHONE_INDEX.get(phone, -1)
    return indices


def weight_statistics(sources: Sequence[AugmentedClips]) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation, (K,) each, of the recorded voices' weights."""
    weights = np.concatenate([clip.weights for clips in sources for clip in clips.voices[0]])
    return torch.from_numpy(weights.mean(0)), torch.from_numpy(weights.std(0))


def clips_hash(clips: Sequence[Clip]) -> str:
    """Compute SHA-256 over the clips' names, splits, lengths, sounds and motions, in order."""
    digest = hashlib.sha256()
    for clip in clips:
        size = f"{len(clip.samples)}/{clip.weights.shape}/{clip.fps}"
        digest.update(f"{clip.corpus}/{clip.id}/{clip.split}/{size}\n".encode())
        digest.update(clip.samples.tobytes())
        digest.update(clip.weights.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Batch:
    """B sequences of T motion frames.

    Attributes:
        mel: (B, T * reduction, bands) augmented log power.
        weights: (B, T, K).
        phones: (B, T) int64, -1 where unknown.
        teacher: (B, T, D).
        has_teacher: (B, T) bool, where ``teacher`` is known.
        style: (B,) int64.
        importance: (B,) weight of the sequence in the loss.
        position: (B,) of the first frame.
        warm: (B, 1) bool, whether the running normalization has already adapted to the voice.
        hidden: (B, T * reduction, bands) bool, features that are masked after normalization.
        lead: (B, L, bands) log power of what comes before the sequence, padded at the end.
        lead_frames: (B,) int64, how many of those L there are.
    """

    mel: Tensor
    weights: Tensor
    phones: Tensor
    teacher: Tensor
    has_teacher: Tensor
    style: Tensor
    importance: Tensor
    position: Tensor
    warm: Tensor
    hidden: Tensor
    lead: Tensor
    lead_frames: Tensor


@dataclass(frozen=True)
class Source:
    """A corpus' clips in many voices, and how they take part."""

    clips: AugmentedClips
    share: float
    """Of the sequences."""
    style: int = 0
    weight: float = 1.0


@dataclass
class _Parts:
    """Parts of a sequence, to be put end to end."""

    mel: list[Array]
    weights: list[Array]
    phones: list[Array]
    teacher: list[Array]
    has_teacher: list[Array]

    def add(self, *values: Array) -> None:
        for parts, value in zip(vars(self).values(), values, strict=True):
            parts.append(value)

    def cut(self, start: int, length: int, reduction: int) -> list[Array]:
        mel, *others = (np.concatenate(parts) for parts in vars(self).values())
        fine = slice(start * reduction, (start + length) * reduction)
        return [mel[fine], *(values[start : start + length] for values in others)]


class BatchMaker:
    """Makes batches; a sequence depends on the seed, the step and its index in the batch alone."""

    def __init__(
        self, sources: Sequence[Source], config: BlendshapesConfig, model: ModelConfig, seed: int
    ) -> None:
        self.sources, self.config, self.model, self.seed = tuple(sources), config, model, seed
        self.effects = SpectralEffects(config.spec_augment, model.mel)
        self.reduction = model.hop // model.mel.hop
        self.floor = float(np.log(model.mel.floor))
        shares = np.array([source.share for source in sources])
        self.chances = np.cumsum(shares / shares.sum())
        self._dither = _dither_features(model) if config.lead_silence else None

    def batch(self, step: int, rows: slice) -> Batch:
        """Make sequences ``rows`` of the batch of one step."""
        sequences = [self.sequence(step, index) for index in range(rows.start, rows.stop)]
        *fields, leads = zip(*sequences, strict=True)
        lead = nn.utils.rnn.pad_sequence(list(leads), batch_first=True)
        counts = torch.tensor(list(map(len, leads)))
        return Batch(*map(torch.stack, fields), lead, counts)  # type: ignore[call-arg]

    def sequence(self, step: int, index: int) -> tuple[Tensor, ...]:
        """Make one sequence: the fields of ``Batch`` up to ``lead``, without their first axis."""
        rng = np.random.default_rng([self.seed, 7, step, index])
        chosen = int(np.searchsorted(self.chances, rng.random()))
        source = self.sources[min(chosen, len(self.sources) - 1)]
        mel, *targets = self._speech(rng, source)
        other = self._speech(rng, source)[0]  # who may talk in the background
        position = torch.tensor(int(rng.integers(self.config.max_position)))
        warm = torch.tensor([bool(rng.random() < self.config.warm_norm)])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        sound, background = torch.from_numpy(mel)[None], torch.from_numpy(other)[None]
        changed = self.effects(sound, background, generator)[0]
        hidden = self.effects.hidden(len(mel), generator)
        return (
            changed,
            *map(torch.from_numpy, targets),
            torch.tensor(source.style),
            torch.tensor(source.weight),
            position,
            warm,
            hidden,
            changed[:0] if warm else self._lead(step, index, changed),
        )

    def _speech(self, rng: np.random.Generator, source: Source) -> list[Array]:
        """Join random clips in one voice, some with a pause between, and cut at a random place."""
        length = self.config.sequence_length
        if self.config.no_speech and rng.random() < self.config.no_speech:
            return self._no_speech(rng, source)
        voices = source.clips.voices
        original = len(voices) == 1 or rng.random() < self.config.original_voice
        row = voices[0 if original else int(rng.integers(1, len(voices)))]
        parts = _Parts([], [], [], [], [])
        start, total = -1, 0
        while start < 0 or total < length + start:
            clip = row[int(rng.integers(len(row)))]
            if start < 0:
                start = int(rng.integers(len(clip.weights)))
            elif rng.random() < PAUSE_CHANCE:
                frames = int(rng.integers(3, LONGEST_PAUSE))
                # The face moves from where it was to where the next clip begins, both at rest.
                mix = np.linspace(0, 1, frames + 2, dtype=np.float32)[1:-1, None]
                parts.add(
                    np.full((frames * self.reduction, clip.mel.shape[1]), self.floor, np.float32),
                    (1 - mix) * parts.weights[-1][-1] + mix * clip.weights[0],
                    np.full(frames, PHONE_INDEX[SILENCE], np.int64),
                    np.zeros((frames, clip.teacher.shape[1]), np.float32),
                    np.zeros(frames, bool),
                )
                total += frames
            parts.add(
                clip.mel.astype(np.float32),
                clip.weights,
                clip.phones.astype(np.int64),
                clip.teacher.astype(np.float32),
                np.ones(len(clip.weights), bool),
            )
            total += len(clip.weights)
        return parts.cut(start, length, self.reduction)

    def _no_speech(self, rng: np.random.Generator, source: Source) -> list[Array]:
        """Make steady noise of any color and level, with the face at rest as clips begin."""
        length = self.config.sequence_length
        noise = _steady_noise(rng, length * self.reduction, self.model.mel.bands, NOISE_LOG_POWER)
        row = source.clips.voices[0]
        clip = row[int(rng.integers(len(row)))]
        return [
            noise.astype(np.float32),
            np.repeat(clip.weights[:1], length, axis=0),
            np.full(length, PHONE_INDEX[SILENCE], np.int64),
            np.zeros((length, clip.teacher.shape[1]), np.float32),
            np.zeros(length, bool),
        ]

    def _lead(self, step: int, index: int, speech: Tensor) -> Tensor:
        """Make what comes before a sequence: nothing, zeros, dither or room noise, (L, bands)."""
        chance = self.config.lead_silence
        # Numbers of its own: the rest of the sequence is the same with and without leads.
        rng = np.random.default_rng([self.seed, 8, step, index])
        if not chance or rng.random() >= chance:
            return speech[:0]
        hop = self.model.mel.hop
        shortest, longest = self.config.lead_seconds
        frames = round(rng.uniform(shortest, longest) * SAMPLE_RATE / hop)
        kind = int(rng.integers(3))
        if kind == 0:
            return torch.full((frames, speech.shape[1]), self.floor)
        if kind == 1:
            assert self._dither is not None
            return self._dither[rng.integers(len(self._dither), size=frames)]
        noise = _steady_noise(rng, frames, speech.shape[1], (0.0, 0.0))
        below_db = rng.uniform(*LEAD_SNR_DB)
        loudness = float(speech.exp().mean()) * 10.0 ** (-below_db / 10.0)
        noise += np.log(loudness / np.exp(noise).mean()) if frames else 0.0
        return torch.from_numpy(noise.astype(np.float32)).clamp_min(self.floor)


def _steady_noise(
    rng: np.random.Generator, frames: int, bands: int, log_power: tuple[float, float]
) -> Array:
    """Draw log-mel features (frames, bands) of noise of a random color, level in ``log_power``."""
    axis = np.linspace(-1, 1, bands)
    tilt = 3.0 * rng.standard_normal() * axis
    color = tilt + 1.5 * rng.standard_normal() * np.cos(np.pi * axis)
    # Mel power of Gaussian noise is close to gamma-distributed around its mean.
    level = rng.uniform(*log_power) + color
    noise: Array = level + np.log(rng.gamma(3.0, 1 / 3.0, (frames, bands)) + 1e-6)
    return noise


def _dither_features(model: ModelConfig) -> Tensor:
    """Log-mel features (frames, bands) of a second of triangular dither of 16-bit samples."""
    rng = np.random.default_rng(0)
    samples = (rng.random(SAMPLE_RATE) - rng.random(SAMPLE_RATE)) / 32768.0
    features = LogMel(model.mel)
    sound = torch.from_numpy(np.round(samples * 32768.0).astype(np.float32) / 32768.0)[None]
    return features(sound, features.init_state(1))[0][0]
