"""The layer types of the stack, one letter each, and their registry ``LAYERS``.

M  Mamba layer                x + mamba(rms(x)), then x + mlp(rms(x))
E  mixture-of-experts Mamba   x + mamba(rms(x)), then x + moe(rms(x))
T  Transformer layer          x + attention(rms(x)), then x + mlp(rms(x)); post-norm: ln(x + attention(x)), then ln(x + mlp(x))
D  dense twin of E            as M, with E's Mamba and one dense part of ``dense_hidden``
G  experts over attention     x + attention(rms(x)), then x + moe(rms(x)): E with attention for its Mamba
F  feed-forward alone         x + mlp(rms(x)): M or T without its mixer
X  experts alone              x + moe(rms(x)): E without its mixer
m, e, t                       the layers of the authors' released code, see ``nn/released.py``

A new type is a subclass of ``nn.layer.Layer`` and one line in ``LAYERS``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from jambatalk.nn.attention import GroupedQueryAttention
from jambatalk.nn.decoder_config import DecoderConfig
from jambatalk.nn.layer import Layer
from jambatalk.nn.mamba import Mamba
from jambatalk.nn.moe import ACTIVATIONS, MixtureOfExperts, RouterStats
from jambatalk.nn.norm import RMSNorm
from jambatalk.nn.released import ReleasedMamba, ReleasedMoEMamba, ReleasedTransformer


class FeedForward(nn.Sequential):
    """width -> hidden -> width."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__(nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width))


def experts_of(c: DecoderConfig) -> MixtureOfExperts:
    """The mixture that the settings describe."""
    return MixtureOfExperts(c.width, c.expert_hidden, c.experts, c.top_k, c.gate, c.activation, c.expert_bias)


def attention_of(c: DecoderConfig) -> GroupedQueryAttention:
    """The attention that the settings describe."""
    return GroupedQueryAttention(
        c.width, c.heads, c.kv_heads, c.attention, c.window, c.rope_rank, c.rope_normalize, c.rope
    )  # fmt: skip


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
        self.mixer = Mamba(c.width, c.expert_d_state or c.d_state, c.expert_d_conv or c.d_conv, c.expand)
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
