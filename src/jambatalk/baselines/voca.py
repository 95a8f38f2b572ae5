"""VOCA: a window of sound and a training speaker's name become one frame of motion.

Cudeiro, Bolkart, Laidlaw, Ranjan and Black, "Capture, Learning, and Synthesis of 3D Speaking
Styles", CVPR 2019, arXiv 1905.03079. The features of the sound around a frame, each with the
speaker's one-hot vector beside it, go through four convolutions over time that halve the window
each; the one-hot vector joins once more, and two linear layers lead to the coefficients of a
linear layer that starts as the principal components of the training motion. Frames know nothing
of each other; the loss alone asks for the right changes from frame to frame.

What differs from the paper:
- The speech encoder is the one that all baselines share, trained with the rest where it is the
  built-in one. The paper takes 29 character scores from a frozen DeepSpeech; batch normalisation
  with a momentum of 0.9 follows, as here.
- A window has as many features as in the paper (16), but one feature per motion frame: 640 ms at
  25 fps. The paper's are at 60 fps: 267 ms. By default the convolutions have four times the
  paper's channels, for features of width 192.
- The released code starts the components without scaling that the paper names; here each has its
  standard deviation for length, so that coefficients around 1 make motion as large as the
  training's, and their mean is the bias.
- Errors are in units of the motion's spread where the settings ask for it. Velocities are compared
  at every frame of a clip where the paper draws pairs of frames.
- The face's template stays outside: all baselines give offsets from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square


@dataclass(frozen=True)
class VOCAConfig(BaselineConfig):
    """The window, the sizes after it, and the weights of the two terms of the loss."""

    kind: str = "voca"
    width: int = 192
    """Of the encoder's output; 29 in the paper."""
    window: int = 16
    """Frames of sound that a frame is made of: half of them before it, the rest from it on."""
    channels: list[int] = field(default_factory=lambda: [128, 128, 256, 256])
    """32, 32, 64, 64 in the paper."""
    hidden: int = 128
    """Between the window's code and the coefficients."""
    components: int = 50
    """Of the motion."""
    position: float = 1.0
    """Weight of the mean squared error of the offsets."""
    velocity: float = 10.0
    """Weight of that of their changes from frame to frame."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "hidden", "components"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.window < 2 or self.window % 2:
            raise ValueError(f"window is {self.window}, expected an even number of frames")
        if not self.channels or min(self.channels) < 1:
            raise ValueError(
                f"channels is {self.channels}, expected the width of each convolution, at least one"
            )


class VOCA(Baseline):
    """Encoder, windows, convolutions, linear layers. What comes after the encoder sees the window
    alone.
    """

    Config: ClassVar[type[BaselineConfig]] = VOCAConfig
    bidirectional: ClassVar[bool] = False
    config: VOCAConfig

    def __init__(self, config: VOCAConfig) -> None:
        super().__init__(config, config.width)
        speakers = len(config.subjects)
        self.norm = nn.BatchNorm1d(
            config.width, momentum=0.1
        )  # torch's momentum is the share of the new value
        widths = [config.width + speakers, *config.channels]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(here, after, 3, stride=2, padding=1) for here, after in pairwise(widths)
        )
        left = math.ceil(
            config.window / 2 ** len(config.channels)
        )  # frames after the convolutions: 1 in the paper
        self.code = nn.Linear(config.channels[-1] * left + speakers, config.hidden)
        self.coefficients = nn.Linear(config.hidden, config.components)
        self.basis = nn.Linear(config.components, config.outputs)

    @property
    def look_ahead_ms(self) -> float:
        """Milliseconds of sound after a frame's own time that the frame depends on; infinite behind
        wav2vec 2.0.
        """
        return super().look_ahead_ms + (self.config.window // 2 - 1) * 1000.0 / self.config.fps

    @torch.no_grad()
    def fit(self, offsets: Tensor) -> None:
        """The last layer's start: principal components of the training frames (N, 3 V), the
        strongest first.

        Where the frames have fewer directions than there are components, the rest start at zero.
        ValueError without frames.
        """
        if not len(offsets):
            raise ValueError("no training frames to take principal components of")
        normal = self.normal(offsets)
        mean = normal.mean(0)
        _, size, directions = torch.linalg.svd(normal - mean, full_matrices=False)
        count = min(self.config.components, len(size))
        self.basis.weight.zero_()
        self.basis.weight[:, :count] = (
            directions[:count] * (size[:count] / math.sqrt(len(offsets)))[:, None]
        ).T
        self.basis.bias.copy_(mean)

    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        predicted, true = self._normal(samples, offsets.shape[1], subjects), self.normal(offsets)
        terms = {"position": self.config.position * mean_square(predicted, true)}
        if self.config.velocity:
            terms["velocity"] = self.config.velocity * mean_square(
                predicted.diff(dim=1), true.diff(dim=1)
            )
        return terms

    @torch.no_grad()
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        return self.natural(self._normal(samples, frames, subjects))

    def _normal(self, samples: Tensor, frames: int, subjects: Tensor | None) -> Tensor:
        features = self.norm(self.hearing(samples, frames).transpose(1, 2))  # (B, D, T)
        half = self.config.window // 2
        windows = F.pad(features, (half, half - 1)).unfold(2, self.config.window, 1)  # (B, D, T, W)
        x = windows.transpose(1, 2).flatten(0, 1)  # (B T, D, W)
        who = self._one_hot(subjects, len(samples)).repeat_interleave(frames, 0)  # (B T, S)
        x = torch.cat([x, who[..., None].expand(-1, -1, x.shape[2])], 1)
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        x = torch.tanh(self.code(torch.cat([x.flatten(1), who], 1)))
        return self.basis(self.coefficients(x)).view(len(samples), frames, -1)  # type: ignore[no-any-return]

    def _one_hot(self, subjects: Tensor | None, batch: int) -> Tensor:
        """(B, S); S is 0 without named speakers."""
        count, device = len(self.config.subjects), self.basis.weight.device
        if not count:
            return torch.zeros(batch, 0, device=device)
        chosen = (
            torch.zeros(batch, dtype=torch.long, device=device)
            if subjects is None
            else subjects.long()
        )
        if int(chosen.min()) < 0 or int(chosen.max()) >= count:
            raise ValueError(
                f"subjects are {chosen.tolist()}, expected indices of the {count} training speakers"
            )
        return F.one_hot(chosen, count).to(self.basis.weight.dtype)
