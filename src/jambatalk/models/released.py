"""The layers of the authors' released code, bug for bug, to run their checkpoints; nothing else
should use them.

m  the bare Mamba mixer: no norm, residual or feed-forward part
e  h = rms(x); h = mamba(h) + h; h = rms(h); moe(h) + x, with the parameter-free rms(x) = x / |x| /
sqrt(d)
t  post-norm Transformer layer: LRL-RoPE over the full width before the heads are split, as many
key/value heads as query
   heads, no mask, ReLU feed-forward

The authors use one module of each kind at all of its places: ``tied: true``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.models.attention import LowRankRope
from jambatalk.models.block import LAYERS, Layer
from jambatalk.models.config import DecoderConfig
from jambatalk.models.mamba import Mamba
from jambatalk.models.moe import MixtureOfExperts, RouterStats


def shrinking_rms(x: Tensor) -> Tensor:
    """x / |x| * d^(-1/2) over the last axis: the published norm divides by the root where it should
    multiply.
    """
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12) * x.shape[-1] ** -0.5


class ReleasedMamba(Layer):
    """m: the Mamba mixer alone."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.mixer = Mamba(config.width, config.d_state, config.d_conv, config.expand)

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.mixer.init_state(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        y, state = self.mixer(x, state)
        return y, state, None


class ReleasedMoEMamba(Layer):
    """e: Mamba with a residual of the normed input, then experts with a residual of the input
    itself.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        self.mixer = Mamba(
            c.width, c.expert_d_state or c.d_state, c.expert_d_conv or c.d_conv, c.expand
        )
        self.feed = MixtureOfExperts(
            c.width, c.expert_hidden, c.experts, c.top_k, c.gate, c.activation, c.expert_bias
        )

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return self.mixer.init_state(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        h = shrinking_rms(x)
        mixed, state = self.mixer(h, state)
        fed, stats = self.feed(shrinking_rms(mixed + h))
        return fed + x, state, stats


class ReleasedTransformer(Layer):
    """t: post-norm self-attention over the whole clip, then a feed-forward part."""

    causal = False
    fixed_state = False

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        self.heads = c.heads
        self.q, self.k, self.v, self.out = (nn.Linear(c.width, c.width) for _ in range(4))
        self.rope = LowRankRope(c.width, c.rope_rank, c.rope_normalize)
        self.up, self.down = nn.Linear(c.width, c.mlp_hidden), nn.Linear(c.mlp_hidden, c.width)
        self.mixer_norm, self.feed_norm = nn.LayerNorm(c.width), nn.LayerNorm(c.width)
        self.dropout = c.dropout

    def init_state(self, batch: int, position: Tensor | None = None) -> Any:
        return torch.zeros(batch, dtype=torch.int64) if position is None else position

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any, RouterStats | None]:
        batch, length, width = x.shape
        positions = state.to(x.device)[:, None] + torch.arange(length, device=x.device)
        sin, cos = self.rope.tables(positions, x.dtype)
        q, k = self.rope.rotate(self.q(x), sin, cos), self.rope.rotate(self.k(x), sin, cos)
        q, k, v = (y.view(batch, length, self.heads, -1).transpose(1, 2) for y in (q, k, self.v(x)))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = self.mixer_norm(x + self.dropped(self.out(y)))
        fed = self.down(self.dropped(F.relu(self.up(x))))
        return self.feed_norm(x + self.dropped(fed)), state + length, None


LAYERS |= {"m": ReleasedMamba, "e": ReleasedMoEMamba, "t": ReleasedTransformer}

# The authors' names -> ours; what stands for the layer's place is filled in by ``decoder_names``.
_MAMBA = {
    name: name
    for name in (
        "A_log",
        "D",
        "in_proj.weight",
        "x_proj.weight",
        "dt_proj.weight",
        "dt_proj.bias",
        "out_proj.weight",
    )
} | {"conv1d.weight": "conv.weight", "conv1d.bias": "conv.bias"}
_TRANSFORMER = {
    f"{theirs}.{kind}": f"{ours}.{kind}"
    for theirs, ours in {
        "q_proj": "q",
        "k_proj": "k",
        "v_proj": "v",
        "out_proj": "out",
        "linear1": "up",
        "linear2": "down",
        "norm1": "mixer_norm",
        "norm2": "feed_norm",
    }.items()
    for kind in ("weight", "bias")
} | {"lrl_rope.proj.0.weight": "rope.down", "lrl_rope.proj.1.weight": "rope.up"}
_EXPERTS = {"gate.w_gating": "router.weight", "experts.w1": "up", "experts.w2": "down"}


def decoder_names(pattern: str) -> dict[str, str]:
    """The authors' name -> our state-dict name, for every tensor of the decoder's layers;
    ``pattern`` holds m, e and t.
    """
    place = {
        letter: f"decoder.layers.{i}" for i, letter in enumerate(dict.fromkeys(pattern.split()))
    }
    names = {f"mamba.{theirs}": f"{place['m']}.mixer.{ours}" for theirs, ours in _MAMBA.items()}
    names |= {
        f"mamba_moe.mamba.{theirs}": f"{place['e']}.mixer.{ours}" for theirs, ours in _MAMBA.items()
    }
    names |= {
        f"mamba_moe.moe.{theirs}": f"{place['e']}.feed.{ours}" for theirs, ours in _EXPERTS.items()
    }
    names |= {
        f"transformer_decoder.{theirs}": f"{place['t']}.{ours}"
        for theirs, ours in _TRANSFORMER.items()
    }
    return names


def converted(name: str, tensor: Tensor) -> Tensor:
    """One of the authors' decoder tensors in our layout: filters are (kernel, D) here, the router's
    weight (experts, width).
    """
    if name.endswith("conv1d.weight"):
        return tensor.squeeze(1).T
    return tensor.T if name.endswith("w_gating") else tensor
