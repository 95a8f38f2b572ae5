"""What training on vertices minimises, in the square of the corpus' unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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


def vertex_terms(
    predicted: Tensor, true: Tensor, lengths: Sequence[int], lips: Tensor, config: VertexLossConfig
) -> dict[str, Tensor]:
    """The terms ``vertices``, ``velocity`` and ``lips`` that have a weight, each the mean over the clips of a clip's own mean.

    predicted, true: (B, T, 3 V), of which ``lengths`` frames are real. lips: (L,) vertex indices. Padding counts nowhere,
    and every clip as much as any other, so that processes and accumulated parts may share a batch.
    """
    count = predicted.new_tensor(list(lengths))[:, None]  # (B, 1)
    frame = torch.arange(predicted.shape[1], device=predicted.device)
    # Chosen, not multiplied by zero: padding may hold anything.
    error = torch.where((frame < count)[..., None], predicted - true, 0.0)

    def mean(values: Tensor, count: Tensor) -> Tensor:
        """values (B, t, n) -> (): the mean over the first ``count`` (B, 1) of t, then over the clips."""
        squares = values.square().mean(-1)  # (B, t)
        counted = torch.where(frame[: squares.shape[1]] < count, squares, 0.0)
        return (counted.sum(1, keepdim=True) / count.clamp_min(1)).mean()

    terms = {}
    if config.vertices:
        terms["vertices"] = mean(error, count)
    if config.velocity:
        terms["velocity"] = mean(error.diff(dim=1), count - 1)
    if config.lips:
        terms["lips"] = mean(error.unflatten(-1, (-1, 3))[:, :, lips].flatten(2), count)
    return terms
