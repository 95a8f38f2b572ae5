"""The layer types of the stack, one letter each, and their registry ``LAYERS``.

M  Mamba layer                x + mamba(rms(x)), then x + mlp(rms(x))
E  mixture-of-experts Mamba   x + mamba(rms(x)), then x + moe(rms(x))
T  Transformer layer          x + attention(rms(x)), then x + mlp(rms(x)); post-norm: ln(x + attention(x)), then ln(x + mlp(x))
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
        self.feed = MixtureOfExperts(c.width, c.expert_hidden, c.experts, c.top_k, c.gate, c.activation, c.expert_bias)

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
        self.mixer = GroupedQueryAttention(
            c.width, c.heads, c.kv_heads, c.attention, c.window, c.rope_rank, c.rope_normalize
        )  # fmt: skip
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


LAYERS: dict[str, type[Layer]] = {
    "M": MambaLayer,
    "E": ExpertLayer,
    "T": TransformerLayer,
    "m": ReleasedMamba,
    "e": ReleasedMoEMamba,
    "t": ReleasedTransformer,
}
