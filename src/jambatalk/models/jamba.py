"""The Jamba stack: Mamba, mixture-of-experts and attention layers, ordered by a pattern string (see ``models/jamba.py``)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from jambatalk.models.attention import GroupedQueryAttention
from jambatalk.models.block import Layer
from jambatalk.models.config import DecoderConfig
from jambatalk.models.layers import RMSNorm
from jambatalk.models.mamba import Mamba
from jambatalk.models.moe import ACTIVATIONS, MixtureOfExperts, RouterStats
from jambatalk.models.released import ReleasedMamba, ReleasedMoEMamba, ReleasedTransformer

# The layer types of the stack, one letter each, and their registry ``LAYERS``.
#
# M  Mamba layer                x + mamba(rms(x)), then x + mlp(rms(x))
# E  mixture-of-experts Mamba   x + mamba(rms(x)), then x + moe(rms(x))
# T  Transformer layer          x + attention(rms(x)), then x + mlp(rms(x)); post-norm: ln(x + attention(x)), then ln(x + mlp(x))
# D  dense twin of E            as M, with E's Mamba and one dense part of ``dense_hidden``
# G  experts over attention     x + attention(rms(x)), then x + moe(rms(x)): E with attention for its Mamba
# F  feed-forward alone         x + mlp(rms(x)): M or T without its mixer
# X  experts alone              x + moe(rms(x)): E without its mixer
# m, e, t                       the layers of the authors' released code, see ``models/released.py``
#
# A new type is a subclass of ``models.block.Layer`` and one line in ``LAYERS``.


class FeedForward(nn.Sequential):
    """width -> hidden -> width."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__(
            nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width)
        )


def experts_of(c: DecoderConfig) -> MixtureOfExperts:
    """The mixture that the settings describe."""
    return MixtureOfExperts(
        c.width, c.expert_hidden, c.experts, c.top_k, c.gate, c.activation, c.expert_bias
    )


def attention_of(c: DecoderConfig) -> GroupedQueryAttention:
    """The attention that the settings describe."""
    return GroupedQueryAttention(
        c.width, c.heads, c.kv_heads, c.attention, c.window, c.rope_rank, c.rope_normalize, c.rope
    )


class MambaLayer(Layer):
    """M: Mamba, then a dense feed-forward part; each normalised before and added after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        c = config
        self.mixer_norm, self.feed_norm = RMSNorm(c.width), RMSNorm(c.width)
        self.dropout = c.dropout
        self.mixer = Mamba(c.width, c.d_state, c.d_conv, c.expand)
        self.feed = FeedForward(c.width, c.mlp_hidden, c.activation)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.mixer.init_state(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.dropped(mixed)
        return x + self.dropped(self.feed(self.feed_norm(x))), state, None


class ExpertLayer(Layer):
    """E: Mamba, then a mixture of experts; each normalised before and added after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        c = config
        self.mixer_norm, self.feed_norm = RMSNorm(c.width), RMSNorm(c.width)
        self.dropout = c.dropout
        self.mixer = Mamba(
            c.width, c.expert_d_state or c.d_state, c.expert_d_conv or c.d_conv, c.expand
        )
        self.feed: nn.Module = experts_of(c)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.mixer.init_state(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.dropped(mixed)
        fed, stats = self.feed(self.feed_norm(x))
        return x + self.dropped(fed), state, stats


class TransformerLayer(Layer):
    """T: grouped-query attention with LRL-RoPE, then a dense feed-forward part; pre-norm or post-norm."""

    @classmethod
    def is_causal(cls, config: DecoderConfig) -> bool:
        return config.attention != "full"

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        c = config
        self.post = c.attention_norm == "post"
        norm = nn.LayerNorm if self.post else RMSNorm
        self.mixer_norm, self.feed_norm = norm(c.width), norm(c.width)
        self.dropout = c.dropout
        self.mixer = attention_of(c)
        self.feed = FeedForward(c.width, c.mlp_hidden, c.activation)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.mixer.init_state(batch, position)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        if self.post:
            mixed, state = self.mixer(x, state)
            x = self.mixer_norm(x + self.dropped(mixed))
            return self.feed_norm(x + self.dropped(self.feed(x))), state, None
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.dropped(mixed)
        return x + self.dropped(self.feed(self.feed_norm(x))), state, None


class DenseLayer(ExpertLayer):
    """D: an E layer whose mixture is one dense part of ``dense_hidden``, or of the size that a frame goes through in E."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        c = config
        self.feed = FeedForward(c.width, c.dense_hidden or c.top_k * c.expert_hidden, c.activation)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.dropped(mixed)
        return x + self.dropped(self.feed(self.feed_norm(x))), state, None


class AttentionExpertLayer(Layer):
    """G: attention as in T (pre-norm), then a mixture of experts as in E."""

    @classmethod
    def is_causal(cls, config: DecoderConfig) -> bool:
        return config.attention != "full"

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        c = config
        self.mixer_norm, self.feed_norm = RMSNorm(c.width), RMSNorm(c.width)
        self.dropout = c.dropout
        self.mixer = attention_of(c)
        self.feed = experts_of(c)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.mixer.init_state(batch, position)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        x = x + self.dropped(mixed)
        fed, stats = self.feed(self.feed_norm(x))
        return x + self.dropped(fed), state, stats


class FeedLayer(Layer):
    """F: a dense feed-forward part; no frame hears another."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.feed_norm, self.dropout = RMSNorm(config.width), config.dropout
        self.feed = FeedForward(config.width, config.mlp_hidden, config.activation)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.feed_norm.weight.new_zeros(batch, 0)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        return x + self.dropped(self.feed(self.feed_norm(x))), state, None


class ExpertFeedLayer(Layer):
    """X: a mixture of experts; no frame hears another."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.feed_norm, self.dropout = RMSNorm(config.width), config.dropout
        self.feed = experts_of(config)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.feed_norm.weight.new_zeros(batch, 0)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        fed, stats = self.feed(self.feed_norm(x))
        return x + self.dropped(fed), state, stats


LAYERS: dict[str, type[Layer]] = {
    "M": MambaLayer,
    "E": ExpertLayer,
    "T": TransformerLayer,
    "D": DenseLayer,
    "G": AttentionExpertLayer,
    "F": FeedLayer,
    "X": ExpertFeedLayer,
    "m": ReleasedMamba,
    "e": ReleasedMoEMamba,
    "t": ReleasedTransformer,
}

# Giving freed memory back to the system.


@cache
def _libc() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None  # not glibc: other allocators give back by themselves, or cannot be asked


def release_freed_memory() -> None:
    """Ask glibc to hand back the holes between its blocks.

    torch's allocations are aligned, and glibc (at least to 2.36) seldom fits an aligned block into the hole that an equal one
    left: over the pieces of one long clip the heap grows by several kB a frame though nothing is kept
    (benchmarks/speed/long_context.py shows the peaks).
    """
    trim = _libc()
    if trim is not None:
        trim(0)


__all__ = ["DecoderConfig", "JambaDecoder"]

# Frames that go through a layer at once outside training: bounds the memory of inner widths on clips of any length.
PIECE = 4096
# Pieces after which freed memory goes back to the system.
PIECES_PER_RELEASE = 16


class JambaDecoder(nn.Module):
    """The whole stack over (B, T, width), with one state per place in the pattern."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        letters = config.pattern.split()
        made = list(dict.fromkeys(letters)) if config.tied else letters
        self.layers = nn.ModuleList(LAYERS[letter](config) for letter in made)
        # Index of the module at each place: tied letters share one.
        self.places = (
            [made.index(letter) for letter in letters] if config.tied else list(range(len(letters)))
        )
        self.norm = RMSNorm(config.width) if config.final_norm else nn.Identity()

    def init_state(self, batch: int, position: Tensor | None = None) -> list[Any]:
        """One state per place. ``position`` (B,): absolute index of the first frame, which only attention uses."""
        return [self._layer(i).init_state(batch, position) for i in self.places]

    def forward(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        """x (B, T, width) -> (B, T, width), the new states, and each mixture's router statistics, bottom to top.

        Without gradients, clips longer than PIECE go through in pieces that hand the state on: memory beyond the output
        does not grow with the length. Where a layer needs the whole clip, the others still work in pieces.
        """
        if torch.is_grad_enabled() or x.shape[1] <= PIECE:
            return self._through(x, state)
        if not self.config.causal:
            return self._layer_by_layer(x, state)
        y, parts = torch.empty_like(x), []
        for start in _piece_starts(x.shape[1]):
            y[:, start : start + PIECE], state, router = self._through(
                x[:, start : start + PIECE], state
            )
            parts.append(router)
        return y, state, [RouterStats.joined(list(stats)) for stats in zip(*parts, strict=True)]

    def _layer(self, index: int) -> Layer:
        return cast(Layer, self.layers[index])

    def _through(self, x: Tensor, state: list[Any]) -> tuple[Tensor, list[Any], list[RouterStats]]:
        new_state, router = [], []
        for index, layer_state in zip(self.places, state, strict=True):
            x, layer_state, stats = self._layer(index)(x, layer_state)
            new_state.append(layer_state)
            if stats is not None:
                router.append(stats)
        return self.norm(x), new_state, router

    def _layer_by_layer(
        self, x: Tensor, state: list[Any]
    ) -> tuple[Tensor, list[Any], list[RouterStats]]:
        letters = self.config.pattern.split()
        new_state, router = [], []
        for place, (letter, layer_state) in enumerate(zip(letters, state, strict=True)):
            layer = self._layer(self.places[place])
            if not LAYERS[letter].is_causal(self.config):
                x, layer_state, stats = layer(x, layer_state)
                found = [stats] if stats is not None else []
            else:
                y, found = torch.empty_like(x), []
                for start in _piece_starts(x.shape[1]):
                    y[:, start : start + PIECE], layer_state, stats = layer(
                        x[:, start : start + PIECE], layer_state
                    )
                    found += [stats] if stats is not None else []
                x = y
            new_state.append(layer_state)
            if found:
                router.append(RouterStats.joined(found))
        return self.norm(x), new_state, router


def _piece_starts(length: int) -> Iterator[int]:
    """Where each piece begins; between pieces, freed memory is given back now and then."""
    for n, start in enumerate(range(0, length, PIECE), 1):
        yield start
        if n % PIECES_PER_RELEASE == 0:
            release_freed_memory()
