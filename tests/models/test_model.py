"""The whole network: chunks, causality, whole clips, precision; the shipped weights among them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.models import speech_to_motion as model_file
from jambatalk.models.config import DecoderConfig, ModelConfig, PretrainedConfig
from jambatalk.models.speech_to_motion import SpeechToMotion
from small_network import SMALL, speechlike

TINY_ENCODER = PretrainedConfig(
    architecture={
        "model_type": "wav2vec2",
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [16] * 7,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
    }
)


def _random(config: ModelConfig) -> SpeechToMotion:
    torch.manual_seed(5)
    model = SpeechToMotion(config)
    torch.nn.init.normal_(model.head.weight, std=0.05)
    return model.eval()


def _sound(seconds: float) -> torch.Tensor:
    return torch.from_numpy(speechlike(seconds))[None]


def test_shipped_network_chunked_equals_whole() -> None:
    model = jambatalk.load().model
    hop = model.config.hop
    samples = _sound(4)
    with torch.inference_mode():
        whole, _ = model(samples, model.init_state())
        for size in (1, 7, 50):
            state, parts = model.init_state(), []
            for piece in samples.split(size * hop, dim=1):
                y, state = model(piece, state)
                parts.append(y)
            torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-4)


def test_shipped_network_is_causal_to_its_look_ahead() -> None:
    """Sound after t + look-ahead does not move the frame at t; sound just before does."""
    talker = jambatalk.load()
    config = talker.model.config
    samples = _sound(3)
    frame = 30
    limit = int((frame / config.fps + config.look_ahead_ms / 1000) * 16000)
    with torch.inference_mode():
        plain, _ = talker.model.forward_offline(samples)
        for start, same in ((limit, True), (limit - config.hop, False)):
            changed = samples.clone()
            changed[:, start:] += 0.2 * torch.randn(
                samples.shape[1] - start, generator=torch.Generator().manual_seed(1)
            )
            moved, _ = talker.model.forward_offline(changed)
            assert torch.equal(moved[:, : frame + 1], plain[:, : frame + 1]) == same


def test_whole_equals_the_stream() -> None:
    model = _random(SMALL)
    samples = _sound(2.013)
    session = jambatalk.Talker(model, tuple(map(str, range(52))), path=None).stream()  # type: ignore[arg-type]
    with torch.inference_mode():
        whole, _ = model.forward_offline(samples)
    _, first = session.push_array(samples[0].numpy())
    _, rest = session.flush_array()
    streamed = torch.cat([torch.from_numpy(first), torch.from_numpy(rest)])
    torch.testing.assert_close(whole[0].clamp(0, 1), streamed, rtol=0, atol=1e-5)


def test_whole_in_pieces_equals_whole_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _random(
        replace(SMALL, look_ahead="full", decoder=replace(SMALL.decoder, attention="full"))
    )
    samples = _sound(2)
    wanted, _ = model.forward_offline(samples)
    assert wanted.requires_grad
    monkeypatch.setattr(model_file, "PIECE", 7)
    with torch.inference_mode():
        got, _ = model.forward_offline(samples)
    torch.testing.assert_close(got, wanted.detach(), rtol=1e-5, atol=1e-5)


def test_bidirectional_network_with_the_built_in_encoder_refuses_streams() -> None:
    model = _random(
        replace(SMALL, look_ahead="full", decoder=replace(SMALL.decoder, attention="full"))
    )
    talker = jambatalk.Talker(model, tuple(map(str, range(52))), path=None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="look_ahead: full"):
        talker.stream()


def test_vertex_network_on_a_pretrained_encoder_trains_end_to_end() -> None:
    pytest.importorskip("transformers")
    config = ModelConfig(
        fps=30,
        delay=0,
        look_ahead="full",
        outputs=21,
        encoder=TINY_ENCODER,
        decoder=DecoderConfig(
            width=32,
            mlp_hidden=32,
            heads=4,
            kv_heads=2,
            attention="full",
            attention_norm="post",
            expert_hidden=16,
            gate="softmax",
            dropout=0.0,
            final_norm=False,
        ),
    )
    model = _random(config).train()
    assert model.config.encoder.architecture["hidden_size"] == 24
    samples = _sound(1)
    wanted = torch.randn(1, 28, 21) * 0.01
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(0)
        y, router = model.forward_offline(samples, frames=28)
        loss = (y - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert y.shape == wanted.shape
    assert len(router) == 3
    assert losses[-1] < 0.5 * losses[0]
    frozen = model.encoder.network.feature_extractor.parameters()
    assert all(p.grad is None for p in frozen)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_moves_little(precision: str) -> None:
    samples = Speech(speechlike(2))
    exact = jambatalk.load().animate(samples)
    low = jambatalk.load(precision=precision).animate(samples)
    assert exact.weights is not None
    assert low.weights is not None
    assert low.weights.dtype == exact.weights.dtype
    assert abs(low.weights - exact.weights).max() < 0.1
    assert abs(low.weights - exact.weights).mean() < 0.005


def test_unknown_precision_is_named() -> None:
    with pytest.raises(InputError, match="int3"):
        jambatalk.load(precision="int3")
