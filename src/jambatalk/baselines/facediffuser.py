"""FaceDiffuser: denoising diffusion over whole motions with a GRU decoder; every seed gives another
motion.

S. Stan, K. I. Haque, Z. Yumak, FaceDiffuser: Speech-Driven 3D Facial Animation Synthesis Using
Diffusion, ACM SIGGRAPH Conference on Motion, Interaction and Games (MIG) 2023, arXiv 2309.11306.
The model for vertices.

In training a motion is noised to a random step of the diffusion. A noise encoder brings each
noised frame to the latent width (linear layer to twice the width, a convolution of 9 along the
features, ReLU, maxima of neighbours), the step is embedded by a linear layer on its one-hot code
and Mish; speech, motion and step side by side go through a layer norm and a GRU; its output is
multiplied by the speaker's style vector, and a linear layer that starts at zero gives the clean
motion. The loss is the mean squared error of that estimate alone, without a velocity term.
Sampling starts from noise and takes every step of the chain. Sizes that the paper's text leaves
open follow the authors' public settings (cosine schedule, small posterior variance).

What differs here, and why: the speech comes from the encoder that all baselines share (the
paper: HuBERT base, whose convolutions, feature projection and first two layers stay frozen; two
of its frames side by side make one motion frame). The network's outputs are offsets, in units of
their spread when the settings ask for it, where the authors diffuse whole positions in the
corpus' unit: noise of spread 1 would drown motion of millimetres, and the samples hardly differ.
The style vector starts at 1, and with no named speakers there is one. ``sample_steps`` below
``steps`` leaves out steps evenly (Nichol and Dhariwal 2021) and is for validation on a CPU; 0 is
the paper's whole chain.

The GRU runs forwards only: a frame depends on no sound after it except for the encoder's
look-ahead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square

LARGEST_BETA = 0.999
"""The share of the variance that one step may replace by noise; the cosine schedule's last step
would replace all of it.
"""


def cosine_signal(steps: int) -> Tensor:
    """(steps,) float64, falling: the share of the variance that is still signal after step 0, 1, …
    of the noising.
    """

    def share(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - share((i + 1) / steps) / share(i / steps), LARGEST_BETA) for i in range(steps)]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)


class Diffusion(nn.Module):
    """The cosine schedule over so many steps. Data should have a spread near 1, for the noise ends
    at that.

    signal: (steps,) as ``cosine_signal`` gives it.
    """

    signal: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("signal", cosine_signal(steps), persistent=False)

    def noised(self, clean: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """What the noising has made of ``clean`` (B, …) after step ``step`` (B,); noise: standard
        normal, (B, …).
        """
        signal = self.signal[step].view(-1, *[1] * (clean.dim() - 1))
        return signal.sqrt().to(clean.dtype) * clean + (1 - signal).sqrt().to(clean.dtype) * noise

    def way_back(self, count: int = 0) -> list[int]:
        """The steps that sampling visits, falling: all of them, or ``count`` spread evenly from the
        last to the first.
        """
        if not 0 <= count <= self.steps:
            raise ValueError(
                f"{count} sampling steps asked for, expected 1 to {self.steps}, or 0 for all"
            )
        return [
            round(step)
            for step in torch.linspace(
                self.steps - 1, 0, count or self.steps, dtype=torch.float64
            ).tolist()
        ]

    @torch.no_grad()
    def sample(
        self,
        clean: Callable[[Tensor, int], Tensor],
        start: Tensor,
        draw: Callable[[], Tensor],
        count: int = 0,
    ) -> Tensor:
        """Ancestral sampling. start: pure noise (B, …).

        clean: the network's estimate of the clean data from the noised data and the step. draw: new
        standard normal noise that broadcasts to ``start``. count: of steps, 0 for all. The last
        estimate is returned without noise.
        """
        visited = self.way_back(count)
        noised = start
        for step, after in zip(visited, [*visited[1:], None], strict=True):
            estimate = clean(noised, step)
            if after is None:
                return estimate
            # The posterior of the less noised data given the noised and the clean (Ho et al.,
            # equation 7), between two visited
            # steps instead of two neighbours.
            now, then = float(self.signal[step]), float(self.signal[after])
            kept = now / then
            of_clean, of_noised = (
                math.sqrt(then) * (1 - kept) / (1 - now),
                math.sqrt(kept) * (1 - then) / (1 - now),
            )
            spread = math.sqrt((1 - kept) * (1 - then) / (1 - now))
            noised = of_clean * estimate + of_noised * noised + spread * draw()
        raise AssertionError("way_back gave no step")


@dataclass(frozen=True)
class FaceDiffuserConfig(BaselineConfig):
    """Sizes of the decoder and of the diffusion; the defaults are a small one for 468 vertices."""

    kind: str = "facediffuser"
    width: int = 192
    """Of speech, noised motion and step, each."""
    hidden: int = 256
    """Of the GRU."""
    layers: int = 2
    """Of the GRU."""
    dropout: float = 0.1
    """Between the GRU's layers."""
    steps: int = 500
    """Of the diffusion."""
    sample_steps: int = 25
    """That sampling takes of them; 0: all, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "hidden", "layers", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}, expected at least 0 and below 1")
        if not 0 <= self.sample_steps <= self.steps:
            raise ValueError(
                f"sample_steps is {self.sample_steps}, expected 1 to {self.steps}, or 0 for all"
            )


class NoiseEncoder(nn.Module):
    """Noised frames (B, T, values) -> (B, T, width), each frame for itself."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.widen = nn.Linear(values, 2 * width)
        self.along = nn.Conv1d(1, 1, 9, padding=4)  # along the features, not over time

    def forward(self, noised: Tensor) -> Tensor:
        x = self.widen(noised)  # (B, T, 2 width)
        batch, frames, doubled = x.shape
        x = self.along(x.reshape(batch * frames, 1, doubled)).relu()
        return x.reshape(batch, frames, doubled // 2, 2).amax(-1)


class FaceDiffuser(Baseline):
    """Encoder, noise encoder, step embedding, GRU, style, linear layer; called once for every step
    of the diffusion.
    """

    Config: ClassVar[type[BaselineConfig]] = FaceDiffuserConfig
    quick: ClassVar[dict[str, Any]] = {"sample_steps": 2}  # each a pass of the decoder
    stochastic: ClassVar[bool] = True
    bidirectional: ClassVar[bool] = False
    config: FaceDiffuserConfig

    def __init__(self, config: FaceDiffuserConfig) -> None:
        super().__init__(config, config.width)
        self.diffusion = Diffusion(config.steps)
        self.noise_encoder = NoiseEncoder(config.outputs, config.width)
        self.step_code = nn.Linear(config.steps, config.width)
        self.norm = nn.LayerNorm(3 * config.width)
        dropout = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(
            3 * config.width, config.hidden, config.layers, batch_first=True, dropout=dropout
        )
        self.style = nn.Embedding(max(1, len(config.subjects)), config.hidden)
        self.head = nn.Linear(config.hidden, config.outputs)
        nn.init.ones_(self.style.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def clean(self, noised: Tensor, step: Tensor, speech: Tensor, subjects: Tensor) -> Tensor:
        """The estimate of the clean motion (B, T, 3 V), in ``normal`` units as ``noised`` is.

        step: (B,) 0..steps - 1. speech: (B, T, width) features. subjects: (B,).
        """
        # A linear layer on a one-hot code is a row of its matrix.
        code = nn.functional.mish(self.step_code.weight.t()[step] + self.step_code.bias)
        code = code[:, None].expand(-1, speech.shape[1], -1)
        x, _ = self.gru(self.norm(torch.cat([speech, self.noise_encoder(noised), code], -1)))
        return self.head(x * self.style(subjects)[:, None])  # type: ignore[no-any-return]

    def loss(
        self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int
    ) -> dict[str, Tensor]:
        true = self.normal(offsets)
        at = torch.randint(self.config.steps, (len(true),), device=true.device)
        noised = self.diffusion.noised(true, at, torch.randn_like(true))
        speech = self.hearing(samples, offsets.shape[1])
        return {"position": mean_square(self.clean(noised, at, speech, subjects), true)}

    @torch.no_grad()
    def animate(
        self, samples: Tensor, frames: int, subjects: Tensor | None = None, seed: int = 0
    ) -> Tensor:
        """As in Baseline. All rows are given the same noise, so that a row does not depend on the
        batch that it is in.
        """
        speech = self.hearing(samples, frames)
        batch, frames, _ = speech.shape
        if subjects is None:
            subjects = torch.zeros(batch, dtype=torch.long, device=speech.device)
        generator = torch.Generator().manual_seed(
            seed
        )  # on the CPU: the same noise on every device

        def draw() -> Tensor:
            return torch.randn(1, frames, self.config.outputs, generator=generator).to(
                speech.device
            )

        def estimate(noised: Tensor, step: int) -> Tensor:
            return self.clean(
                noised, torch.full((batch,), step, device=speech.device), speech, subjects
            )

        start = draw().expand(batch, -1, -1)
        return self.natural(self.diffusion.sample(estimate, start, draw, self.config.sample_steps))
