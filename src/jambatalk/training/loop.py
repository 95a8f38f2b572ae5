"""The training loop: steps, validation, checkpoints, exact resume; on one process or on many."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jambatalk.errors import InputError
from jambatalk.training.board import Board
from jambatalk.training.config import TrainConfig
from jambatalk.training.early import Best
from jambatalk.training.folder import RunFolder
from jambatalk.training.launch import Held, Stepped, moved, start_fabric
from jambatalk.training.network import save_network
from jambatalk.training.optimiser import Average, make_optimiser, rate
from jambatalk.training.start import start_network
from jambatalk.training.task import Task

Report = Callable[[int, dict[str, float]], None]


class Trainer:
    """Trains one task's network.

    run_dir gets log.jsonl, last.pt (to resume), best.safetensors (highest score) and final.safetensors; see docs/training.md.
    device: cpu, cuda or auto. Under torchrun every process makes its own Trainer with the same arguments; the first writes.
    Raises InputError when the batch cannot be shared evenly, MissingExtraError without the extra ``train``.
    """

    def __init__(self, config: TrainConfig, task: Task, run_dir: Path, device: str = "cpu") -> None:
        self.config, self.task, self.run_dir = config, task, run_dir
        self.fabric = start_fabric(device, config.precision)
        self.parts = self._rows()
        self.folder = RunFolder(run_dir, config, task.data_hash)
        self.optimizer = make_optimiser(task.module, config)
        task.module.to(self.fabric.device)
        self.module, self.optimizer = self.fabric.setup(Stepped(task.module), self.optimizer)
        self.average = Average(task.network, config.ema)
        self.best = Best(config.early_stopping.patience, config.early_stopping.after)
        self.step = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.fabric.is_global_zero)

    def _rows(self) -> list[slice]:
        """This process's sequences of every global batch, one slice per accumulated part."""
        batch, world, accumulate = self.config.batch, self.fabric.world_size, self.config.accumulate
        if batch % (world * accumulate):
            raise InputError(
                f"batch is {batch}, expected a multiple of {world * accumulate}: {world} processes times {accumulate} parts each"
            )
        size = batch // (world * accumulate)
        starts = [(part * world + self.fabric.global_rank) * size for part in range(accumulate)]
        return [slice(start, start + size) for start in starts]

    def resume(self) -> bool:
        """Take up the run in ``run_dir`` where it stopped; False when there is none. Raises as ``RunFolder.load``."""
        # The first process reads for all, so that machines need not share a disk.
        saved: Any = None
        if self.first:
            try:
                saved = self.folder.load()
            except InputError as error:
                saved = str(error)
        saved = self.fabric.broadcast(saved)
        if isinstance(saved, str):
            raise InputError(saved)
        if saved is None:
            return False
        self.task.module.load_state_dict(saved["module"])
        self.average.network.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        self.step, self.best.score, self.best.since = saved["step"], saved["best"], saved["since"]
        return True

    def start_from(self, path: Path) -> None:
        """Begin with trained weights instead of random ones. InputError when they are of another network."""
        start_network(path, self.task.network, self.task.names)
        self.average.network.load_state_dict(self.task.network.state_dict())

    def run(self, report: Report | None = None) -> dict[str, float]:
        """Train to the last step or until early stopping; the result is the last validation's figures.

        InputError when the loss is no longer finite; the last checkpoint stays as it is.
        """
        c = self.config
        if self.first:
            self.folder.begin(self.step)
        result: dict[str, float] = {}
        with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
            board = self._board(stack)
            upcoming = pool.submit(self._batches, self.step)
            while self.step < c.steps and not self.best.stop:
                batches = upcoming.result()
                if self.step + 1 < c.steps:
                    upcoming = pool.submit(self._batches, self.step + 1)
                started = time.perf_counter()
                terms = self._step(batches)
                self.step += 1
                terms["seconds"] = time.perf_counter() - started
                if self.step % c.validate_every == 0 or self.step == c.steps:
                    result = self._validated()
                    terms |= {f"val_{name}": value for name, value in result.items()}
                if board is not None:
                    self.folder.log(self.step, terms)
                    board.figures(self.step, terms)
                    if "val_score" in terms and c.samples:
                        board.samples(self.step, self.task.samples(self.average.network, c.samples))
                if report is not None:
                    report(self.step, terms)
                if self.step % c.save_every == 0 or self.step == c.steps or self.best.stop:
                    self.save()
        self.export(self.run_dir / "final.safetensors")
        self.fabric.barrier()  # so that every process finds it written
        return result

    def _board(self, stack: contextlib.ExitStack) -> Board | None:
        """The board that the first process writes, closed with ``stack``."""
        if not self.first:
            return None
        board = Board(self.run_dir / "tensorboard", self.step)
        stack.callback(board.close)
        if not self.step:
            board.settings(self.folder.settings | {"data_hash": self.task.data_hash})
        return board

    def _batches(self, step: int) -> list[Any]:
        return [self.task.batch(step, rows) for rows in self.parts]

    def _step(self, batches: list[Any]) -> dict[str, float]:
        """One optimiser step; the terms' means over all processes and parts."""
        c = self.config
        self.task.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate(c, self.step)
        totals: dict[str, torch.Tensor] = {}
        for part, (rows, batch) in enumerate(zip(self.parts, batches, strict=True)):
            # Seeded by the step and the place in the batch, so that dropout after a resume is what it would have been.
            torch.manual_seed(int(np.random.SeedSequence([c.seed, self.step, rows.start]).generate_state(1, np.uint64)[0]))
            unfinished = part + 1 < len(batches)
            with self.fabric.no_backward_sync(self.module, enabled=True) if unfinished else contextlib.nullcontext():
                total, terms = self.module(Held(moved(batch, self.fabric.device)), self.step)
                self.fabric.backward(total / len(batches))
            for name, value in {"loss": total, **terms}.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / len(batches)
        means = torch.stack([value.double() for value in totals.values()])
        if self.fabric.world_size > 1:
            means = self.fabric.all_reduce(means, reduce_op="mean")  # type: ignore[assignment]
        values = dict(zip(totals, means.tolist(), strict=True))
        clipped: Any = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=c.clip_norm, error_if_nonfinite=False)
        norm = float(clipped)
        # Gradients beyond float16's range are ordinary: the scaler leaves such a step out and scales less.
        if not math.isfinite(values["loss"]) or (not math.isfinite(norm) and c.precision != "16"):
            what = f"the loss is {values['loss']}" if not math.isfinite(values["loss"]) else f"the gradient's norm is {norm}"
            raise InputError(
                f"{what} at step {self.step + 1}: lower learning_rate (now {c.learning_rate}); {self.folder.last} stays as it was"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.task.network, self.step)
        return {**values, "grad_norm": norm, "learning_rate": rate(c, self.step)}

    def _validated(self) -> dict[str, float]:
        """The first process validates the averaged network; all take its figures."""
        figures: Any = self.fabric.broadcast(self.task.validate(self.average.network) if self.first else None)
        if self.best.better(figures["score"], self.step):
            self.export(self.run_dir / "best.safetensors")
        if self.config.keep:
            self.export(self.run_dir / f"step-{self.step}.safetensors")
            kept = range(self.step, 0, -self.config.validate_every)[: self.config.keep]
            for path in self.run_dir.glob("step-*.safetensors") if self.first else ():
                if path.stem not in {f"step-{step}" for step in kept}:
                    path.unlink()
        return figures  # type: ignore[no-any-return]

    def save(self) -> None:
        """Write all that an exact resume needs."""
        if self.first:
            self.folder.save(
                {
                    "module": self.task.module.state_dict(),
                    "average": self.average.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.fabric.strategy.precision.state_dict(),
                    "step": self.step,
                    "best": self.best.score,
                    "since": self.best.since,
                }
            )
        self.fabric.barrier()

    def export(self, path: Path, half: bool = False) -> None:
        """Write the averaged weights for use."""
        if self.first:
            notes = {
                "steps": self.step, "train": asdict(self.config), "data_hash": self.task.data_hash, "torch": torch.__version__,
            }  # fmt: skip
            save_network(path, self.average.network, self.task.names, notes, half)
