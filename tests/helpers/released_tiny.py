"""A small network of the released code's layout, under its names, made without our code."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor, nn

WIDTH, VERTICES, LIPS, LETTERS, HIDDEN = 16, 7, 3, 5, 64

SPEECH = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "vocab_size": LETTERS,
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "mask_time_prob": 0.05,
    "pad_token_id": 0,
}


def _mamba(prefix: str, d_state: int, d_conv: int) -> dict[str, Tensor]:
    inner, rank = 2 * WIDTH, WIDTH // 16
    shapes = {
        "A_log": (inner, d_state),
        "D": (inner,),
        "in_proj.weight": (2 * inner, WIDTH),
        "conv1d.weight": (inner, 1, d_conv),
        "conv1d.bias": (inner,),
        "x_proj.weight": (rank + 2 * d_state, inner),
        "dt_proj.weight": (inner, rank),
        "dt_proj.bias": (inner,),
        "out_proj.weight": (WIDTH, inner),
    }
    return {prefix + name: 0.15 * torch.randn(shape) for name, shape in shapes.items()}


def _linear(name: str, outputs: int, inputs: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": torch.randn(outputs, inputs) * inputs**-0.5,
        f"{name}.bias": 0.1 * torch.randn(outputs),
    }


def tiny_checkpoint(
    biwi: bool = False, seed: int = 0, vertices: int = VERTICES
) -> dict[str, Tensor]:
    """The whole state dict of random numbers, in the layout for VOCASET or for BIWI."""
    torch.manual_seed(seed)
    config = transformers.Wav2Vec2Config(**SPEECH)
    tensors: dict[str, Tensor] = {
        f"audio_encoder.{k}": v for k, v in transformers.Wav2Vec2Model(config).state_dict().items()
    }
    tensors |= {
        f"text_encoder.{k}": v for k, v in transformers.Wav2Vec2ForCTC(config).state_dict().items()
    }
    tensors |= _linear("lip_map", HIDDEN, 3 * LIPS)
    tensors |= _mamba("mamba.", 16, 4) | _mamba("mamba_moe.mamba.", 8, 8)
    tensors["mamba_moe.moe.gate.w_gating"] = torch.randn(WIDTH, 2)
    tensors["mamba_moe.moe.experts.w1"] = 0.2 * torch.randn(2, WIDTH, 4 * WIDTH)
    tensors["mamba_moe.moe.experts.w2"] = 0.2 * torch.randn(2, 4 * WIDTH, WIDTH)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        tensors |= _linear(f"transformer_decoder.{name}", WIDTH, WIDTH)
    tensors |= _linear("transformer_decoder.linear1", 40, WIDTH) | _linear(
        "transformer_decoder.linear2", WIDTH, 40
    )
    for name in ("norm1", "norm2"):
        tensors[f"transformer_decoder.{name}.weight"] = 1 + 0.1 * torch.randn(WIDTH)
        tensors[f"transformer_decoder.{name}.bias"] = 0.1 * torch.randn(WIDTH)
    tensors["transformer_decoder.lrl_rope.proj.0.weight"] = 0.1 * torch.randn(16, WIDTH)
    tensors["transformer_decoder.lrl_rope.proj.1.weight"] = 0.1 * torch.randn(WIDTH, 16)
    tensors |= _linear("audio_feature_map", WIDTH, HIDDEN * (2 if biwi else 1))
    lips = nn.Transformer(HIDDEN, 8, 2, 2, 24, batch_first=True)
    tensors |= {f"transformer.{k}": v for k, v in lips.state_dict().items()}
    tensors |= _linear("vertice_map_r", 3 * vertices, WIDTH) | _linear("lm_head", LETTERS, HIDDEN)
    return {name: value.detach().clone() for name, value in tensors.items()}
