"""Sizes and choices of the decoder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecoderConfig:
    """What the stack is made of; presets set these (``jambatalk/presets``)."""

    pattern: str = "M E T E M E"  # the layers, bottom to top: letters of nn.layers.LAYERS
    tied: bool = (
        False  # one module per letter, used at each of its places (as in the authors' code)
    )
    width: int = 256  # features per frame
    d_state: int = 16  # Mamba's state size N
    d_conv: int = 4  # Mamba's convolution, frames
    expand: int = 2  # Mamba's inner width / width
    mlp_hidden: int = 512  # hidden width of the dense feed-forward part
    activation: str = "gelu"  # of the feed-forward parts: gelu or relu
    attention: str = "sliding"  # sliding: the last `window` frames; causal: all frames so far; full: the whole clip
    attention_norm: str = (
        "pre"  # of T layers; pre: RMSNorm before each branch, post: LayerNorm after each sum
    )
    heads: int = 8  # query heads
    kv_heads: int = 2  # key/value heads
    window: int = 64  # frames that sliding attention looks back, itself included
    rope: bool = (
        True  # queries and keys are rotated by their positions; false: attention knows no order
    )
    rope_rank: int = 16  # rank of the learned correction of RoPE; 0 is plain RoPE
    rope_normalize: bool = True  # keep each (sin, cos) on the unit circle
    experts: int = 4  # experts in each E layer
    top_k: int = 2  # experts that each frame goes through
    expert_hidden: int = 512  # hidden width of one expert
    expert_bias: bool = True  # biases in the experts
    dense_hidden: int = 0  # hidden width of D layers' dense part; 0: top_k * expert_hidden, what a frame goes through in E
    expert_d_state: int = 0  # Mamba's state size in E layers; 0: as d_state
    expert_d_conv: int = 0  # Mamba's convolution in E layers; 0: as d_conv
    gate: str = "continuous"  # how the chosen experts are weighted: continuous or softmax
    dropout: float = 0.1  # on each residual branch, in training
    final_norm: bool = True  # RMSNorm after the last layer

    def __post_init__(self) -> None:
        from jambatalk.models.jamba import LAYERS

        letters = self.pattern.split()
        if not letters or set(letters) - set(LAYERS):
            raise ValueError(
                f"layer pattern {self.pattern!r}: expected letters {', '.join(LAYERS)} separated by spaces"
            )
        for name, choices in (
            ("activation", ("gelu", "relu")),
            ("attention", ("sliding", "causal", "full")),
            ("attention_norm", ("pre", "post")),
            ("gate", ("continuous", "softmax")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} {getattr(self, name)!r}, expected {' or '.join(map(repr, choices))}"
                )
        least = {"dense_hidden": 0, "expert_d_state": 0, "expert_d_conv": 0, "rope_rank": 0}
        for name, value in vars(self).items():
            if type(value) is int and value < least.get(name, 1):
                raise ValueError(f"{name} is {value}, expected at least {least.get(name, 1)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 or more and less than 1")
        if {"T", "G"} & set(letters) and (self.width % self.heads or self.heads % self.kv_heads):
            raise ValueError(
                f"width {self.width}, heads {self.heads}, kv_heads {self.kv_heads}: each must be a multiple of the next"
            )
        if not 1 <= self.top_k <= self.experts:
            raise ValueError(
                f"top_k {self.top_k} must lie in 1..{self.experts} (the number of experts)"
            )

    @property
    def causal(self) -> bool:
        """Whether no layer looks at frames to come."""
        from jambatalk.models.jamba import LAYERS

        return all(LAYERS[letter].is_causal(self) for letter in self.pattern.split())
