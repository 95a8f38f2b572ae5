"""``jambatalk train`` on a corpus made up on the spot: resume, single settings, what is refused,
and the smoke run.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import av
import pytest
import torch
import yaml
from typer.testing import CliRunner

from jambatalk.cli.main import app
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.training.config import BlendshapesConfig, LossConfig, TrainConfig, load_train_config
from jambatalk.training.smoke_test import check_memory, smoke_config
from small_network import SMALL
from tiny_grid import write_grid

SETTINGS = """
steps: 4
batch: 4
warmup: 1
validate_every: 2
save_every: 2
samples: 0
shapes: {sequence: 25, variants: 2}
model:
  mel: {bands: 24}
  encoder: {widths: [16, 24], blocks: 1, kernel: 5}
  decoder: {width: 32, mlp_hidden: 48, heads: 4, kv_heads: 2, window: 16, expert_hidden: 32}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and two corpora."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "tiny.yaml").write_text(SETTINGS)
    write_grid(
        folder / "one",
        default_head(),
        (("a1", "s1", "train"), ("a2", "s1", "train"), ("b1", "s1", "val")),
    )
    write_grid(folder / "two", default_head(), (("c1", "s2", "train"), ("d1", "s2", "val")))
    return folder


def _train(place: Path, *arguments: object) -> tuple[int, str]:
    """(status, what it says)."""
    words = ["train", str(place / "tiny.yaml"), *map(str, arguments)]
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.stderr.split())


def test_two_corpora_train_and_the_same_command_resumes(place: Path, tmp_path: Path) -> None:
    both = ("--data", place / "one", "--data", place / "two", "--run", tmp_path / "run")
    status, said = _train(
        place,
        *both,
        "-o",
        tmp_path / "mine.safetensors",
        "--set",
        "blendshapes.loss.gap=0.75",
        "--set",
        "seed=3",
    )
    assert status == 0, said
    notes = load_weights(tmp_path / "mine.safetensors")[2]
    assert (notes["train"]["seed"], notes["train"]["blendshapes"]["loss"]["gap"]) == (3, 0.75)
    assert (
        torch.load(tmp_path / "run" / "last.pt", weights_only=True)["data_hash"]
        == notes["data_hash"]
    )
    status, said = _train(place, *both, "--set", "blendshapes.loss.gap=0.75", "--set", "seed=3")
    assert status == 0
    assert "at step 4" in said
    assert said.startswith("training on cpu in precision 32, 1 process(es), kernels: numba (")
    status, said = _train(place, *both, "--set", "blendshapes.loss.gap=0.75", "--set", "seed=4")
    assert status == 2
    assert "seed was 3, is 4" in said


def test_smoke_runs_everything(place: Path, tmp_path: Path) -> None:
    begin = tmp_path / "first"
    assert _train(place, "--data", place / "two", "--run", begin, "--steps", "1")[0] == 0
    status, said = _train(
        place,
        "--data",
        place / "one",
        "--run",
        tmp_path / "small",
        "--smoke",
        "--init",
        begin / "final.safetensors",
    )
    assert status == 0, said
    assert "resumed at step 4; step 5 once more gives the same loss" in said
    rows = [
        json.loads(line) for line in (tmp_path / "small" / "log.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert "val_opening" in rows[2]
    assert load_weights(tmp_path / "small" / "final.safetensors")[2]["steps"] == 6
    with av.open(str(tmp_path / "small" / "sample.mp4")) as film:
        assert sorted(stream.type for stream in film.streams) == ["audio", "video"]
        assert abs(sum(1 for _ in film.decode(video=0)) - 40) <= 2  # as long as the clip
    assert (tmp_path / "small" / "tensorboard").is_dir()
    status, said = _train(place, "--data", place / "one", "--run", tmp_path / "small", "--smoke")
    assert status == 2
    assert "already holds a run" in said


def test_smoke_cuts_the_data_and_leaves_the_network() -> None:
    config = TrainConfig(
        batch_size=32,
        accumulate_grad_batches=4,
        blendshapes=BlendshapesConfig(sequence_length=150, loss=LossConfig(gap=0.7)),
    )
    small = smoke_config(config, processes=2)
    assert small.model == config.model
    assert small.blendshapes.loss == config.blendshapes.loss
    assert small.blendshapes.sequence_length < 60
    assert small.batch_size == 8  # one sequence for each part of each process
    assert smoke_config(config).batch_size == 4


def test_a_network_too_large_for_the_machine_is_refused() -> None:
    network = SpeechToMotion(SMALL)
    check_memory(network, None)
    check_memory(network, 10**9)
    with pytest.raises(
        InputError, match=r"parameters, which need 0\.00\d+ GB to train, but 0\.001 GB are free"
    ):
        check_memory(network, 10**6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", "'steps' was given as a setting, expected key=value"),
        ("blendshapes.gap=1", "unknown setting 'gap'"),
        ("seed.deeper=1", "sets a part of seed, which is 5"),
        ("steps=[", "no value that is valid YAML"),
        ("steps=0", "steps is 0"),
        (".steps=3", "expected key=value"),
    ],
)
def test_wrong_single_settings_are_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("seed: 5\n")
    with pytest.raises(InputError) as caught:
        load_train_config(path, [change])
    assert message in str(caught.value)


def test_names_that_are_digits_need_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("precision: 16\n")
    assert load_train_config(path).precision == "16"
    assert load_train_config(path, ["precision=32"]).precision == "32"


def test_single_settings_reach_into_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("model: {extends: base}\n")
    config = load_train_config(
        path, ["model.decoder.width=96", "learning_rate=1e-5", "early_stopping.patience=3"]
    )
    assert (config.model.decoder.width, config.model.decoder.window) == (96, 64)
    assert (config.learning_rate, config.early_stopping.patience) == (1e-5, 3)


def test_a_missing_package_is_named_by_the_command(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    status, said = _train(place, "--data", place / "one", "--run", tmp_path)
    assert status == 2
    assert 'pip install "jambatalk[train]"' in said


def test_the_page_on_training_names_every_setting_and_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/training.md").read_text(encoding="utf-8")
    table = {}
    for names, defaults in re.findall(
        r"^\| (`[^|]*`) \|([^|]*)\|", page.split("\n## Settings")[1].split("\n## ")[0], re.M
    ):
        found = re.findall(r"`(\w+)`", names)
        shown = (
            yaml.safe_load(f"[{defaults}]")
            if len(found) > 1
            else [yaml.safe_load(defaults.strip(" `"))]
        )
        table |= dict(zip(found, shown, strict=True))
    config = TrainConfig()
    assert table.keys() == {field.name for field in fields(config)}
    for name, shown in table.items():
        value = getattr(config, name)
        if is_dataclass(value):
            assert shown is None or shown == {key: getattr(value, key) for key in shown}
        elif isinstance(value, float):
            assert float(shown) == value
        else:
            assert type(value)(shown) == value
