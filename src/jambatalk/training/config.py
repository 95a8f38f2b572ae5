"""What a training run is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from jambatalk.config import from_mapping, read_yaml
from jambatalk.errors import InputError
from jambatalk.nn.model import ModelConfig
from jambatalk.presets import merged_preset
from jambatalk.training.shapes_config import LossConfig, ShapesConfig
from jambatalk.training.vertices_config import VerticesConfig

__all__ = ["EarlyStopping", "LossConfig", "ShapesConfig", "TrainConfig", "VerticesConfig", "load_train_config"]

CHOICES = {
    "task": ("shapes", "vertices"),
    "schedule": ("cosine", "constant"),
    "optimizer": ("adamw", "adam"),
    "precision": ("32", "bf16", "16"),
}


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop before the last step."""

    patience: int = 0  # validations without a better score after which training ends; 0: never
    after: int = 0  # steps before which validations do not count, for networks that learn in stages

    def __post_init__(self) -> None:
        if self.patience < 0:
            raise ValueError(f"patience is {self.patience}, expected 0 (never stop early) or more")
        if self.after < 0:
            raise ValueError(f"after is {self.after}, expected 0 or more steps")


@dataclass(frozen=True)
class TrainConfig:
    """One training run; everything random in it follows from ``seed``."""

    # shapes: weights of a face's shapes; vertices: of a prepared corpus. Its settings are those of the same name below.
    task: str = "shapes"
    model: ModelConfig = field(default_factory=ModelConfig)
    seed: int = 0
    steps: int = 2500  # optimiser steps
    batch: int = 16  # sequences per optimiser step, over all processes and accumulated parts together
    accumulate: int = 1  # parts that a process works through one after the other before each optimiser step
    learning_rate: float = 8e-4  # at its highest
    warmup: int = 100  # steps until it is reached
    schedule: str = "cosine"  # after the warm-up: cosine, down to a twentieth at the last step; or constant
    optimizer: str = "adamw"  # adamw, or adam (weight decay as part of the gradient)
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])  # of Adam's running means
    weight_decay: float = 0.05  # of matrices; vectors (biases, gains) have none
    clip_norm: float = 1.0  # gradients are scaled down to this norm
    ema: float = 0.998  # decay of the averaged weights, which are the ones that are kept; 0: the last weights themselves
    precision: str = "32"  # of products: 32; bf16: about 1.3 times faster on a CPU that has it; 16 on GPUs. Weights stay float32
    validate_every: int = 100  # steps
    save_every: int = 100  # steps
    keep: int = 0  # averaged weights of the last so many validations stay in the run folder as step-<n>.safetensors
    samples: int = 2  # validation clips that TensorBoard shows at every validation
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    shapes: ShapesConfig = field(default_factory=ShapesConfig)
    vertices: VerticesConfig = field(default_factory=VerticesConfig)
    # a published system instead of the network of `model` (task vertices): its kind and settings, see docs/baselines.md
    baseline: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("warmup", "keep", "samples", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}")
        if not 0.0 <= self.ema < 1.0:
            raise ValueError(f"ema is {self.ema}, expected a decay of at least 0 and below 1")
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}, expected two numbers of at least 0 and below 1")
        if self.batch % self.accumulate:
            raise ValueError(f"batch is {self.batch}, expected a multiple of accumulate, which is {self.accumulate}")
        if self.baseline and self.task != "vertices":
            raise ValueError(f"a baseline was named, which needs task: vertices, but task is {self.task}")
        if self.task == "shapes" and self.shapes.sequence <= self.model.delay + 1:
            raise ValueError(
                f"shapes: sequence is {self.shapes.sequence} frames, expected more than the delay of {self.model.delay} + 1"
            )


def load_train_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """A TrainConfig from YAML, its network laid over the preset that ``model: extends:`` names; unknown keys are errors.

    changes: ``key=value`` each, with dots in the keys of nested settings (``shapes.loss.gap=0.7``) and YAML values.
    """
    values = read_yaml(path)
    if not values:
        raise InputError(f"{path} is empty, expected training settings")
    for change in changes:
        change_setting(values, change)
    return train_config(values, f"{path} with {', '.join(changes)}" if changes else str(path))


def train_config(values: dict[str, Any], where: str) -> TrainConfig:
    """A TrainConfig from the mapping that a YAML file holds; ``where`` names the source in errors."""
    if isinstance(values.get("model"), dict):
        values = values | {"model": merged_preset(values["model"], where)}
    return from_mapping(TrainConfig, values, where)


def change_setting(values: dict[str, Any], change: str) -> None:
    """Set what one ``key=value`` says."""
    key, equals, text = change.partition("=")
    *outer, last = key.strip().split(".")
    if not equals or not last or not all(outer):
        raise InputError(f"{change!r} was given as a setting, expected key=value, such as learning_rate=1e-4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{change!r} has no value that is valid YAML") from error
    for name in outer:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise InputError(f"{change!r} goes into {name}, which is {values!r} and has no settings of its own")
    values[last] = value
