"""``jambatalk export``: a file that animates, and one line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jambatalk.export.export import Parity
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.models.config import DecoderConfig, ModelConfig
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion
from running import run, write_wav


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_exported_network_animates_as_its_weights_do(small_weights, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f'{package} is missing: pip install "jambatalk[onnx]"')
    outcome = run("export", "step.onnx", "--model", small_weights)
    assert outcome.status == 0
    assert "step.onnx: float32" in outcome.out
    assert (
        "640 samples of 1 stream and gives 52 values a frame at 25 frames a second" in outcome.out
    )
    assert "against the network, over 1.0 s of speech: largest difference" in outcome.out
    assert [path.name for path in tmp_path.iterdir()] == ["step.onnx"]
    wav = write_wav(tmp_path / "talk.wav", 1.3)
    motions = []
    for model, name in ((small_weights, "torch.npz"), ("step.onnx", "onnx.npz")):
        assert run("animate", wav, "-o", name, "--model", model).status == 0
        motions.append(Motion.load(name).weights)
    assert abs(motions[0] - motions[1]).max() < 1e-4
    described = run("animate", wav, "-o", "again.npz", "--model", "step.onnx", "--json")
    assert json.loads(described.out)["model"]["look_ahead_ms"] == 200


def test_torch_program(small_weights, tmp_path):
    outcome = run("export", "folder/step.pt2", "--model", small_weights, "--batch", 2)
    assert outcome.status == 0
    assert "640 samples of 2 streams" in outcome.out
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["step.pt2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["step.tflite"],
            "cannot export to step.tflite: unknown extension '.tflite', expected .onnx or .pt2",
        ),
        (["step"], "unknown extension '(none)'"),
        (
            ["step.pt2", "--int8"],
            "cannot write step.pt2 with --int8: only .onnx files can be quantized",
        ),
        (["step.onnx", "--batch", "0"], "batch is 0, expected at least 1"),
        (["step.onnx", "--model", "none.safetensors"], "no weights at none.safetensors"),
        (["a_folder.onnx"], "cannot write a_folder.onnx: it is a folder"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    Path("a_folder.onnx").mkdir()
    assert message in run("export", *arguments).error
    assert [path.name for path in tmp_path.iterdir()] == ["a_folder.onnx"]


def test_networks_that_cannot_run_hop_by_hop(tmp_path):
    from jambatalk.models.checkpoint import save_weights

    decoder = DecoderConfig(
        pattern="T", width=32, heads=2, kv_heads=1, mlp_hidden=32, attention="full"
    )
    save_weights(
        "whole.safetensors",
        SpeechToMotion(ModelConfig(look_ahead="full", decoder=decoder)),
        ARKIT_NAMES,
        {},
    )
    error = run("export", "step.onnx", "--model", "whole.safetensors").error
    assert (
        "whole.safetensors cannot be exported: it needs the whole clip before it gives motion"
        in error
    )
    assert [path.name for path in tmp_path.iterdir()] == ["whole.safetensors"]


def test_a_failed_comparison_writes_nothing(small_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "jambatalk.export.export.compare", lambda *_: Parity(largest=0.5, mean=0.1, frames=25)
    )
    error = run("export", "step.pt2", "--model", small_weights).error
    assert (
        "moves differently from the network by 0.5, expected at most 0.0001: nothing was written "
        "to step.pt2" in error
    )
    assert list(tmp_path.iterdir()) == []


def test_old_torch_is_named(monkeypatch):
    monkeypatch.setattr("torch.__version__", "2.4.1+cpu")
    assert (
        "exporting needs torch 2.6 or newer, this is 2.4.1+cpu" in run("export", "step.onnx").error
    )
