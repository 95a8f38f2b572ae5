"""Low-rank learned rotary position embedding (LRL-RoPE) of JambaTalk (arXiv 2408.01627)."""

from __future__ import annotations

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

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(sin, cos), each (..., T, width / 2), for integer positions (..., T).

        Angles are taken in float64, so that they stay exact at hundreds of thousands of frames.
        """
        exponent = torch.arange(0, self.width, 2, device=positions.device, dtype=torch.float64) / self.width
        angle = positions.double()[..., None] * 10000.0**-exponent
        base = torch.cat([angle.sin(), angle.cos()], dim=-1).to(dtype)
        if self.rank:
            base = base + (base @ self.down.T) @ self.up.T
        sin, cos = base.chunk(2, dim=-1)
        if self.rank and self.normalize:
            scale = torch.rsqrt(sin.square() + cos.square() + 1e-8)
            sin, cos = sin * scale, cos * scale
        return sin, cos

    @staticmethod
    def rotate(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        """Rotate the even/odd pairs of x (..., T, width) by tables that broadcast to (..., T, width / 2)."""
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
