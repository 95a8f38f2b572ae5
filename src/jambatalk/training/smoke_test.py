"""A training in small: everything that a long run does, in about a minute, before the long run is begun."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jambatalk.errors import InputError
from jambatalk.models.speech_to_motion import parameter_count
from jambatalk.training import build_task
from jambatalk.training.config import TrainConfig
from jambatalk.training.task import Task, TrainableModel, load_network
from jambatalk.training.trainer import Trainer

CLIPS = 4  # of each split and folder
STEPS = 6
KILLED = 5  # after this step the run is given up; the checkpoint before it is of step 4
SHAPES_FRAMES = 50
VERTICES_SECONDS = 2.0
BYTES_PER_PARAMETER = 20  # weights, gradients, Adam's two means and the average, float32


class _GivenUp(Exception):
    """Ends the first part of the smoke run as a kill would."""


def smoke_config(config: TrainConfig, processes: int = 1) -> TrainConfig:
    """The settings with less data, shorter sequences and few steps; the network stays as it is."""
    smallest = processes * config.accumulate
    shapes = config.shapes
    shapes = replace(
        shapes,
        variants=min(shapes.variants, 2),
        sequence=min(shapes.sequence, SHAPES_FRAMES + config.model.delay),
    )
    vertices = config.vertices
    # A text of the corpus belongs to a whole clip.
    if not (vertices.loss.ctc and vertices.lip_reading.text == "corpus"):
        vertices = replace(
            vertices, seconds=min(vertices.seconds or VERTICES_SECONDS, VERTICES_SECONDS)
        )
    batch = max(min(config.batch, 2), smallest)
    return replace(
        config,
        steps=STEPS,
        warmup=min(config.warmup, 2),
        batch=-(-batch // smallest) * smallest,
        validate_every=3,
        save_every=2,
        keep=min(config.keep, 1),
        samples=min(config.samples, 1),
        shapes=shapes,
        vertices=vertices,
    )


def smoke(
    config: TrainConfig,
    data: Sequence[Path],
    run: Path,
    device: str,
    say: Callable[[str], None],
    init: Path | None = None,
) -> TrainableModel:
    """Read some clips, train, give up, resume, validate, export, load the result and film it; returns it.

    run: gets all that a run folder has, and sample.mp4. say: called with a line after each part. init: weights to begin with.
    Raises InputError when ``run`` already holds a run, or the machine has too little memory for the network.
    """
    if (run / "last.pt").exists():
        raise InputError(f"{run} already holds a run: give --smoke an empty folder, or none")
    config = smoke_config(config, int(os.environ.get("WORLD_SIZE", "1")))
    clock = _Clock(say)
    run.mkdir(parents=True, exist_ok=True)
    task = build_task(config, data, run, most=CLIPS)
    check_memory(task.network, _free_memory())
    clock(
        f"data: up to {CLIPS} clips of each split, hash {task.data_hash[:12]}; {parameter_count(task.network):,} parameters"
    )
    first = _given_up(config, task, run, device, init)
    clock(
        f"{KILLED} steps on {os.environ.get('WORLD_SIZE', '1')} process(es), a checkpoint and a validation"
    )
    trainer = Trainer(config, task, run, device)
    if not trainer.resume():
        raise InputError(
            f"{trainer.folder.last} is missing after {KILLED} steps: the folder does not keep what is written"
        )
    begun, again = trainer.step, {}
    result = trainer.run(lambda step, terms: again.update({step: terms["loss"]}))
    same = "the same" if again[KILLED] == first[KILLED] else "other"
    clock(
        f"resumed at step {begun}; step {KILLED} once more gives {same} loss ({first[KILLED]:.6g}, {again[KILLED]:.6g})"
    )
    clock(
        "validation of the last step: "
        + ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    )
    network, names = load_network(run / "final.safetensors", str(trainer.fabric.device))
    if trainer.first:
        assert names == task.names
        _film(task, network, run, clock)
    trainer.fabric.barrier()
    return network


def _given_up(
    config: TrainConfig, task: Task, run: Path, device: str, init: Path | None
) -> dict[int, float]:
    """Train until ``KILLED``; the loss of each step."""
    seen: dict[int, float] = {}

    def watch(step: int, terms: dict[str, float]) -> None:
        seen[step] = terms["loss"]
        if step == KILLED:
            raise _GivenUp

    trainer = Trainer(config, task, run, device)
    if init is not None:
        trainer.start_from(init)
    try:
        trainer.run(watch)
    except _GivenUp:
        return seen
    raise AssertionError(f"the run ended before step {KILLED}")


def _film(task: Task, network: TrainableModel, run: Path, clock: _Clock) -> None:
    samples = task.samples(network, 1)
    if not samples:
        clock("exported weights load; the corpus has no triangles, so there is no clip to look at")
        return
    replace(samples[0].predicted, speech=samples[0].speech).save(run / "sample.mp4")
    clock(f"exported weights load and move a face: {run / 'sample.mp4'}")


def check_memory(network: TrainableModel, free: int | None) -> None:
    """InputError when the weights alone cannot be trained in ``free`` bytes; None, where the system does not tell, passes."""
    count = parameter_count(network)
    if free is not None and count * BYTES_PER_PARAMETER > free:
        raise InputError(
            f"the network has {count:,} parameters, which need {count * BYTES_PER_PARAMETER / 1e9:.3g} GB to train, but "
            f"{free / 1e9:.3g} GB are free: choose a smaller one, such as --set model.decoder.width=64"
        )


def _free_memory() -> int | None:
    """Bytes that this machine could still give, caches counted; None where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, ValueError, StopIteration):
        return None


class _Clock:
    """Says each part with the seconds that it took."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.last = say, time.perf_counter()

    def __call__(self, line: str) -> None:
        now = time.perf_counter()
        self.say(f"{line} [{now - self.last:.1f} s]")
        self.last = now
