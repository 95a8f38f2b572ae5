"""A new baseline is one file and one line: it trains, is exported, read back and evaluated."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import jambatalk.baselines as registry
from jambatalk.baselines import BASELINES, baseline_class, baseline_config
from jambatalk.datasets.prepare import prepare
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.training import build_task
from jambatalk.training.config import train_config
from jambatalk.training.task import load_network
from jambatalk.training.trainer import Trainer
from tiny_grid import write_grid

TOY = '''
"""A linear layer after the shared encoder."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from jambatalk.baselines.base import Baseline, BaselineConfig, mean_square


@dataclass(frozen=True)
class ToyConfig(BaselineConfig):
    kind: str = "toy"
    width: int = 8


class Toy(Baseline):
    Config: ClassVar[type[BaselineConfig]] = ToyConfig
    bidirectional: ClassVar[bool] = False

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config, config.width)
        self.head = nn.Linear(config.width, config.outputs)

    def loss(self, samples: Tensor, offsets: Tensor, subjects: Tensor, step: int):
        predicted = self.head(self.hearing(samples, offsets.shape[1]))
        return {"position": mean_square(predicted, self.normal(offsets))}

    @torch.no_grad()
    def animate(self, samples: Tensor, frames: int, subjects=None, seed: int = 0) -> Tensor:
        return self.natural(self.head(self.hearing(samples, frames)))
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_baseline.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.BASELINES, "toy", ("toy_baseline", "Toy"))
    yield
    sys.modules.pop("toy_baseline", None)


def test_one_file_and_one_line(toy: None, tmp_path: Path) -> None:
    write_grid(
        tmp_path / "raw",
        default_head(),
        [(f"c{i}", "s1", "train") for i in range(3)] + [("v", "s1", "val")],
    )
    prepare("grid468", tmp_path / "raw", tmp_path / "data")
    values = {
        "task": "vertices",
        "steps": 4,
        "batch_size": 2,
        "validate_every": 2,
        "num_val_samples": 0,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "baseline": {"kind": "toy", "encoder": {"widths": [8, 12]}},
    }
    config = train_config(values, "here")
    task = build_task(config, [tmp_path / "data"], tmp_path / "run")
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    trainer = Trainer(config, task, tmp_path / "run")
    assert trainer.run()["score"] < 0
    network, names = load_network(tmp_path / "run" / "final.safetensors")
    assert names == ()
    assert type(network).__name__ == "Toy"
    assert network.config == baseline_config({**values["baseline"], "subjects": ["s1"]}, "here")
    assert network.look_ahead_ms == 200.0
    assert not torch.equal(network.head.weight, before["head.weight"])
    samples = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 6400))).float()
    expected = trainer.ema.network.animate(samples, 10)
    assert torch.equal(network.animate(samples, 10), expected)


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        baseline_class("toy")
    assert str(caught.value) == f"no baseline 'toy': choose from {', '.join(BASELINES)}"
