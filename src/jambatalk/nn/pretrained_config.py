"""Settings of a pretrained speech encoder, and the architecture that the paper takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper")
"""The ``model_type`` of each network that can be used."""

ALIGNMENTS = ("features", "pairs", "outputs")
FREEZING = ("nothing", "conv", "all")

XLSR_53_LARGE: dict[str, Any] = {
    "model_type": "wav2vec2",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "conv_dim": [512, 512, 512, 512, 512, 512, 512],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "mask_time_prob": 0.05,
    "mask_feature_prob": 0.0,
    "feat_proj_dropout": 0.05,
    "hidden_dropout": 0.05,
    "activation_dropout": 0.05,
    "attention_dropout": 0.1,
    "layerdrop": 0.05,
    "vocab_size": 33,
    "pad_token_id": 0,
    "do_normalize": True,
}
"""wav2vec2-large-xlsr-53 as its English fine-tuning has it: what the released checkpoints hold."""


@dataclass(frozen=True)
class PretrainedConfig:
    """Which encoder, what is taken from it, and how long a piece of sound it hears at once."""

    kind: str = "pretrained"
    name: str = ""  # hub id or local folder that the weights come from when ``architecture`` is empty; else only a record
    architecture: dict[str, Any] = field(default_factory=dict)  # transformers' configuration, with model_type; random start
    layer: int = -1  # -1: the network's output; 0: the input of the first layer; k: after layer k, without the final norm
    align: str = "features"  # features: interpolated before the transformer; outputs: after it; pairs: folded two by two
    frozen: str = "conv"  # what training leaves alone: nothing, conv, all
    window: float = 30.0  # seconds; longer sound goes through in windows of this length
    context: float = 3.0  # seconds at each side of a window that are heard and thrown away

    def __post_init__(self) -> None:
        if self.kind != "pretrained":
            raise ValueError(f"kind is {self.kind!r}, expected 'pretrained'")
        if not self.name and not self.architecture:
            raise ValueError("a pretrained encoder needs a name (hub id or folder) or an architecture")
        for key, value, known in (("align", self.align, ALIGNMENTS), ("frozen", self.frozen, FREEZING)):
            if value not in known:
                raise ValueError(f"{key} is {value!r}, expected one of {', '.join(known)}")
        if self.layer < -1:
            raise ValueError(f"layer is {self.layer}, expected -1 (the output), 0 (the first layer's input) or a layer's number")
        if self.context < 0 or self.window <= 2 * self.context + 1:
            raise ValueError(f"window {self.window} s must be more than 1 s longer than both contexts of {self.context} s")
