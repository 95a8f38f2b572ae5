"""Baselines in the shared loop, on GRID-468 as vertices: made, trained, resumed, written and read
again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")

from jambatalk.baselines import is_baseline, load_baseline
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.readers.grid import GridCorpus, spoken
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.face.landmarks import measured_gap
from jambatalk.models.asr import ALPHABET, CharTokenizer
from jambatalk.models.config import MelConfig
from jambatalk.training import build_task
from jambatalk.training.config import TrainConfig, train_config
from jambatalk.training.smoke_test import smoke
from jambatalk.training.spec_augment import SpecAugment, SpectralAugment
from jambatalk.training.task import load_network
from jambatalk.training.trainer import Trainer
from jambatalk.training.vertices import VertexTask
from tiny_grid import write_grid

GRID = [(f"s1_c{i}", "s1", "train" if i < 4 else "val") for i in range(6)] + [
    ("s2_lbax4n", "s2", "test_unseen")
]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(raw, prepared)."""
    folder = tmp_path_factory.mktemp("grid468")
    write_grid(folder / "raw", default_head(), GRID)
    prepare("grid468", folder / "raw", folder / "data")
    return folder / "raw", folder / "data"


def settings(**changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "task": "vertices",
        "steps": 6,
        "batch_size": 2,
        "warmup_steps": 2,
        "validate_every": 3,
        "save_every": 2,
        "num_val_samples": 0,
        "vertices": {
            "spread": True,
            "augment_share": 0.5,
            "lips": {"choose": "file", "file": "regions.json"},
        },
        "baseline": {
            "kind": "bigru",
            "width": 16,
            "hidden": 12,
            "layers": 1,
            "dropout": 0.0,
            "encoder": {"widths": [8, 12]},
        },
    }
    return train_config(values | changes, "test")


def test_tracked_faces_become_vertices_in_centimetres(grid: tuple[Path, Path]) -> None:
    raw, folder = grid
    corpus, prepared = GridCorpus.open(raw), open_prepared(folder)
    assert (prepared.unit, prepared.vertices, prepared.fps) == ("centimetres", 468, 25.0)
    clip = prepared.clips("val")[0]
    entry = next(entry for entry in corpus.entries if entry.id == clip.name)
    np.testing.assert_allclose(
        (clip.template + clip.offsets) / 100, corpus.positions([entry]), atol=1e-6
    )
    # The template is a face at rest: its lips are about as far apart as in the most closed fifth of
    # the frames.
    gaps = np.concatenate([clip.gap for clip in prepared.clips(["train", "val"])])
    assert measured_gap(clip.template[None] / 100)[0] <= np.percentile(gaps, 20) + 1e-6
    regions = json.loads((folder / "regions.json").read_text())
    assert len(regions["lips"]) == 40
    assert regions["opening"] == [13, 14]
    assert not set(regions["lips"]) & set(regions["upper_face"])
    face = prepared.face("s1")
    assert face is not None
    assert 0.05 < np.ptp(face.vertices[:, 1]) < 0.4  # metres


def test_words_follow_from_grids_own_code(grid: tuple[Path, Path]) -> None:
    corpus = GridCorpus.open(grid[0])
    from dataclasses import replace

    entry = replace(corpus.entries[0], words=())
    assert spoken(replace(entry, id="id2_vcd_swwp2s")) == "set white with p two soon"
    assert spoken(replace(entry, id="lbax4n")) == "lay blue at x four now"
    assert spoken(replace(entry, id="interview")) is None
    assert spoken(replace(entry, id="a")) is None


def test_a_run_with_a_break_ends_as_one_without(grid: tuple[Path, Path], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = settings()
    Trainer(config, build_task(config, [grid[1]], whole), whole).run()

    class Stop(Exception):
        pass

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 5:
            raise Stop

    with pytest.raises(Stop):
        Trainer(config, build_task(config, [grid[1]], parts), parts).run(stop)
    second = Trainer(config, build_task(config, [grid[1]], parts), parts)
    assert second.resume()
    assert second.step == 4
    second.run()
    one, other = (
        load_baseline(path / "final.safetensors")[0].state_dict() for path in (whole, parts)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_written_animates_as_what_was_trained(
    grid: tuple[Path, Path], tmp_path: Path
) -> None:
    config = settings(steps=3)
    task = build_task(config, [grid[1]], tmp_path)
    trainer = Trainer(config, task, tmp_path)
    figures = trainer.run()
    assert {"score", "lips_mm", "vertices_mm"} <= set(figures)
    assert is_baseline(tmp_path / "final.safetensors")
    network, names = load_network(tmp_path / "final.safetensors")
    assert names == ()
    sound = torch.randn(1, 16000) * 0.1
    torch.testing.assert_close(network.animate(sound, 20), trainer.ema.network.animate(sound, 20))  # type: ignore[union-attr]
    assert network.config.subjects == ["s1"]  # type: ignore[union-attr]
    again = Trainer(config, build_task(config, [grid[1]], tmp_path / "b"), tmp_path / "b")
    again.start_from(tmp_path / "final.safetensors")
    mine = again.task.network.state_dict()
    assert all(torch.equal(mine[name], value) for name, value in network.state_dict().items())


def test_smoke_tries_a_baseline_too(grid: tuple[Path, Path], tmp_path: Path) -> None:
    said: list[str] = []
    smoke(settings(num_val_samples=1), [grid[1]], tmp_path / "run", "cpu", said.append)
    assert any("the same loss" in line for line in said)


def test_wrong_baselines_are_named(grid: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no baseline 'gru': choose from bigru"):
        build_task(settings(baseline={"kind": "gru"}), [grid[1]], tmp_path)
    with pytest.raises(InputError, match="unknown setting 'hiden'"):
        build_task(settings(baseline={"kind": "bigru", "hiden": 3}), [grid[1]], tmp_path)
    with pytest.raises(InputError, match=r"outputs is 30, but .* has 468 vertices: expected 1404"):
        build_task(settings(baseline={"kind": "bigru", "outputs": 30}), [grid[1]], tmp_path)
    with pytest.raises(InputError, match="needs task: vertices, but task is blendshapes"):
        settings(task="blendshapes")


def test_a_share_of_the_sequences_is_augmented() -> None:
    mel = torch.randn(400, 12, MelConfig().bands)
    for share in (0.0, 0.3, 1.0):
        torch.manual_seed(3)
        changed = SpecAugment(SpectralAugment(), share, MelConfig())(mel)
        found = (changed != mel).flatten(1).any(1).float().mean()
        assert abs(float(found) - share) < 0.1
        torch.manual_seed(3)
        assert torch.equal(changed, SpecAugment(SpectralAugment(), share, MelConfig())(mel))
    assert torch.isfinite(changed).all()


def test_lips_are_read_without_a_recognizer(grid: tuple[Path, Path], tmp_path: Path) -> None:
    decoder = {
        "width": 16,
        "mlp_hidden": 16,
        "expert_hidden": 16,
        "heads": 2,
        "kv_heads": 1,
        "pattern": "M T",
    }
    values: dict[str, Any] = {
        "baseline": {},
        "model": {"outputs": 1404, "encoder": {"widths": [8, 12]}, "decoder": decoder},
        "vertices": {
            "lips": {"choose": "file", "file": "regions.json"},
            "lip_reading": {
                "recognizer": "letters",
                "text": "corpus",
                "heads": 2,
                "layers": 1,
                "hidden": 16,
            },
            "loss": {"latent": 0.0, "ctc": 1.0},
        },
    }
    config = settings(**values)
    task = build_task(config, [grid[1]], tmp_path)
    assert isinstance(task, VertexTask)
    assert task.texts[0] == CharTokenizer().spelled(task.train[0].text)
    total, terms = task.module(task.batch(0, slice(0, 2)), 0)
    assert float(terms["ctc"].detach()) > 0
    total.backward()
    assert all(
        float(p.grad.abs().sum()) > 0 for p in task.network.head.parameters()
    )  # its gradients reach the network through the lips
    values["vertices"]["loss"] = {"latent": 1.0}
    with pytest.raises(InputError, match="has no features of sound"):
        build_task(settings(**values), [grid[1]], tmp_path)


def test_letters_spell() -> None:
    letters = CharTokenizer()
    spelled = letters.spelled("It's  RED 2!")
    assert max(spelled) < letters.letters
    assert min(spelled) > letters.blank
    assert "".join(ALPHABET[i - 1] for i in spelled) == "it's|red|"
    assert letters.frames(16_000) == 50
