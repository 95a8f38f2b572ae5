"""What a training run is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jambatalk.config import from_mapping, read_yaml
from jambatalk.errors import InputError
from jambatalk.nn.model import ModelConfig
from jambatalk.presets import merged_preset
from jambatalk.training.augment import VoiceAugment
from jambatalk.training.spectral import SpectralAugment


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms; lengths are in millimetres on the default head."""

    vertices: float = 1.0  # mean squared error of the mouth's and jaw's vertices, mm^2
    gap: float = 0.5  # squared error of the inner-lip gap, mm^2
    closure: float = 3.0  # extra weight of the gap error where the lips are closed
    velocity: float = 2.0  # squared error of the vertices' frame-to-frame movement, mm^2
    weights: float = 10.0  # mean squared error of the shape weights
    balance: float = 0.01  # even use of the experts
    router_z: float = 0.0001  # small router logits


@dataclass(frozen=True)
class TrainConfig:
    """One training run; everything random in it follows from ``seed``."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    voices: VoiceAugment = field(default_factory=VoiceAugment)
    spectral: SpectralAugment = field(default_factory=SpectralAugment)
    seed: int = 0
    steps: int = 2500  # optimiser steps
    batch: int = 16  # sequences per step
    sequence: int = 150  # motion frames per sequence
    variants: int = 6  # voices made of each clip before training, the original included
    own_voice: float = 0.3  # chance that a sequence is in the recorded voice rather than in one of the others
    no_speech: float = 0.0  # chance that a sequence holds steady noise alone, and the face at rest
    known_voice: float = 0.5  # chance that the running normalisation has already heard the voice when a sequence starts
    learning_rate: float = 8e-4  # at its highest
    warmup: int = 100  # steps until it is reached
    weight_decay: float = 0.05
    clip_norm: float = 1.0  # gradients are scaled down to this norm
    ema: float = 0.998  # decay of the averaged weights, which are the ones that are kept
    bfloat16: bool = False  # matrix products in bfloat16: about 1.3 times faster on a CPU that has it, weights stay float32
    max_position: int = 131072  # sequences start at a random absolute position below this
    validate_every: int = 100  # steps
    save_every: int = 100  # steps

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "sequence", "variants", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.sequence <= self.model.delay + 1:
            raise ValueError(f"sequence is {self.sequence} frames, expected more than the delay of {self.model.delay} + 1")


def load_train_config(path: str | Path) -> TrainConfig:
    """A TrainConfig from YAML, its network laid over the preset that ``model: extends:`` names; unknown keys are errors."""
    values = read_yaml(path)
    if not values:
        raise InputError(f"{path} is empty, expected training settings")
    if isinstance(values.get("model"), dict):
        values["model"] = merged_preset(values["model"], str(path))
    return from_mapping(TrainConfig, values, str(path))
