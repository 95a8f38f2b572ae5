"""The streaming form of Whisper's first layers: chunks, look-ahead, long streams, conversion."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jambatalk.errors import InputError
from jambatalk.models.config import MelConfig, ModelConfig, StreamingWhisperConfig
from jambatalk.models.encoders.whisper import PIECE, StreamingWhisper, WhisperLayer
from jambatalk.models.features import mel_filters
from jambatalk.models.presets import load_preset
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import named_state, state_bytes

HOP = 640
MEL: MelConfig = load_preset("base").mel
SMALL = StreamingWhisperConfig(width=32, heads=4, hidden=48, look_back=6, look_ahead=[1, 2, 0])


def encoder(config: StreamingWhisperConfig = SMALL, seed: int = 0) -> StreamingWhisper:
    torch.manual_seed(seed)
    made = StreamingWhisper(config, 25, 24, MEL).eval()
    for layer in made.steps:
        if isinstance(layer, WhisperLayer):
            torch.nn.init.normal_(layer.distance)
    made.norm.start.fill_(-9.0)
    return made


def sound(seconds: float, seed: int = 1, batch: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    frames = round(seconds * 25)
    level = rng.uniform(0.001, 0.2, (batch, frames)).repeat(HOP, axis=1)
    return torch.from_numpy((rng.standard_normal((batch, frames * HOP)) * level).astype(np.float32))


@torch.no_grad()
def in_pieces(made: StreamingWhisper, samples: torch.Tensor, hops: int) -> torch.Tensor:
    state, parts = made.init_state(len(samples)), []
    for piece in samples.split(hops * HOP, dim=1):
        x, state = made(piece, state)
        parts.append(x)
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("hops", [1, 3, 7])
def test_pieces_make_the_whole(hops: int) -> None:
    made, samples = encoder(), sound(3.0, batch=2)
    with torch.no_grad():
        whole, _ = made(samples, made.init_state(2))
    assert torch.allclose(in_pieces(made, samples, hops), whole, atol=2e-5)
    assert torch.isfinite(whole).all()


def test_clips_longer_than_a_piece_are_the_same() -> None:
    made, samples = encoder(), sound(2 * PIECE / 50 + 1)
    with torch.no_grad():
        whole, _ = made(samples, made.init_state(1))
    with torch.enable_grad():  # training takes the whole clip at once
        at_once, _ = made(samples, made.init_state(1))
    assert torch.allclose(whole, at_once, atol=2e-5)


def test_frames_depend_on_the_window_alone() -> None:
    """Vector t sees what its layers attend to: sum(look_ahead) frames after its own, and no more
    than layers * look_back before it (besides the running level, kept constant here)."""
    made = encoder()
    mel = torch.randn(1, 4 * 60, MEL.bands)
    changed = mel.clone()
    at = 4 * 30
    changed[:, at:] += 1.0
    with torch.no_grad():
        one, _ = made.encode_normalized(mel, made.init_contexts(1))
        two, _ = made.encode_normalized(changed, made.init_contexts(1))
    moved = (one - two).abs().amax(-1)[0] > 1e-6
    first = int(torch.where(moved)[0][0])
    assert first == 30  # the vector of the hop in which the sound changes, none before it
    pulse = mel.clone()
    pulse[:, at] += 1.0
    with torch.no_grad():
        three, _ = made.encode_normalized(pulse, made.init_contexts(1))
    touched = torch.where((one - three).abs().amax(-1)[0] > 1e-6)[0]
    reach = len(SMALL.look_ahead) * SMALL.look_back + sum(SMALL.look_ahead)  # frames of 20 ms
    assert int(touched[0]) >= 30
    assert int(touched[-1]) <= 30 + -(-(reach + 2) // 2)


def test_a_stream_of_hours_stays_as_it_is() -> None:
    """What is known of the past is bounded: the same sound gives the same vectors at any time."""
    made = encoder(replace(SMALL, look_back=3))
    once = torch.randn(1, 4 * 30, MEL.bands)
    with torch.no_grad():
        early, state = made.encode_normalized(once, made.init_contexts(1))
        size = state_bytes(state)
        for _ in range(100):
            late, state = made.encode_normalized(once, state)
    assert state_bytes(state) == size
    assert torch.allclose(early[:, 15:], late[:, 15:], atol=1e-5)
    frames = [value for name, value in named_state(state).items() if name.endswith("frames")]
    assert len(frames) == len(SMALL.look_ahead)
    assert max(int(value) for value in frames) < 20


def test_the_start_of_a_stream_is_finite_and_trained_through() -> None:
    made = encoder()
    made.train()
    x, _ = made(sound(0.4), made.init_state(1))
    assert torch.isfinite(x).all()
    x.square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_network_of_the_preset_streams() -> None:
    preset = load_preset("base")
    config: ModelConfig = replace(
        preset,
        encoder=replace(SMALL, look_ahead=[2, 2, 3, 3]),
        decoder=replace(preset.decoder, width=24, heads=2, mlp_hidden=16, expert_hidden=8),
    )
    torch.manual_seed(3)
    model = SpeechToMotion(config).eval()
    torch.nn.init.normal_(model.head.weight)
    samples = sound(2.0)
    with torch.no_grad():
        whole, _ = model(samples, model.init_state(1))
        state, parts = model.init_state(1), []
        for piece in samples.split(HOP, dim=1):
            y, state = model(piece, state)
            parts.append(y)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=5e-5)
    assert config.look_ahead_ms == 240


def test_settings_that_do_not_fit() -> None:
    for change in ({"heads": 5}, {"look_ahead": []}, {"look_ahead": [-1]}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            replace(SMALL, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="whole number"):
        replace(load_preset("base"), fps=30)


def test_slaney_filters_have_area_one() -> None:
    filters = mel_filters(MEL)
    assert filters.shape == (201, 80)
    width = 16000 / MEL.fft
    wide = filters[:, 40:].sum(0) * width  # narrow filters fall between the bins
    assert torch.allclose(wide, torch.ones(40), atol=0.1)


def test_the_level_alone_is_normalized() -> None:
    made = encoder()
    rng = torch.Generator().manual_seed(0)
    color = torch.linspace(-3, 3, MEL.bands)
    mel = torch.randn(1, 600, MEL.bands, generator=rng) + color - 4.0
    mel[:, ::3] -= 6.0
    out = [made.norm(mel + gain, made.norm.init_state(1))[0][:, 300:] for gain in (0.0, -5.0)]
    assert torch.allclose(out[0], out[1], atol=0.2)  # louder or fainter: the same
    assert float(out[0].mean((0, 1)).diff().mean()) == pytest.approx(6 / 79, abs=0.02)  # the color


# Conversion


def script() -> Any:
    path = Path(__file__).parents[2] / "tools" / "convert_whisper.py"
    spec = importlib.util.spec_from_file_location("convert_whisper", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_ctranslate2(path: Path, variables: dict[str, np.ndarray]) -> None:
    """A file as CTranslate2 writes it, version 6."""

    def text(value: str) -> bytes:
        raw = value.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        parts += [
            text(name),
            struct.pack("<B", value.ndim),
            struct.pack(f"<{value.ndim}I", *value.shape),
            struct.pack("<BI", {"float16": 4, "float32": 0}[value.dtype.name], value.nbytes),
            value.tobytes(),
        ]
    path.write_bytes(b"".join(parts) + struct.pack("<I", 0))


def test_a_file_of_ctranslate2_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    variables = {
        "encoder/a/weight": rng.standard_normal((3, 4)).astype(np.float16),
        "encoder/b/bias": rng.standard_normal(5).astype(np.float32),
    }
    write_ctranslate2(tmp_path / "model.bin", variables)
    found = script().read_ctranslate2(tmp_path / "model.bin")
    assert found.keys() == variables.keys()
    for name, value in variables.items():
        assert np.array_equal(found[name], value)
    (tmp_path / "old.bin").write_bytes(struct.pack("<I", 2))
    with pytest.raises(InputError, match="version 2"):
        script().read_ctranslate2(tmp_path / "old.bin")


def test_converted_weights_are_whispers_own(tmp_path: Path) -> None:
    """With one layer whose window holds the whole clip, nothing else differs from Whisper's."""
    tool = script()
    rng = np.random.default_rng(1)
    width, hidden = 512, 2048

    def normal(*shape: int, scale: float = 0.05) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    at = "encoder/layer_0/"
    variables = {
        "encoder/conv1/weight": normal(width, 80, 3),
        "encoder/conv1/bias": normal(width),
        "encoder/conv2/weight": normal(width, width, 3),
        "encoder/conv2/bias": normal(width),
        "encoder/position_encodings/encodings": np.zeros((1500, width), np.float32),
        f"{at}self_attention/layer_norm/gamma": normal(width) + 1,
        f"{at}self_attention/layer_norm/beta": normal(width),
        f"{at}self_attention/linear_0/weight": normal(3 * width, width),
        f"{at}self_attention/linear_0/bias": np.concatenate(
            [normal(width), np.zeros(width, np.float32), normal(width)]
        ),
        f"{at}self_attention/linear_1/weight": normal(width, width),
        f"{at}self_attention/linear_1/bias": normal(width),
        f"{at}ffn/layer_norm/gamma": normal(width) + 1,
        f"{at}ffn/layer_norm/beta": normal(width),
        f"{at}ffn/linear_0/weight": normal(hidden, width),
        f"{at}ffn/linear_0/bias": normal(hidden),
        f"{at}ffn/linear_1/weight": normal(width, hidden),
        f"{at}ffn/linear_1/bias": normal(width),
    }
    config = StreamingWhisperConfig(look_back=31, look_ahead=[31])
    made = StreamingWhisper(config, 25, 8, MEL).eval()
    made.steps.load_state_dict(made.steps.state_dict() | tool.converted(variables, 1))
    whisper = tool.Whisper(variables)
    features = torch.randn(64, 80)
    stem = whisper.stem(features)
    theirs, _ = whisper.layer(stem, 0)
    with torch.no_grad():
        # One feature frame later, causal convolutions are at Whisper's places.
        x = torch.nn.functional.pad(features, (0, 0, 1, 1))[None]
        for step in list(made.steps)[:2]:
            x, _ = step(x, step.init_state(1))
        # But for the first: Whisper pads between its convolutions.
        assert torch.allclose(x[0, 2:33], stem[1:], atol=1e-4)
        layer = made.steps[2]
        ours, _ = layer(stem[None], layer.init_state(1))
    # The window of the first frame holds all 32, and those before it do not exist.
    assert torch.allclose(ours[0, 31], theirs[0], atol=1e-3)
    assert float(theirs[0].std()) > 0.1


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    made = encoder()
    path = tmp_path / "whisper.safetensors"
    kept = {name: value.clone() for name, value in made.steps.state_dict().items()}
    save_file(kept, path)
    again = StreamingWhisper(replace(SMALL, weights=str(path)), 25, 24, MEL)
    assert all(torch.equal(again.steps.state_dict()[name], kept[name]) for name in load_file(path))
    assert again.filled_config().weights == ""
    with pytest.raises(InputError, match="does not fit"):
        StreamingWhisper(replace(SMALL, width=16, weights=str(path)), 25, 24, MEL)
    with pytest.raises(InputError, match="nowhere"):
        StreamingWhisper(replace(SMALL, weights=str(tmp_path / "nowhere")), 25, 24, MEL)
