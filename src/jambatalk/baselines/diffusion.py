"""Denoising diffusion whose network predicts the clean motion: the noising, and the way back, whole
or in fewer steps.

J. Ho, A. Jain, P. Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020 (arXiv
2006.11239), with the cosine schedule and the respacing of A. Nichol, P. Dhariwal, Improved
Denoising Diffusion Probabilistic Models, ICML 2021 (arXiv 2102.09672).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

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
