"""Settings of training on shape weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from jambatalk.training.augment import VoiceAugment
from jambatalk.training.phone_reading import PhoneReadingConfig
from jambatalk.training.spectral import SpectralAugment
from jambatalk.training.teaching import TeacherConfig


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
            raise ValueError(f"corpus {self.name}: share and weight must be positive and variants at least 0")


@dataclass(frozen=True)
class ShapesConfig:
    """Training on shape weights: which sequences are made of the clips, and what is minimised."""

    corpora: list[CorpusConfig] = field(default_factory=list)  # empty: all corpora alike, by their length, in the default style
    loss: LossConfig = field(default_factory=LossConfig)
    voices: VoiceAugment = field(default_factory=VoiceAugment)
    spectral: SpectralAugment = field(default_factory=SpectralAugment)
    reading: PhoneReadingConfig = field(default_factory=PhoneReadingConfig)  # the lip reader of ctc and latent
    teacher: TeacherConfig = field(default_factory=TeacherConfig)  # of the terms teacher and latent
    sequence: int = 150  # motion frames per sequence
    variants: int = 6  # voices made of each clip before training, the original included
    own_voice: float = 0.3  # chance that a sequence is in the recorded voice rather than in one of the others
    no_speech: float = 0.0  # chance that a sequence holds steady noise alone, and the face at rest
    known_voice: float = 0.5  # chance that the running normalisation has already heard the voice when a sequence starts
    max_position: int = 131072  # sequences start at a random absolute position below this

    def __post_init__(self) -> None:
        for name in ("sequence", "variants", "max_position"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("own_voice", "no_speech", "known_voice"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a chance between 0 and 1")
