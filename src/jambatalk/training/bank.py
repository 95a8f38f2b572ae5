"""The voice bank: every training clip as features, in its own voice and in others made from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.data.clip import Clip
from jambatalk.face.resample import resample_frames
from jambatalk.nn.mel import LogMel
from jambatalk.nn.model import ModelConfig
from jambatalk.training.augment import VoiceAugment, augment_voice

Array = NDArray[Any]


@dataclass(frozen=True)
class Take:
    """One clip in one voice: mel (T * reduction, bands) float16 log power, weights (T, K) float32."""

    mel: Array
    weights: Array


class VoiceBank:
    """``takes[v][i]``: clip i in voice v; voice 0 is the clip as recorded."""

    def __init__(
        self, clips: Sequence[Clip], config: ModelConfig, voices: VoiceAugment, variants: int, seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
        features = LogMel(config.mel)
        others = [clip.samples for clip in clips]
        self.takes: list[list[Take]] = []
        for voice in range(variants):
            row = []
            for i, clip in enumerate(clips):
                samples, weights = clip.samples, clip.weights
                if voice:
                    rng = np.random.default_rng([seed, voice, i])
                    samples, time_scale = augment_voice(samples, voices, rng, others)
                    if time_scale != 1.0:
                        weights = resample_frames(weights, config.fps, config.fps * time_scale)
                row.append(_take(samples, weights, features, config))
                if progress is not None:
                    progress(voice * len(clips) + i + 1, variants * len(clips))
            self.takes.append(row)

    def mean_mel(self, loud_share: float = 0.5) -> torch.Tensor:
        """(bands,) mean log power of the loud half of the recorded voices' frames: where RunningNorm starts."""
        mel = np.concatenate([take.mel for take in self.takes[0]]).astype(np.float32)
        energy = np.exp(mel).sum(1)
        return torch.from_numpy(mel[energy >= np.quantile(energy, 1 - loud_share)].mean(0))

    def weight_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(mean, standard deviation), (K,) each, of the shape weights over all frames."""
        weights = np.concatenate([take.weights for take in self.takes[0]])
        return torch.from_numpy(weights.mean(0)), torch.from_numpy(weights.std(0))


def _take(samples: Array, weights: Array, features: LogMel, config: ModelConfig) -> Take:
    """Cut sound and motion to the same whole number of frames."""
    frames = min(len(samples) // config.hop, len(weights))
    sound = torch.from_numpy(np.ascontiguousarray(samples[: frames * config.hop], np.float32))[None]
    mel, _ = features(sound, features.init_state(1))
    return Take(mel[0].numpy().astype(np.float16), np.ascontiguousarray(weights[:frames], np.float32))
