"""Training: the loss is what it says, the loop learns, and a resumed run equals an unbroken one to the bit."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import SMALL, speechlike
from jambatalk.checkpoint import load_weights
from jambatalk.data.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.nn.model import SpeechToMotion, parameter_count
from jambatalk.presets import load_preset
from jambatalk.training.batches import Batch
from jambatalk.training.config import LossConfig, ShapesConfig, TrainConfig, load_train_config
from jambatalk.training.loop import Trainer
from jambatalk.training.losses import MotionLoss
from jambatalk.training.shapes import ShapesTask

ROOT = Path(__file__).parents[2]
NAMES = ("jawOpen", "mouthPucker", "mouthSmileLeft")


def _face() -> Face:
    """Ten lip vertices; shape 0 opens the gap between vertices 0 and 1 by 20 mm, the others move others."""
    rng = np.random.default_rng(0)
    vertices = rng.standard_normal((10, 3)).astype(np.float32) * 0.01
    vertices[1] = vertices[0]
    basis = np.zeros((3, 10, 3), np.float32)
    basis[0, 1, 1] = -0.02
    basis[1, 2:6, 2] = 0.01
    basis[2, 6:, 0] = 0.005
    return Face(vertices, np.array([[0, 1, 2]], np.int32), {"lips": np.arange(10)}, NAMES, basis, gap_vertices=(0, 1))


def _clips(count: int, split: str) -> list[Clip]:
    """The mouth follows the loudness of the sound: something that a network can learn."""
    clips = []
    for i in range(count):
        samples = speechlike(2.0, seed=i)
        level = np.sqrt(np.convolve(samples**2, np.ones(640) / 640, "same")[::640])
        weights = np.stack([level * 8, level * 2, level * 0], 1).clip(0, 1).astype(np.float32)
        clips.append(Clip(f"{split}{i}", "one", split, samples, Motion(25, weights=weights, names=NAMES)))
    return clips


def _config(**changes: object) -> TrainConfig:
    base = TrainConfig(
        model=replace(SMALL, outputs=3), steps=12, batch=4, shapes=ShapesConfig(sequence=50, variants=2), learning_rate=5e-3,
        warmup=3, validate_every=6, save_every=4, ema=0.9,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def _trainer(config: TrainConfig, train: list[Clip], val: list[Clip], run: Path) -> Trainer:
    return Trainer(config, ShapesTask(config, _face(), train, val), run)


def test_loss_terms_have_the_stated_units() -> None:
    loss = MotionLoss(_face(), LossConfig(closure=0.0))
    true = torch.zeros(1, 4, 3)
    predicted = true.clone()
    predicted[..., 0] = 0.5  # jawOpen: vertex 1 goes down by 10 mm
    _, terms = loss(predicted, true, [])
    assert float(terms["gap"]) == pytest.approx(100.0, rel=1e-5)
    assert float(terms["vertices"]) == pytest.approx(100.0 / 10, rel=1e-5)  # mean over ten vertices
    assert float(terms["velocity"]) == pytest.approx(0.0, abs=1e-6)
    assert float(terms["weights"]) == pytest.approx(0.25 / 3, rel=1e-5)


def test_closed_frames_weigh_more() -> None:
    loss = MotionLoss(_face(), LossConfig(closure=3.0))
    shut, open_ = torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)
    open_[..., 0] = 1.0
    step = torch.tensor([0.1, 0.0, 0.0])
    assert float(loss(shut + step, shut, [])[1]["gap"]) == pytest.approx(
        4 * float(loss(open_ + step, open_, [])[1]["gap"]), rel=1e-3
    )


def test_training_learns(tmp_path: Path) -> None:
    trainer = _trainer(_config(steps=60, validate_every=60), _clips(6, "train"), _clips(2, "val"), tmp_path)
    before = trainer.task.validate(trainer.average.network)
    after = trainer.run()
    assert before["opening"] == before["score"] == 0.0  # the head starts at zero: a still face
    assert after["opening"] > 0.6
    assert after["gap_mm"] < 0.7 * before["gap_mm"]
    model, names, notes = load_weights(tmp_path / "final.safetensors")
    assert names == NAMES
    assert notes["steps"] == 60
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(0 <= row["least_expert_use"] <= 0.25 for row in rows)  # four experts
    assert torch.equal(model.head.weight, trainer.average.network.head.weight)


def test_resume_equals_unbroken_run(tmp_path: Path) -> None:
    train, val = _clips(4, "train"), _clips(1, "val")
    _trainer(_config(), train, val, tmp_path / "whole").run()

    class Killed(Exception):
        pass

    def kill(step: int, terms: dict[str, float]) -> None:
        if step == 6:  # after the checkpoint at 4, before the next at 8
            raise Killed

    with pytest.raises(Killed):
        _trainer(_config(), train, val, tmp_path / "broken").run(kill)
    second = _trainer(_config(), train, val, tmp_path / "broken")
    assert second.resume()
    assert second.step == 4
    second.run()

    def losses(run: str) -> dict[int, float]:
        rows = [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        return {row["step"]: row["loss"] for row in rows}

    assert losses("broken") == losses("whole")
    a, b = (load_weights(tmp_path / run / "final.safetensors")[0].state_dict() for run in ("whole", "broken"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_an_encoder_that_hears_whole_clips_is_refused(tmp_path: Path) -> None:
    model = replace(load_preset("paper-vocaset"), outputs=3)
    with pytest.raises(InputError, match="'pretrained', expected 'streaming'"):
        ShapesTask(_config(model=model), _face(), _clips(2, "train"), _clips(1, "val"))


def test_fine_tuning_begins_with_the_given_weights(tmp_path: Path) -> None:
    train, val = _clips(3, "train"), _clips(1, "val")
    _trainer(_config(steps=4), train, val, tmp_path / "first").run()
    weights = tmp_path / "first" / "final.safetensors"
    second = _trainer(_config(seed=5), train, val, tmp_path / "second")
    second.start_from(weights)
    assert all(torch.equal(a, b) for a, b in zip(second.task.network.parameters(), load_weights(weights)[0].parameters()))
    other = _trainer(_config(model=replace(SMALL, outputs=3, delay=2)), train, val, tmp_path / "third")
    with pytest.raises(InputError, match="another network"):
        other.start_from(weights)


def test_resume_refuses_other_settings_and_damage(tmp_path: Path) -> None:
    train, val = _clips(2, "train"), _clips(1, "val")
    _trainer(_config(steps=4), train, val, tmp_path).run()
    with pytest.raises(InputError, match="other settings"):
        _trainer(_config(steps=4, seed=9), train, val, tmp_path).resume()
    (tmp_path / "last.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(InputError, match="damaged"):
        _trainer(_config(steps=4), train, val, tmp_path).resume()


def test_sequences_depend_on_seed_step_and_index_alone() -> None:
    task = ShapesTask(_config(), _face(), _clips(3, "train"), _clips(1, "val"))
    all_rows = slice(0, 4)
    first, other, again = task.batch(5, all_rows), task.batch(6, all_rows), task.batch(5, all_rows)
    # However the batch is cut, each sequence stays what it is.
    parts = [task.batch(5, rows) for rows in (slice(0, 1), slice(1, 4))]
    for field in fields(Batch):
        assert torch.equal(torch.cat([getattr(part, field.name) for part in parts]), getattr(first, field.name))
    assert torch.equal(first.mel, again.mel)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.mel, other.mel)
    assert first.mel.shape == (4, 200, SMALL.mel.bands)
    assert torch.isfinite(first.mel).all()


def test_noise_alone_teaches_rest() -> None:
    clips = _clips(3, "train")
    config = _config(shapes=ShapesConfig(sequence=50, variants=1, no_speech=1.0))
    batch = ShapesTask(config, _face(), clips, _clips(1, "val")).batch(0, slice(0, 4))
    first = np.stack([clip.weights[0] for clip in clips])
    for sequence in batch.weights.numpy():
        assert (sequence == sequence[0]).all()
        assert np.isclose(first, sequence[0]).all(axis=1).any()
    assert float(batch.mel.std()) > 0.5


def test_shipped_settings_load_and_keep_their_promises() -> None:
    config = load_train_config(ROOT / "configs" / "base.yaml")
    # The second stage continues the same network.
    assert load_train_config(ROOT / "configs" / "base-rest.yaml").model == config.model
    assert config.model.look_ahead_ms <= 200
    assert config.model.outputs == 52
    assert parameter_count(SpeechToMotion(config.model)) < 8_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {decoder: {widht: 3}}", "unknown setting 'widht'"),
        ("steps: many", "steps is 'many', expected int"),
        ("steps: 0", "steps is 0"),
        ("schedule: never", "schedule is 'never', expected one of cosine, constant"),
        ("{batch: 6, accumulate: 4}", "batch is 6, expected a multiple of accumulate, which is 4"),
        ("shapes: {sequence: 3}", "sequence is 3 frames"),
        ("model: {decoder: {pattern: M X}}", "'M X'"),
        ("model: {fps: 26}", "fps 26"),
        ("[1, 2]", "expected settings"),
        ("", "expected settings"),
        ("a: [", "no valid YAML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_train_config(path)
    assert message in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


def test_missing_settings_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_train_config(tmp_path / "nowhere.yaml")
