"""Loss terms that keep a mixture's router even and calm, over the frames of all processes together."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from jambatalk.nn.moe import RouterStats


def router_terms(router: list[RouterStats], like: Tensor) -> dict[str, Tensor]:
    """``balance`` and ``router_z`` as () means over the mixtures, and ``least_expert_use``, for the log.

    Balance is a product of two means over frames, so a mean over processes of each one's own balance would not be the
    balance of the whole batch. Both means are therefore taken over all processes, in a way that gradients follow; the other
    terms are plain means, of which data-parallel training takes the mean anyway. Parts that are accumulated one after the
    other each have their own balance.
    like: a tensor whose device the zeros of a network without mixtures are to have.
    """
    if not router:
        return {"balance": like.new_zeros(()), "router_z": like.new_zeros(())}
    use = _over_processes(torch.stack([stats.use for stats in router]))  # (layers, E)
    probability = _over_processes(torch.stack([stats.logits.softmax(-1).mean(0) for stats in router]))
    return {
        "balance": (use.shape[1] * (use * probability).sum(1)).mean(),
        "router_z": torch.stack([stats.z for stats in router]).mean(),
        # The share of its layer's frames that the least used expert of any layer gets; 1 / experts is even, 0 is a dead one.
        "least_expert_use": use.min().detach(),
    }


def _over_processes(x: Tensor) -> Tensor:
    """The mean of ``x`` over the processes of data-parallel training; gradients flow back to each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    mean: Tensor = _Sum.apply(x) / torch.distributed.get_world_size()
    return mean


class _Sum(torch.autograd.Function):
    """The sum over processes. Each process' loss holds the sum, so its gradient is the sum of theirs."""

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
