"""Weights on disk: exact round trip, and one clear sentence for every kind of damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.models.checkpoint import load_weights, save_weights
from jambatalk.models.speech_to_motion import SpeechToMotion


def test_round_trip(small_weights: Path) -> None:
    model, names, notes = load_weights(small_weights)
    assert names == ARKIT_NAMES
    assert notes == {"made": "random, for tests"}
    assert not model.training
    again, _, _ = load_weights(small_weights)
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


def test_damage_is_named(small_weights: Path, tmp_path: Path) -> None:
    data = small_weights.read_bytes()
    cases = {
        "missing": (None, "no weights at"),
        "empty": (b"", "damaged"),
        "text": (b"these are not weights", "damaged"),
        "cut": (data[: len(data) // 2], "damaged"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            load_weights(path)
        assert "\n" not in str(caught.value)


def test_foreign_and_unfit_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not written by jambatalk"):
        load_weights(path)
    save_file(
        {"x": torch.zeros(2)},
        path,
        {"format": "jambatalk-1", "config": "{}", "names": "[]", "notes": "{}"},
    )
    with pytest.raises(InputError, match="does not fit"):
        load_weights(path)
    save_file(
        {}, path, {"format": "jambatalk-1", "config": '{"heads": 3}', "names": "[]", "notes": "{}"}
    )
    with pytest.raises(InputError, match="unknown setting 'heads'"):
        load_weights(path)


@pytest.mark.parametrize(
    ("part", "text", "words"),
    [
        ("names", "null", "names are None"),
        ("names", "[1, 2]", "names are"),
        ("names", '["a", "b"]', "2 different names for 52 outputs"),
        ("names", "[", "names"),
        ("notes", "[]", "notes is"),
        ("config", "null", "config is None"),
        ("config", "[1]", "config is"),
        ("config", '{"fps": 3e38}', "fps is 3e\\+38, expected int"),
        ("config", '{"fps": NaN}', "fps is nan, expected int"),
        ("config", '{"mel": {"floor": NaN}}', "floor is nan, expected a finite number"),
        ("config", '{"mel": {"rate": 1e999}}', "rate is inf, expected a finite number"),
        ("config", '{"mel": {"high_hz": 3e38}}', "high_hz"),
        ("config", '{"mel": {"fft": 1000000000}}', "fft"),
        ("config", '{"encoder": 3}', "expected settings with kind"),
        ("config", '{"encoder": {"kind": ["streaming"]}}', "expected settings with kind"),
        ("config", '{"encoder": {"widths": [1e9, 2]}}', "expected int"),
        (
            "config",
            '{"decoder": {"width": 1000000000000}}',
            "width is 1000000000000, expected 1 to",
        ),
        ("config", '{"decoder": {"pattern": "M Q"}}', "layer pattern 'M Q'"),
        ("config", '{"styles": {"a": 1}}', "expected a list"),
        ("config", "[" * 5000, "config"),
        ("config", '{"fps": 1' + "0" * 5000 + "}", "config|fps"),
    ],
)
def test_damaged_metadata_is_one_sentence(
    small_weights: Path, tmp_path: Path, part: str, text: str, words: str
) -> None:
    with safe_open(small_weights, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "bad.safetensors", metadata | {part: text})
    with pytest.raises(InputError, match=words) as caught:
        load_weights(tmp_path / "bad.safetensors")
    message = str(caught.value)
    assert "bad.safetensors" in message
    assert "\n" not in message
    assert len(message) < 600


def test_int8_matrices_keep_the_motion(small_weights: Path, tmp_path: Path) -> None:
    model, names, notes = load_weights(small_weights)
    wide = replace(
        model.config, decoder=replace(model.config.decoder, mlp_hidden=512, expert_hidden=512)
    )
    torch.manual_seed(0)
    network = SpeechToMotion(wide).eval()
    torch.nn.init.normal_(network.head.weight, std=0.05)
    sizes = {}
    for name, how in {
        "full": {},
        "half": {"half": True},
        "int8": {"half": True, "int8": True},
    }.items():
        path = tmp_path / f"{name}.safetensors"
        save_weights(path, network, names, notes, **how)
        sizes[name] = path.stat().st_size
    assert sizes["int8"] < 0.8 * sizes["half"] < 0.5 * sizes["full"]
    again = load_weights(tmp_path / "int8.safetensors")[0]
    moved = 0
    for (name, one), other in zip(network.state_dict().items(), again.state_dict().values()):
        assert other.dtype == one.dtype
        if one.is_floating_point() and one.ndim >= 2:
            limit = one.flatten(1).abs().amax(1).view(-1, *[1] * (one.ndim - 1)) / 253.0
            assert ((one - other).abs() <= limit + 1e-3 * one.abs() + 1e-7).all(), name
            moved += int(not torch.equal(one.half().float(), other))
    assert moved
    samples = torch.randn(1, 640 * 25) * 0.1
    with torch.no_grad():
        one, _ = network(samples, network.init_state(1))
        other, _ = again(samples, again.init_state(1))
    assert float((one - other).abs().max()) < 0.02


def test_an_int8_matrix_without_its_scale_is_refused(tmp_path: Path, small_weights: Path) -> None:
    model, names, notes = load_weights(small_weights)
    path = tmp_path / "int8.safetensors"
    save_weights(path, model, names, notes)
    tensors, metadata = read_all(path)
    name = next(name for name, value in tensors.items() if value.ndim == 2)
    tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="no scale per row"):
        load_weights(path)
    tensors[f"{name}:scale"] = torch.ones(len(tensors[name]))
    tensors["nothing:scale"] = torch.ones(2)
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="belongs to no int8 matrix"):
        load_weights(path)


def read_all(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata()
