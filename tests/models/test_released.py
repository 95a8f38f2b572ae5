"""The released layers against outputs of the authors' own code (../shared/golden), and our RoPE
against theirs.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from golden import golden, relative_error, state_of
from jambatalk.models.attention import LowRankRope
from jambatalk.models.block import LAYERS, make_layer
from jambatalk.models.config import DecoderConfig
from jambatalk.models.jamba import JambaDecoder
from jambatalk.models.released import converted, decoder_names, shrinking_rms

LIMIT = 1e-5


def _config(pattern: str) -> DecoderConfig:
    return DecoderConfig(
        pattern=pattern,
        tied=True,
        width=32,
        expert_d_state=8,
        expert_d_conv=8,
        experts=2,
        expert_hidden=128,
        expert_bias=False,
        activation="relu",
        gate="softmax",
        heads=8,
        kv_heads=8,
        mlp_hidden=2048,
        rope_normalize=False,
        attention="full",
        final_norm=False,
    )


def _layer_run(letter: str, prefix: str, tensors: dict[str, Tensor]) -> Tensor:
    layer = make_layer(LAYERS[letter], _config("m e t")).eval()
    place = f"decoder.layers.{'met'.index(letter)}."
    state = {f"{prefix}{name}": tensor for name, tensor in state_of(tensors).items()}
    names = {theirs: ours for theirs, ours in decoder_names("m e t").items() if theirs in state}
    assert set(names) == set(state)
    layer.load_state_dict(
        {
            ours.removeprefix(place): converted(theirs, state[theirs])
            for theirs, ours in names.items()
        }
    )
    with torch.inference_mode():
        return layer(tensors["input"], layer.init_state(len(tensors["input"])))[0]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("letter", "prefix", "file"),
    [
        ("m", "mamba.", "mamba_layer"),
        ("e", "mamba_moe.", "moe_mamba_layer"),
        ("t", "transformer_decoder.", "transformer_layer"),
    ],
)
def test_layer_gives_the_authors_output(letter: str, prefix: str, file: str) -> None:
    tensors = golden(file)
    assert relative_error(_layer_run(letter, prefix, tensors), tensors["output"]) <= LIMIT


@pytest.mark.shared
def test_rope_gives_the_authors_output() -> None:
    tensors = golden("lrl_rope")
    rope = LowRankRope(32, rank=16, normalize=False)
    state = state_of(tensors)
    rope.load_state_dict({"down": state["proj.0.weight"], "up": state["proj.1.weight"]})
    sin, cos = rope.tables(torch.arange(60), torch.float32)
    assert relative_error(rope.rotate(tensors["input"], sin, cos), tensors["output"]) <= LIMIT


@pytest.mark.shared
@pytest.mark.parametrize(
    ("pattern", "output"), [("m e t e m e", "output"), ("m e m e t e m e m e", "output_biwi_order")]
)
def test_decoder_gives_the_authors_output(pattern: str, output: str) -> None:
    tensors = golden("released_decoder")
    state = state_of(tensors)
    decoder = JambaDecoder(_config(pattern)).eval()
    names = decoder_names(pattern)
    decoder.load_state_dict(
        {
            ours.removeprefix("decoder."): converted(theirs, state[theirs])
            for theirs, ours in names.items()
        }
    )
    with torch.inference_mode():
        x = tensors["input"] @ state["audio_feature_map.weight"].T + state["audio_feature_map.bias"]
        y, _, _ = decoder(x, decoder.init_state(len(x)))
        y = y @ state["vertice_map_r.weight"].T + state["vertice_map_r.bias"]
    assert relative_error(y, tensors[output]) <= LIMIT


def test_their_norm_divides_by_the_root() -> None:
    x = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(shrinking_rms(x), x / 5 / math.sqrt(2))
    assert torch.equal(shrinking_rms(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_a_released_layer_needs_the_whole_clip() -> None:
    """The last frame moves the first: no mask, as in the authors' code."""
    torch.manual_seed(0)
    decoder = JambaDecoder(_config("m e t e m e")).eval()
    x = torch.randn(1, 12, 32)
    changed = x.clone()
    changed[:, -1] += 1
    with torch.inference_mode():
        a, b = (decoder(v, decoder.init_state(1))[0] for v in (x, changed))
    assert (a[:, 0] - b[:, 0]).abs().max() > 1e-4
