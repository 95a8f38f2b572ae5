"""The lip reader on a tiny layout: what goes in and out, what stays frozen, and the names of the
released checkpoint.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("transformers", reason="transformers is not installed")

from jambatalk.models.lip_reader import LipReader, LipReaderConfig

TEXT = {
    "model_type": "wav2vec2",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "vocab_size": 5,
    "pad_token_id": 0,
    "mask_time_prob": 0.5,
}
TINY = LipReaderConfig(width=16, heads=2, layers=2, hidden=24, letters=5, text=TEXT)


def reader() -> LipReader:
    torch.manual_seed(0)
    return LipReader(7, TINY).eval()


@torch.no_grad()
def test_reads_lips_at_the_rate_of_the_text():
    model, lips = reader(), torch.randn(2, 60, 21)
    latent, logits = model(lips, fps=30)
    assert latent.shape == (2, 100, 16)
    assert logits.shape == (2, 100, 5)
    x = F.interpolate(
        model.lip_map(lips).transpose(1, 2), size=100, mode="linear", align_corners=True
    ).transpose(1, 2)
    assert torch.allclose(latent, model.transformer(x, x), atol=1e-6)
    assert torch.allclose(logits, model.lm_head(latent))
    assert model(lips, fps=25, frames=99)[1].shape == (2, 99, 5)


@torch.no_grad()
def test_reads_sound_as_transformers_does():
    from transformers import Wav2Vec2FeatureExtractor

    model, samples = reader(), 0.2 + 0.1 * torch.randn(1, 20000)
    latent, logits = model.text(samples)
    normal = Wav2Vec2FeatureExtractor()(
        samples[0].numpy(), sampling_rate=16000, return_tensors="pt"
    ).input_values
    found = model.text_encoder(normal, output_hidden_states=True)
    assert latent.shape == (1, 62, 16)
    assert torch.allclose(logits, found.logits, atol=1e-5)
    assert torch.allclose(model.text_encoder.lm_head(latent), found.logits, atol=1e-5)
    with pytest.raises(
        ValueError, match="399 samples are too few to recognize text in, expected at least 400"
    ):
        model.text(samples[:, :399])


def test_the_recognizer_stays_frozen_and_unmasked():
    model, samples = reader().train(), torch.randn(1, 16000)
    assert torch.equal(model.text(samples)[0], model.eval().text(samples)[0])
    model.train()
    latent, logits = model(torch.randn(1, 30, 21), 30)
    target, letters = model.text(samples)
    loss = F.mse_loss(latent[:, :49], target) + logits[:, :49].sub(letters).square().mean()
    loss.backward()
    assert all(
        (p.grad is None) == name.startswith("text_encoder.") for name, p in model.named_parameters()
    )


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="the recognizer knows 5 letters, the lip reader 33"):
        LipReader(7, LipReaderConfig(width=16, heads=2, text=TEXT))
    with pytest.raises(ValueError, match="latent is 16 wide, the lip reader's 32"):
        LipReader(7, LipReaderConfig(width=32, heads=2, letters=5, text=TEXT))
