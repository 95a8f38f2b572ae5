"""The loop on one process and on two, cut into parts, killed, resumed, stopped early; and what it
writes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.models.checkpoint import load_weights
from jambatalk.ops.threads import set_thread_limit
from jambatalk.training.config import BlendshapesConfig, EarlyStopping, LossConfig, TrainConfig
from jambatalk.training.trainer import learning_rate
from tiny_training import NO_DROPOUT, losses, tiny_clips, tiny_config, tiny_trainer

PROGRAM = Path(__file__).parents[1] / "helpers" / "tiny_training.py"
ALONE = {
    name: value
    for name, value in os.environ.items()
    if name not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")
}
ENVIRONMENT = {**ALONE, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums depend on the number of threads in their last bits: here as in the programs."""
    set_thread_limit(1)
    yield
    set_thread_limit(None)


def _train(run: Path, **changes: object) -> Path:
    """A whole training in this process; the same data as the program's."""
    trainer = tiny_trainer(
        tiny_config(**changes), tiny_clips(4, "train"), tiny_clips(1, "val"), run
    )
    trainer.resume()
    trainer.run()
    return run


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_weights(run / "final.safetensors")[0].state_dict()


def _furthest(one: Path, other: Path) -> float:
    """The largest difference of any weight after training."""
    a, b = _weights(one), _weights(other)
    return max(float((a[key] - b[key]).abs().max()) for key in a)


def test_two_processes_equal_one_with_the_same_global_batch(tmp_path: Path) -> None:
    """The gradients differ by rounding alone, the router's balance included; twelve Adam steps keep
    it below 2e-5.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "0",
    ]
    command += [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "localhost:0",
        str(PROGRAM),
        str(tmp_path / "two"),
    ]
    subprocess.run(
        [*command, json.dumps({"dropout": False})],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    one = _train(tmp_path / "one", model=NO_DROPOUT)
    assert _furthest(one, tmp_path / "two") < 2e-5
    alone, shared = losses(one), losses(tmp_path / "two")
    assert alone.keys() == shared.keys()
    assert all(shared[step] == pytest.approx(alone[step], rel=1e-4) for step in alone)


def test_accumulated_parts_equal_one_batch(tmp_path: Path) -> None:
    """All terms but the router's balance, which is a product of means and so each part's own."""
    shapes = BlendshapesConfig(sequence_length=50, variants=2, loss=LossConfig(balance=0.0))
    whole = _train(tmp_path / "whole", model=NO_DROPOUT, blendshapes=shapes)
    parts = _train(
        tmp_path / "parts", model=NO_DROPOUT, blendshapes=shapes, accumulate_grad_batches=4
    )
    # Rounding of the Fourier transforms of augmentation follows the number of rows, too.
    assert _furthest(whole, parts) < 5e-5
    assert (
        _furthest(
            whole, _train(tmp_path / "half", model=NO_DROPOUT, blendshapes=shapes, batch_size=2)
        )
        > 1e-3
    )


def test_a_killed_run_resumes_to_the_bit(tmp_path: Path) -> None:
    """kill -9 after step 7, between the checkpoints of steps 4 and 8 and after the validation of
    step 6.
    """
    command = [sys.executable, str(PROGRAM), str(tmp_path / "killed")]
    log = tmp_path / "killed" / "log.jsonl"
    process = subprocess.Popen(
        [*command, json.dumps({"wait": 7})], env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 7):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "final.safetensors").exists()
    assert list(losses(tmp_path / "killed")) == list(range(1, 8))
    (tmp_path / "killed" / ".last.half.pt").write_bytes(b"as a kill while saving leaves it")
    subprocess.run([*command, "{}"], env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    whole = _train(tmp_path / "whole")
    assert losses(tmp_path / "killed") == losses(whole)
    a, b = _weights(tmp_path / "killed"), _weights(whole)
    assert all(torch.equal(a[key], b[key]) for key in a)
    best = [
        load_weights(run / "best.safetensors")[0].state_dict()
        for run in (tmp_path / "killed", whole)
    ]
    assert all(torch.equal(best[0][key], best[1][key]) for key in best[0])
    assert not (tmp_path / "killed" / ".last.half.pt").exists()


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_resumed_optimizer_goes_on_as_it_was(tmp_path: Path, precision: str) -> None:
    """The last checkpoint's content, not only its path: momentum, average, early stopping."""
    changes = {"precision": precision, "steps": 6, "save_every": 3, "accumulate_grad_batches": 2}
    whole = _train(tmp_path / "whole", **changes)
    config = tiny_config(**changes)
    first = tiny_trainer(config, tiny_clips(4, "train"), tiny_clips(1, "val"), tmp_path / "cut")

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(stop)
    _train(tmp_path / "cut", **changes)
    assert _furthest(whole, tmp_path / "cut") == 0.0
    assert losses(whole) == losses(tmp_path / "cut")


def test_bfloat16_products_keep_weights_and_loss_in_float32(tmp_path: Path) -> None:
    narrow, wide = (_train(tmp_path / p, precision=p, steps=4) for p in ("bf16", "32"))
    saved = torch.load(narrow / "last.pt", weights_only=True)
    assert {v.dtype for v in saved["module"].values() if v.is_floating_point()} == {torch.float32}
    a, b = losses(narrow), losses(wide)
    assert a != b
    assert all(np.isfinite(list(a.values())))
    assert a[1] == pytest.approx(b[1], rel=0.02)


def test_training_stops_early_when_nothing_gets_better(tmp_path: Path) -> None:
    settings = {
        "learning_rate": 1e-12,
        "validate_every": 1,
        "early_stopping": EarlyStopping(patience=2),
        "keep_last": 2,
    }
    run = _train(tmp_path, **settings)
    assert list(losses(run)) == [1, 2, 3]  # the first is the best so far, two more are not better
    assert sorted(path.name for path in run.glob("step-*")) == [
        "step-2.safetensors",
        "step-3.safetensors",
    ]
    before = _weights(run)
    _train(tmp_path, **settings)  # resumed, it stays stopped
    assert list(losses(run)) == [1, 2, 3]
    assert all(torch.equal(value, before[name]) for name, value in _weights(run).items())


def _with_scores(run: Path, scores: list[float], **early: int) -> tuple[int, float]:
    """Train with a validation after every step; (steps done, best score)."""
    config = tiny_config(steps=len(scores), validate_every=1, early_stopping=EarlyStopping(**early))
    trainer = tiny_trainer(config, tiny_clips(2, "train"), tiny_clips(1, "val"), run)
    upcoming = iter(scores)
    trainer.task.validate = lambda network: {"score": next(upcoming)}  # type: ignore[method-assign]
    trainer.run()
    return trainer.step, trainer.best_score


def test_validations_without_a_better_score_are_counted_in_a_row(tmp_path: Path) -> None:
    scores = [-3.0, -1.0, -1.0, 0.0, -2.0, -1.0, 5.0]
    assert _with_scores(tmp_path, scores, patience=2) == (6, 0.0)
    assert load_weights(tmp_path / "best.safetensors")[2]["steps"] == 4


def test_validations_before_the_stage_that_counts_are_ignored(tmp_path: Path) -> None:
    """The first that counts is the best so far, whatever came before it."""
    scores = [-1.0, -1.0, -5.0, -6.0, -7.0, 0.0]
    assert _with_scores(tmp_path, scores, patience=2, after=3) == (5, -5.0)
    assert load_weights(tmp_path / "best.safetensors")[2]["steps"] == 3


def test_other_data_and_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    config = tiny_config(steps=2, validate_every=2)
    train, val = tiny_clips(2, "train"), tiny_clips(1, "val")
    tiny_trainer(config, train, val, tmp_path).run()
    notes = load_weights(tmp_path / "final.safetensors")[2]
    task = tiny_trainer(config, train, val, tmp_path).task
    assert notes["data_hash"] == task.data_hash
    assert notes["train"]["seed"] == 0
    louder = [*train[:1], replace(train[1], samples=train[1].samples * np.float32(1.01))]
    with pytest.raises(InputError, match=r"last\.pt was made with other data \(hash .*same data"):
        tiny_trainer(config, louder, val, tmp_path).resume()
    shapes = replace(config.blendshapes, loss=LossConfig(gap=0.7))
    with pytest.raises(
        InputError, match=r"other settings \(blendshapes\.loss\.gap was 0\.5, is 0\.7\)"
    ):
        tiny_trainer(replace(config, blendshapes=shapes), train, val, tmp_path).resume()
    assert tiny_trainer(config, train, val, tmp_path).resume()


def test_a_loss_that_is_not_finite_is_one_sentence_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    run = tiny_trainer(
        tiny_config(save_every=1), tiny_clips(2, "train"), tiny_clips(1, "val"), tmp_path
    )

    def spoil(step: int, terms: dict[str, float]) -> None:
        if step == 3:
            torch.nn.init.constant_(run.task.network.head.bias, float("inf"))

    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step 4: lower learning_rate"):
        run.run(spoil)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["step"] in (2, 3)


def test_tensorboard_holds_figures_pictures_and_sound(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = _train(tmp_path, num_val_samples=1)
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    curve = [(point.step, point.value) for point in events.Scalars("training/loss")]
    assert curve == [(step, pytest.approx(value, rel=1e-5)) for step, value in losses(run).items()]
    assert {
        "training/gap",
        "training/learning_rate",
        "training/grad_norm",
        "validation/score",
    } <= set(tags["scalars"])
    assert [point.step for point in events.Scalars("validation/opening")] == [6, 12]
    for tag in ("clip 1/faces", "clip 1/opening"):
        pictures = events.Images(tag)
        assert [picture.step for picture in pictures] == [6, 12]
        assert pictures[0].width > 500
    assert tags["audio"] == ["clip 1/speech"]
    settings = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "learning_rate: 0.005" in settings
    assert "data_hash: " in settings


def test_the_learning_rate_follows_its_schedule() -> None:
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=1.0)
    assert [learning_rate(config, step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert learning_rate(config, 60) == pytest.approx(0.525)
    assert learning_rate(config, 110) == pytest.approx(0.05)
    assert learning_rate(replace(config, schedule="constant"), 100) == 1.0


def test_plain_adam_is_another_optimizer(tmp_path: Path) -> None:
    assert (
        _furthest(
            _train(tmp_path / "a", steps=3), _train(tmp_path / "b", steps=3, optimizer="adam")
        )
        > 1e-5
    )


def test_what_cannot_run_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = tiny_clips(1, "train"), tiny_clips(1, "val")
    with pytest.raises(InputError, match="precision is 16, which needs a GPU"):
        tiny_trainer(tiny_config(precision="16"), train, val, tmp_path)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r'pip install "jambatalk\[train\]"'):
        tiny_trainer(tiny_config(), train, val, tmp_path)


def test_two_trainings_in_one_run_folder_are_refused(tmp_path: Path) -> None:
    """The second names the first; after a kill the folder is free."""
    run = tmp_path / "run"
    command = [sys.executable, str(PROGRAM), str(run), json.dumps({"wait": 3})]
    first = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        log = run / "log.jsonl"
        while first.poll() is None and not (log.exists() and log.read_text().count("\n") >= 3):
            time.sleep(0.05)
        with pytest.raises(InputError, match=rf"another process \(process {first.pid} on .*\)"):
            _train(run)
        assert list(losses(run)) == [1, 2, 3]
    finally:
        first.kill()
        first.wait()
    _train(run)
    assert list(losses(run)) == list(range(1, 13))


def test_a_flipped_bit_in_the_checkpoint_is_noticed(tmp_path: Path) -> None:
    config = tiny_config(steps=2, validate_every=2)
    train, val = tiny_clips(2, "train"), tiny_clips(1, "val")
    trainer = tiny_trainer(config, train, val, tmp_path)
    trainer.run()
    path = tmp_path / "last.pt"
    whole = path.read_bytes()
    weight = trainer.task.network.head.weight.detach().numpy().tobytes()
    place = whole.index(weight) + 5
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(InputError, match=r"last\.pt is damaged.*delete it.*checksum"):
        tiny_trainer(config, train, val, tmp_path).resume()
    path.write_bytes(whole)
    assert tiny_trainer(config, train, val, tmp_path).resume()


def test_without_an_average_the_weights_themselves_are_kept(tmp_path: Path) -> None:
    """As an average of decay 0 did, which was a second network that was a copy after each step."""
    config = tiny_config(steps=4, validate_every=2, ema_decay=0.0)
    trainer = tiny_trainer(config, tiny_clips(2, "train"), tiny_clips(1, "val"), tmp_path)
    assert trainer.ema.network is trainer.task.network
    trainer.run()
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert "average" not in saved
    weights = _weights(tmp_path)
    for name, value in weights.items():
        assert torch.equal(value, saved["module"][f"network.{name}"])
    whole = _train(tmp_path / "whole", steps=6, validate_every=2, ema_decay=0.0, save_every=3)
    first = tiny_trainer(
        tiny_config(steps=6, validate_every=2, ema_decay=0.0, save_every=3),
        tiny_clips(4, "train"),
        tiny_clips(1, "val"),
        tmp_path / "cut",
    )

    def stop(step: int, values: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(stop)
    _train(tmp_path / "cut", steps=6, validate_every=2, ema_decay=0.0, save_every=3)
    assert _furthest(whole, tmp_path / "cut") == 0.0
