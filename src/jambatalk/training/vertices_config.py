"""Settings of training on the vertices of a prepared corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from jambatalk.training.lip_reading import LipReadingConfig
from jambatalk.training.lips import LipsConfig
from jambatalk.training.spectral import SpectralAugment
from jambatalk.training.vertex_loss import VertexLossConfig


@dataclass(frozen=True)
class VerticesConfig:
    """Training on vertex offsets: which clips, and what is minimised."""

    scheme: str = ""  # how the corpus is divided; empty: its usual way
    train: str = "train"  # split to learn from
    val: str = "val"  # split to validate on
    seconds: float = 0.0  # a random stretch of each clip of at most this length; 0: clips as they are
    spread: bool = (
        False  # the network's outputs are in units of each coordinate's own spread; false, the paper: in the corpus' unit
    )
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
            raise ValueError("a text of the corpus belongs to whole clips: seconds must be 0 with lip_reading: text: corpus")
