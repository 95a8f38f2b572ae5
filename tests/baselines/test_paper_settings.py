"""Every *-paper.yaml with its pretrained encoder: made, saved, loaded, the same motion again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed")

from jambatalk.baselines import baseline_config, load_baseline, make_baseline, save_baseline
from jambatalk.config import CONFIGS
from jambatalk.models.checkpoint import load_weights, save_weights
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.training.config import load_train_config
from jambatalk.training.smoke_test import smoke_config
from tiny_speech import LETTERS, save_wav2vec2_ctc

BASELINES = sorted(path.stem for path in (CONFIGS / "baselines").glob("*-paper.yaml"))
VERTICES, LARGEST = 40, 64


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wav2vec2_ctc(tmp_path_factory.mktemp("speech") / "wav2vec2")


def small(values: dict[str, Any], speech: Path) -> dict[str, Any]:
    """The committed settings with widths of at most 64 and the tiny speech network."""
    found = {
        key: min(value, LARGEST)
        if type(value) is int and ("width" in key or "inner" in key)
        else value
        for key, value in values.items()
    }
    found["outputs"] = 3 * VERTICES
    found["encoder"] = {**found["encoder"], "name": str(speech)}
    if "recognizer" in found:
        found |= {"recognizer": str(speech), "letters": len(LETTERS), "lips": [1, 2, 3]}
    return found


def test_all_of_them_are_here() -> None:
    assert BASELINES == [
        "codetalker-paper",
        "facediffuser-paper",
        "faceformer-paper",
        "selftalk-paper",
        "voca-paper",
    ]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_saved_is_a_baseline_loaded(name: str, speech: Path, tmp_path: Path) -> None:
    train = smoke_config(load_train_config(CONFIGS / "baselines" / f"{name}.yaml"))
    config = baseline_config(small(train.baseline, speech), name)
    torch.manual_seed(0)
    network = make_baseline(replace(config, subjects=["a", "b"])).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():  # outputs that start at zero would hide what is lost
                torch.nn.init.normal_(parameter, std=0.1)
    save_baseline(tmp_path / "it.safetensors", network, {})
    again, _ = load_baseline(tmp_path / "it.safetensors")
    assert not [n for n, p in again.state_dict().items() if p.is_meta]
    samples = torch.randn(1, 16000, generator=torch.Generator().manual_seed(1)) * 0.1
    with torch.inference_mode():
        one, other = (net.animate(samples, 25, seed=3) for net in (network, again))
    assert one.abs().max() > 0
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["paper-vocaset", "paper-biwi6"])
def test_the_papers_network_saved_and_loaded(name: str, speech: Path, tmp_path: Path) -> None:
    changes = (f"model.encoder.name={speech}", f"model.outputs={3 * VERTICES}")
    sizes = ("width=32", "mlp_hidden=32", "expert_hidden=32")
    train = load_train_config(
        CONFIGS / f"{name}.yaml", [*changes, *(f"model.decoder.{size}" for size in sizes)]
    )
    network = SpeechToMotion(train.model).eval()
    torch.nn.init.normal_(network.head.weight, std=0.1)
    save_weights(tmp_path / "it.safetensors", network, (), {})
    again, _, _ = load_weights(tmp_path / "it.safetensors")
    samples = torch.randn(1, 16000) * 0.1
    with torch.inference_mode():
        one, other = (net.forward_offline(samples)[0] for net in (network, again))
    assert one.abs().max() > 0
    torch.testing.assert_close(one, other)


def test_trying_a_diffusion_out_takes_few_of_its_steps() -> None:
    train = load_train_config(CONFIGS / "baselines" / "facediffuser-paper.yaml")
    assert train.baseline["sample_steps"] == 0
    tried = smoke_config(train).baseline
    assert tried["sample_steps"] == 2
    assert {**tried, "sample_steps": 0} == train.baseline
