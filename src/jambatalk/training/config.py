"""What a training run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from jambatalk.config import extended, from_mapping, read_settings
from jambatalk.datasets.lip_mask import LipsConfig
from jambatalk.errors import InputError
from jambatalk.models.config import ModelConfig
from jambatalk.models.presets import FOLDER as PRESETS
from jambatalk.models.speech_to_motion import check_network
from jambatalk.training.augment import VoiceAugment
from jambatalk.training.distillation import TeacherConfig
from jambatalk.training.lip_reading import LipReadingConfig, PhoneReadingConfig
from jambatalk.training.spec_augment import SpectralAugment


@dataclass(frozen=True)
class VertexLossConfig:
    """Weights of the loss terms; a term of weight 0 is not even computed. The defaults are the paper's."""

    vertices: float = 1000.0  # mean squared error of all coordinates
    velocity: float = 1000.0  # of their changes from frame to frame
    lips: float = 0.0  # of the lips' coordinates once more
    latent: float = 0.001  # mean squared error between the lip reader's latent and the recogniser's
    ctc: float = 0.0001  # of the text read off the lips, per letter
    balance: float = 0.0  # even use of the experts; 1 is even
    router_z: float = 0.0  # small router logits

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}, expected 0 (left out) or more")
        if not any(vars(self).values()):
            raise ValueError("every term's weight is 0, expected at least one that counts")


# Settings of training on shape weights.


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms; lengths are in millimetres on the default head."""

    vertices: float = 1.0  # mean squared error of the mouth's and jaw's vertices, mm^2
    gap: float = 0.5  # squared error of the inner-lip gap, mm^2
    closure: float = 3.0  # extra weight of the gap error where the lips are closed
    velocity: float = 2.0  # squared error of the vertices' frame-to-frame movement, mm^2
    weights: float = 10.0  # mean squared error of the shape weights
    phones: float = 0.0  # cross-entropy of the phone spoken at each frame, read off what the decoder makes of the sound
    teacher: float = 0.0  # squared error of a frozen speech model's features, read off the same
    ctc: float = 0.0  # the corpus' phones, read off the lips that the weights move
    latent: float = 0.0  # the teacher's features, read off the same lips
    balance: float = 0.01  # even use of the experts
    router_z: float = 0.0001  # small router logits


@dataclass(frozen=True)
class CorpusConfig:
    """How one corpus takes part."""

    name: str  # as its clips call it: grid, facegood, tts, ...
    share: float = 1.0  # of the sequences, relative to the other corpora's shares
    style: str = ""  # the style that it teaches, one of the network's; empty: the default one
    weight: float = 1.0  # of its sequences in the loss: lower for motion that a model made
    variants: int = 0  # voices made of each of its clips; 0: as many as `variants` of all corpora

    def __post_init__(self) -> None:
        if not self.share > 0 or not self.weight > 0 or self.variants < 0:
            raise ValueError(
                f"corpus {self.name}: share and weight must be positive and variants at least 0"
            )


@dataclass(frozen=True)
class ShapesConfig:
    """Training on shape weights: which sequences are made of the clips, and what is minimised."""

    corpora: list[CorpusConfig] = field(
        default_factory=list
    )  # empty: all corpora alike, by their length, in the default style
    loss: LossConfig = field(default_factory=LossConfig)
    voices: VoiceAugment = field(default_factory=VoiceAugment)
    spectral: SpectralAugment = field(default_factory=SpectralAugment)
    reading: PhoneReadingConfig = field(
        default_factory=PhoneReadingConfig
    )  # the lip reader of ctc and latent
    teacher: TeacherConfig = field(default_factory=TeacherConfig)  # of the terms teacher and latent
    sequence: int = 150  # motion frames per sequence
    variants: int = 6  # voices made of each clip before training, the original included
    own_voice: float = (
        0.3  # chance that a sequence is in the recorded voice rather than in one of the others
    )
    no_speech: float = 0.0  # chance that a sequence holds steady noise alone, and the face at rest
    known_voice: float = 0.5  # chance that the running normalisation has already heard the voice when a sequence starts
    max_position: int = 131072  # sequences start at a random absolute position below this

    def __post_init__(self) -> None:
        for name in ("sequence", "variants", "max_position"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("own_voice", "no_speech", "known_voice"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected a chance between 0 and 1"
                )


# Settings of training on the vertices of a prepared corpus.


@dataclass(frozen=True)
class VerticesConfig:
    """Training on vertex offsets: which clips, and what is minimised."""

    scheme: str = ""  # how the corpus is divided; empty: its usual way
    train: str = "train"  # split to learn from
    val: str = "val"  # split to validate on
    seconds: float = (
        0.0  # a random stretch of each clip of at most this length; 0: clips as they are
    )
    spread: bool = False  # the network's outputs are in units of each coordinate's own spread; false, the paper: in the corpus' unit
    augmented: float = 0.0  # share of the sequences that are heard in another voice, room or noise (built-in encoder only)
    augment: SpectralAugment = field(default_factory=SpectralAugment)  # how those are changed
    loss: VertexLossConfig = field(default_factory=VertexLossConfig)
    lips: LipsConfig = field(default_factory=LipsConfig)
    lip_reading: LipReadingConfig = field(default_factory=LipReadingConfig)

    def __post_init__(self) -> None:
        if not 0.0 <= self.augmented <= 1.0:
            raise ValueError(f"augmented is {self.augmented}, expected a share of 0 to 1")
        if self.seconds < 0:
            raise ValueError(f"seconds is {self.seconds}, expected 0 (whole clips) or more")
        if self.seconds and self.loss.ctc and self.lip_reading.text == "corpus":
            raise ValueError(
                "a text of the corpus belongs to whole clips: seconds must be 0 with lip_reading: text: corpus"
            )


__all__ = [
    "EarlyStopping",
    "LossConfig",
    "ShapesConfig",
    "TrainConfig",
    "VerticesConfig",
    "load_train_config",
]

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
    batch: int = (
        16  # sequences per optimiser step, over all processes and accumulated parts together
    )
    accumulate: int = (
        1  # parts that a process works through one after the other before each optimiser step
    )
    learning_rate: float = 8e-4  # at its highest
    warmup: int = 100  # steps until it is reached
    schedule: str = (
        "cosine"  # after the warm-up: cosine, down to a twentieth at the last step; or constant
    )
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
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        if not 0.0 <= self.ema < 1.0:
            raise ValueError(f"ema is {self.ema}, expected a decay of at least 0 and below 1")
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(
                f"betas is {self.betas}, expected two numbers of at least 0 and below 1"
            )
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch is {self.batch}, expected a multiple of accumulate, which is {self.accumulate}"
            )
        if self.baseline and self.task != "vertices":
            raise ValueError(
                f"a baseline was named, which needs task: vertices, but task is {self.task}"
            )
        if self.task == "shapes" and self.shapes.sequence <= self.model.delay + 1:
            raise ValueError(
                f"shapes: sequence is {self.shapes.sequence} frames, expected more than the delay of {self.model.delay} + 1"
            )


def load_train_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Load training settings from YAML, merged over the file that ``extends:`` names.

    ``model: extends:`` names a preset or a file of network settings in the same way.

    Args:
        path: The YAML file.
        changes: ``key=value`` each, with dots in the keys of nested settings
            (``shapes.loss.gap=0.7``) and YAML values.

    Raises:
        InputError: A file or base is missing, a key is unknown or a value is out of range.
    """
    values = read_settings(path)
    if not values:
        raise InputError(f"{path} is empty, expected training settings")
    for change in changes:
        change_setting(values, change)
    where = f"{path} with {', '.join(changes)}" if changes else str(path)
    return train_config(values, where, Path(path).parent)


def train_config(values: Mapping[str, Any], where: str, folder: Path = Path()) -> TrainConfig:
    """Build training settings from a mapping.

    Args:
        values: What a YAML file holds; ``extends`` and ``model: extends`` are merged.
        where: The source in error messages.
        folder: Where relative paths in ``extends`` begin.
    """
    values = extended(values, where, folder)
    if isinstance(values.get("model"), Mapping):
        values["model"] = extended(values["model"], f"{where}: model", folder, PRESETS)
    config = from_mapping(TrainConfig, values, where)
    check_network(config.model, f"{where}: model")
    return config


def change_setting(values: dict[str, Any], change: str) -> None:
    """Set what one ``key=value`` says."""
    key, equals, text = change.partition("=")
    *outer, last = key.strip().split(".")
    if not equals or not last or not all(outer):
        raise InputError(
            f"{change!r} was given as a setting, expected key=value, such as learning_rate=1e-4"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{change!r} has no value that is valid YAML") from error
    for name in outer:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise InputError(
                f"{change!r} goes into {name}, which is {values!r} and has no settings of its own"
            )
    values[last] = value
