"""Grouped-query attention (arXiv 2305.13245) with LRL-RoPE: full, causal, or causal over a sliding
window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRankRope(nn.Module):
    """Low-rank learned rotary position embedding (LRL-RoPE) of JambaTalk, arXiv 2408.01627.

    Sines and cosines get a learned low-rank correction:

        angle = position * 10000^(-arange(0, d, 2) / d);  base = [sin angle, cos angle]  (T, d)
        sin, cos = base + base W1' W2',   W1: d -> rank, W2: rank -> d

    W2 starts at zero, so training starts from plain RoPE. With a correction the transform is no
    longer a pure rotation and scores depend on absolute position too; ``normalize`` puts each (sin,
    cos) pair back on the unit circle. rank 0 is plain RoPE.
    """

    def __init__(self, width: int, rank: int = 16, normalize: bool = True) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"rotary embedding needs an even width, got {width}")
        self.width, self.rank, self.normalize = width, rank, normalize
        if rank:
            self.down = nn.Parameter(torch.randn(rank, width) * width**-0.5)
            self.up = nn.Parameter(torch.zeros(width, rank))
        # Turns per frame. A plain attribute, not a buffer: converting the module to bfloat16 must
        # not touch it.
        self._turns = 10000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width) / (
            2 * math.pi
        )

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(sin, cos), each (..., T, width / 2), for integer positions (..., T).

        Whole turns are taken off in float64, so that the angle is as exact at hundreds of millions
        of frames as at the first; sines are then taken in float32, which every export target has.
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
        """Rotate the even/odd pairs of x (..., T, width) by tables that broadcast to (..., T, width
        / 2).
        """
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


BLOCK = 256
"""Queries of causal attention over a cache at a time: bounds the mask, BLOCK x all keys."""


@dataclass
class AttentionState:
    """Keys and values of earlier frames, (B, kv_heads, n, d) each; already rotated.

    sliding: a ring of the newest n = window - 1 frames, in order. causal: all frames so far. full:
    none. position: (B,) int64, the absolute index of the next frame. filled: (B,) int64, how many
    of the newest cache entries hold frames.
    """

    keys: Tensor
    values: Tensor
    position: Tensor
    filled: Tensor


class GroupedQueryAttention(nn.Module):
    """``kv_heads`` key/value heads are shared by ``heads`` query heads (heads must be a multiple of
    kv_heads).

    mode "sliding": each frame attends to itself and the window - 1 frames before it; time and
    memory are linear in the length, the cache is bounded. "causal": to itself and all before it;
    the cache grows. "full": to the whole clip, which must come in one call. Products run in torch's
    scaled_dot_product_attention. ``rope`` false: nothing is rotated, and frames differ by
    what they hold alone.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        mode: str,
        window: int,
        rope_rank: int,
        rope_normalize: bool,
        rope: bool = True,
    ) -> None:
        super().__init__()
        if width % heads or heads % kv_heads:
            raise ValueError(
                f"width {width}, heads {heads}, kv_heads {kv_heads}: each must be a multiple of "
                "the next"
            )
        self.heads, self.kv_heads, self.mode, self.window, self.d = (
            heads,
            kv_heads,
            mode,
            window,
            width // heads,
        )
        self.causal, self.fixed_state = mode != "full", mode == "sliding"
        self.q = nn.Linear(width, heads * self.d, bias=False)
        self.kv = nn.Linear(width, 2 * kv_heads * self.d, bias=False)
        self.out = nn.Linear(heads * self.d, width, bias=False)
        self.rope = LowRankRope(self.d, rope_rank, rope_normalize) if rope else None

    def init_state(self, batch: int, position: Tensor | None = None) -> AttentionState:
        """An empty cache. ``position`` (B,) int64: absolute index of the first frame, default 0."""
        weight = self.q.weight
        empty = weight.new_zeros(
            batch, self.kv_heads, self.window - 1 if self.mode == "sliding" else 0, self.d
        )
        zero = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        return AttentionState(
            empty, empty.clone(), zero.clone() if position is None else position, zero
        )

    def forward(self, x: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """x (B, T, width) -> (B, T, width).

        ValueError when "full" attention is given a second piece of a clip.
        """
        batch, length, _ = x.shape
        q = self.q(x).view(batch, length, self.heads, self.d).transpose(1, 2)  # (B, heads, T, d)
        k, v = (
            self.kv(x)
            .view(batch, length, 2 * self.kv_heads, self.d)
            .transpose(1, 2)
            .chunk(2, dim=1)
        )
        if self.rope is not None:
            steps = torch.arange(length, device=x.device)
            sin, cos = self.rope.tables(state.position[:, None] + steps, x.dtype)  # (B, T, d / 2)
            rotated = self.rope.rotate(torch.cat([q, k], dim=1), sin[:, None], cos[:, None])
            q, k = rotated.split([self.heads, self.kv_heads], dim=1)
        if self.mode == "full":
            y, state = self._full(q, k, v, state)
        elif self.mode == "causal":
            y, state = self._causal(q, k, v, state)
        else:
            y, state = self._sliding(q, k, v, state)
        return self.out(y.transpose(1, 2).reshape(batch, length, -1)), state

    def _shared(self, x: Tensor) -> Tensor:
        """(B, kv_heads, T, d) -> (B, heads, T, d): each key/value head repeated for its group of
        query heads.
        """
        return (
            x.repeat_interleave(self.heads // self.kv_heads, dim=1)
            if self.heads != self.kv_heads
            else x
        )

    def _full(
        self, q: Tensor, k: Tensor, v: Tensor, state: AttentionState
    ) -> tuple[Tensor, AttentionState]:
        if not torch.compiler.is_compiling() and int(state.filled.max()):
            raise ValueError(
                "full attention needs the whole clip in one call, and this is a second piece of one"
            )
        y = F.scaled_dot_product_attention(q, self._shared(k), self._shared(v))
        length = q.shape[2]
        return y, AttentionState(
            state.keys, state.values, state.position + length, state.filled + length
        )

    def _causal(
        self, q: Tensor, k: Tensor, v: Tensor, state: AttentionState
    ) -> tuple[Tensor, AttentionState]:
        cached, length = state.keys.shape[2], q.shape[2]
        keys, values = torch.cat([state.keys, k], dim=2), torch.cat([state.values, v], dim=2)
        after = AttentionState(keys, values, state.position + length, state.filled + length)
        keys, values = self._shared(keys), self._shared(values)
        if not cached:
            return F.scaled_dot_product_attention(q, keys, values, is_causal=True), after
        outputs = []
        for start in range(0, length, BLOCK):
            part = q[:, :, start : start + BLOCK]
            seen = cached + start + part.shape[2]
            mask = torch.ones(part.shape[2], seen, dtype=torch.bool, device=q.device).tril(
                cached + start
            )
            outputs.append(
                F.scaled_dot_product_attention(
                    part, keys[:, :, :seen], values[:, :, :seen], attn_mask=mask
                )
            )
        return torch.cat(outputs, dim=2), after

    def _sliding(
        self, q: Tensor, k: Tensor, v: Tensor, state: AttentionState
    ) -> tuple[Tensor, AttentionState]:
        """Blocks of at most ``window`` queries, each with the keys that any of them may see: linear
        in the length.
        """
        batch, length, cached = q.shape[0], q.shape[2], self.window - 1
        keys, values = torch.cat([state.keys, k], dim=2), torch.cat([state.values, v], dim=2)
        after = AttentionState(
            keys[:, :, length:],
            values[:, :, length:],
            state.position + length,
            torch.clamp(state.filled + length, max=cached),
        )
        if length == 1:
            return self._one_frame(q, keys, values, state.filled), after
        size = min(length, self.window)
        blocks = -(-length // size)
        if missing := blocks * size - length:
            q, keys, values = (F.pad(x, (0, 0, 0, missing)) for x in (q, keys, values))
        span = cached + size
        # Query i of a block sits at key index cached + i of its span and sees the window that ends
        # there. Frames are missing only in the first blocks' spans, where the cache is not full
        # yet.
        behind = (
            cached
            + torch.arange(size, device=q.device)[:, None]
            - torch.arange(span, device=q.device)
        )  # (size, span)
        band = (behind >= 0) & (behind < self.window)
        index = torch.arange(blocks, device=q.device)[:, None] * size + torch.arange(
            span, device=q.device
        )  # (blocks, span)
        real = index >= cached - state.filled[:, None, None]  # (B, blocks, span)
        mask = (band & real[:, :, None]).flatten(0, 1)  # (B * blocks, size, span)
        # The query heads of one group become further queries of their shared head: keys and values
        # are not repeated.
        group = self.heads // self.kv_heads
        q = q.reshape(batch, self.kv_heads, group, blocks, size, self.d).permute(0, 3, 1, 2, 4, 5)
        q = q.reshape(batch * blocks, self.kv_heads, group * size, self.d)
        y = F.scaled_dot_product_attention(
            q,
            self._spans(keys, span, size),
            self._spans(values, span, size),
            attn_mask=mask.repeat(1, group, 1)[:, None],
        )
        y = y.reshape(batch, blocks, self.kv_heads, group, size, self.d).permute(0, 2, 3, 1, 4, 5)
        return y.reshape(batch, self.heads, blocks * size, self.d)[:, :, :length], after

    def _one_frame(self, q: Tensor, keys: Tensor, values: Tensor, filled: Tensor) -> Tensor:
        """Attend from one frame (a streaming step) to the filled part of the window."""
        real = (
            torch.arange(self.window, device=q.device) >= self.window - 1 - filled[:, None]
        )  # (B, window)
        grouped = q.reshape(len(q), self.kv_heads, -1, self.d)
        y = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=real[:, None, None])
        return y.reshape(len(q), self.heads, 1, self.d)

    def _spans(self, x: Tensor, span: int, step: int) -> Tensor:
        """(B, kv_heads, n, d) -> (B * blocks, kv_heads, span, d), spans that start every ``step``
        frames.
        """
        if x.shape[2] == span:
            return x
        return x.unfold(2, span, step).permute(0, 2, 1, 4, 3).flatten(0, 1)
