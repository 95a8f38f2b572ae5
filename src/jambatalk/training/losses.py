"""Loss terms of training: on blendshape weights, on vertices, and on the experts' router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.models.moe import RouterStats
from jambatalk.training.config import LossConfig, VertexLossConfig

MOUTH_REGIONS = ("lips", "mouth", "jaw")
MOST_VERTICES = 400
"""Vertices of the mouth's regions that are compared, taken evenly: more cost time only."""
CLOSED_MM = 1.5
"""Inner-lip gap at which the extra weight of closures has fallen to 1/e."""


class MotionLoss(nn.Module):
    """Compares predicted and true blendshape weights (B, T, K), in millimeters on a face.

    Args:
        face: The mesh; lengths are millimeters if it is in meters.
        settings: Weights of the terms.

    Raises:
        InputError: The face does not name its inner lips.
    """

    basis_mm: Tensor
    gap_mm: Tensor

    def __init__(self, face: Face, settings: LossConfig) -> None:
        super().__init__()
        self.settings = settings
        if face.gap_vertices is None:
            raise InputError("the face names no gap_vertices, which the loss needs")
        regions = [face.regions[name] for name in MOUTH_REGIONS if name in face.regions]
        chosen = np.unique(np.concatenate(regions))
        chosen = chosen[:: -(-len(chosen) // MOST_VERTICES)]
        basis = torch.from_numpy(np.ascontiguousarray(face.basis[:, chosen])).float() * 1000.0
        self.register_buffer("basis_mm", basis.reshape(len(face.names), -1))  # (K, n * 3)
        upper, lower = face.gap_vertices
        gap = np.ascontiguousarray(face.basis[:, upper, 1] - face.basis[:, lower, 1])
        self.register_buffer("gap_mm", torch.from_numpy(gap).float() * 1000.0)  # (K,)

    def forward(
        self,
        predicted: Tensor,
        true: Tensor,
        router: list[RouterStats],
        importance: Tensor | None = None,
        more: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the weighted sum and each term by name.

        Args:
            predicted: (B, T, K).
            true: (B, T, K).
            router: Statistics of the network's mixtures.
            importance: (B,) weight of each sequence's motion terms; None: all 1.
            more: Terms computed elsewhere, named as their weights in ``LossConfig``.
        """
        share = predicted.new_ones(()) if importance is None else importance[:, None, None]
        error = predicted - true
        moved = error @ self.basis_mm  # (B, T, n * 3) millimeters
        gap = true @ self.gap_mm
        closed = 1.0 + self.settings.closure * torch.exp(-gap.clamp_min(0) / CLOSED_MM)
        gap_share = share if importance is None else share[..., 0]
        terms = {
            "vertices": 3.0 * (share * moved.square()).mean(),
            "gap": (gap_share * closed * (error @ self.gap_mm).square()).mean(),
            "velocity": 3.0 * (share * moved.diff(dim=1).square()).mean(),
            "weights": (share * error.square()).mean(),
            **(more or {}),
            **router_terms(router, predicted),
        }
        return weighted_sum(terms, self.settings), terms


def weighted_sum(terms: Mapping[str, Tensor], weights: LossConfig | VertexLossConfig) -> Tensor:
    """Sum the terms that ``weights`` has a field for, each times that field."""
    found = [
        getattr(weights, name) * term for name, term in terms.items() if hasattr(weights, name)
    ]
    return torch.stack(found).sum()


def vertex_terms(
    predicted: Tensor, true: Tensor, lengths: Sequence[int], lips: Tensor, config: VertexLossConfig
) -> dict[str, Tensor]:
    """Compute the terms ``vertices``, ``velocity`` and ``lips`` that have a weight.

    Each is the mean over the clips of a clip's own mean. Padding is ignored and every clip counts
    as much as any other, so that processes and accumulated parts may share a batch.

    Args:
        predicted: (B, T, 3 V).
        true: (B, T, 3 V).
        lengths: Real frames of each clip.
        lips: (L,) vertex indices.
        config: Weights of the terms.
    """
    count = predicted.new_tensor(list(lengths))[:, None]  # (B, 1)
    frame = torch.arange(predicted.shape[1], device=predicted.device)
    # Chosen, not multiplied by zero: padding may hold anything.
    error = torch.where((frame < count)[..., None], predicted - true, 0.0)

    def mean(values: Tensor, count: Tensor) -> Tensor:
        """values (B, t, n) -> (): the mean over the first ``count`` (B, 1) of t, then over B."""
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


def router_terms(router: list[RouterStats], like: Tensor) -> dict[str, Tensor]:
    """Compute ``balance`` and ``router_z``, means over the mixtures, and ``least_expert_use``.

    Balance is a product of two means over frames, so a mean over processes of each one's own
    balance would not be the balance of the whole batch. Both means are therefore taken over all
    processes, in a way that gradients follow; the other terms are plain means, of which
    data-parallel training takes the mean anyway. Accumulated parts each have their own balance.

    Args:
        router: Statistics of the mixtures; may be empty.
        like: A tensor on the device of the results.

    Returns:
        () tensors; the last is for the log: the share of its layer's frames that the least used
        expert of any layer gets (1 / experts is even, 0 is an unused expert).
    """
    if not router:
        return {"balance": like.new_zeros(()), "router_z": like.new_zeros(())}
    use = _mean_over_processes(torch.stack([stats.use for stats in router]))  # (layers, E)
    probability = _mean_over_processes(
        torch.stack([stats.logits.softmax(-1).mean(0) for stats in router])
    )
    return {
        "balance": (use.shape[1] * (use * probability).sum(1)).mean(),
        "router_z": torch.stack([stats.z for stats in router]).mean(),
        "least_expert_use": use.min().detach(),
    }


def _mean_over_processes(x: Tensor) -> Tensor:
    """The mean of ``x`` over the processes of data-parallel training, with gradients to each."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    mean: Tensor = _SumOverProcesses.apply(x) / torch.distributed.get_world_size()
    return mean


class _SumOverProcesses(torch.autograd.Function):
    """Each process's loss holds the sum, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total
