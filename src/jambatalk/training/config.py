"""The settings of a training run: one dataclass per block of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from jambatalk.baselines import RENAMED as RENAMED_BASELINE
from jambatalk.config import (
    extended,
    find_settings,
    from_mapping,
    parse_yaml,
    read_settings,
    rename_keys,
    warn_of_renamed,
)
from jambatalk.datasets.lip_mask import LipsConfig
from jambatalk.errors import InputError, shown
from jambatalk.models.config import ModelConfig
from jambatalk.models.presets import FOLDER as PRESETS
from jambatalk.models.speech_to_motion import check_network
from jambatalk.training.augment import VoiceAugment
from jambatalk.training.distillation import TeacherConfig
from jambatalk.training.lip_reading import LipReadingConfig, PhoneReadingConfig
from jambatalk.training.spec_augment import SpectralAugment

__all__ = [
    "BlendshapesConfig",
    "CorpusConfig",
    "EarlyStopping",
    "LossConfig",
    "TrainConfig",
    "VertexLossConfig",
    "VerticesConfig",
    "load_train_config",
    "train_config",
]

RENAMED = {
    "": {
        "batch": "batch_size",
        "accumulate": "accumulate_grad_batches",
        "warmup": "warmup_steps",
        "clip_norm": "max_grad_norm",
        "ema": "ema_decay",
        "keep": "keep_last",
        "samples": "num_val_samples",
        "shapes": "blendshapes",
    },
    "blendshapes": {
        "sequence": "sequence_length",
        "reading": "lip_reading",
        "voices": "voice_augment",
        "spectral": "spec_augment",
        "own_voice": "original_voice",
        "known_voice": "warm_norm",
    },
    "blendshapes.voice_augment": {"equaliser": "equalizer", "quantise": "quantize"},
    "vertices": {"augmented": "augment_share", "augment": "spec_augment"},
    "vertices.lip_reading": {"recogniser": "recognizer"},
    "baseline": RENAMED_BASELINE,
}
"""Keys of earlier versions, see ``jambatalk.config.Renamed``; they are still read."""


@dataclass(frozen=True)
class VertexLossConfig:
    """Weights of the loss terms for vertices; a term of weight 0 is not computed.

    The defaults are those of the paper.
    """

    vertices: float = 1000.0
    """Mean squared error of all coordinates."""
    velocity: float = 1000.0
    """Mean squared error of their changes from frame to frame."""
    lips: float = 0.0
    """Mean squared error of the lips' coordinates, in addition."""
    latent: float = 0.001
    """Mean squared error between the latents of lip reader and recognizer."""
    ctc: float = 0.0001
    """CTC loss per letter of the text that is read off the lips."""
    balance: float = 0.0
    """Load balance of the experts; the term is 1 when all are used evenly."""
    router_z: float = 0.0
    """Router z-loss: keeps the router's logits small."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}, expected 0 (left out) or more")
        if not any(vars(self).values()):
            raise ValueError("every term's weight is 0, expected at least one that counts")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms for blendshape weights; lengths are mm on the default head."""

    vertices: float = 1.0
    """Mean squared error of the mouth's and jaw's vertices, mm^2."""
    gap: float = 0.5
    """Squared error of the inner-lip gap, mm^2."""
    closure: float = 3.0
    """Extra weight of the gap's error where the lips are closed."""
    velocity: float = 2.0
    """Squared error of the vertices' movement from frame to frame, mm^2."""
    weights: float = 10.0
    """Mean squared error of the blendshape weights."""
    phones: float = 0.0
    """Cross-entropy of the phone spoken at each frame, classified from the decoder's features."""
    teacher: float = 0.0
    """Squared error of a frozen speech model's features, predicted from the decoder's features."""
    ctc: float = 0.0
    """CTC loss of the corpus' phones, read off the predicted lips."""
    latent: float = 0.0
    """Squared error of the teacher's features, read off the predicted lips."""
    balance: float = 0.01
    """Load balance of the experts; the term is 1 when all are used evenly."""
    router_z: float = 0.0001
    """Router z-loss: keeps the router's logits small."""


@dataclass(frozen=True)
class CorpusConfig:
    """How one corpus takes part in a training on blendshapes."""

    name: str
    """As its clips call it: grid, facegood, tts, ..."""
    share: float = 1.0
    """Of the sequences, relative to the shares of the other corpora."""
    style: str = ""
    """The speaking style that it teaches, one of the network's; empty: the default style."""
    weight: float = 1.0
    """Of its sequences in the loss; below 1 for motion that a model made."""
    variants: int = 0
    """Augmented copies of each of its clips; 0: as many as ``variants`` of all corpora."""

    def __post_init__(self) -> None:
        if not self.share > 0 or not self.weight > 0 or self.variants < 0:
            raise ValueError(
                f"corpus {self.name}: share and weight must be positive and variants at least 0"
            )


@dataclass(frozen=True)
class BlendshapesConfig:
    """Training on blendshape weights: how sequences are made of the clips, and the loss."""

    corpora: list[CorpusConfig] = field(default_factory=list)
    """Empty: all corpora of the data, shares by their lengths, in the default style."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss terms."""
    voice_augment: VoiceAugment = field(default_factory=VoiceAugment)
    """How copies of a clip in other voices are made, once before training."""
    spec_augment: SpectralAugment = field(default_factory=SpectralAugment)
    """How log-mel features are changed, differently at every step."""
    lip_reading: PhoneReadingConfig = field(default_factory=PhoneReadingConfig)
    """The lip reader of the terms ``ctc`` and ``latent``."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """The frozen speech model of the terms ``teacher`` and ``latent``."""
    sequence_length: int = 150
    """Motion frames per training sequence."""
    variants: int = 6
    """Voices of each clip, the recorded one included."""
    original_voice: float = 0.3
    """Chance that a sequence is in the recorded voice rather than in an augmented one."""
    no_speech: float = 0.0
    """Chance that a sequence is steady noise with the face at rest."""
    warm_norm: float = 0.5
    """Chance that the running normalization has already adapted to the sequence's voice."""
    lead_silence: float = 0.0
    """Chance that zeros, dither or room noise come before a sequence that is not warm."""
    lead_seconds: list[float] = field(default_factory=lambda: [0.0, 10.0])
    """Shortest and longest of these leads, seconds."""
    pace: float = 0.0
    """Clips are spoken up to exp(pace) times faster or slower."""
    articulation: bool = False
    """Whether training clips with phones get what a camera misses, see ``datasets.articulation``.
    Validation clips stay as measured."""
    max_position: int = 131072
    """Sequences start at a random absolute position below this, frames."""

    def __post_init__(self) -> None:
        for name in ("sequence_length", "variants", "max_position"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("original_voice", "no_speech", "warm_norm", "lead_silence"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, expected a chance between 0 and 1")
        if not 0.0 <= self.pace <= 0.5:
            raise ValueError(f"pace is {self.pace}, expected 0 to 0.5")
        if len(self.lead_seconds) != 2 or not 0 <= self.lead_seconds[0] <= self.lead_seconds[1]:
            raise ValueError(
                f"lead_seconds is {self.lead_seconds}, expected [shortest, longest] from 0 on"
            )


@dataclass(frozen=True)
class VerticesConfig:
    """Training on the vertices of prepared corpora: which clips, and the loss."""

    scheme: str = ""
    """How the corpus is split; empty: its default scheme."""
    train: str = "train"
    """The split to learn from."""
    val: str = "val"
    """The split to validate on."""
    seconds: float = 0.0
    """Longest random excerpt of a clip; 0: whole clips."""
    spread: bool = False
    """Whether outputs are in units of each coordinate's standard deviation; false, as in the
    paper: in the corpus' unit."""
    augment_share: float = 0.0
    """Share of the sequences whose features are augmented (built-in encoder only)."""
    spec_augment: SpectralAugment = field(default_factory=SpectralAugment)
    """How those are changed."""
    loss: VertexLossConfig = field(default_factory=VertexLossConfig)
    """Weights of the loss terms."""
    lips: LipsConfig = field(default_factory=LipsConfig)
    """Which vertices are the lips."""
    lip_reading: LipReadingConfig = field(default_factory=LipReadingConfig)
    """The lip reader of the terms ``latent`` and ``ctc``."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.augment_share <= 1.0:
            raise ValueError(f"augment_share is {self.augment_share}, expected a share of 0 to 1")
        if self.seconds < 0:
            raise ValueError(f"seconds is {self.seconds}, expected 0 (whole clips) or more")
        if self.seconds and self.loss.ctc and self.lip_reading.text == "corpus":
            raise ValueError(
                "a text of the corpus belongs to whole clips: seconds must be 0 with "
                "lip_reading: text: corpus"
            )


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop before the last step."""

    patience: int = 0
    """Validations without a better score after which training ends; 0: never."""
    after: int = 0
    """Steps before which validations do not count, for networks that learn in stages."""

    def __post_init__(self) -> None:
        if self.patience < 0:
            raise ValueError(f"patience is {self.patience}, expected 0 (never stop early) or more")
        if self.after < 0:
            raise ValueError(f"after is {self.after}, expected 0 or more steps")


CHOICES = {
    "task": ("blendshapes", "vertices"),
    "schedule": ("cosine", "constant"),
    "optimizer": ("adamw", "adam"),
    "precision": ("32", "bf16", "16"),
}


@dataclass(frozen=True)
class TrainConfig:
    """One training run; everything random in it follows from ``seed``."""

    task: str = "blendshapes"
    """``blendshapes``: weights of a face's blendshapes. ``vertices``: of a prepared corpus. The
    settings of each are in the block of its name."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network; ``extends`` names a preset."""
    seed: int = 0
    """Of everything random."""
    steps: int = 2500
    """Optimizer steps."""
    batch_size: int = 16
    """Sequences per optimizer step, over all processes and accumulated parts together."""
    accumulate_grad_batches: int = 1
    """Parts of its batch that a process computes one after the other before a step."""
    learning_rate: float = 8e-4
    """At its highest."""
    encoder_learning_rate: float = 1.0
    """Of a pretrained encoder, relative to that of the rest."""
    warmup_steps: int = 100
    """Steps until the learning rate reaches its highest value."""
    schedule: str = "cosine"
    """After the warm-up: ``cosine``, down to a twentieth at the last step, or ``constant``."""
    optimizer: str = "adamw"
    """``adamw``, or ``adam`` (weight decay as part of the gradient)."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    """Decay of Adam's running means."""
    weight_decay: float = 0.05
    """Of matrices; vectors (biases, gains) have none."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    ema_decay: float = 0.998
    """Of the moving average of the weights, which is validated and exported; 0: no average, the
    weights themselves."""
    precision: str = "32"
    """Of products: ``32``, ``bf16`` (about 1.3 times faster on a CPU that has it) or ``16``
    (GPUs). Weights stay float32."""
    tf32: bool = False
    """Whether products of float32 matrices on a GPU may round to TF32 (10 bits of mantissa)."""
    validate_every: int = 100
    """Steps between validations."""
    save_every: int = 100
    """Steps between checkpoints."""
    save_minutes: float = 0.0
    """Minutes between checkpoints, in place of ``save_every``; 0: by steps."""
    keep_last: int = 0
    """Weights of the last validations that stay in the run folder, as step-<n>.safetensors."""
    num_val_samples: int = 2
    """Validation clips that TensorBoard shows at every validation."""
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    """When to stop before the last step."""
    blendshapes: BlendshapesConfig = field(default_factory=BlendshapesConfig)
    """Settings of ``task: blendshapes``."""
    vertices: VerticesConfig = field(default_factory=VerticesConfig)
    """Settings of ``task: vertices``."""
    baseline: dict[str, Any] = field(default_factory=dict)
    """A published system in place of ``model`` (``task: vertices``): its kind and settings, see
    docs/how-to/baselines.md."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate_grad_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        least_zero = ("warmup_steps", "keep_last", "num_val_samples", "weight_decay", "seed")
        for name in (*least_zero, "save_minutes"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not 0 <= self.encoder_learning_rate <= 10:
            raise ValueError(
                f"encoder_learning_rate is {self.encoder_learning_rate}, expected 0 to 10"
            )
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay is {self.ema_decay}, expected at least 0 and below 1")
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(
                f"betas is {self.betas}, expected two numbers of at least 0 and below 1"
            )
        if self.batch_size % self.accumulate_grad_batches:
            raise ValueError(
                f"batch_size is {self.batch_size}, expected a multiple of "
                f"accumulate_grad_batches, which is {self.accumulate_grad_batches}"
            )
        if self.baseline and self.task != "vertices":
            raise ValueError(f"a baseline needs task: vertices, but task is {self.task}")
        length = self.blendshapes.sequence_length
        if self.task == "blendshapes" and length <= self.model.delay + 1:
            raise ValueError(
                f"blendshapes: sequence_length is {length} frames, expected more than the delay "
                f"of {self.model.delay} + 1"
            )


def load_train_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Load training settings from YAML, merged over the file that ``extends:`` names.

    ``model: extends:`` names a preset or a file of network settings in the same way. Keys of
    earlier versions are read, with one warning line.

    Args:
        path: The YAML file, or the name of settings in the package.
        changes: ``key=value`` each, with dots in the keys of nested settings
            (``blendshapes.loss.gap=0.7``) and YAML values.

    Raises:
        InputError: A file or base is missing, a key is unknown or a value is out of range.
    """
    found: dict[str, str] = {}
    path = find_settings(path)
    values = read_settings(path, upgrade=partial(upgrade_settings, found=found))
    if not values:
        raise InputError(f"{path} is empty, expected training settings")
    for change in changes:
        change_setting(values, change, found)
    warn_of_renamed(str(path), found)
    where = f"{path} with {', '.join(changes)}" if changes else str(path)
    return train_config(values, where, Path(path).parent)


def train_config(values: Mapping[str, Any], where: str, folder: Path = Path()) -> TrainConfig:
    """Build training settings from a mapping, without a warning for keys of earlier versions.

    Args:
        values: What a YAML file holds; ``extends`` and ``model: extends`` are merged.
        where: The source in error messages.
        folder: Where relative paths in ``extends`` begin.
    """
    values = extended(values, where, folder, upgrade=upgrade_settings)
    if isinstance(values.get("model"), Mapping):
        values["model"] = extended(values["model"], f"{where}: model", folder, PRESETS)
    config = from_mapping(TrainConfig, values, where)
    check_network(config.model, f"{where}: model")
    return config


def upgrade_settings(
    values: Mapping[str, Any], found: dict[str, str] | None = None
) -> dict[str, Any]:
    """Give the keys and values of earlier versions their present names; see ``rename_keys``."""
    result = rename_keys(values, RENAMED, {} if found is None else found)
    if result.get("task") == "shapes":
        result["task"] = "blendshapes"
        if found is not None:
            found["task: shapes"] = "task: blendshapes"
    return result


def change_setting(
    values: dict[str, Any], change: str, found: dict[str, str] | None = None
) -> None:
    """Set one ``key=value`` in a mapping whose keys have their present names.

    Args:
        values: Is changed.
        change: Dotted key and YAML value.
        found: Gets the old names in ``change``, see ``rename_keys``.
    """
    key, equals, text = change.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise InputError(
            f"{shown(change)} was given as a setting, expected key=value, such as "
            "learning_rate=1e-4"
        )
    try:
        value = parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{shown(change)} has no value that is valid YAML") from error
    nested: Any = value
    for name in reversed(names):
        nested = {name: nested}
    nested = upgrade_settings(nested, found)
    place = values
    for _ in names[1:]:
        ((name, nested),) = nested.items()
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise InputError(
                f"{shown(change)} sets a part of {name}, which is {shown(place)} and has no "
                "settings"
            )
    place.update(nested)
