"""The transformer layer of FaceFormer, which CodeTalker took over: attention that falls with
distance, sound that is aligned.

Fan et al., "FaceFormer: Speech-Driven 3D Facial Animation with Transformers", CVPR 2022, arXiv
2112.05329, section 3.2. A layer runs over whole sequences or frame by frame with the keys and
values of the past; both are the same code.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Cache = tuple[Tensor, Tensor]
"""Keys and values of the past frames, (B, heads, T, width / heads) each."""


def slopes(heads: int, device: torch.device | None = None) -> Tensor:
    """(heads,) how steeply each head's attention falls: a = 2^(-8 / heads), then a^2, a^3, ...;
    four heads: 1/4 to 1/256.
    """
    return torch.pow(2.0, -8.0 / heads * torch.arange(1, heads + 1, device=device))


def periodic_bias(
    rows: int,
    columns: int,
    heads: int,
    period: int,
    causal: bool = True,
    device: torch.device | None = None,
) -> Tensor:
    """(heads, rows, columns) added to attention scores: 0 within a period, lower by the head's
    slope for each period more.

    The rows are the last frames of ``columns`` frames. causal: frames after a row's own get minus
    infinity; else the distance counts in both directions.
    """
    frame = torch.arange(columns, device=device)
    past = frame[columns - rows :, None] - frame  # (rows, columns)
    bias = -slopes(heads, device)[:, None, None] * torch.div(
        past.abs(), period, rounding_mode="floor"
    )
    return bias.masked_fill(past < 0, -math.inf) if causal else bias


class PeriodicEncoding(nn.Module):
    """The sinusoidal position encoding of frame t mod period, so that no clip is longer than what
    training saw.
    """

    table: Tensor

    def __init__(self, width: int, period: int) -> None:
        super().__init__()
        angle = torch.arange(period)[:, None] * torch.exp(
            torch.arange(0, width, 2) * (-math.log(10000.0) / width)
        )
        table = torch.stack([angle.sin(), angle.cos()], dim=2).reshape(period, width)
        self.register_buffer("table", table, persistent=False)

    def forward(self, first: int, frames: int) -> Tensor:
        """(frames, width) for the frames from ``first`` on."""
        return self.table[torch.arange(first, first + frames) % len(self.table)]


class AlignedCrossAttention(nn.Module):
    """Attention from each frame of motion to the sound of that frame alone (the alignment bias, one
    key per frame).

    A softmax over one key is 1 whatever the query, so what is left of multi-head attention is its
    value and output maps; queries and keys would never get a gradient and are left out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, sound: Tensor) -> Tensor:
        """(B, T, width) sound, one vector per motion frame -> (B, T, width)."""
        return self.output(self.value(sound))  # type: ignore[no-any-return]


class BiasedLayer(nn.Module):
    """Self-attention, cross-attention if ``cross``, feed-forward; each added and then normalized,
    as Transformers do it.
    """

    def __init__(
        self, width: int, heads: int, inner: int, dropout: float, cross: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross = AlignedCrossAttention(width) if cross else None
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if cross else 2))

    def forward(
        self, x: Tensor, bias: Tensor, crossed: Tensor | None = None, past: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """x (B, T, width) after ``past`` of P frames, bias (heads, T, P + T) -> (the same shape,
        the new past).

        crossed: the result of ``self.cross`` for these frames, None without one.
        """
        split = (
            self.project(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (3, B, heads, T, width / heads)
        query, key, value = split.unbind()
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        scores = (query * query.shape[3] ** -0.5) @ key.transpose(
            2, 3
        ) + bias  # (B, heads, T, P + T)
        attended = self._drop(scores.softmax(dim=3)) @ value
        x = self.norms[0](x + self._drop(self.output(attended.transpose(1, 2).flatten(2))))
        if crossed is not None:
            x = self.norms[1](x + self._drop(crossed))
        inner = self._drop(F.relu(self.up(x)))
        return self.norms[-1](x + self._drop(self.down(inner))), (key, value)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x


class BiasedStack(nn.Module):
    """Layers with one bias. ``whole`` goes through all frames at once; ``step`` through one, with
    the past of each layer.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        period: int,
        dropout: float,
        cross: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.period, self.causal = heads, period, causal
        self.layers = nn.ModuleList(
            BiasedLayer(width, heads, inner, dropout, cross) for _ in range(layers)
        )

    def cross_attention(self, sound: Tensor) -> list[Tensor | None]:
        """(B, T, width) sound -> each layer's cross-attention for all frames, which no motion has a
        part in.
        """
        return [layer.cross(sound) for layer in self.layers]  # type: ignore[operator, union-attr]

    def whole(self, x: Tensor, crossed: list[Tensor | None] | None = None) -> Tensor:
        """x (B, T, width) -> the same shape."""
        bias = periodic_bias(x.shape[1], x.shape[1], self.heads, self.period, self.causal, x.device)
        for layer, sound in zip(self.layers, crossed or [None] * len(self.layers), strict=True):
            x, _ = layer(x, bias, sound)
        return x

    def steps(self, frames: int) -> Steps:
        """A new walk through ``frames`` frames, one after the other; only for a causal stack."""
        return Steps(self, frames)


class Steps:
    """One walk through a causal stack, frame by frame: equal to ``whole``, with gradients through
    the past.
    """

    def __init__(self, stack: BiasedStack, frames: int) -> None:
        if not stack.causal:
            raise ValueError("a stack that sees what comes later cannot go frame by frame")
        self.stack, self.frame = stack, 0
        self.past: list[Cache | None] = [None] * len(stack.layers)
        device = next(stack.parameters()).device
        self.bias = periodic_bias(
            1, frames, stack.heads, stack.period, device=device
        )  # the last frame's; others take its end

    def __call__(self, x: Tensor, crossed: list[Tensor | None] | None = None) -> Tensor:
        """x (B, 1, width), the next frame -> the same shape. crossed: from ``cross_attention``, for
        all frames.
        """
        bias, now = (
            self.bias[:, :, self.bias.shape[2] - 1 - self.frame :],
            slice(self.frame, self.frame + 1),
        )
        for index, layer in enumerate(self.stack.layers):
            sound = None if crossed is None else crossed[index]
            x, self.past[index] = layer(
                x, bias, None if sound is None else sound[:, now], self.past[index]
            )
        self.frame += 1
        return x
