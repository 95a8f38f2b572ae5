"""A small training: everything that a long run does, in about a minute, before the long run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jambatalk.baselines import baseline_class
from jambatalk.errors import InputError
from jambatalk.models.speech_to_motion import parameter_count
from jambatalk.training import build_task
from jambatalk.training.config import TrainConfig
from jambatalk.training.task import Task, TrainableModel, load_network
from jambatalk.training.trainer import Trainer

CLIPS = 4
"""Of each split and folder."""
STEPS = 6
KILLED = 5
"""The run is ended after this step; the checkpoint before it is of step 4."""
BLENDSHAPE_FRAMES = 50
VERTEX_SECONDS = 2.0
BYTES_PER_PARAMETER = 20
"""Weights, gradients, Adam's two means and the average, float32."""


class SimulatedKill(Exception):
    """Ends the first part of the smoke test as a kill would."""


def smoke(
    config: TrainConfig,
    data: Sequence[Path],
    run: Path,
    device: str,
    log: Callable[[str], None],
    init: Path | None = None,
    slow: bool = False,
) -> TrainableModel:
    """Read some clips, train, stop, resume, validate, export, load the result and film it.

    Args:
        config: The settings of the long run.
        data: Corpora.
        run: Gets all that a run folder has, and sample.mp4.
        device: cpu, cuda or auto.
        log: Called with a line after each part.
        init: Weights to begin with.
        slow: See ``Trainer``.

    Returns:
        The exported network.

    Raises:
        InputError: ``run`` already holds a run, or the network needs more memory than is free.
    """
    if (run / "last.pt").exists():
        raise InputError(f"{run} already holds a run: give --smoke an empty folder, or none")
    processes = os.environ.get("WORLD_SIZE", "1")
    config = smoke_config(config, int(processes))
    clock = _Clock(log)
    run.mkdir(parents=True, exist_ok=True)
    task = build_task(config, data, run, most=CLIPS)
    check_memory(task.network, free_memory())
    clock(
        f"data: up to {CLIPS} clips of each split, hash {task.data_hash[:12]}; "
        f"{parameter_count(task.network):,} parameters"
    )
    first = _train_until_killed(config, task, run, device, init, slow)
    clock(f"{KILLED} steps on {processes} process(es), a checkpoint and a validation")
    trainer = Trainer(config, task, run, device, slow)
    if not trainer.resume():
        raise InputError(
            f"{trainer.folder.last} is missing after {KILLED} steps: the folder does not keep what "
            "is written"
        )
    begun = trainer.step
    again: dict[int, float] = {}
    result = trainer.run(lambda step, values: again.update({step: values["loss"]}))
    same = "the same" if again[KILLED] == first[KILLED] else "another"
    clock(
        f"resumed at step {begun}; step {KILLED} once more gives {same} loss "
        f"({first[KILLED]:.6g}, {again[KILLED]:.6g})"
    )
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    clock(f"validation of the last step: {figures}")
    network, names = load_network(run / "final.safetensors", str(trainer.fabric.device))
    if trainer.is_main:
        assert names == task.names
        _film(task, network, run, clock)
    trainer.fabric.barrier()
    return network


def smoke_config(config: TrainConfig, processes: int = 1) -> TrainConfig:
    """Reduce data, sequences and steps; the network stays as it is."""
    blendshapes, vertices = config.blendshapes, config.vertices
    longest = BLENDSHAPE_FRAMES + config.model.delay
    blendshapes = replace(
        blendshapes,
        variants=min(blendshapes.variants, 2),
        sequence_length=min(blendshapes.sequence_length, longest),
    )
    # A text of the corpus belongs to a whole clip.
    if not (vertices.loss.ctc and vertices.lip_reading.text == "corpus"):
        seconds = min(vertices.seconds or VERTEX_SECONDS, VERTEX_SECONDS)
        vertices = replace(vertices, seconds=seconds)
    baseline = config.baseline
    if baseline:
        baseline = {**baseline, **baseline_class(str(baseline.get("kind", ""))).quick}
    smallest = processes * config.accumulate_grad_batches
    batch = max(min(config.batch_size, 2), smallest)
    return replace(
        config,
        steps=STEPS,
        warmup_steps=min(config.warmup_steps, 2),
        batch_size=-(-batch // smallest) * smallest,
        validate_every=3,
        save_every=2,
        save_minutes=0.0,
        keep_last=min(config.keep_last, 1),
        num_val_samples=min(config.num_val_samples, 1),
        blendshapes=blendshapes,
        vertices=vertices,
        baseline=baseline,
    )


def _train_until_killed(
    config: TrainConfig, task: Task, run: Path, device: str, init: Path | None, slow: bool
) -> dict[int, float]:
    """Train until ``KILLED``; the loss of each step."""
    losses: dict[int, float] = {}

    def watch(step: int, values: dict[str, float]) -> None:
        losses[step] = values["loss"]
        if step == KILLED:
            raise SimulatedKill

    trainer = Trainer(config, task, run, device, slow)
    if init is not None:
        trainer.start_from(init)
    try:
        trainer.run(watch)
    except SimulatedKill:
        return losses
    raise AssertionError(f"the run ended before step {KILLED}")


def _film(task: Task, network: TrainableModel, run: Path, clock: _Clock) -> None:
    samples = task.samples(network, 1)
    if not samples:
        clock("exported weights load; the corpus has no triangles, so there is no clip to look at")
        return
    replace(samples[0].predicted, speech=samples[0].speech).save(run / "sample.mp4")
    clock(f"exported weights load and move a face: {run / 'sample.mp4'}")


def check_memory(network: TrainableModel, free: int | None) -> None:
    """Raise InputError when the weights alone cannot be trained in ``free`` bytes.

    None, where the system does not report it, passes.
    """
    count = parameter_count(network)
    needed = count * BYTES_PER_PARAMETER
    if free is not None and needed > free:
        raise InputError(
            f"the network has {count:,} parameters, which need {needed / 1e9:.3g} GB to train, but "
            f"{free / 1e9:.3g} GB are free: choose a smaller one, such as "
            "--set model.decoder.width=64"
        )


def free_memory() -> int | None:
    """Bytes of memory that are available, caches included; None where that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError, StopIteration):
        return None


class _Clock:
    """Logs each part with the seconds that it took."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.log, self.last = log, time.perf_counter()

    def __call__(self, line: str) -> None:
        now = time.perf_counter()
        self.log(f"{line} [{now - self.last:.1f} s]")
        self.last = now
