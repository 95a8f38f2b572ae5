"""Checkpoints of large networks: what is frozen is stored once, writing goes on in a thread, a kill
in the middle of it loses little, and the disk holds a few of them however long the run is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from jambatalk.datasets.prepare import prepare
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights
from jambatalk.ops.backend import use_backend
from jambatalk.training import build_task
from jambatalk.training.config import TrainConfig, train_config
from jambatalk.training.run_dir import BackgroundWriter, tensors_hash
from jambatalk.training.trainer import MovingAverage, Trainer, check_scan
from tiny_corpora import V, write_vocaset
from tiny_speech import save_wav2vec2_ctc
from tiny_training import losses

PROGRAM = Path(__file__).parents[1] / "helpers" / "tiny_training.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
SUBJECTS = ("FaceTalk_170728_03272_TA", "FaceTalk_170811_03275_TA")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prepared corpus ``data`` and a speech network ``wav2vec2``."""
    folder = tmp_path_factory.mktemp("large")
    write_vocaset(folder / "raw", SUBJECTS, (21, 22), frames=40)
    prepare("vocaset", folder / "raw", folder / "data")
    save_wav2vec2_ctc(folder / "wav2vec2")
    return folder


def settings(place: Path, **changes: Any) -> TrainConfig:
    """A network whose speech encoder, most of its weights, is frozen."""
    values: dict[str, Any] = {
        "task": "vertices",
        "steps": 6,
        "batch_size": 1,
        "warmup_steps": 0,
        "validate_every": 2,
        "save_every": 2,
        "num_val_samples": 0,
        "ema_decay": 0.9,
        "vertices": {"lips": {"choose": "moving"}, "loss": {"latent": 0, "ctc": 0}},
        "model": {
            "extends": "paper-vocaset",
            "outputs": 3 * V,
            "encoder": {"name": str(place / "wav2vec2"), "frozen": "all"},
            "decoder": {
                "width": 8,
                "mlp_hidden": 8,
                "expert_hidden": 8,
                "heads": 2,
                "kv_heads": 1,
                "rope_rank": 2,
            },
        },
    }
    return train_config(values | changes, "test")


def trainer(place: Path, run: Path, **changes: Any) -> Trainer:
    config = settings(place, **changes)
    return Trainer(config, build_task(config, [place / "data"], run), run)


def frozen_files(run: Path) -> list[Path]:
    return sorted(run.glob("frozen-*.safetensors"))


def test_what_is_frozen_is_stored_once_and_resumes(place: Path, tmp_path: Path) -> None:
    whole = trainer(place, tmp_path / "whole")
    whole.run()

    class Stop(Exception):
        pass

    def stop(step: int, values: dict[str, float]) -> None:
        if step == 5:
            raise Stop

    parts = trainer(place, tmp_path / "parts")
    trained = {id(p) for group in parts.optimizer.param_groups for p in group["params"]}
    network = parts.task.network.encoder.network
    assert all(id(p) not in trained for p in network.parameters())
    # The average has its own weights of what is trained only.
    averaged = dict(parts.ema.network.named_parameters())
    for name, parameter in parts.task.network.named_parameters():
        assert (averaged[name] is parameter) is not parameter.requires_grad, name
    with pytest.raises(Stop):
        parts.run(stop)
    saved = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)
    assert saved["step"] == 4
    names = {name for name, _ in parts.task.module.named_parameters()}
    for part in ("module", "average"):
        assert not any("encoder.network" in name for name in saved[part]), part
    stored = sum(value.numel() for value in saved["module"].values())
    assert stored < 0.6 * sum(p.numel() for p in parts.task.network.parameters())
    (path,) = frozen_files(tmp_path / "parts")
    assert names & set(saved["module"])
    written = path.stat().st_mtime_ns
    again = trainer(place, tmp_path / "parts")
    with torch.no_grad():  # what was there before must not matter
        for parameter in again.task.network.encoder.network.parameters():
            parameter.fill_(7.0)
    assert again.resume()
    again.run()
    assert path.stat().st_mtime_ns == written
    one, other = (
        load_weights(tmp_path / run / "final.safetensors")[0].state_dict()
        for run in ("whole", "parts")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any("encoder.network" in name for name in one)  # exports need no other file


def test_a_frozen_file_that_is_missing_or_altered_is_one_sentence(
    place: Path, tmp_path: Path
) -> None:
    trainer(place, tmp_path, steps=2).run()
    (path,) = frozen_files(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged: its content has another hash"):
        trainer(place, tmp_path, steps=2).resume()
    path.write_bytes(b"no")
    with pytest.raises(InputError, match="frozen-"):
        trainer(place, tmp_path, steps=2).resume()
    path.unlink()
    with pytest.raises(InputError, match=r"is missing, which .*last\.pt needs"):
        trainer(place, tmp_path, steps=2).resume()


def test_a_hundred_epochs_leave_no_more_than_three_checkpoints(place: Path, tmp_path: Path) -> None:
    largest = 0

    def watch(step: int, values: dict[str, float]) -> None:
        nonlocal largest
        files = [path for path in tmp_path.iterdir() if path.suffix in (".pt", ".safetensors")]
        sizes = []
        for path in files:
            if path.exists():
                sizes.append(path.stat().st_size)
        largest = max(largest, sum(sizes))

    long = trainer(place, tmp_path, steps=200, validate_every=10, save_every=2)
    assert len(long.task.train) == 2  # an epoch is two steps
    long.run(watch)
    names = {path.name for path in tmp_path.iterdir() if path.suffix in (".pt", ".safetensors")}
    assert len(frozen_files(tmp_path)) == 1
    assert names - {path.name for path in frozen_files(tmp_path)} == {
        "last.pt",
        "best.safetensors",
        "final.safetensors",
    }
    # What one checkpoint with all that resuming needs would take: every weight three times.
    count = sum(p.numel() for p in long.task.module.parameters())
    trained = sum(p.numel() for p in long.task.module.parameters() if p.requires_grad)
    checkpoint = 4 * (2 * count + 2 * trained)
    assert 0 < largest < 3 * checkpoint


def test_no_average_is_kept_without_a_decay(place: Path) -> None:
    network = build_task(settings(place), [place / "data"], place).network
    assert MovingAverage(network, 0.0).network is network


def test_a_kill_in_the_middle_of_a_save_loses_what_came_after_the_last_one(tmp_path: Path) -> None:
    """The third checkpoint, of step 6, is written by half while training goes on; then kill -9."""
    run = tmp_path / "killed"
    command = [sys.executable, str(PROGRAM), str(run)]
    changes = {"save_every": 2, "half_save": 3, "wait": 7}
    process = subprocess.Popen(
        [*command, json.dumps(changes)], env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    log = run / "log.jsonl"
    while process.poll() is None and not (
        (run / "half").exists() and log.read_text().count("\n") >= 7
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list(run.glob(".last.*.pt"))) == 1
    assert torch.load(run / "last.pt", weights_only=True)["step"] == 4
    for where in (run, tmp_path / "whole"):
        command = [sys.executable, str(PROGRAM), str(where), json.dumps({"save_every": 2})]
        subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=300)
    assert losses(run) == losses(tmp_path / "whole")
    assert not list(run.glob(".last.*.pt"))


def test_saves_by_the_clock(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of ten minutes a step and a save each half an hour: steps 3 and 6, and the last."""
    by_clock = trainer(place, tmp_path, steps=8, save_every=1, save_minutes=30.0)
    now, saved = [0.0], []
    monkeypatch.setattr("jambatalk.training.trainer.time.monotonic", lambda: now[0])
    save = by_clock.folder.save
    monkeypatch.setattr(
        by_clock.folder, "save", lambda state: (saved.append(state["step"]), save(state))
    )

    def ten_minutes(step: int, values: dict[str, float]) -> None:
        by_clock.writer.wait()
        now[0] += 600.0

    by_clock.run(ten_minutes)
    assert saved == [3, 6, 8]


def test_writing_happens_beside_training_and_its_errors_come_back() -> None:
    import threading

    writer, going, seen = BackgroundWriter(), threading.Event(), []
    writer.submit(lambda: seen.append(going.wait(60)))
    assert writer.busy
    going.set()
    writer.wait()
    assert seen == [True]

    def full() -> None:
        raise InputError("cannot write last.pt: no space left")

    writer.submit(full)
    with pytest.raises(InputError, match="no space left"):
        writer.wait()
    writer.wait()  # told once


def test_the_hash_is_of_names_shapes_and_values() -> None:
    one = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    assert tensors_hash(one) == tensors_hash({"b": torch.ones(1), "a": torch.zeros(2, 3)})
    for other in (
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.ones(1, dtype=torch.float64)},
        {"a": torch.zeros(2, 3), "b": torch.ones(1) * 2},
    ):
        assert tensors_hash(one) != tensors_hash(other)


def test_tf32_is_a_setting_that_ends_with_the_run(place: Path, tmp_path: Path) -> None:
    found: list[tuple[str, bool]] = []

    def look(step: int, values: dict[str, float]) -> None:
        cudnn = torch.backends.cudnn.allow_tf32
        found.append((torch.get_float32_matmul_precision(), cudnn))

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    rounded = trainer(place, tmp_path / "tf32", steps=1, tf32=True)
    assert " with TF32, 1 process(es), kernels: numba (float32 on the CPU)" in rounded.headline
    rounded.run(look)
    trainer(place, tmp_path / "exact", steps=1).run(look)
    assert found == [("high", True), ("highest", False)]
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_a_gpu_without_a_fast_scan_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = build_task(settings(place), [place / "data"], place).module
    cuda = torch.device("cuda")
    monkeypatch.setattr("jambatalk.ops.backend._triton_found", lambda: False)
    with pytest.raises(
        InputError, match=r"no fast selective scan on cuda \(triton is not .*--slow"
    ):
        check_scan(module, cuda)
    check_scan(torch.nn.Linear(2, 2), cuda)  # nothing scans
    check_scan(module, torch.device("cpu"))
    with use_backend("reference"):
        check_scan(module, torch.device("cpu"))  # asked for
    monkeypatch.setattr("jambatalk.ops.backend._triton_found", lambda: True)
    check_scan(module, cuda)
