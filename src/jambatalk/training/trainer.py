"""The training loop: steps, validation, checkpoints, exact resume; on one process or on many."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from jambatalk.errors import InputError
from jambatalk.models.mamba import Mamba
from jambatalk.ops.backend import chosen_backend
from jambatalk.ops.threads import all_threads, free_threads
from jambatalk.training.config import TrainConfig
from jambatalk.training.distributed import ModuleWithStep, OpaqueBatch, start_fabric, to_device
from jambatalk.training.run_dir import BackgroundWriter, RunDir, lock_run_dir, on_cpu, tensors_hash
from jambatalk.training.task import Task, TrainableModel, initialize_network, save_network
from jambatalk.training.tensorboard import TensorBoardLogger

Report = Callable[[int, dict[str, float]], None]
T = TypeVar("T")


class Trainer:
    """Trains one task's network.

    The run folder gets log.jsonl, last.pt (to resume), frozen-<hash>.safetensors (what training
    leaves as it is), best.safetensors (highest validation score) and final.safetensors; see
    docs/how-to/training.md. Checkpoints are written by a thread while training goes on. Under
    torchrun every process makes its own Trainer with the same arguments; the main one writes.

    Args:
        config: The settings.
        task: What is trained on what.
        run_dir: The run folder.
        device: cpu, cuda or auto.
        slow: Whether to train on a GPU also without a fast kernel for the selective scan.

    Raises:
        InputError: The batch cannot be shared evenly, the device is not available, or it has no
            fast scan.
        MissingExtraError: The extra ``train`` is not installed.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        run_dir: Path,
        device: str = "cpu",
        slow: bool = False,
    ) -> None:
        self.config, self.task, self.run_dir = config, task, run_dir
        self.fabric = start_fabric(device, config.precision)
        if not slow:
            check_scan(task.module, self.fabric.device)
        self.is_main = bool(self.fabric.is_global_zero)
        self.parts = self._parts()
        self.folder = RunDir(run_dir, config, task.data_hash)
        self.optimizer = make_optimizer(task.module, config)
        task.module.to(self.fabric.device)
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        self._frozen = {
            name: value
            for name, value in task.module.state_dict(keep_vars=True).items()
            if isinstance(value, nn.Parameter) and id(value) not in trained
        }
        self._frozen_hash: tuple[tuple[int, ...], str] = (), ""
        self.writer = BackgroundWriter()
        self._saved_at = time.monotonic()
        self.module, self.optimizer = self.fabric.setup(ModuleWithStep(task.module), self.optimizer)
        self.ema = MovingAverage(task.network, config.ema_decay)
        self.step = 0
        self.best_score = -math.inf
        self.since_best = 0  # validations

    def run(self, report: Report | None = None) -> dict[str, float]:
        """Train to the last step or until early stopping.

        Args:
            report: Called with the number of steps done and the figures of the last one.

        Returns:
            The figures of the last validation.

        Raises:
            InputError: The loss is no longer finite (the last checkpoint stays as it is), or
                another process trains in the run folder.
        """
        config, figures = self.config, {}
        with ExitStack() as stack:
            stack.enter_context(all_threads())
            stack.enter_context(products_in(config))
            lock = lock_run_dir(self.run_dir)
            self._on_main(lambda: stack.enter_context(lock))
            log = self._start_logs(stack)
            stack.callback(self.writer.wait)
            self._saved_at = time.monotonic()
            # Batches are made in a thread of their own while the step before them is computed.
            pool = stack.enter_context(ThreadPoolExecutor(1))
            upcoming = pool.submit(self._batches, self.step)
            while self.step < config.steps and not self.stopped_early:
                batches = upcoming.result()
                if self.step + 1 < config.steps:
                    upcoming = pool.submit(self._batches, self.step + 1)
                started = time.perf_counter()
                values = self._train_step(batches)
                self.step += 1
                values["seconds"] = time.perf_counter() - started
                last = self.step == config.steps
                if self.step % config.validate_every == 0 or last:
                    figures = self._validate()
                    values |= {f"val_{name}": value for name, value in figures.items()}
                if log is not None:
                    self.folder.log(self.step, values)
                    log.figures(self.step, values)
                    if "val_score" in values and config.num_val_samples:
                        samples = self.task.samples(self.ema.network, config.num_val_samples)
                        log.samples(self.step, samples)
                if report is not None:
                    report(self.step, values)
                if last or self.stopped_early or self._due():
                    self.save()
            self.writer.wait()
            self.export(self.run_dir / "final.safetensors")
            self.fabric.barrier()  # so that every process finds it written
        return figures

    def _train_step(self, batches: list[Any]) -> dict[str, float]:
        """Take one optimizer step; the terms are means over all processes and parts."""
        config = self.config
        self.task.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("scale", 1.0) * learning_rate(config, self.step)
        totals: dict[str, torch.Tensor] = {}
        for rows, batch in zip(self.parts, batches, strict=True):
            # Seeded by the step and the place in the batch: dropout is the same after a resume.
            seed = np.random.SeedSequence([config.seed, self.step, rows.start])
            torch.manual_seed(int(seed.generate_state(1, np.uint64)[0]))
            synchronized = rows is self.parts[-1]
            with (
                nullcontext()
                if synchronized
                else self.fabric.no_backward_sync(self.module, enabled=True)
            ):
                batch = OpaqueBatch(to_device(batch, self.fabric.device))
                loss, terms = self.module(batch, self.step)
                self.fabric.backward(loss / len(batches))
            for name, value in {"loss": loss, **terms}.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / len(batches)
        means: Any = torch.stack([value.double() for value in totals.values()])
        if self.fabric.world_size > 1:
            means = self.fabric.all_reduce(means, reduce_op="mean")
        values = dict(zip(totals, means.tolist(), strict=True))
        norm: Any = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=config.max_grad_norm, error_if_nonfinite=False
        )
        values["grad_norm"] = float(norm)
        self._check_finite(values)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.task.network, self.step)
        return {**values, "learning_rate": learning_rate(config, self.step)}

    def _check_finite(self, values: dict[str, float]) -> None:
        # Gradients beyond float16's range are ordinary: the scaler skips the step and scales less.
        names = {"loss": "the loss"}
        if self.config.precision != "16":
            names["grad_norm"] = "the gradient's norm"
        for name, text in names.items():
            if not math.isfinite(values[name]):
                raise InputError(
                    f"{text} is {values[name]} at step {self.step + 1}: lower learning_rate (now "
                    f"{self.config.learning_rate}); {self.folder.last} stays as it was"
                )

    def _validate(self) -> dict[str, float]:
        """Validate the averaged network on the main process; all processes get its figures."""
        network = self.ema.network.eval()
        with free_threads():
            figures = self._on_main(lambda: self.task.validate(network))
        if self.step >= self.config.early_stopping.after:
            if figures["score"] > self.best_score:
                self.best_score, self.since_best = figures["score"], 0
                self.export(self.run_dir / "best.safetensors")
            else:
                self.since_best += 1
        if self.config.keep_last:
            self._keep_last()
        return figures

    def _keep_last(self) -> None:
        """Write this validation's weights and delete those of the oldest one."""
        self.export(self.run_dir / f"step-{self.step}.safetensors")
        if self.is_main:
            steps = range(self.step, 0, -self.config.validate_every)[: self.config.keep_last]
            names = {f"step-{step}.safetensors" for step in steps}
            for path in self.run_dir.glob("step-*.safetensors"):
                if path.name not in names:
                    path.unlink()

    @property
    def stopped_early(self) -> bool:
        """Whether ``patience`` validations have passed without a better one."""
        return 0 < self.config.early_stopping.patience <= self.since_best

    def _due(self) -> bool:
        """Whether it is time for a checkpoint; one by the clock waits for the one before it."""
        if not self.config.save_minutes:
            return self.step % self.config.save_every == 0
        passed = time.monotonic() - self._saved_at
        return passed >= 60 * self.config.save_minutes and not self.writer.busy

    def save(self) -> None:
        """Begin to write the checkpoint, with all that an exact resume needs.

        ``writer.wait()`` returns when it is written.
        """
        self._saved_at = time.monotonic()
        if not self.is_main:
            return
        self.writer.wait()  # so that no two copies are in memory
        state: dict[str, Any] = {
            "module": self._changing(self.task.module),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        if self.config.ema_decay:
            state["average"] = self._changing(self.ema.network)
        state = on_cpu(state) | {
            "step": self.step,
            "best": self.best_score,
            "since": self.since_best,
        }
        frozen = {name: value.detach() for name, value in self._frozen.items()}
        name = self._hash_of_frozen()
        if name:
            state["frozen"] = name

        def write() -> None:
            if name:
                self.folder.save_frozen(frozen, name)
            self.folder.save(state)
            self.folder.sweep_frozen(name)

        self.writer.submit(write)

    def _changing(self, module: nn.Module) -> dict[str, Any]:
        """The module's state without what training never changes."""
        frozen = {id(value) for value in self._frozen.values()}
        state = module.state_dict(keep_vars=True)
        return {name: value for name, value in state.items() if id(value) not in frozen}

    def _hash_of_frozen(self) -> str:
        """The hash of what training never changes; made anew only where it was written into."""
        versions = tuple(value._version for value in self._frozen.values())
        if self._frozen and self._frozen_hash[0] != versions:
            self._frozen_hash = versions, tensors_hash(self._frozen)
        return self._frozen_hash[1]

    def resume(self) -> bool:
        """Continue the run in the run folder where it stopped.

        Returns:
            False when there is none.

        Raises:
            InputError: The checkpoint is damaged, or was made with other settings or data.
        """
        # The main process reads for all, so that machines need not share a disk.
        saved = self._on_main(self.folder.load)
        if saved is None:
            return False
        frozen = self._on_main(lambda: self._stored_frozen(saved))
        self.task.module.load_state_dict({**frozen, **saved["module"]})
        if self.config.ema_decay:
            # What is frozen is one with the network's own, which has been read.
            whole = self.ema.network.state_dict() | saved["average"]
            self.ema.network.load_state_dict(whole)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        self.step = saved["step"]
        self.best_score, self.since_best = saved["best"], saved["since"]
        return True

    def _stored_frozen(self, saved: dict[str, Any]) -> dict[str, Any]:
        return self.folder.load_frozen(saved["frozen"]) if saved.get("frozen") else {}

    @property
    def headline(self) -> str:
        """The line to print before the training: device, precision, kernel and why it was chosen.

        The kernel is that of the selective scan, which decides the pace of Mamba layers.
        """
        device = self.fabric.device
        name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        kernel, why = chosen_backend(device=device)
        return (
            f"training on {device}{name} in precision {self.config.precision}"
            + (" with TF32" if self.config.tf32 else "")
            + f", {self.fabric.world_size} process(es), kernels: {kernel} ({why})"
        )

    def start_from(self, path: Path) -> None:
        """Begin with trained weights instead of random ones, see ``initialize_network``."""
        initialize_network(path, self.task.network, self.task.names)
        self.ema.network.load_state_dict(self.task.network.state_dict())

    def export(self, path: Path, half: bool = False) -> None:
        """Write the averaged weights for use.

        Args:
            path: A .safetensors file.
            half: Store float16.
        """
        if self.is_main:
            notes = {
                "steps": self.step,
                "train": asdict(self.config),
                "data_hash": self.task.data_hash,
                "torch": torch.__version__,
            }
            save_network(path, self.ema.network, self.task.names, notes, half)

    def _parts(self) -> list[slice]:
        """This process's rows of every global batch, one slice per accumulated part."""
        size, world = self.config.batch_size, self.fabric.world_size
        parts = self.config.accumulate_grad_batches
        if size % (world * parts):
            raise InputError(
                f"batch_size is {size}, expected a multiple of {world * parts}: {world} processes "
                f"times {parts} parts each"
            )
        rows = size // (world * parts)
        starts = [(part * world + self.fabric.global_rank) * rows for part in range(parts)]
        return [slice(start, start + rows) for start in starts]

    def _batches(self, step: int) -> list[Any]:
        return [self.task.batch(step, rows) for rows in self.parts]

    def _start_logs(self, stack: ExitStack) -> TensorBoardLogger | None:
        """Open the logs of the main process; ``stack`` closes them."""
        if not self.is_main:
            return None
        self.folder.prepare(self.step)
        log = TensorBoardLogger(self.run_dir / "tensorboard", self.step)
        stack.callback(log.close)
        if not self.step:
            log.settings(self.folder.settings | {"data_hash": self.task.data_hash})
        return log

    def _on_main(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the main process; all processes get its result or its InputError."""
        result: Any = None
        problem = None
        if self.is_main:
            try:
                result = work()
            except InputError as error:
                problem = str(error)
        result, problem = self.fabric.broadcast((result, problem))
        if problem is not None:
            raise InputError(problem)
        return result  # type: ignore[no-any-return]


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make Adam or AdamW over what is trainable; vectors (biases, gains) are not decayed.

    Each group has its learning rate relative to the others' as ``scale``.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    parts = [(trained, 1.0)]
    if config.encoder_learning_rate != 1.0:
        network = getattr(module, "network", None)
        encoder = set(getattr(network, "encoder", nn.Module()).parameters())
        parts = [
            ([p for p in trained if p not in encoder], 1.0),
            ([p for p in trained if p in encoder], config.encoder_learning_rate),
        ]
    groups = []
    for chosen, scale in parts:
        matrices = [p for p in chosen if p.ndim >= 2]
        vectors = [p for p in chosen if p.ndim < 2]
        groups += [
            {"params": matrices, "weight_decay": config.weight_decay, "scale": scale},
            {"params": vectors, "weight_decay": 0.0, "scale": scale},
        ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    betas = (config.betas[0], config.betas[1])
    # The fused kernel takes scaled gradients only as a whole: float16 clips them before.
    return kind(groups, lr=config.learning_rate, betas=betas, fused=config.precision != "16")


def learning_rate(config: TrainConfig, step: int) -> float:
    """Compute the learning rate of ``step`` (from 0): a linear warm-up, then the schedule."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def check_scan(module: nn.Module, device: torch.device) -> None:
    """Raise InputError where Mamba layers would run in torch's loop on a GPU."""
    kernel, why = chosen_backend(device=device)
    if device.type == "cpu" or kernel != "reference":
        return
    if any(isinstance(part, Mamba) for part in module.modules()):
        raise InputError(
            f"no fast selective scan on {device} ({why}): install triton, or train with --slow, "
            "which takes torch's loop, some 250 times slower for each scan"
        )


@contextmanager
def products_in(config: TrainConfig) -> Iterator[None]:
    """Allow TF32 inside where the settings do; the program's own choice comes back after."""
    before = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = config.tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions


class MovingAverage:
    """The exponential moving average of a network's weights, the same on every process.

    network: the averaged network; with a decay of 0 the trained network itself, not a copy.
    Parameters that are not trained are the trained network's own, in memory once.
    """

    def __init__(self, network: TrainableModel, decay: float) -> None:
        self.decay, self.network = decay, network
        if decay:
            self._trained = [name for name, p in network.named_parameters() if p.requires_grad]
            frozen = {id(p): p for p in network.parameters() if not p.requires_grad}
            self.network = copy.deepcopy(network, dict(frozen)).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: TrainableModel, step: int) -> None:
        """Include the weights after optimizer step ``step`` (from 0)."""
        if not self.decay:
            return
        # A young average follows quickly; later it smooths over 1 / (1 - decay) steps.
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, current = dict(self.network.named_parameters()), dict(network.named_parameters())
        torch._foreach_lerp_(
            [averages[name] for name in self._trained],
            [current[name] for name in self._trained],
            1 - decay,
        )
        for average, value in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(value)
