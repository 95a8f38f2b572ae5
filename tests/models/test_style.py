"""Styles: one network, several ways of speaking, chosen by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import jambatalk
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import save_weights
from jambatalk.models.config import DecoderConfig, EncoderConfig, ModelConfig
from jambatalk.models.speech_to_motion import SpeechToMotion

NAMES = ("jawOpen", "mouthClose")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A tiny network of two styles that differ much."""
    torch.manual_seed(0)
    decoder = DecoderConfig(
        pattern="M E", width=16, mlp_hidden=16, heads=2, kv_heads=1, experts=2, expert_hidden=16
    )
    config = ModelConfig(
        outputs=2,
        styles=["calm", "lively"],
        encoder=EncoderConfig(widths=[8, 8], blocks=1),
        decoder=decoder,
    )
    model = SpeechToMotion(config)
    with torch.no_grad():
        model.style_vectors.normal_()
        model.head.weight.normal_()
        model.output_mean.fill_(0.5)
        model.output_scale.fill_(0.1)
    path = tmp_path / "w.safetensors"
    save_weights(path, model.eval(), NAMES, {})
    return path


def _weights(talker: jambatalk.Talker) -> np.ndarray:
    sound = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    motion = talker.animate_blocks([sound])
    assert motion.weights is not None
    return motion.weights


def test_the_first_style_is_the_default_and_others_move_differently(weights: Path) -> None:
    plain, calm, lively = (
        jambatalk.load(weights, style=style) for style in (None, "calm", "lively")
    )
    assert plain.styles == ("calm", "lively")
    np.testing.assert_array_equal(_weights(plain), _weights(calm))
    assert np.abs(_weights(calm) - _weights(lively)).max() > 0.01


def test_the_chosen_style_is_the_one_that_training_saw(weights: Path) -> None:
    """``choose_style`` and indices per sequence are two ways to say the same."""
    model = jambatalk.load(weights, style="lively").model
    assert isinstance(model, SpeechToMotion)
    normal = torch.randn(2, 20, model.config.mel.bands)
    with torch.inference_mode():
        chosen = model.encode_features(normal, model.init_state(2))[0]
        by_index = model.encode_features(normal, model.init_state(2), torch.tensor([0, 1]))[0]
    torch.testing.assert_close(by_index[1], chosen[1])
    assert (by_index[0] - chosen[0]).abs().max() > 0.01


def test_streaming_and_whole_clips_speak_in_the_same_style(weights: Path) -> None:
    talker = jambatalk.load(weights, style="lively")
    assert isinstance(talker.model, SpeechToMotion)
    sound = torch.randn(1, 640 * 30) * 0.1
    with torch.inference_mode():
        y, _ = talker.model(sound, talker.model.init_state())
        whole, _ = talker.model.forward_offline(sound, 30 - talker.model.config.delay)
    torch.testing.assert_close(whole, y[:, talker.model.config.delay :], rtol=0, atol=1e-5)


def test_an_unknown_style_is_refused_with_those_there_are(weights: Path) -> None:
    with pytest.raises(InputError, match="no style 'loud': choose from calm, lively"):
        jambatalk.load(weights, style="loud")


def test_a_network_of_one_way_of_speaking_says_so(tmp_path: Path) -> None:
    decoder = DecoderConfig(
        pattern="M", width=16, mlp_hidden=16, heads=2, kv_heads=1, experts=2, expert_hidden=16
    )
    model = SpeechToMotion(
        ModelConfig(outputs=2, encoder=EncoderConfig(widths=[8, 8], blocks=1), decoder=decoder)
    )
    save_weights(tmp_path / "w.safetensors", model, NAMES, {})
    with pytest.raises(InputError, match="a single speaking style"):
        jambatalk.load(tmp_path / "w.safetensors", style="calm")
    assert jambatalk.load(tmp_path / "w.safetensors").styles == ()


def test_style_names_must_differ() -> None:
    with pytest.raises(ValueError, match="names that differ"):
        ModelConfig(styles=["calm", "calm"])


def test_an_exported_step_speaks_in_the_style_it_was_exported_with(
    weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    from jambatalk.export.export import export_step

    out = tmp_path / "lively.onnx"
    export_step(weights, out, style="lively")
    np.testing.assert_allclose(
        _weights(jambatalk.load(out)), _weights(jambatalk.load(weights, style="lively")), atol=1e-4
    )
    with pytest.raises(InputError, match="exported with"):
        jambatalk.load(out, style="calm")
