"""A plain bidirectional GRU on log-mel features: what the default weights must beat on the same
data.

It needs the whole clip, so it cannot stream. The features' mean over the clip is
subtracted, which removes microphone and level; the only augmentation in training is a faint
steady noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.config import from_mapping
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.models.checkpoint import (
    build_network,
    checked_names,
    checkpoint_format,
    read_checkpoint,
    write_checkpoint,
)
from jambatalk.models.config import MelConfig
from jambatalk.models.features import LogMel
from jambatalk.streaming.resampler import resample_frames

Array = NDArray[Any]
FORMAT = "jambatalk-bigru-1"


@dataclass(frozen=True)
class BiGRUConfig:
    """2.8 million numbers with 52 outputs."""

    mel: MelConfig = field(default_factory=MelConfig)
    fps: float = 25.0
    """Frames per second; the features of a frame's time are its input."""
    hidden: int = 312
    """In each direction."""
    layers: int = 2
    dropout: float = 0.1
    outputs: int = 52

    def __post_init__(self) -> None:
        if round(SAMPLE_RATE / self.fps) % self.mel.hop or SAMPLE_RATE % self.fps:
            raise ValueError(
                f"fps is {self.fps}, expected a whole number of {self.mel.hop} samples a frame"
            )

    @property
    def reduction(self) -> int:
        """Feature frames per motion frame."""
        return round(SAMPLE_RATE / self.fps) // self.mel.hop


@dataclass(frozen=True)
class BiGRUTraining:
    """How it is trained: windows of ``frames`` cut from the clips, each clip drawn as often as it
    is long.
    """

    steps: int = 1200
    batch: int = 24
    frames: int = 75
    learning_rate: float = 2e-3
    warmup: int = 50
    noise: float = 0.5
    """Chance of a steady noise under a window."""
    noise_log_power: tuple[float, float] = (
        -18.0,
        -9.0,
    )  # its mel power, natural logarithm: faint to audible
    weights_loss: float = 100.0
    """Weight of the shape weights' mean squared error."""
    gap_loss: float = 0.5
    """Weight of the inner-lip gap's mean squared error in mm^2."""
    seed: int = 1


class BiGRU(nn.Module):
    """Log-mel (B, T * reduction, bands) -> shape weights (B, T, outputs)."""

    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, config: BiGRUConfig) -> None:
        super().__init__()
        self.config = config
        self.features = LogMel(config.mel)
        inputs = config.mel.bands * config.reduction
        self.gru = nn.GRU(
            inputs,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout,
        )
        self.head = nn.Linear(2 * config.hidden, config.outputs)
        self.register_buffer("output_mean", torch.zeros(config.outputs))
        self.register_buffer("output_scale", torch.ones(config.outputs))

    def mel(self, samples: Array) -> Tensor:
        """(n,) samples -> (T * reduction, bands) log power of the whole frames in them; at least
        one frame.
        """
        hop = round(SAMPLE_RATE / self.config.fps)
        whole = np.zeros(max(1, len(samples) // hop) * hop, np.float32)
        whole[: len(samples)] = samples[: len(whole)]
        mel, _ = self.features(torch.from_numpy(whole)[None], self.features.init_state(1))
        return mel[0]

    def forward(self, mel: Tensor) -> Tensor:
        """mel: less its mean over the clip."""
        batch, count, bands = mel.shape
        reduction = self.config.reduction
        x, _ = self.gru(mel.reshape(batch, count // reduction, bands * reduction))
        return self.output_mean + self.output_scale * self.head(x)

    @torch.inference_mode()
    def animate(self, samples: Array) -> Array:
        """(n,) float32 at 16 kHz -> (T, outputs) float32 in 0..1."""
        mel = self.mel(samples)
        return self(mel[None] - mel.mean(0))[0].clamp(0, 1).numpy()


def train_bigru(
    clips: Sequence[Clip],
    face: Face,
    config: BiGRUConfig,
    training: BiGRUTraining,
    progress: Callable[[int, float], None] | None = None,
) -> BiGRU:
    """Train on clips whose motion is weights of the face's shapes. progress: called with (step,
    loss).

    InputError when there are no clips or their shapes are not the face's.
    """
    if not clips:
        raise InputError("no clips to train on, expected at least one")
    if face.gap_vertices is None:
        raise InputError("the face names no gap_vertices, which the loss needs")
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    network = BiGRU(config)
    mels, motions = _prepared(network, clips, face)
    frames = np.concatenate(motions)
    network.output_mean.copy_(torch.from_numpy(frames.mean(0)))
    network.output_scale.copy_(torch.from_numpy(frames.std(0)))
    chances = np.array([len(motion) for motion in motions], float)
    chances /= chances.sum()
    upper, lower = face.gap_vertices
    gap_mm = (
        torch.from_numpy(
            np.ascontiguousarray(face.basis[:, upper, 1] - face.basis[:, lower, 1])
        ).float()
        * 1e3
    )
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=0.01)

    def rate(step: int) -> float:
        return (
            min(1.0, (step + 1) / training.warmup)
            * 0.5
            * (1 + np.cos(np.pi * step / training.steps))
        )

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    network.train()
    for step in range(1, training.steps + 1):
        windows = [
            _window(mels[i], motions[i], config, training, rng)
            for i in rng.choice(len(mels), training.batch, p=chances)
        ]
        features, true, real = (
            torch.from_numpy(np.stack(part)) for part in zip(*windows, strict=True)
        )
        error = (network(features) - true) * real[..., None]
        shapes = error.square().sum() / (real.sum() * config.outputs)
        gap = (error @ gap_mm).square().sum() / real.sum()
        loss = training.weights_loss * shapes + training.gap_loss * gap
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step, float(loss.detach()))
    return network.eval()


def _prepared(network: BiGRU, clips: Sequence[Clip], face: Face) -> tuple[list[Array], list[Array]]:
    """Features and motions of the clips, cut to the same frames; the motions on the face's shapes
    at the network's rate.
    """
    mels, motions = [], []
    for clip in clips:
        moved, fps = clip.weights, network.config.fps
        if clip.fps != fps:
            moved = resample_frames(moved, clip.fps, fps)
        weights = np.zeros((len(moved), len(face.names)), np.float32)
        weights[:, face.columns(clip.motion.names)] = moved
        mel = network.mel(clip.samples).numpy()
        count = min(len(weights), len(mel) // network.config.reduction)
        mels.append(mel[: count * network.config.reduction])
        motions.append(weights[:count])
    return mels, motions


def _window(
    mel: Array,
    motion: Array,
    config: BiGRUConfig,
    training: BiGRUTraining,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """(features less the clip's mean, motion, 1 where a frame is real): a random stretch, or a
    short clip filled up.
    """
    if rng.random() < training.noise:
        mel = np.logaddexp(mel, np.float32(rng.uniform(*training.noise_log_power)))
    mel = mel - mel.mean(0)
    count = min(training.frames, len(motion))
    first = int(rng.integers(len(motion) - count + 1))
    rest, reduction = training.frames - count, config.reduction
    features = np.pad(
        mel[first * reduction : (first + count) * reduction], ((0, rest * reduction), (0, 0))
    )
    true = np.pad(motion[first : first + count], ((0, rest), (0, 0)))
    return features.astype(np.float32), true, np.pad(np.ones(count, np.float32), (0, rest))


def save_bigru(
    path: str | Path, network: BiGRU, names: tuple[str, ...], notes: dict[str, Any]
) -> None:
    """Write the network with its settings, the names of its outputs and how it was trained."""
    parts = {"config": dataclasses.asdict(network.config), "names": list(names), "notes": notes}
    write_checkpoint(path, FORMAT, network.state_dict(), parts)


def is_bigru(path: str | Path) -> bool:
    """Return whether a file holds this network; False for anything else."""
    return checkpoint_format(path) == FORMAT


def load_bigru(path: str | Path) -> tuple[BiGRU, tuple[str, ...]]:
    """Load a network in evaluation mode and the names of its outputs.

    Raises:
        InputError: the file is missing, damaged, of another format or does not fit its settings.
    """
    parts, tensors = read_checkpoint(path, FORMAT)
    config = from_mapping(BiGRUConfig, parts["config"], str(path))
    network = build_network(lambda: BiGRU(config), config, tensors, path)
    return network, checked_names(parts, config.outputs, path)
