"""Everything that holds a network, a session, a job or a study, with its bytes mutated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jambatalk
from file_mutations import CASES, check_reader
from jambatalk.baselines import load_baseline, save_baseline
from jambatalk.baselines.bigru import VertexBiGRU, VertexBiGRUConfig
from jambatalk.baselines.visemes import VISEMES, Dominance, Visemes, load_visemes, save_visemes
from jambatalk.experiments.suite import load_suite
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.config import EncoderConfig, MelConfig
from jambatalk.models.convert_released import convert_released, load_lip_reader, read_released
from jambatalk.models.presets import load_preset
from jambatalk.server.jobs.store import Job, JobOptions, read_job
from jambatalk.study.build import build_study
from jambatalk.study.plan import STUDY_FILE, Settings, load_study
from jambatalk.study.store import Store, read_raters
from jambatalk.study.trials import trials_for
from jambatalk.training.config import TrainConfig, load_train_config
from jambatalk.training.run_dir import RunDir
from released_tiny import tiny_checkpoint
from small_network import speechlike
from study_clips import write_systems

SUITE = """\
about: two ways
base: {steps: 3, model: {decoder: {pattern: M E T D}}}
variants:
  one: {group: a, about: b, change: {steps: 4}}
  two: {change: {model: {decoder: {width: 32}}}}
"""
PRESET = """\
mel: {bands: 24}
encoder: {widths: [16, 24], blocks: 1, kernel: 5}
decoder: {width: 32, mlp_hidden: 48, heads: 4, kv_heads: 2, window: 16, pattern: M E T D}
"""


def baseline(path: Path) -> None:
    encoder = EncoderConfig(widths=[8, 12], blocks=1, dropout=0.0)
    config = VertexBiGRUConfig(
        mel=MelConfig(bands=16), encoder=encoder, subjects=["a"], outputs=9, width=8, hidden=4
    )
    save_baseline(path, VertexBiGRU(config), {"steps": 0})


def visemes(path: Path) -> None:
    shapes = np.ones((len(VISEMES), 9), np.float32)
    save_visemes(path, Visemes(shapes, np.ones(len(VISEMES)), Dominance(), "metres", {}))


def converted(path: Path) -> None:
    torch.save(tiny_checkpoint(), path.with_suffix(".pth"))
    convert_released(path.with_suffix(".pth"), path, "released-vocaset")


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "preset.yaml": (lambda path: path.write_text(PRESET), load_preset),
    "train.yaml": (lambda path: path.write_text("steps: 3\nseed: 1\n"), load_train_config),
    "suite.yaml": (lambda path: path.write_text(SUITE), load_suite),
    "baseline.safetensors": (baseline, load_baseline),
    "visemes.safetensors": (visemes, load_visemes),
    "released.pth": (lambda path: torch.save(tiny_checkpoint(vertices=40), path), read_released),
    "converted.safetensors": (converted, load_lip_reader),
}
"""Name of the file -> (makes a good one, reads it)."""


@pytest.mark.parametrize("name", READERS)
def test_mutated_files(name: str, tmp_path: Path) -> None:
    make, read = READERS[name]
    path = tmp_path / name
    make(path)

    def read_bytes(content: bytes) -> Any:
        path.write_bytes(content)
        return read(path)

    assert check_reader(path.read_bytes(), read_bytes) > 0


def test_mutated_weights(small_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        load_weights(path)

    assert check_reader(small_weights.read_bytes(), read) > 0


def test_mutated_checkpoints(tmp_path: Path) -> None:
    run = RunDir(tmp_path, TrainConfig(), "hash")
    run.save({"step": 3, "network": {"a": torch.ones(40)}, "losses": [1.0, 2.0]})

    def read(content: bytes) -> None:
        run.last.write_bytes(content)
        run.load()

    assert check_reader(run.last.read_bytes(), read) > 0


def test_mutated_sessions(small_weights: Path) -> None:
    """A stored session that is accepted gives frames of finite numbers."""
    talker = jambatalk.load(small_weights)
    session = talker.stream(rate=22050, fps=30, life="on")
    session.push(speechlike(0.3))

    def read(content: bytes) -> None:
        restored = talker.restore(content)
        for frame in restored.push(speechlike(0.2)):
            assert np.isfinite(frame.weights).all()

    assert check_reader(session.save(), read, CASES // 2) > 0


def test_mutated_jobs(tmp_path: Path) -> None:
    folder = tmp_path / ("0" * 32)
    folder.mkdir()
    job = Job(folder.name, "a.wav", JobOptions("csv", fps=30.0), 1e9, crashes=(1e9,))

    def read(content: bytes) -> None:
        (folder / "job.json").write_bytes(content)
        read_job(folder)

    assert check_reader(json.dumps(job.plain()).encode(), read) > 0


def test_mutated_studies(tmp_path: Path) -> None:
    systems = write_systems(tmp_path, ("crimson", "cobalt"), 2)
    study = build_study(systems, tmp_path / "study", Settings(tone_seconds=0.1)).study
    path = tmp_path / "study" / STUDY_FILE

    def read(content: bytes) -> None:
        path.write_bytes(content)
        load_study(path.parent)

    assert check_reader(path.read_bytes(), read) > 0

    answers = tmp_path / "answers.sqlite"
    store = Store(answers)
    store.join("0" * 32, "consent", 9, lambda number: trials_for(study, number))
    store.close()

    def read_answers(content: bytes) -> None:
        for path in tmp_path.glob("answers.sqlite-*"):
            path.unlink()
        answers.write_bytes(content)
        read_raters(answers)

    check_reader(answers.read_bytes(), read_answers)
