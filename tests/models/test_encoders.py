"""The registry of speech encoders: an encoder that is added there works wherever one is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from jambatalk.baselines import load_baseline, make_baseline, save_baseline
from jambatalk.baselines.bigru import VertexBiGRUConfig
from jambatalk.cli.main import app
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights, save_weights
from jambatalk.models.config import (
    DecoderConfig,
    EncoderConfig,
    MelConfig,
    ModelConfig,
    PretrainedConfig,
    SpeechEncoderConfig,
)
from jambatalk.models.encoders import ENCODERS, encode_clip, make_encoder
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import named_state

DECODER = DecoderConfig(
    pattern="M mamba+moe T",
    width=16,
    mlp_hidden=16,
    heads=2,
    kv_heads=1,
    window=8,
    experts=2,
    expert_hidden=8,
)
WAV2VEC2 = {
    "model_type": "wav2vec2",
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [12] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


class Loudness(nn.Module):
    """A streaming encoder: the mean level of each hop and of the hop before."""

    def __init__(self, config: Any, fps: float, width: int, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.hop = config, round(16000 / fps)
        self.project = nn.Linear(2, width)

    def filled_config(self) -> Any:
        return self.config

    def init_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 1)

    def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        level = samples.unflatten(1, (-1, self.hop)).abs().mean(2)  # (B, T)
        before = torch.cat([state, level], 1)
        return self.project(torch.stack([level, before[:, :-1]], -1)), before[:, -1:]


class RelativeLevel(nn.Module):
    """A whole-clip encoder: the hop's mean level relative to that of the clip."""

    def __init__(self, config: Any, fps: float, width: int, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.hop = config, round(16000 / fps)
        self.project = nn.Linear(1, width)

    def filled_config(self) -> Any:
        return replace(self.config, note="filled in")

    def forward(self, samples: Tensor, frames: int | None = None) -> Tensor:
        count = samples.shape[1] // self.hop if frames is None else frames
        padded = nn.functional.pad(samples, (0, max(count * self.hop - samples.shape[1], 0)))
        level = padded[:, : count * self.hop].unflatten(1, (-1, self.hop)).abs().mean(2)
        return self.project((level / samples.abs().mean(1, keepdim=True))[..., None])


@pytest.fixture
def toys() -> Iterator[dict[str, SpeechEncoderConfig]]:
    """Two encoders added as a user would: settings, a module, a line in ENCODERS."""

    @dataclass(frozen=True)
    class LoudnessConfig(SpeechEncoderConfig):
        kind: str = "loudness"

    @dataclass(frozen=True)
    class RelativeLevelConfig(SpeechEncoderConfig):
        kind: str = "relative"
        note: str = ""
        streaming: ClassVar[bool] = False

    ENCODERS["loudness"] = Loudness
    ENCODERS["relative"] = RelativeLevel
    yield {"loudness": LoudnessConfig(), "relative": RelativeLevelConfig()}
    for kind in ("loudness", "relative"):
        del ENCODERS[kind], SpeechEncoderConfig.kinds[kind]


def _network(encoder: SpeechEncoderConfig) -> SpeechToMotion:
    live = encoder.streaming
    decoder = DECODER if live else replace(DECODER, attention="full")
    torch.manual_seed(0)
    model = SpeechToMotion(
        ModelConfig(
            fps=25,
            delay=2 if live else 0,
            look_ahead="delay" if live else "full",
            outputs=6,
            encoder=encoder,
            decoder=decoder,
        )
    )
    nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.mark.parametrize("kind", ["loudness", "relative"])
def test_a_new_encoder_runs_in_network_baseline_and_info(
    kind: str, toys: dict[str, SpeechEncoderConfig], tmp_path: Any
) -> None:
    model, sound = _network(toys[kind]), torch.randn(2, 640 * 30)
    save_weights(tmp_path / "net.safetensors", model, (), {})
    again, _, _ = load_weights(tmp_path / "net.safetensors")
    with torch.inference_mode():
        y, _ = model.forward_offline(sound)
        assert y.shape == (2, 30, 6)
        assert float(y.std()) > 0.1
        assert torch.equal(again.forward_offline(sound)[0], y)
    assert again.config.encoder.kind == kind

    settings = VertexBiGRUConfig(
        outputs=6,
        width=8,
        hidden=8,
        layers=1,
        delay=2 if kind == "loudness" else 0,
        dropout=0.0,
        encoder=toys[kind],
    )
    torch.manual_seed(0)
    baseline = make_baseline(settings).eval()
    save_baseline(tmp_path / "b.safetensors", baseline, {"steps": 0})
    loaded, notes = load_baseline(tmp_path / "b.safetensors")
    assert notes == {"steps": 0}
    assert torch.equal(loaded.animate(sound, 30), baseline.animate(sound, 30))

    shown = CliRunner().invoke(app, ["info", str(tmp_path / "net.safetensors"), "--json"])
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.output)
    assert facts["encoder"] == kind
    assert [layer["letter"] for layer in facts["layers"]] == ["M", "mamba+moe", "T"]


def test_a_new_streaming_encoder_streams(toys: dict[str, SpeechEncoderConfig]) -> None:
    model, sound = _network(toys["loudness"]), torch.randn(1, 640 * 24)
    with torch.inference_mode():
        whole, _ = model(sound, model.init_state(1))
        state, parts = model.init_state(1), []
        for piece in sound.split(640 * 7, dim=1):
            y, state = model(piece, state)
            parts.append(y)
        offline, _ = model.forward_offline(sound, 22)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(offline, whole[:, 2:], rtol=1e-5, atol=1e-5)
    assert list(named_state(state))[:2] == ["speech", "decoder.0.conv"]
    assert model.fixed_state


def test_unknown_kinds_are_named(toys: dict[str, SpeechEncoderConfig], tmp_path: Any) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("extends: base\nencoder: {kind: telepathy}\n")
    result = CliRunner().invoke(app, ["info", str(path)])
    assert result.exit_code == 2
    assert (
        "kind: streaming or streaming-whisper or pretrained or loudness or relative"
        in result.output
    )


def test_delay_pads_with_silence_and_cuts_what_is_beyond() -> None:
    encoder = make_encoder(EncoderConfig(widths=[8, 8], blocks=1), MelConfig(bands=8), 25, 4).eval()
    sound = 0.1 * torch.randn(1, 640 * 9 + 100)
    with torch.inference_mode():
        found = encode_clip(encoder, sound, None, 3, 25)
        pieces = encode_clip(encoder, sound, None, 3, 25, piece=4)
        padded = torch.nn.functional.pad(sound, (0, 640 * 13 - sound.shape[1]))
        wanted, _ = encoder(padded, encoder.init_state(1))
        short = encode_clip(encoder, sound, 5, 3, 25)
    assert found.shape == (1, 10 + 3, 4)
    assert torch.equal(found, wanted)
    torch.testing.assert_close(pieces, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(short, wanted[:, :8], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["bigru", "voca", "faceformer", "codetalker", "facediffuser"])
def test_a_baseline_with_a_pretrained_encoder_is_loaded_again(kind: str, tmp_path: Any) -> None:
    """Networks built for loading have no numbers of their own, so they must take the file's."""
    pytest.importorskip("transformers")
    from jambatalk.baselines import baseline_class

    config = baseline_class(kind).Config(
        kind=kind,
        fps=25,
        outputs=12,
        delay=0,
        subjects=["a"],
        encoder=PretrainedConfig(architecture=WAV2VEC2, align="outputs"),
    )
    torch.manual_seed(0)
    network = make_baseline(config).eval()
    save_baseline(tmp_path / "b.safetensors", network, {"steps": 3})
    again, notes = load_baseline(tmp_path / "b.safetensors")
    assert notes == {"steps": 3}
    saved, found = network.state_dict(), again.state_dict()
    assert saved.keys() == found.keys()
    assert all(torch.equal(saved[name], found[name]) for name in saved)
    sound = torch.randn(1, 8000)
    assert torch.equal(again.hearing(sound, 12), network.hearing(sound, 12))


def test_a_layer_of_experts_over_causal_attention_has_no_fixed_state() -> None:
    from jambatalk.models.state import StreamingStep

    settings = replace(DECODER, pattern="M G", attention="causal")
    model = SpeechToMotion(ModelConfig(outputs=6, decoder=settings))
    assert not model.fixed_state
    with pytest.raises(ValueError, match="no fixed size"):
        StreamingStep(model)
    without = replace(settings, pattern="M E")
    assert SpeechToMotion(ModelConfig(outputs=6, decoder=without)).fixed_state


def test_words_of_a_pattern_are_the_letters_layers() -> None:
    letters = replace(DECODER, pattern="M E T D G F X")
    words = "mamba+mlp mamba+moe attention+mlp mamba+dense attention+moe none+mlp none+moe"
    models = []
    for decoder in (letters, replace(letters, pattern=words)):
        torch.manual_seed(1)
        models.append(SpeechToMotion(ModelConfig(outputs=6, decoder=decoder)).state_dict())
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
    with pytest.raises(InputError, match=r"mamba\+telepathy.*mixers mamba, attention, none"):
        SpeechToMotion(ModelConfig(decoder=replace(DECODER, pattern="M mamba+telepathy")))
