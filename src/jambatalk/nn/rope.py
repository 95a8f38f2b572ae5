"""Low-rank learned rotary position embedding (LRL-RoPE) of JambaTalk (arXiv 2408.01627)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LowRankRope(nn.Module):
    """Rotary embedding whose sines and cosines get a learned low-rank correction.

        angle = position * 10000^(-arange(0, d, 2) / d);  base = [sin angle, cos angle]  (T, d)
        sin, cos = base + base W1' W2',   W1: d -> rank, W2: rank -> d

    W2 starts at zero, so training starts from plain RoPE. With a correction the transform is no longer a pure rotation
    and scores depend on absolute position too; ``normalize`` puts each (sin, cos) pair back on the unit circle.
    rank 0 is plain RoPE.
    """

    def __init__(self, width: int, rank: int = 16, normalize: bool = True) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"rotary embedding needs an even width, got {width}")
        self.width, self.rank, self.normalize = width, rank, normalize
        if rank:
            self.down = nn.Parameter(torch.randn(rank, width) * width**-0.5)
            self.up = nn.Parameter(torch.zeros(width, rank))
        # Turns per frame. A plain attribute, not a buffer: converting the module to bfloat16 must not touch it.
        self._turns = 10000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width) / (2 * math.pi)

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(sin, cos), each (..., T, width / 2), for integer positions (..., T).

        Whole turns are taken off in float64, so that the angle is as exact at hundreds of millions of frames as at the
        first; sines are then taken in float32, which every export target has.
        """
        if self._turns.device != positions.device:
            self._turns = self._turns.to(positions.device)
        turns = positions.double()[..., None] * self._turns
        angle = ((turns - turns.floor()) * (2 * math.pi)).float()
        sin, cos = angle.sin(), angle.cos()
        if self.rank:
            base = torch.cat([sin, cos], dim=-1)
            base = base + (base @ self.down.float().T) @ self.up.float().T
            sin, cos = base.chunk(2, dim=-1)
            if self.normalize:
                scale = torch.rsqrt(sin.square() + cos.square() + 1e-8)
                sin, cos = sin * scale, cos * scale
        return sin.to(dtype), cos.to(dtype)

    @staticmethod
    def rotate(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        """Rotate the even/odd pairs of x (..., T, width) by tables that broadcast to (..., T, width / 2)."""
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
