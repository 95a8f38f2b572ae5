"""A sparse mixture of experts that drops no token and is the same at every run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jambatalk.models.layers import ACTIVATIONS


@dataclass(frozen=True)
class RouterStats:
    """What the router did, for losses and reports; the figures are taken when asked for, inference
    never pays for them.

    logits: (S, E) for S frames and E experts. slots: (S * k,) the experts chosen, k a frame.
    """

    logits: Tensor
    slots: Tensor

    @property
    def use(self) -> Tensor:
        """(E,) share of the routed slots that each expert took."""
        return torch.bincount(self.slots, minlength=self.logits.shape[1]).to(
            self.logits.dtype
        ) / max(len(self.slots), 1)

    @property
    def balance(self) -> Tensor:
        """E * sum_e use_e * mean probability_e (Switch Transformer, arXiv 2101.03961, eq. 4); 1 is
        even.
        """
        return self.logits.shape[1] * (self.use * self.logits.softmax(-1).mean(0)).sum()

    @property
    def z(self) -> Tensor:
        """Mean squared log-sum-exp of the logits (ST-MoE, arXiv 2202.08906, eq. 5)."""
        return self.logits.logsumexp(-1).square().mean()

    @classmethod
    def joined(cls, parts: list[RouterStats]) -> RouterStats:
        """The statistics of pieces of a clip as those of the whole."""
        return (
            parts[0]
            if len(parts) == 1
            else cls(torch.cat([p.logits for p in parts]), torch.cat([p.slots for p in parts]))
        )


class MixtureOfExperts(nn.Module):
    """Each frame goes through its ``top_k`` best experts (two-layer networks) of ``experts``.

    gate "continuous": an expert's weight is its probability minus that of the best expert left out,
    so it reaches zero just where the choice changes. The output is then a continuous function of
    the input: no jump in the motion when a frame changes its experts, and no jump when rounding
    differs between chunk sizes. gate "softmax": the probabilities of the chosen, divided by their
    sum, as in the paper.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        experts: int,
        top_k: int,
        gate: str = "continuous",
        activation: str = "gelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= experts:
            raise ValueError(f"top_k {top_k} must lie in 1..{experts} (the number of experts)")
        if gate not in ("continuous", "softmax"):
            raise ValueError(f"gate {gate!r}, expected 'continuous' or 'softmax'")
        self.experts, self.top_k, self.gate = experts, top_k, gate
        # Of an exported graph: run all experts, which quantizers need (they take constant weights
        # only), rather than copy the weights of those chosen. Graphs for so many frames that all
        # are likely chosen do so anyway.
        self.trace_every_expert = False
        self.router = nn.Linear(width, experts, bias=False)
        self.activation = ACTIVATIONS[activation]()
        self.up = nn.Parameter(torch.randn(experts, width, hidden) * width**-0.5)
        self.up_bias = nn.Parameter(torch.zeros(experts, hidden)) if bias else None
        self.down = nn.Parameter(torch.randn(experts, hidden, width) * hidden**-0.5)
        self.down_bias = nn.Parameter(torch.zeros(experts, width)) if bias else None

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
        slots = chosen.reshape(-1)  # (S * k,)
        if torch.compiler.is_compiling():
            every = self.trace_every_expert or len(slots) >= self.experts
            home = self._picked(tokens, slots) if every else self._gathered(tokens, slots)
        elif len(tokens) == 1:
            home = torch.cat([self._expert(tokens, e) for e in slots.tolist()])
        else:
            home = self._grouped(tokens, slots)
        y = torch.bmm(
            gates[:, None].to(home.dtype), home.view(len(tokens), self.top_k, -1)
        )  # (S, 1, width)
        return y.view_as(x), RouterStats(logits, slots)

    def _expert(self, tokens: Tensor, e: int) -> Tensor:
        """(S, width) -> (S, width) through expert e."""
        if self.up_bias is None or self.down_bias is None:
            return self.activation(tokens @ self.up[e]) @ self.down[e]
        return torch.addmm(
            self.down_bias[e],
            self.activation(torch.addmm(self.up_bias[e], tokens, self.up[e])),
            self.down[e],
        )

    def _grouped(self, tokens: Tensor, slots: Tensor) -> Tensor:
        """(S, width), (S * k,) -> (S * k, width): slots sorted by expert make one dense product per
        expert.

        The inverse permutation brings them home, which keeps the order of additions fixed
        (scatter-add would not on a GPU).
        """
        order = slots.argsort(stable=True)
        counts = torch.bincount(slots, minlength=self.experts).tolist()
        gathered = tokens[order // self.top_k]
        parts = [
            self._expert(part, e) for e, part in enumerate(gathered.split(counts)) if len(part)
        ]
        return torch.cat(parts)[order.argsort()]

    def _gathered(self, tokens: Tensor, slots: Tensor) -> Tensor:
        """The same with shapes that do not depend on the routing, for exported graphs: copies each
        slot's weights.
        """
        x = tokens.repeat_interleave(self.top_k, dim=0)[:, None]  # (S * k, 1, width)
        hidden = x @ self.up[slots]
        if self.up_bias is not None:
            hidden = hidden + self.up_bias[slots][:, None]
        y = self.activation(hidden) @ self.down[slots]
        return (y if self.down_bias is None else y + self.down_bias[slots][:, None])[:, 0]

    def _picked(self, tokens: Tensor, slots: Tensor) -> Tensor:
        """The same for exported graphs whose experts' weights shall stay constants: all run, each
        slot picks its result.
        """
        results = torch.stack(
            [self._expert(tokens, e) for e in range(self.experts)]
        )  # (E, S, width)
        return results[slots, torch.arange(len(slots), device=slots.device) // self.top_k]
