"""Training sequences for blendshapes: clips in many voices, joined to stretches of speech.

``AugmentedClips`` holds the features of every clip in several voices, made once. ``BatchMaker``
joins random clips with pauses, changes pace and features and puts silence before some, new at
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
from torch import Tensor

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.clip import Clip
from jambatalk.models.config import ModelConfig
from jambatalk.models.features import LogMel, RunningNorm
from jambatalk.streaming.resampler import resample_frames
from jambatalk.text.phones import PHONE_INDEX, SILENCE
from jambatalk.training.augment import VoiceAugment, augment_voice
from jambatalk.training.config import BlendshapesConfig
from jambatalk.training.spec_augment import SpectralEffects, gamma_field

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
        normal: (B, T * reduction, bands) augmented and normalized features, in part hidden.
        weights: (B, T, K).
        phones: (B, T) int64, -1 where unknown.
        teacher: (B, T, D).
        has_teacher: (B, T) bool, where ``teacher`` is known.
        style: (B,) int64.
        importance: (B,) weight of the sequence in the loss.
        position: (B,) of the first frame.
    """

    normal: Tensor
    weights: Tensor
    phones: Tensor
    teacher: Tensor
    has_teacher: Tensor
    style: Tensor
    importance: Tensor
    position: Tensor


@dataclass(frozen=True)
class Source:
    """A corpus' clips in many voices, and how they take part."""

    clips: AugmentedClips
    share: float
    """Of the sequences."""
    style: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class Spans:
    """Where the clips of one voice lie in the tables of all frames."""

    starts: Array
    lengths: Array


@dataclass
class Stretch:
    """Which frames a stretch of speech is made of: frame t is a mix of two frames of the tables.

    Arrays of T motion frames, and of T * reduction feature frames.

    Attributes:
        left, right: Places in the table of motion frames.
        share: Of ``right`` in the mix.
        speech: False in pauses.
        fine_left, fine_right, fine_share: The same of feature frames.
    """

    left: Array
    right: Array
    share: Array
    speech: Array
    fine_left: Array
    fine_right: Array
    fine_share: Array

    @classmethod
    def joined(cls, parts: Sequence[Stretch], start: int, length: int, reduction: int) -> Stretch:
        """Put parts end to end and cut ``length`` motion frames from ``start`` on."""
        fine = slice(start * reduction, (start + length) * reduction)
        coarse = slice(start, start + length)
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])[
                    fine if name.startswith("fine_") else coarse
                ]
                for name in vars(parts[0])
            }
        )


@dataclass(frozen=True)
class Plan:
    """Everything drawn for one sequence; the numbers themselves are made with the whole batch.

    Attributes:
        source: Index of the corpus.
        speech: What is said.
        other: Who may talk in the background.
        noise: None, or level and color of steady noise instead of speech.
        drawn: Of the spectral effects.
        seed: Of all noise.
        hidden: See ``SpectralEffects.hidden``.
        position: Of the first frame.
        lead: What comes before: "", "warm" (the sequence itself), "zeros", "dither" or "noise".
        lead_frames: Its length in feature frames.
        lead_noise: Level (decibels below the speech) and color of noise before the sequence.
    """

    source: int
    speech: Stretch
    other: Stretch
    noise: tuple[float, float, float] | None
    drawn: dict[str, float]
    seed: int
    hidden: tuple[int, int, int, int]
    position: int
    lead: str
    lead_frames: int
    lead_noise: tuple[float, float, float]


class BatchMaker:
    """Makes batches; a sequence depends on the seed, the step and its index in the batch alone.

    The features of all clips lie in one table on the network's device, where sequences are put
    together, augmented and normalized, a batch at a time.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: BlendshapesConfig,
        model: ModelConfig,
        seed: int,
        norm: RunningNorm,
    ) -> None:
        self.sources, self.config, self.model, self.seed = tuple(sources), config, model, seed
        self.norm = norm
        self.effects = SpectralEffects(config.spec_augment, model.mel)
        self.reduction = model.hop // model.mel.hop
        self.floor = float(np.log(model.mel.floor))
        shares = np.array([source.share for source in sources])
        self.chances = np.cumsum(shares / shares.sum())
        self.spans, clips = _laid_out(self.sources)
        self._tables = {
            name: torch.from_numpy(np.concatenate([getattr(clip, name) for clip in clips]))
            for name in ("mel", "weights", "phones", "teacher")
        }
        self._tables["dither"] = _dither_features(model)

    def to(self, device: torch.device) -> BatchMaker:
        """Move the tables to a device."""
        if self._tables["mel"].device != device:
            self._tables = {name: table.to(device) for name, table in self._tables.items()}
        return self

    def batch(self, step: int, rows: slice) -> Batch:
        """Make sequences ``rows`` of the batch of one step, on the device of the tables."""
        plans = [self.plan(step, index) for index in range(rows.start, rows.stop)]
        device = self._tables["mel"].device
        seeds = torch.tensor([plan.seed for plan in plans], device=device)
        mel = self._mel([plan.speech for plan in plans])
        noisy = [i for i, plan in enumerate(plans) if plan.noise is not None]
        if noisy:
            colors = [plan.noise for plan in plans if plan.noise is not None]
            mel[noisy] = _steady_noise(seeds[noisy] + 1, mel.shape[1], mel.shape[2], colors)
        mel = self.effects(
            mel, self._mel([plan.other for plan in plans]), [plan.drawn for plan in plans], seeds
        )
        normal = self._normalized(mel, plans, seeds)
        left, right, share, speech = (
            torch.from_numpy(np.stack([getattr(plan.speech, name) for plan in plans])).to(device)
            for name in ("left", "right", "share", "speech")
        )
        weights = self._tables["weights"]
        phones = self._tables["phones"][left].long()
        return Batch(
            normal,
            torch.lerp(weights[left], weights[right], share[..., None]),
            phones.masked_fill(~speech, PHONE_INDEX[SILENCE]),
            self._tables["teacher"][left].float(),
            speech,
            torch.tensor([self.sources[plan.source].style for plan in plans], device=device),
            torch.tensor([self.sources[plan.source].weight for plan in plans], device=device),
            torch.tensor([plan.position for plan in plans], device=device),
        )

    def plan(self, step: int, index: int) -> Plan:
        """Draw one sequence."""
        rng = np.random.default_rng([self.seed, 7, step, index])
        chosen = min(int(np.searchsorted(self.chances, rng.random())), len(self.sources) - 1)
        length = self.config.sequence_length
        noise = None
        if self.config.no_speech and rng.random() < self.config.no_speech:
            level = rng.uniform(*NOISE_LOG_POWER)
            noise = (level, rng.standard_normal(), rng.standard_normal())
            speech = self._resting(rng, chosen)
        else:
            speech = self._speech(rng, chosen)
        position = int(rng.integers(self.config.max_position))
        lead, frames = "", 0
        warm = rng.random() < self.config.warm_norm
        # Numbers of its own: the rest of the sequence is the same with and without leads.
        before = np.random.default_rng([self.seed, 8, step, index])
        if warm:
            lead, frames = "warm", length * self.reduction
        elif before.random() < self.config.lead_silence:
            lead = ("zeros", "dither", "noise")[int(before.integers(3))]
            shortest, longest = self.config.lead_seconds
            seconds = before.uniform(shortest, longest)
            frames = round(seconds * SAMPLE_RATE / self.model.mel.hop)
        below_db = before.uniform(*LEAD_SNR_DB)
        return Plan(
            chosen,
            speech,
            self._speech(rng, chosen),
            noise,
            self.effects.draw(rng),
            int(rng.integers(2**40)),
            self.effects.hidden(length * self.reduction, rng),
            position,
            lead,
            frames,
            (below_db, before.standard_normal(), before.standard_normal()),
        )

    def _speech(self, rng: np.random.Generator, source: int) -> Stretch:
        """Join random clips in one voice, some with a pause between, and cut at a random place."""
        voices = self.spans[source]
        original = len(voices) == 1 or rng.random() < self.config.original_voice
        spans = voices[0 if original else int(rng.integers(1, len(voices)))]
        pace = float(np.exp(rng.uniform(-self.config.pace, self.config.pace)))
        parts: list[Stretch] = []
        start, total = -1, 0
        while start < 0 or total < self.config.sequence_length + start:
            clip = int(rng.integers(len(spans.starts)))
            first, frames = int(spans.starts[clip]), int(spans.lengths[clip])
            count = max(int(frames / pace), 1)
            if start < 0:
                start = int(rng.integers(count))
            elif rng.random() < PAUSE_CHANCE:
                parts.append(self._pause(int(parts[-1].right[-1]), first, rng))
                total += len(parts[-1].left)
            parts.append(self._at_pace(first, frames, count, pace))
            total += count
        return Stretch.joined(parts, start, self.config.sequence_length, self.reduction)

    def _at_pace(self, first: int, frames: int, count: int, pace: float) -> Stretch:
        def mixed(rate: int) -> tuple[Array, Array, Array]:
            place = np.minimum(np.arange(count * rate) * pace, frames * rate - 1)
            left = place.astype(np.int64)
            right = np.minimum(left + 1, frames * rate - 1)
            return first * rate + left, first * rate + right, (place - left).astype(np.float32)

        return Stretch(*mixed(1), np.ones(count, bool), *mixed(self.reduction))

    def _pause(self, before: int, after: int, rng: np.random.Generator) -> Stretch:
        """The face moves from where it was to where the next clip begins, both at rest."""
        frames = int(rng.integers(3, LONGEST_PAUSE))
        share = np.linspace(0, 1, frames + 2, dtype=np.float32)[1:-1]
        return self._silent(np.full(frames, before), np.full(frames, after), share)

    def _resting(self, rng: np.random.Generator, source: int) -> Stretch:
        """The face at rest as a clip begins."""
        spans, length = self.spans[source][0], self.config.sequence_length
        first = np.full(length, spans.starts[int(rng.integers(len(spans.starts)))])
        return self._silent(first, first, np.zeros(length, np.float32))

    def _silent(self, left: Array, right: Array, share: Array) -> Stretch:
        nothing = np.full(len(left) * self.reduction, -1, np.int64)
        fine = np.zeros(len(nothing), np.float32)
        silent = np.zeros(len(left), bool)
        return Stretch(
            left.astype(np.int64), right.astype(np.int64), share, silent, nothing, nothing, fine
        )

    def _mel(self, stretches: Sequence[Stretch]) -> Tensor:
        """Look up the features (B, T * reduction, bands) of stretches."""
        table = self._tables["mel"]
        left, right, share = (
            torch.from_numpy(np.stack([getattr(s, name) for s in stretches])).to(table.device)
            for name in ("fine_left", "fine_right", "fine_share")
        )
        mel = torch.lerp(table[left].float(), table[right].float(), share[..., None])
        return mel.masked_fill((left < 0)[..., None], self.floor)

    def _normalized(self, mel: Tensor, plans: Sequence[Plan], seeds: Tensor) -> Tensor:
        """Normalize each sequence after what comes before it, and hide parts."""
        counts = torch.tensor([plan.lead_frames for plan in plans])
        longest = int(counts.max())
        lead = mel.new_full((len(plans), longest, mel.shape[2]), self.floor)
        for row, plan in enumerate(plans):
            n = plan.lead_frames
            if plan.lead == "warm":
                lead[row, longest - n :] = mel[row, :n]
            elif plan.lead == "dither":
                dither = self._tables["dither"]
                start = plan.seed % len(dither)
                place = (torch.arange(n, device=mel.device) + start) % len(dither)
                lead[row, longest - n :] = dither[place]
        noisy = [i for i, plan in enumerate(plans) if plan.lead == "noise"]
        if noisy and longest:
            colors = [(0.0, *plans[i].lead_noise[1:]) for i in noisy]
            noise = _steady_noise(seeds[noisy] + 2, longest, mel.shape[2], colors)
            below = torch.tensor([plans[i].lead_noise[0] for i in noisy], device=mel.device)
            loudness = mel[noisy].exp().mean((1, 2)) * 10.0 ** (-below / 10.0)
            noise += (loudness / noise.exp().mean((1, 2))).log()[:, None, None]
            lead[noisy] = noise.clamp_min(self.floor)
        before = torch.cat([lead, mel], dim=1)
        # From the beginning of a stream; shorter leads are padded at their beginning.
        state = self.norm.init_state(len(plans))
        normal, _ = self.norm(before, state, longest - counts)
        normal = normal[:, longest:]
        hidden = torch.tensor([plan.hidden for plan in plans], device=mel.device)[:, :, None]
        runs = []
        for axis in (0, 1):
            first, count = hidden[:, 2 * axis], hidden[:, 2 * axis + 1]
            index = torch.arange(mel.shape[1 + axis], device=mel.device)
            runs.append((index >= first) & (index < first + count))
        return normal.masked_fill(runs[0][:, :, None] | runs[1][:, None], 0.0)


def _laid_out(sources: Sequence[Source]) -> tuple[list[list[Spans]], list[AugmentedClip]]:
    """Lay all clips end to end.

    Returns:
        Where those of each corpus and voice lie, and the clips in their order.
    """
    spans: list[list[Spans]] = []
    clips: list[AugmentedClip] = []
    place = 0
    for source in sources:
        spans.append([])
        for voice in source.clips.voices:
            lengths = np.array([len(clip.weights) for clip in voice], np.int64)
            spans[-1].append(Spans(place + np.cumsum(lengths) - lengths, lengths))
            place += int(lengths.sum())
            clips += voice
    return spans, clips


def _steady_noise(
    seeds: Tensor, frames: int, bands: int, colors: Sequence[tuple[float, float, float]]
) -> Tensor:
    """Make log-mel features (B, frames, bands) of steady noise.

    Args:
        seeds: (B,) int64.
        frames: Of each row.
        bands: Of each frame.
        colors: Of each row: level (natural logarithm of power), tilt and bow over the bands.
    """
    axis = torch.linspace(-1, 1, bands, device=seeds.device)
    level, tilt, bow = torch.tensor(colors, device=seeds.device).T[:, :, None, None]
    color = level + 3.0 * tilt * axis + 1.5 * bow * torch.cos(np.pi * axis)
    return color + torch.log(gamma_field(seeds, frames, bands) + 1e-6)


def _dither_features(model: ModelConfig) -> Tensor:
    """Log-mel features (frames, bands) of a second of triangular dither of 16-bit samples."""
    rng = np.random.default_rng(0)
    samples = (rng.random(SAMPLE_RATE) - rng.random(SAMPLE_RATE)) / 32768.0
    features = LogMel(model.mel)
    sound = torch.from_numpy(np.round(samples * 32768.0).astype(np.float32) / 32768.0)[None]
    return features(sound, features.init_state(1))[0][0]
