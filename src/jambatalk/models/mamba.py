"""The Mamba mixer (arXiv 2312.00752, figure 3): gated causal convolution and selective scan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.layers import CausalDepthwiseConv
from jambatalk.ops.selective_scan import selective_scan


@dataclass
class MambaState:
    """conv: (B, d_conv - 1, expand * width), ssm: (B, expand * width, d_state)."""

    conv: Tensor
    ssm: Tensor


class Mamba(nn.Module):
    """width -> width; d_state, d_conv and expand as in the paper; dt_rank = ceil(width / 16)."""

    causal = True
    fixed_state = True

    def __init__(self, width: int, d_state: int = 16, d_conv: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner = expand * width
        self.inner, self.d_state = inner, d_state
        self.dt_rank = math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv = CausalDepthwiseConv(inner, d_conv)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, inner)
        self.A_log = nn.Parameter(
            torch.log(torch.arange(1, d_state + 1, dtype=torch.float32)).repeat(inner, 1)
        )
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        # The paper's start: softplus(bias) is spread log-uniformly over 0.001 ... 0.1, weights are
        # small.
        with torch.no_grad():
            nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
            dt = torch.exp(torch.rand(inner) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def init_state(self, batch: int, position: Tensor | None = None) -> MambaState:
        """The state before the first frame: zeros; the recurrence's in float32 also where the
        parameters are narrower.
        """
        exact = torch.promote_types(self.A_log.dtype, torch.float32)
        return MambaState(
            self.conv.init_state(batch),
            self.A_log.new_zeros(batch, self.inner, self.d_state, dtype=exact),
        )

    def forward(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """x (B, T, width) -> (B, T, width)."""
        u, gate = self.in_proj(x).chunk(2, dim=-1)  # (B, T, inner) each
        u, conv = self.conv(u, state.conv, silu=True)
        dt, b, c = self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta = F.linear(dt, self.dt_proj.weight)  # the scan adds the bias and takes the softplus
        a = -torch.exp(self.A_log.to(state.ssm.dtype))
        y, ssm = selective_scan(
            u, delta, a, b, c, self.D, state.ssm, gate, self.dt_proj.bias, delta_softplus=True
        )
        return self.out_proj(y), MambaState(conv, ssm)
