"""Grouped-query attention (arXiv 2305.13245) over a sliding window, with a bounded cache of keys and values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.nn.rope import LowRankRope


@dataclass
class AttentionState:
    """The last window - 1 keys and values, (B, kv_heads, window - 1, d) each, and how many of them are real.

    position: (B,) int64, the absolute index of the next frame; cached keys already carry their rotation.
    filled: (B,) int64, how many of the newest cache entries hold frames.
    """

    keys: Tensor
    values: Tensor
    position: Tensor
    filled: Tensor


class SlidingAttention(nn.Module):
    """Each frame attends to itself and the window - 1 frames before it.

    ``kv_heads`` key/value heads are shared by ``heads`` query heads (heads must be a multiple of kv_heads).
    """

    def __init__(self, width: int, heads: int, kv_heads: int, window: int, rope_rank: int, rope_normalize: bool) -> None:
        super().__init__()
        if width % heads or heads % kv_heads:
            raise ValueError(f"width {width}, heads {heads}, kv_heads {kv_heads}: each must be a multiple of the next")
        self.heads, self.kv_heads, self.window, self.d = heads, kv_heads, window, width // heads
        self.q = nn.Linear(width, heads * self.d, bias=False)
        self.kv = nn.Linear(width, 2 * kv_heads * self.d, bias=False)
        self.out = nn.Linear(heads * self.d, width, bias=False)
        self.rope = LowRankRope(self.d, rope_rank, rope_normalize)

    def init_state(self, batch: int, position: Tensor | None = None) -> AttentionState:
        """An empty cache. ``position`` (B,) int64: absolute index of the first frame, default 0."""
        weight = self.q.weight
        empty = weight.new_zeros(batch, self.kv_heads, self.window - 1, self.d)
        zero = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        return AttentionState(empty, empty.clone(), zero.clone() if position is None else position, zero)

    def forward(self, x: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """x (B, T, width) -> (B, T, width). Works in blocks of ``window`` frames, so memory does not grow with T squared."""
        outputs = []
        for block in x.split(max(self.window, 1), dim=1):
            y, state = self._block(block, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def _block(self, x: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        batch, length, _ = x.shape
        cached = self.window - 1
        steps = torch.arange(length, device=x.device)
        sin, cos = self.rope.tables(state.position[:, None] + steps, x.dtype)  # (B, T, d / 2)
        sin, cos = sin[:, None], cos[:, None]
        q = self.q(x).view(batch, length, self.heads, self.d).transpose(1, 2)  # (B, heads, T, d)
        k, v = self.kv(x).view(batch, length, 2 * self.kv_heads, self.d).transpose(1, 2).chunk(2, dim=1)
        q, k = self.rope.rotate(q, sin, cos), self.rope.rotate(k, sin, cos)
        keys = torch.cat([state.keys, k], dim=2)  # (B, kv_heads, cached + T, d)
        values = torch.cat([state.values, v], dim=2)
        # Query i sits at key index cached + i; it may see the window before it, as far as the cache is filled.
        index = torch.arange(cached + length, device=x.device)
        behind = cached + steps[:, None] - index[None, :]  # (T, cached + T)
        band = (behind >= 0) & (behind < self.window)
        real = index[None, :] >= cached - state.filled[:, None]  # (B, cached + T)
        mask = (band[None] & real[:, None])[:, None]  # (B, 1, T, cached + T)
        group = self.heads // self.kv_heads
        y = F.scaled_dot_product_attention(
            q, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), attn_mask=mask
        )
        y = self.out(y.transpose(1, 2).reshape(batch, length, -1))
        kept = keys.shape[2] - cached
        filled = torch.clamp(state.filled + length, max=cached)
        return y, AttentionState(keys[:, :, kept:], values[:, :, kept:], state.position + length, filled)
