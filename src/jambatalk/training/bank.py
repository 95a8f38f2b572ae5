"""The voice bank: every training clip as features, in its own voice and in others made from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.data.clip import Clip
from jambatalk.data.phones import PHONES
from jambatalk.face.resample import resample_frames
from jambatalk.nn.mel import LogMel
from jambatalk.nn.model import ModelConfig
from jambatalk.training.augment import VoiceAugment, augment_voice

Array = NDArray[Any]
Teacher = Callable[[Clip], Array]
PHONE_INDEX = {phone: i for i, phone in enumerate(PHONES)}


@dataclass(frozen=True)
class Take:
    """One clip in one voice.

    mel: (T * reduction, bands) float16 log power. weights: (T, K) float32. phones: (T,) int16 indices into PHONES of the phone
    spoken at each frame, -1 where unknown. teacher: (T, D) float16 features of a frozen speech model; D is 0 without one.
    """

    mel: Array
    weights: Array
    phones: Array
    teacher: Array


class VoiceBank:
    """``takes[v][i]``: clip i in voice v; voice 0 is the clip as recorded."""

    def __init__(
        self, clips: Sequence[Clip], config: ModelConfig, voices: VoiceAugment, variants: int, seed: int,
        progress: Callable[[int, int], None] | None = None, teacher: Teacher | None = None,
    ) -> None:  # fmt: skip
        """teacher: the features (T', D) of a clip's recorded voice at the motion's rate. Other voices are to give the same."""
        features = LogMel(config.mel)
        others = [clip.samples for clip in clips]
        nothing = np.zeros((1, 0), np.float16)
        taught = [nothing if teacher is None else teacher(clip) for clip in clips]
        self.takes: list[list[Take]] = []
        for voice in range(variants):
            row = []
            for i, clip in enumerate(clips):
                samples, weights, time_scale = clip.samples, clip.weights, 1.0
                if voice:
                    rng = np.random.default_rng([seed, voice, i])
                    samples, time_scale = augment_voice(samples, voices, rng, others)
                    if time_scale != 1.0:
                        weights = resample_frames(weights, config.fps, config.fps * time_scale)
                row.append(_take(samples, weights, time_scale, clip, taught[i], features, config))
                if progress is not None:
                    progress(voice * len(clips) + i + 1, variants * len(clips))
            self.takes.append(row)

    def mean_mel(self, loud_share: float = 0.5) -> torch.Tensor:
        """(bands,) mean log power of the loud half of the recorded voices' frames: where RunningNorm starts."""
        mel = np.concatenate([take.mel for take in self.takes[0]]).astype(np.float32)
        energy = np.exp(mel).sum(1)
        return torch.from_numpy(mel[energy >= np.quantile(energy, 1 - loud_share)].mean(0))


def weight_statistics(banks: Sequence[VoiceBank]) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, standard deviation), (K,) each, of the shape weights over all frames of the recorded voices."""
    weights = np.concatenate([take.weights for bank in banks for take in bank.takes[0]])
    return torch.from_numpy(weights.mean(0)), torch.from_numpy(weights.std(0))


def _take(
    samples: Array, weights: Array, time_scale: float, clip: Clip, taught: Array, features: LogMel, config: ModelConfig
) -> Take:
    """Cut sound and motion to the same whole number of frames."""
    frames = min(len(samples) // config.hop, len(weights))
    sound = torch.from_numpy(np.ascontiguousarray(samples[: frames * config.hop], np.float32))[None]
    mel, _ = features(sound, features.init_state(1))
    times = np.arange(frames) / time_scale  # in frames of the recorded voice
    nearest = np.minimum(np.round(times).astype(np.int64), len(taught) - 1)
    return Take(
        mel[0].numpy().astype(np.float16), np.ascontiguousarray(weights[:frames], np.float32),
        phone_indices(clip, times / config.fps), taught[nearest].astype(np.float16),
    )  # fmt: skip


def phone_indices(clip: Clip, seconds: Array) -> Array:
    """(T,) int16 indices into PHONES of what is spoken at the given times, -1 where that is unknown."""
    found = np.full(len(seconds), -1, np.int16)
    for phone, start, end in clip.phones:
        found[(seconds >= start) & (seconds < end)] = PHONE_INDEX.get(phone, -1)
    return found
