"""A sparse mixture of experts that drops no token and is the same at every run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class RouterStats:
    """What the router did, for losses and reports.

    balance: scalar, E * sum_e share_e * mean probability_e (Switch Transformer, arXiv 2101.03961, eq. 4); 1 is even.
    z: scalar, mean squared log-sum-exp of the logits (ST-MoE, arXiv 2202.08906, eq. 5).
    use: (E,) share of the routed slots that each expert took.
    """

    balance: Tensor
    z: Tensor
    use: Tensor


class MixtureOfExperts(nn.Module):
    """Each frame goes through its ``top_k`` best experts (two-layer GELU networks) of ``experts``.

    gate "continuous": an expert's weight is its probability minus that of the best expert left out, so it reaches zero
    just where the choice changes. The output is then a continuous function of the input: no jump in the motion when a
    frame changes its experts, and no jump when rounding differs between chunk sizes.
    gate "softmax": the probabilities of the chosen, divided by their sum, as in the paper.
    """

    def __init__(self, width: int, hidden: int, experts: int, top_k: int, gate: str = "continuous") -> None:
        super().__init__()
        if not 1 <= top_k <= experts:
            raise ValueError(f"top_k {top_k} must lie in 1..{experts} (the number of experts)")
        if gate not in ("continuous", "softmax"):
            raise ValueError(f"gate {gate!r}, expected 'continuous' or 'softmax'")
        self.experts, self.top_k, self.gate = experts, top_k, gate
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, width, hidden) * width**-0.5)
        self.up_bias = nn.Parameter(torch.zeros(experts, hidden))
        self.down = nn.Parameter(torch.randn(experts, hidden, width) * hidden**-0.5)
        self.down_bias = nn.Parameter(torch.zeros(experts, width))

    def forward(self, x: Tensor) -> tuple[Tensor, RouterStats]:
        """x (B, T, width) -> (B, T, width)."""
        tokens = x.reshape(-1, x.shape[-1])  # (S, width)
        logits = self.router(tokens).float()
        probabilities = logits.softmax(-1)  # (S, E)
        top, chosen = probabilities.topk(min(self.top_k + 1, self.experts), dim=-1)
        chosen = chosen[:, : self.top_k]
        if self.gate == "softmax":
            gates = top[:, : self.top_k] / top[:, : self.top_k].sum(-1, keepdim=True)
        else:
            left_out = top[:, self.top_k :] if self.top_k < self.experts else top.new_zeros(())
            gates = top[:, : self.top_k] - left_out
        # Slots sorted by expert make one dense product per expert; the inverse permutation brings them home, which
        # keeps the order of additions fixed (scatter-add would not on a GPU).
        slots = chosen.reshape(-1)  # (S * k,)
        order = slots.argsort(stable=True)
        counts = torch.bincount(slots, minlength=self.experts)
        gathered = tokens[order // self.top_k]
        parts = []
        for e, part in enumerate(gathered.split(counts.tolist())):
            if len(part):
                hidden = F.gelu(torch.addmm(self.up_bias[e], part, self.up[e]))
                parts.append(torch.addmm(self.down_bias[e], hidden, self.down[e]))
        home = torch.cat(parts)[order.argsort()].view(len(tokens), self.top_k, -1)
        y = (home * gates[..., None].to(home.dtype)).sum(1)
        use = counts.to(probabilities.dtype) / max(len(slots), 1)
        stats = RouterStats(
            balance=self.experts * (use * probabilities.mean(0)).sum(), z=logits.logsumexp(-1).square().mean(), use=use
        )
        return y.view_as(x), stats
