"""Suites of small trainings: read, run, killed and resumed, failed and tried again."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")

from jambatalk.cli.main import app
from jambatalk.config import CONFIGS
from jambatalk.datasets.prepare import prepare
from jambatalk.errors import InputError
from jambatalk.experiments.runner import Runner, detach, last_line, logged
from jambatalk.experiments.suite import BASE, Suite, data_hash, load_suite
from jambatalk.face.head import default_head
from jambatalk.file_lock import is_locked, locked
from jambatalk.models.speech_to_motion import SpeechToMotion, parameter_count
from jambatalk.training.config import load_train_config
from jambatalk.version import __version__
from tiny_grid import write_grid

ROOT = Path(__file__).parents[2]
GRID = CONFIGS / "grid"
CLIPS = [
    (f"s1_c{i}", "s1", split)
    for i, split in enumerate(("train", "train", "train", "val", "test_seen", "test_seen"))
]
SUITE = """
about: a test
base:
  task: vertices
  steps: 120
  batch: 2
  warmup: 2
  validate_every: 60
  save_every: 3
  samples: 0
  vertices: {spread: true, lips: {choose: file, file: regions.json}, loss: {latent: 0, ctc: 0}}
  model:
    outputs: 1404
    mel: {bands: 16}
    encoder: {widths: [8, 8], blocks: 1, kernel: 3}
    decoder:
      {pattern: M T, width: 16, mlp_hidden: 16, heads: 2, kv_heads: 1, window: 8, rope_rank: 2,
       expert_hidden: 8}
variants:
  no-mamba: {group: mixer, about: no Mamba, change: {model: {decoder: {pattern: F T}}}}
  broken: {about: lips that are not there, change: {vertices: {lips: {file: nowhere.json}}}}
left_out: {no-lip-reader: there is no recogniser here}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with suite.yaml and a corpus called data."""
    folder = tmp_path_factory.mktemp("ablation")
    write_grid(folder / "raw", default_head(), CLIPS)
    prepare("grid468", folder / "raw", folder / "data")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    return folder


def command(place: Path, *more: object) -> list[str]:
    words = [
        "ablate",
        place / "suite.yaml",
        place / "data",
        "--seeds",
        2,
        "--jobs",
        2,
        "-o",
        place / "out",
        *more,
    ]
    return [str(word) for word in words]


def until(true: object, seconds: float = 600.0) -> None:
    """Wait for what ``true()`` says; fails when it never comes."""
    for _ in range(round(seconds / 0.02)):
        if true():  # type: ignore[operator]
            return
        time.sleep(0.02)
    pytest.fail("waited in vain")


def test_killed_in_the_middle_it_goes_on_and_ends_in_a_table(place: Path) -> None:
    runner = Runner(
        load_suite(place / "suite.yaml"),
        [place / "data"],
        place / "out",
        (1, 2),
        [BASE, "no-mamba"],
    )
    only = ("--only", "no-mamba")  # what it is compared with is trained too
    program = subprocess.Popen(
        [sys.executable, "-m", "jambatalk", *command(place, *only)], stderr=subprocess.DEVNULL
    )
    folders = [runner.folder(run) for run in runner.runs]
    try:
        until(
            lambda: (
                program.poll() is not None
                or any((folder / "last.pt").exists() for folder in folders)
            )
        )
        assert program.poll() is None
        assert runner.working()
        refused = CliRunner().invoke(app, command(place, *only))
        assert refused.exit_code == 2
        assert "another process (process" in refused.stderr
    finally:
        program.kill()
        program.wait()
    # The trainings end with the program that started them, and nothing holds the folder.
    until(lambda: not any(is_locked(folder / ".lock") for folder in folders))
    assert not runner.working()
    saved = [
        folder
        for folder in folders
        if (folder / "last.pt").exists() and not (folder / "done.json").exists()
    ]
    assert saved
    assert {state.folder for state in runner.states() if state.state == "stopped"} >= set(saved)
    told = CliRunner().invoke(app, command(place, *only, "--status")).stdout
    assert "stopped" in told.splitlines()[-1]

    ended = CliRunner().invoke(app, command(place, *only))
    assert ended.exit_code == 0, ended.stderr
    for folder in folders:
        assert [row["step"] for row in logged(folder)] == list(range(1, 121))
        assert ("resumed at step" in (folder / "worker.log").read_text()) is (folder in saved)
    assert [state.state for state in runner.states()] == ["done"] * 4
    table = json.loads((place / "out" / "table.json").read_text())
    rows = {row["variant"]: row for row in table["rows"]}
    assert list(rows) == [BASE, "no-mamba"]
    for name, row in rows.items():
        network = SpeechToMotion(load_suite(place / "suite.yaml").run(name, 1).config.model)
        assert row["parameters"] == parameter_count(network)
        assert row["seeds"] == [1, 2]
        assert row["step_seconds"] > 0
        assert row["real_time_factor"] > 0
        assert {cell["split"] for cell in row["cells"]} == {"test_seen"}
    assert rows["no-mamba"]["against"] == BASE
    assert rows["no-mamba"]["cells"][0]["verdict"] == "too few clips"
    assert "left out: no-lip-reader: there is no recogniser here" in ended.stdout

    again = CliRunner().invoke(app, command(place, *only))
    assert "4 of 4 trainings are done" in again.stderr
    assert "scoring" not in again.stderr
    assert again.stdout == ended.stdout

    failed = CliRunner().invoke(app, [*command(place, "--only", "broken"), "--seeds", "1"])
    assert failed.exit_code == 1
    assert "broken, seed 1: failed, error: lips: no file nowhere.json" in failed.stderr
    assert "no-mamba" not in failed.stdout
    assert failed.stdout.splitlines()[2].startswith("base")
    assert (
        "1 done, 1 failed"
        in CliRunner()
        .invoke(app, [*command(place, "--only", "broken", "--status"), "--seeds", "1"])
        .stdout
    )


def test_detached_programs_go_on_by_themselves(tmp_path: Path) -> None:
    assert detach(["--version"], tmp_path / "new" / "log") != os.getpid()
    until(lambda: last_line(tmp_path / "new" / "log") == f"jambatalk {__version__}")


def test_one_lock_for_one_folder(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / ".lock"
    assert not is_locked(lock)
    with locked(lock, "it"):
        assert is_locked(lock)
        with (
            pytest.raises(
                InputError, match=r"another process \(process \d+ on .*\) is at work on it"
            ),
            locked(lock, "it", wait=0.15),
        ):
            pass
    assert not is_locked(lock)


def test_runs_are_known_by_all_their_settings_and_data(place: Path, tmp_path: Path) -> None:
    suite = load_suite(place / "suite.yaml")
    seen = data_hash([place / "data"])
    names = {
        suite.run(BASE, 1).folder(seen),
        suite.run(BASE, 2).folder(seen),
        suite.run("no-mamba", 1).folder(seen),
    }
    names.add(suite.run(BASE, 1).folder("other data"))
    names.add(
        load_suite(place / "suite.yaml", ["vertices.loss.velocity=3"]).run(BASE, 1).folder(seen)
    )
    names.add(load_suite(place / "suite.yaml", steps=7).run(BASE, 1).folder(seen))
    assert len(names) == 6
    assert load_suite(place / "suite.yaml").run(BASE, 1).folder(seen) in names
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.txt").write_text("a")
    before = data_hash([raw])
    (raw / "b.txt").write_text("b")
    assert data_hash([raw]) != before


def test_settings_are_laid_over_the_base(place: Path) -> None:
    suite = load_suite(place / "suite.yaml", ["vertices.loss.velocity=3"], steps=9)
    base, changed = (suite.run(name, 5).config for name in (BASE, "no-mamba"))
    assert (base.model.decoder.pattern, changed.model.decoder.pattern) == ("M T", "F T")
    assert (changed.seed, changed.steps, changed.vertices.loss.velocity) == (5, 9, 3.0)
    assert changed.model.decoder.width == base.model.decoder.width == 16
    assert suite.chosen(["no-mamba"]) == [BASE, "no-mamba"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("variants: {a: {}}", "base"),
        ("base: {steps: 3}\nvariants: {a: {chnge: {}}}", "unknown setting 'chnge'"),
        ("base: {steps: 3}\nvariants: {a: {change: {stpes: 4}}}", "a: unknown setting 'stpes'"),
        ("base: {steps: 3}\nvariants: {base: {}}", "called 'base'"),
        ("base: {steps: 3}\nvariants: {a/b: {}}", "called 'a/b'"),
        ("base: {steps: 3}\nvariants: {a: {against: c}}", "against 'c'"),
        ("base: {steps: 0}", "steps is 0"),
    ],
)
def test_mistakes_in_a_suite_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        load_suite(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="no variant 'z'"):
        Suite("x", _file(), "x").chosen(["z"])


def _file() -> object:
    from jambatalk.experiments.suite import SuiteFile

    return SuiteFile({"steps": 3})


def test_the_committed_suite_says_what_its_rows_say() -> None:
    suite = load_suite(CONFIGS / "experiments" / "ablation.yaml")
    assert suite.run(BASE, 1).config.model.outputs == 3 * 468
    configs = {name: suite.run(name, 1).config for name in suite.variants}
    with torch.device("meta"):
        sizes = {
            name: parameter_count(SpeechToMotion(config.model)) for name, config in configs.items()
        }
    decoders = {name: config.model.decoder for name, config in configs.items()}
    assert not {"M", "E", "D"} & set(decoders["no-mamba"].pattern)
    assert not {"T", "G"} & set(decoders["no-attention"].pattern)
    assert not {"E", "G", "X"} & set(decoders["no-moe"].pattern)
    base = decoders[BASE]
    # The dense part of no-moe is what a frame goes through; that of dense-mlp-equal-size is as
    # large as all experts.
    assert base.top_k * base.expert_hidden == base.mlp_hidden
    assert decoders["dense-mlp-equal-size"].dense_hidden == base.experts * base.expert_hidden
    assert abs(sizes["dense-mlp-equal-size"] / sizes[BASE] - 1) < 0.01
    assert [
        (decoders[name].heads, decoders[name].kv_heads) for name in ("mha-8-8", BASE, "mqa-8-1")
    ] == [(8, 8), (8, 2), (8, 1)]
    ahead = [
        configs[name].model.look_ahead_ms
        for name in ("look-ahead-40", "look-ahead-120", BASE, "look-ahead-full")
    ]
    assert ahead == [40, 120, 200, math.inf]
    orders = [decoders[name].pattern for name in (BASE, "order-b", "order-c", "order-d")]
    assert orders == ["M E T E M E", "E M T E M E", "M E T M E M", "E M T M E M"]


def test_the_benchmark_s_systems_differ_in_their_networks_alone() -> None:
    suite = load_suite(CONFIGS / "experiments" / "grid468.yaml")
    configs = {name: suite.run(name, 2).config for name in suite.variants}
    kinds = {name: (c.baseline or {}).get("kind") for name, c in configs.items()}
    assert kinds.pop("jambatalk-full") is kinds.pop(BASE) is None
    assert kinds.pop("bigru-same-loss") == "bigru"
    assert kinds.pop("facediffuser-3x") == "facediffuser"
    assert all(name == kind for name, kind in kinds.items())
    assert len(kinds) == 6
    for name, config in configs.items():
        alone = load_train_config(GRID / f"{name.replace(BASE, 'jambatalk')}.yaml", ["seed=2"])
        assert config == alone
        assert config.vertices.spec_augment == configs[BASE].vertices.spec_augment
        assert (config.batch_size, config.precision, config.seed) == (8, "bf16", 2)
    steps = {name: config.steps for name, config in configs.items() if config.steps != 1200}
    assert steps == {"facediffuser-3x": 3600, "codetalker": 1800}
    assert configs["jambatalk-full"].model.look_ahead_ms == math.inf
    assert configs["jambatalk-full"].model.decoder.dropout == 0.05
    assert (suite.references, suite.memory, suite.metrics[0]) == (True, True, "LVE_cm2")


def test_the_scaling_suite_s_names_are_its_settings() -> None:
    suite = load_suite(CONFIGS / "experiments" / "scaling.yaml")
    for name in suite.variants:
        config = suite.run(name, 1).config
        decoder = config.model.decoder
        assert config.steps == 500
        if name.startswith("window"):
            assert name == f"window-{decoder.window}"
        else:
            assert name in (BASE, f"width-{decoder.width}")
            assert decoder.mlp_hidden == 2 * decoder.width == 2 * decoder.expert_hidden
            assert config.model.encoder.widths == [decoder.width // 2, 3 * decoder.width // 4]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "nowhere"], "nowhere"),
        (["--metric", "LVE", "--metric", "XYZ"], "no metric 'XYZ': choose from LVE_cm2, LVE_mm"),
        (["--extra", "x=missing.safetensors"], "no weights at missing.safetensors"),
        (["--regions", "missing.json"], "cannot read missing.json"),
        (["--set", "vertices.val=dev"], "base: "),
        (["--set", "model.outputs=30"], "base: outputs is 30, but"),
        (["--lips", "lips.npy"], "--lips is given without --upper-face"),
    ],
)
def test_what_scoring_needs_is_checked_before_training(
    place: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    words = ["ablate", place / "suite.yaml", place / "data", "-o", tmp_path / "out", *more]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_corpus_that_cannot_be_scored_is_refused_before_training(
    place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "data", tmp_path / "data")
    words = ["ablate", str(place / "suite.yaml"), str(tmp_path / "data"), "-o", str(tmp_path / "o")]
    damaged = next((tmp_path / "data").rglob("s1_c5*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-64])
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert damaged.name in done.stderr
    assert not (tmp_path / "o").exists()


def test_the_lip_readers_suite_takes_it_away() -> None:
    suite = load_suite(CONFIGS / "experiments" / "lip-reader.yaml")
    losses = {name: suite.run(name, 1).config.vertices.loss for name in suite.variants}
    assert losses[BASE].latent > 0
    assert losses[BASE].ctc > 0
    assert (losses["no-lip-reader"].latent, losses["no-lip-reader"].ctc) == (0, 0)
    assert losses["no-lip-reader"].vertices == losses[BASE].vertices
