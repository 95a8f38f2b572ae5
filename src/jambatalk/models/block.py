"""One layer of the decoder: a mixer over time, then a feed-forward part, each as a residual branch.

Registries of the parts:

LAYERS   codes of layers in ``DecoderConfig.pattern``, each a (mixer, feed) pair
MIXERS   parts in which frames meet other frames
FEEDS    parts that work on each frame alone

A pattern may also name the pair itself: ``mamba+moe``, ``none+mlp``. A new mixer or feed is one
file with a module and one line in its registry, a new pair one line in LAYERS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.errors import InputError
from jambatalk.models.attention import GroupedQueryAttention
from jambatalk.models.config import DecoderConfig
from jambatalk.models.layers import FeedForward, RMSNorm
from jambatalk.models.mamba import Mamba
from jambatalk.models.moe import MixtureOfExperts, RouterStats


class Layer(nn.Module):
    """What the stack asks of a layer.

    ``init_state(batch, position)`` returns the state before the first frame; ``position`` (B,)
    int64 is the absolute index of that frame, for layers that use it. ``forward(x, state)`` takes
    x (B, T, width) and returns (the same shape, new state, router statistics or None). The state
    that was passed in is not changed, and chunks that pass the state on give the result of the
    whole, unless ``causal`` is False: then the layer needs the whole clip in one call.
    """

    causal: bool = True
    """Whether no frame depends on later ones."""
    fixed_state: bool = True
    """Whether the state keeps its size however many frames have passed."""
    dropout = 0.0
    """Share of a branch's values dropped in training."""

    def dropped(self, x: Tensor) -> Tensor:
        """Apply dropout; in evaluation not even a call, which counts where a chunk is one frame."""
        return F.dropout(x, self.dropout) if self.training else x

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        raise NotImplementedError


class Block(Layer):
    """x + mixer(norm(x)), then x + feed(norm(x)); either part may be "none".

    With ``attention_norm: post``, layers of attention and mlp are ln(x + mixer(x)), then
    ln(x + feed(x)), where ln is LayerNorm.
    """

    def __init__(self, mixer: str, feed: str, config: DecoderConfig) -> None:
        super().__init__()
        self.post = config.attention_norm == "post" and (mixer, feed) == ("attention", "mlp")
        self.dropout = config.dropout
        norm = nn.LayerNorm if self.post else RMSNorm
        # Norms first: optimizer states of checkpoints know parameters by this order.
        self.mixer_norm = norm(config.width) if mixer != NONE else None
        self.feed_norm = norm(config.width) if feed != NONE else None
        self.mixer: Any = MIXERS[mixer](config, feed) if mixer != NONE else None
        self.feed: Any = FEEDS[feed](config) if feed != NONE else None
        if self.mixer is not None:
            self.causal = bool(self.mixer.causal)
            self.fixed_state = bool(self.mixer.fixed_state)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        if self.mixer is None:
            assert self.feed_norm is not None
            return self.feed_norm.weight.new_zeros(batch, 0)
        return self.mixer.init_state(batch, position)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        stats = None
        if self.mixer_norm is not None:
            mixed, state = self.mixer(x if self.post else self.mixer_norm(x), state)
            x = x + self.dropped(mixed)
            x = self.mixer_norm(x) if self.post else x
        if self.feed_norm is not None:
            fed = self.feed(x if self.post else self.feed_norm(x))
            if isinstance(fed, tuple):  # a mixture reports what its router did
                fed, stats = fed
            x = x + self.dropped(fed)
            x = self.feed_norm(x) if self.post else x
        return x, state, stats


NONE = "none"


def _mamba(c: DecoderConfig, feed: str) -> Mamba:
    """Mamba; beside experts or their dense twin with the state size and kernel set for it."""
    d_state, d_conv = c.d_state, c.d_conv
    if feed in ("moe", "dense"):
        d_state, d_conv = c.expert_d_state or d_state, c.expert_d_conv or d_conv
    return Mamba(c.width, d_state, d_conv, c.expand)


def _attention(c: DecoderConfig, feed: str) -> GroupedQueryAttention:
    return GroupedQueryAttention(
        c.width, c.heads, c.kv_heads, c.attention, c.window, c.rope_rank, c.rope_normalize, c.rope
    )


def _moe(c: DecoderConfig) -> MixtureOfExperts:
    return MixtureOfExperts(
        c.width, c.expert_hidden, c.experts, c.top_k, c.gate, c.activation, c.expert_bias
    )


MIXERS: dict[str, Callable[[DecoderConfig, str], nn.Module]] = {
    "mamba": _mamba,
    "attention": _attention,
}
"""Makers of mixers by name, called with the settings and the name of the feed beside it.

A mixer has ``init_state(batch, position)``, ``forward(x, state) -> (y, state)`` with x and y (B, T,
width), and the attributes ``causal`` and ``fixed_state`` of ``Layer``.
"""

FEEDS: dict[str, Callable[[DecoderConfig], nn.Module]] = {
    "mlp": lambda c: FeedForward(c.width, c.mlp_hidden, c.activation),
    "moe": _moe,
    "dense": lambda c: FeedForward(
        c.width, c.dense_hidden or c.top_k * c.expert_hidden, c.activation
    ),
}
"""Makers of feeds by name: ``forward(x) -> y`` or, from a mixture, ``(y, RouterStats)``."""

LAYERS: dict[str, tuple[str, str] | type[Layer]] = {
    "M": ("mamba", "mlp"),
    "E": ("mamba", "moe"),
    "T": ("attention", "mlp"),
    "D": ("mamba", "dense"),  # E with one dense part as large as what a frame goes through there
    "G": ("attention", "moe"),  # E with attention for its Mamba
    "F": (NONE, "mlp"),
    "X": (NONE, "moe"),
}
"""Layers by code: (mixer, feed), or a ``Layer`` made with the settings alone."""


def layer_kind(code: str) -> tuple[str, str] | type[Layer] | None:
    """Return what a word of a pattern names: an entry of LAYERS or mixer+feed; None if nothing."""
    if code in LAYERS:
        return LAYERS[code]
    mixer, plus, feed = code.partition("+")
    known = mixer in (NONE, *MIXERS) and feed in (NONE, *FEEDS) and (mixer, feed) != (NONE, NONE)
    return (mixer, feed) if plus and known else None


def parse_pattern(pattern: str) -> list[tuple[str, str] | type[Layer]]:
    """Return the kind of layer at each place of a pattern, bottom to top. InputError for others."""
    kinds = [layer_kind(code) for code in pattern.split()]
    if not kinds or None in kinds:
        raise InputError(
            f"layer pattern {pattern[:80]!r}: expected codes separated by spaces, of "
            f"{', '.join(LAYERS)}, or mixer+feed with mixers {', '.join((*MIXERS, NONE))} and "
            f"feeds {', '.join((*FEEDS, NONE))}"
        )
    return [kind for kind in kinds if kind is not None]


def make_layer(kind: tuple[str, str] | type[Layer], config: DecoderConfig) -> Layer:
    """Build a layer. ValueError where the settings do not fit it."""
    if isinstance(kind, tuple):
        return Block(*kind, config)
    return kind(config)  # type: ignore[call-arg]
