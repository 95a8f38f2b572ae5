"""The Jamba stack: Mamba, mixture-of-experts and attention layers, ordered by a pattern string.

M  Mamba layer                x + mamba(rms(x)), then x + mlp(rms(x))
E  mixture-of-experts Mamba   x + mamba(rms(x)), then x + moe(rms(x))
T  Transformer layer          x + attention(rms(x)), then x + mlp(rms(x))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from jambatalk.nn.attention import AttentionState, SlidingAttention
from jambatalk.nn.mamba import Mamba, MambaState
from jambatalk.nn.moe import MixtureOfExperts, RouterStats
from jambatalk.nn.norm import RMSNorm


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the stack."""

    pattern: str = "M E T E M E"  # the layers, bottom to top
    width: int = 256  # features per frame
    d_state: int = 16  # Mamba's state size N
    d_conv: int = 4  # Mamba's convolution, frames
    expand: int = 2  # Mamba's inner width / width
    mlp_hidden: int = 512  # hidden width of the dense feed-forward part
    heads: int = 8  # query heads
    kv_heads: int = 2  # key/value heads
    window: int = 64  # frames that attention looks back, itself included
    rope_rank: int = 16  # rank of the learned correction of RoPE; 0 is plain RoPE
    rope_normalize: bool = True  # keep each (sin, cos) on the unit circle
    experts: int = 4  # experts in each E layer
    top_k: int = 2  # experts that each frame goes through
    expert_hidden: int = 512  # hidden width of one expert
    gate: str = "continuous"  # how the chosen experts are weighted: continuous or softmax
    dropout: float = 0.1  # on each residual branch, in training

    def __post_init__(self) -> None:
        unknown = sorted(set(self.pattern.split()) - {"M", "E", "T"})
        if unknown or not self.pattern.split():
            raise ValueError(f"layer pattern {self.pattern!r}: expected letters M, E, T separated by spaces")


class FeedForward(nn.Sequential):
    """width -> hidden -> width with GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


LayerState = MambaState | AttentionState


class JambaLayer(nn.Module):
    """One letter of the pattern: a mixer over time and a feed-forward part, each normalised before and added after."""

    def __init__(self, kind: str, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        self.mixer_norm, self.feed_norm = RMSNorm(c.width), RMSNorm(c.width)
        self.drop = nn.Dropout(c.dropout)
        self.mixer: Mamba | SlidingAttention
        self.feed: MixtureOfExperts | FeedForward
        if kind == "T":
            self.mixer = SlidingAttention(c.width, c.heads, c.kv_heads, c.window, c.rope_rank, c.rope_normalize)
        else:
            self.mixer = Mamba(c.width, c.d_state, c.d_conv, c.expand)
        if kind == "E":
            self.feed = MixtureOfExperts(c.width, c.expert_hidden, c.experts, c.top_k, c.gate)
        else:
            self.feed = FeedForward(c.width, c.mlp_hidden)

    def init_state(self, batch: int, position: Tensor | None = None) -> LayerState:
        """The mixer's empty state."""
        if isinstance(self.mixer, SlidingAttention):
            return self.mixer.init_state(batch, position)
        return self.mixer.init_state(batch)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState, RouterStats | None]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.drop(mixed)
        stats = None
        fed = self.feed(self.feed_norm(x))
        if isinstance(self.feed, MixtureOfExperts):
            fed, stats = fed
        return x + self.drop(fed), state, stats


class JambaDecoder(nn.Module):
    """The whole stack over (B, T, width), with one state per layer."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(JambaLayer(kind, config) for kind in config.pattern.split())
        self.norm = RMSNorm(config.width)

    def init_state(self, batch: int, position: Tensor | None = None) -> list[LayerState]:
        """One state per layer. ``position`` (B,): absolute index of the first frame, which only attention uses."""
        return [cast(JambaLayer, layer).init_state(batch, position) for layer in self.layers]

    def forward(self, x: Tensor, state: list[LayerState]) -> tuple[Tensor, list[LayerState], list[RouterStats]]:
        """x (B, T, width) -> (B, T, width), the new states, and each mixture's router statistics."""
        new_state, router = [], []
        for layer, layer_state in zip(self.layers, state, strict=True):
            x, layer_state, stats = layer(x, layer_state)
            new_state.append(layer_state)
            if stats is not None:
                router.append(stats)
        return self.norm(x), new_state, router
