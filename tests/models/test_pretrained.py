"""Pretrained encoders on tiny random networks of every family: the same numbers as transformers
gives, in windows too.
"""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jambatalk.config import from_mapping
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.models.config import PretrainedConfig
from jambatalk.models.encoders.pretrained import (
    XLSR_53_LARGE,
    PretrainedEncoder,
    interpolate,
    unfilled_networks,
)

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
ARCHITECTURES = {
    "wav2vec2": {"model_type": "wav2vec2", **SIZES},
    "wav2vec2-large": {"model_type": "wav2vec2", **SIZES, **STABLE},
    "hubert": {"model_type": "hubert", **SIZES},
    "hubert-large": {"model_type": "hubert", **SIZES, **STABLE},
    "wavlm": {"model_type": "wavlm", **SIZES},
    "wavlm-large": {"model_type": "wavlm", **SIZES, **STABLE},
    "data2vec": {
        "model_type": "data2vec-audio",
        **SIZES,
        "num_conv_pos_embeddings": 2,
        "conv_pos_kernel_size": 5,
    },
}
WHISPER = {
    "model_type": "whisper",
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "max_source_positions": 100,
    "vocab_size": 50,
    "num_mel_bins": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
WIDTH = 8

family = pytest.mark.parametrize("name", ARCHITECTURES)


def sound(seconds: float, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Noise with a slow change of level, off zero, so that its normalisation matters."""
    generator = torch.Generator().manual_seed(seed)
    count = int(seconds * 16000)
    level = 0.1 + 0.05 * torch.sin(torch.arange(count) / 7000)
    return 0.03 + level * torch.randn(batch, count, generator=generator)


def encoder(
    architecture: dict, fps: float = 25, seed: int = 0, **settings: object
) -> PretrainedEncoder:
    torch.manual_seed(seed)
    return PretrainedEncoder(
        PretrainedConfig(architecture=architecture, **settings), fps, WIDTH
    ).eval()


def normalized(samples: torch.Tensor) -> torch.Tensor:
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    return torch.as_tensor(
        np.stack([extractor(row.numpy(), sampling_rate=16000).input_values[0] for row in samples])
    )


def close(a: torch.Tensor, b: torch.Tensor, relative: float = 3e-5) -> None:
    assert a.shape == b.shape
    a, b = a.detach(), b.detach()
    assert float((a - b).abs().max()) <= relative * float(b.abs().max())


@family
@torch.no_grad()
def test_outputs_are_those_of_transformers_interpolated(name):
    model, samples = encoder(ARCHITECTURES[name], align="outputs", fps=30), sound(2.3, batch=2)
    expected = model.network(normalized(samples)).last_hidden_state  # (2, 114, 32)
    frames = int(expected.shape[1] / 50 * 30)
    expected = F.interpolate(
        expected.transpose(1, 2), size=frames, mode="linear", align_corners=True
    ).transpose(1, 2)
    close(model(samples), model.project(expected))


@family
@torch.no_grad()
def test_features_are_resampled_before_the_transformer(name):
    model, samples = encoder(ARCHITECTURES[name], align="features", fps=30), sound(2.3)
    x = model.network.feature_extractor(normalized(samples))
    x = F.interpolate(
        x, size=int(x.shape[2] / 50 * 30), mode="linear", align_corners=True
    ).transpose(1, 2)
    x = model.network.feature_projection(x)
    expected = model.network.encoder(x if isinstance(x, torch.Tensor) else x[0]).last_hidden_state
    close(model(samples), model.project(expected))


@family
@torch.no_grad()
def test_pairs_are_folded_after_the_transformer(name):
    model, samples = encoder(ARCHITECTURES[name], align="pairs"), sound(2.0)
    x = model.network(normalized(samples)).last_hidden_state
    assert x.shape[1] == 99  # the odd one is computed, but not kept
    expected = torch.cat([x[:, 0:98:2], x[:, 1:98:2]], dim=-1)
    close(model(samples), model.project(expected))
    close(model(samples, frames=20), model.project(expected[:, :20]))
    assert model(samples, frames=80).shape[1] == 49


@family
@pytest.mark.parametrize("layer", [0, 1, 2, 3])
@torch.no_grad()
def test_a_chosen_layer_is_the_hidden_state_of_transformers(name, layer):
    torch.manual_seed(1)
    whole = transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model(**ARCHITECTURES[name])
    ).eval()
    model = encoder(ARCHITECTURES[name], align="outputs", fps=50, layer=layer)
    missing, _ = model.network.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    assert len(model.network.encoder.layers) == layer  # what is not asked for is not computed
    samples = sound(1.1)
    # Transformers' own list differs between its versions in whether its last entry is normalised
    states = []
    whole.encoder.layers[0].register_forward_pre_hook(lambda module, args: states.append(args[0]))
    for part in whole.encoder.layers:
        part.register_forward_hook(
            lambda module, args, out: states.append(out[0] if isinstance(out, tuple) else out)
        )
    whole(normalized(samples))
    close(model(samples), model.project(states[layer]))


@pytest.mark.parametrize("layer", [-1, 0, 2])
@torch.no_grad()
def test_whisper_is_that_of_transformers(layer):
    model, samples = encoder(WHISPER, align="outputs", fps=50, layer=layer), sound(1.3, batch=2)
    extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    mel = extractor(
        list(samples.numpy()), sampling_rate=16000, return_tensors="pt"
    ).input_features  # (2, 20, 200)
    torch.manual_seed(0)  # the same start as the encoder's
    whole = transformers.models.whisper.modeling_whisper.WhisperEncoder(
        transformers.WhisperConfig(**WHISPER)
    ).eval()
    missing, _ = model.network.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    found = whole(mel, output_hidden_states=True)
    expected = found.last_hidden_state if layer == -1 else found.hidden_states[layer]
    assert model.frames(samples.shape[1]) == 65
    close(model(samples), model.project(expected[:, :65]), 1e-4)


@family
@pytest.mark.parametrize("align", ["features", "pairs", "outputs"])
@torch.no_grad()
def test_windows_see_the_features_of_the_whole_clip(name, align):
    """At layer 0 only the positional convolution looks around, so the windows are exact if the
    context covers it.
    """
    model = encoder(ARCHITECTURES[name], align=align, layer=0, window=4.0, context=1.0)
    samples = sound(9.0, batch=2)
    windowed = model(samples)
    model.config = replace(model.config, window=100.0)
    close(windowed, model(samples), 5e-6)


@family
@torch.no_grad()
def test_the_seam_shrinks_with_the_context_and_is_small(name):
    model, samples = encoder(ARCHITECTURES[name], window=100.0), sound(12.0)
    whole = model(samples)
    errors = []
    for context in (0.0, 1.0):
        model.config = replace(model.config, window=5.0, context=context)
        errors.append(float((model(samples) - whole).abs().max() / whole.abs().max()))
    assert errors[1] < errors[0]
    assert (
        0 < errors[1] < 0.03
    )  # random attention is nearly even, so every frame feels all that a window leaves out


@torch.no_grad()
def test_whisper_reads_long_clips_in_windows():
    """Layer 0 has absolute positions: a window's frames are those of a clip that starts there."""
    model, samples = (
        encoder(WHISPER, align="outputs", fps=50, layer=0, window=20, context=0.5),
        sound(5.0),
    )
    stats = model.reader.stats(samples, False)
    got = model(samples)
    assert got.shape == (1, 250, WIDTH)
    assert model._plan(250, 250)[0] is False
    direct = model.project(model.reader.read(samples, stats, 0, 40))
    close(got[:, :40], direct)
    keep = model._plan(250, 250)[1]
    second = model.project(model.reader.read(samples, stats, keep - 25, keep + 25)[:, 25:])
    close(got[:, keep : keep + 25], second)


@torch.no_grad()
def test_whisper_mel_of_a_stretch_is_that_of_the_clip():
    model, samples = encoder(WHISPER, align="outputs"), sound(3.0)
    whole = model.reader._log_mel(samples, 0, 290)
    close(model.reader._log_mel(samples, 57, 203), whole[:, :, 57:203], 1e-6)


@family
def test_gradients_reach_all_but_the_frozen(name):
    for frozen in ("nothing", "conv", "all"):
        model = encoder({**ARCHITECTURES[name], "layerdrop": 0.0}, frozen=frozen).train()
        model(sound(0.8)).square().sum().backward()
        conv = [p.grad is not None for p in model.network.feature_extractor.parameters()]
        rest = [p.grad is not None for p in model.network.encoder.parameters()]
        assert all(conv) is (frozen == "nothing")
        assert any(conv) is (frozen == "nothing")
        assert all(rest) is (frozen != "all")
        assert any(rest) is (frozen != "all")
        assert model.project.weight.grad is not None


def test_whisper_gradients_and_freezing():
    model = encoder(WHISPER, align="outputs").train()
    model(sound(0.8)).square().sum().backward()
    assert model.network.conv1.weight.grad is None
    assert model.network.layers[0].fc1.weight.grad is not None


def test_masking_and_dropout_only_in_training():
    architecture = {
        **ARCHITECTURES["wav2vec2"],
        "mask_time_prob": 0.5,
        "layerdrop": 0.0,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
    }
    model, samples = encoder(architecture), sound(2.0)
    assert torch.equal(model(samples), model(samples))
    still = model(samples)
    model.train()
    np.random.seed(0)
    assert not torch.allclose(model(samples), still, atol=1e-4)
    assert torch.allclose(
        model(samples[:, :3000]), model.eval()(samples[:, :3000]), atol=1e-6
    )  # too short for one span
    frozen = encoder(architecture, frozen="all").train()
    assert torch.equal(frozen(samples), frozen.eval()(samples))


def test_training_reads_a_long_clip_whole():
    model, samples = (
        encoder(
            {**ARCHITECTURES["wav2vec2-large"], "mask_time_prob": 0.0},
            frozen="all",
            window=3.0,
            context=0.5,
        ),
        sound(5.0),
    )
    windowed = model(samples)
    whole = model.train()(samples)
    assert not torch.allclose(windowed, whole, atol=1e-7)
    model.eval().config = replace(model.config, window=50.0)
    close(whole, model(samples))


@pytest.mark.parametrize(
    ("samples", "fps", "align", "frames"),
    [
        (16000, 30, "features", 29),
        (16000, 30, "outputs", 29),
        (16000, 25, "pairs", 24),
        (16000, 25, "features", 24),
        (399, 30, "features", 0),
        (0, 30, "features", 0),
        (400, 30, "outputs", 0),
        (720, 25, "pairs", 1),
        (720, 30, "features", 1),
    ],
)
def test_the_frame_rule(samples, fps, align, frames):
    model = encoder(ARCHITECTURES["wav2vec2"], fps=fps, align=align)
    assert model.frames(samples) == frames
    assert model(torch.randn(2, samples)).shape == (2, frames, WIDTH)


def test_demanded_frames_and_too_little_sound():
    model = encoder(ARCHITECTURES["hubert"], fps=30)
    assert model(sound(1.0), frames=47).shape == (1, 47, WIDTH)
    assert torch.isfinite(model(torch.zeros(1, 8000))).all()
    with pytest.raises(ValueError, match=r"399 samples are too few .* 3 frames"):
        model(torch.zeros(1, 399), frames=3)


def folders(tmp_path, name):
    """(folder, the encoder's weights as they were saved) of a bare network and of one fine-tuned to
    read text.
    """
    config = transformers.AutoConfig.for_model(
        **(WHISPER if name == "whisper" else ARCHITECTURES[name])
    )
    torch.manual_seed(5)
    bare = transformers.AutoModel.from_config(config)
    kinds = [(bare, bare.encoder if name == "whisper" else bare)]
    if name == "whisper":
        tuned = transformers.WhisperForConditionalGeneration(config)
        kinds.append((tuned, tuned.model.encoder))
    else:
        tuned = transformers.AutoModelForCTC.from_config(config)
        kinds.append((tuned, getattr(tuned, tuned.base_model_prefix)))
    for number, (network, part) in enumerate(kinds):
        network.save_pretrained(tmp_path / str(number))
        yield str(tmp_path / str(number)), part.state_dict()


@pytest.mark.parametrize(
    "name", ["wav2vec2", "wav2vec2-large", "hubert", "wavlm", "data2vec", "whisper"]
)
def test_from_a_folder_and_from_the_filled_configuration(name, tmp_path):
    align = "outputs" if name == "whisper" else "features"
    for folder, weights in folders(tmp_path, name):
        model = PretrainedEncoder(PretrainedConfig(name=folder, align=align), 25, WIDTH).eval()
        for key, value in weights.items():
            assert torch.equal(model.network.state_dict()[key], value), key
        filled = json.loads(json.dumps({**vars(model.filled_config()), "name": "gone/away"}))
        again = PretrainedEncoder(
            from_mapping(PretrainedConfig, filled, "header"), 25, WIDTH
        ).eval()
        again.load_state_dict(model.state_dict())
        samples = sound(1.0)
        assert torch.equal(again(samples), model(samples))
        assert again.filled_config().architecture == model.filled_config().architecture


def test_a_layer_of_a_folder(tmp_path):
    folder, weights = next(iter(folders(tmp_path, "wav2vec2-large")))
    model = PretrainedEncoder(PretrainedConfig(name=folder, layer=2), 25, WIDTH)
    key = "encoder.layers.1.final_layer_norm.weight"
    assert torch.equal(model.network.state_dict()[key], weights[key])
    assert model.filled_config().architecture["num_hidden_layers"] == 3


@torch.no_grad()
def test_normalisation_follows_the_folder(tmp_path):
    folder, _ = next(iter(folders(tmp_path, "wavlm")))
    louder = sound(1.0) * 3 + 0.1
    assert (
        PretrainedEncoder(PretrainedConfig(name=folder), 25, WIDTH)
        .filled_config()
        .architecture["do_normalize"]
        is True
    )
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    model = PretrainedEncoder(PretrainedConfig(name=folder, align="outputs"), 50, WIDTH).eval()
    assert model.filled_config().architecture["do_normalize"] is False
    close(model(louder), model.project(model.network(louder).last_hidden_state))


@torch.no_grad()
def test_copies_and_half_precision():
    # Not 8 channels in a group: on CPUs with AVX512-BF16 torch 2.13 gets that bfloat16 convolution
    # wrong (real sizes are right).
    architecture = {**ARCHITECTURES["wav2vec2-large"], "num_conv_pos_embedding_groups": 2}
    model, samples = encoder(architecture), sound(1.0)
    twin = copy.deepcopy(model).bfloat16()
    assert twin(samples).dtype == torch.bfloat16
    close(twin(samples).float(), model(samples), 0.1)
    assert model.project.weight.dtype == torch.float32


@torch.no_grad()
def test_interpolation_is_that_of_torch_and_exact_far_out():
    values = torch.randn(2, 50, 3)
    expected = F.interpolate(
        values.transpose(1, 2), size=31, mode="linear", align_corners=True
    ).transpose(1, 2)
    close(interpolate(values, torch.arange(31, dtype=torch.float64) * (49 / 30)), expected)
    close(interpolate(values[:, :1], torch.zeros(1, dtype=torch.float64)), values[:, :1])
    ramp = torch.arange(200000, dtype=torch.float64)[None, :, None]
    positions = torch.linspace(0, 199999, 119999, dtype=torch.float64)
    assert torch.allclose(interpolate(ramp, positions)[0, :, 0], positions, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs a name .* or an architecture"),
        (
            {"architecture": XLSR_53_LARGE, "align": "middle"},
            "align is 'middle', expected one of features, pairs, outputs",
        ),
        ({"architecture": XLSR_53_LARGE, "frozen": "half"}, "frozen is 'half'"),
        ({"architecture": XLSR_53_LARGE, "layer": -2}, "layer is -2"),
        (
            {"architecture": XLSR_53_LARGE, "window": 4.0, "context": 2.0},
            "window 4.0 s must be more than 1 s longer",
        ),
        ({"architecture": XLSR_53_LARGE, "kind": "other"}, "expected 'pretrained'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        PretrainedConfig(**settings)


@pytest.mark.parametrize(
    ("architecture", "settings", "message"),
    [
        ({"model_type": "bert"}, {}, "type 'bert', expected one of wav2vec2, hubert"),
        ({"hidden_size": 3}, {}, "type None"),
        ({**ARCHITECTURES["wav2vec2"], "add_adapter": True}, {}, "adapter"),
        (
            {**ARCHITECTURES["wav2vec2"], "conv_dim": [3]},
            {},
            "architecture of the speech encoder: .*conv",
        ),
        (
            {**ARCHITECTURES["wav2vec2"], "num_attention_heads": 5},
            {},
            "architecture of the speech encoder: .*embed_dim",
        ),
        (
            ARCHITECTURES["wav2vec2"],
            {"layer": 4},
            "layer is 4, but the speech encoder has 3 layers",
        ),
        (WHISPER, {}, "Whisper's encoder needs 'outputs'"),
    ],
)
def test_architectures_are_checked(architecture, settings, message):
    with pytest.raises(ValueError, match=message):
        encoder(architecture, **settings)


def test_pairs_need_half_the_rate():
    with pytest.raises(ValueError, match="folds 50 Hz to 25 Hz, but the motion has 30 fps"):
        encoder(ARCHITECTURES["wavlm"], fps=30, align="pairs")


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"no speech encoder at .*expected a hub id or a folder"):
        PretrainedEncoder(PretrainedConfig(name=str(tmp_path / "nothing")), 25, WIDTH)


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "jambatalk\[encoders\]"'):
        encoder(ARCHITECTURES["wav2vec2"])


def test_the_papers_architecture_has_the_released_names():
    """Names and a few shapes on the meta device: nothing of 315 million numbers is made."""
    config = transformers.AutoConfig.for_model(**XLSR_53_LARGE)
    with torch.device("meta"):
        network = transformers.AutoModel.from_config(config)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert len(shapes) == 422
    assert shapes["masked_spec_embed"] == (1024,)
    assert shapes["feature_extractor.conv_layers.6.conv.bias"] == (512,)
    assert shapes["encoder.pos_conv_embed.conv.parametrizations.weight.original1"] == (
        1024,
        64,
        128,
    )
    assert shapes["encoder.layers.23.feed_forward.output_dense.weight"] == (1024, 4096)


@torch.no_grad()
def test_unfilled_networks_take_their_numbers_from_a_state():
    model, samples = encoder(ARCHITECTURES["wav2vec2-large"]), sound(0.5)
    with unfilled_networks():
        empty = encoder(ARCHITECTURES["wav2vec2-large"])
    assert all(p.is_meta for p in empty.network.encoder.parameters())
    empty.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(empty(samples), model(samples))
    assert not empty.network.feature_extractor.conv_layers[0].conv.weight.requires_grad
    assert empty.network.encoder.layer_norm.weight.requires_grad
    assert not any(p.is_meta for p in encoder(ARCHITECTURES["wav2vec2"]).parameters())


@family
@torch.no_grad()
def test_what_is_read_at_a_time_is_bounded(name, monkeypatch):
    model, samples = encoder(ARCHITECTURES[name], window=6.0, context=1.0), sound(40.0)
    convolved, transformed = [], []
    conv, encode = model.network.feature_extractor.conv_layers[0].conv, model.network.encoder
    conv.register_forward_hook(lambda module, args, result: convolved.append(args[0].shape[-1]))
    encode.register_forward_hook(lambda module, args, result: transformed.append(args[0].shape[1]))
    assert model(samples).shape[1] == model.frames(samples.shape[1])
    assert max(convolved) <= 250 * 320 + 80
    assert max(transformed) <= 6 * 25
    assert len(transformed) == 11


@family
def test_convolving_in_pieces_changes_nothing(name):
    model, samples = encoder(ARCHITECTURES[name], frozen="nothing"), sound(11.0, batch=2)
    with torch.no_grad():
        pieces = model(samples)
    close(pieces, model(samples), 5e-6)  # with gradients the convolutions run over the whole clip
