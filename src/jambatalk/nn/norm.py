"""Root-mean-square normalisation (arXiv 1910.07467)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jambatalk.nn.backend import chosen_backend


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis of (..., width), in plain torch."""
    y = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # squares overflow in float16
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


class RMSNorm(nn.Module):
    """x / rms(x) * gain over the last axis of (..., width)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        exact = x.dtype == self.weight.dtype == torch.float32
        if exact and not torch.is_grad_enabled() and chosen_backend("rms_norm", x.device)[0] == "numba":
            from jambatalk.nn.norm_numba import rms_norm

            return rms_norm(x, self.weight, self.eps)
        return rms_norm_reference(x, self.weight, self.eps)
