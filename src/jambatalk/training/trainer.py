"""The training loop: steps, validation, checkpoints, exact resume; on one process or on many."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from jambatalk.atomic import atomic_write
from jambatalk.baselines.base import Baseline
from jambatalk.baselines.checkpoint import load_baseline
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.config import EncoderConfig, LipClosureConfig, ModelConfig
from jambatalk.ops.threads import all_threads, free_threads
from jambatalk.training.config import TrainConfig
from jambatalk.training.task import Task, TrainableModel, save_network
from jambatalk.training.tensorboard import TensorBoardLogger

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Where a training runs: one process, or the processes that torchrun started, on CPUs or GPUs.


PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def start_fabric(device: str, precision: str) -> Fabric:
    """The processes of this training: those that torchrun's environment names, otherwise this one alone.

    device: cpu, cuda or auto. precision: see ``TrainConfig``. Raises InputError for a device that is not there or cannot
    compute in that precision, MissingExtraError without the extra ``train``.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise MissingExtraError(
            'training needs lightning-fabric: pip install "jambatalk[train]"'
        ) from error
    logging.getLogger("lightning_fabric").setLevel(
        logging.WARNING
    )  # what it says of itself is no news to a user
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {device!r}, expected cpu, cuda or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device is cuda, but torch finds no GPU here")
    if device == "cpu" and precision == "16":
        raise InputError("precision is 16, which needs a GPU: choose bf16 or 32 on a CPU")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Networks may have parts that some steps leave out (a masked embedding, a layer dropped at random).
    strategy: Any = DDPStrategy(find_unused_parameters=True) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=world // here,
        strategy=strategy,
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


class OpaqueBatch:
    """A batch as something that neither Fabric nor DistributedDataParallel looks into: targets keep their precision."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class ModuleWithStep(torch.nn.Module):
    """A task's module, taking a ``OpaqueBatch`` batch."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, held: OpaqueBatch, step: int) -> Any:
        """What the task's module returns."""
        return self.module(held.batch, step)


def to_device(batch: Any, device: torch.device) -> Any:
    """``batch`` with all tensors in dataclasses, tuples, lists and dictionaries on ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(
            batch,
            **{
                f.name: to_device(getattr(batch, f.name), device) for f in dataclasses.fields(batch)
            },
        )
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch


# The run folder: the log of every step, and the checkpoint that an exact resume needs.


class RunDir:
    """``log.jsonl`` (one line per step) and ``last.pt`` of one training run; only its first process writes."""

    def __init__(self, path: Path, config: TrainConfig, data_hash: str) -> None:
        self.path, self.data_hash = path, data_hash
        self.settings = json.loads(
            json.dumps(asdict(config))
        )  # as a checkpoint gives them back: lists, not tuples

    @property
    def last(self) -> Path:
        return self.path / "last.pt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, texts and containers of them) with the settings and the data's hash."""
        with atomic_write(self.last) as temporary:
            torch.save(
                {**state, "config": json.dumps(self.settings), "data_hash": self.data_hash},
                temporary,
            )

    def load(self) -> dict[str, Any] | None:
        """What ``save`` wrote last, on the CPU; None when there is nothing.

        InputError when the file is damaged or was made with other settings or other data.
        """
        if not self.last.exists():
            return None
        try:
            saved: dict[str, Any] = torch.load(self.last, weights_only=True, map_location="cpu")
            settings, data_hash = json.loads(saved["config"]), saved["data_hash"]
        except Exception as error:  # torch raises many kinds for a damaged file
            raise InputError(
                f"{self.last} is damaged ({type(error).__name__}); delete it to start afresh"
            ) from error
        if settings != self.settings:
            where = first_difference(settings, self.settings)
            raise InputError(
                f"{self.last} was made with other settings ({where}); choose another run folder or the same settings"
            )
        if data_hash != self.data_hash:
            raise InputError(
                f"{self.last} was made with other data (hash {data_hash[:12]}, now {self.data_hash[:12]}); "
                "choose another run folder or the same data"
            )
        return saved

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line."""
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(
                json.dumps({"step": step, **{k: float(f"{v:.6g}") for k, v in values.items()}})
                + "\n"
            )

    def begin(self, step: int) -> None:
        """Make the folder ready to go on after ``step``: what was logged later goes, since it will be logged again."""
        self.path.mkdir(parents=True, exist_ok=True)
        for half in self.path.glob(".last.*.pt"):  # a process that was killed while saving
            half.unlink()
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] > step:
                    break
            except (
                json.JSONDecodeError,
                KeyError,
            ):  # a line cut short by the end of the earlier process
                break
            kept.append(line + "\n")
        with atomic_write(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def first_difference(old: Any, new: Any, name: str = "") -> str:
    """``name was old, is new`` of the first setting that differs between two nested mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key):
                return first_difference(
                    old.get(key), new.get(key), f"{name}.{key}" if name else str(key)
                )
    return f"{name} was {json.dumps(old)}, is {json.dumps(new)}"


# Which validation was best, and when it is no use to go on.


@dataclass
class EarlyStopper:
    """The highest score so far, and how many validations have passed since."""

    patience: int  # validations without a better score after which training ends; 0: never
    after: int = 0  # steps before which no validation counts: networks that learn in stages cannot move at first
    score: float = -math.inf
    since: int = 0

    def better(self, score: float, step: int = 0) -> bool:
        """Take in the score of a validation after ``step`` steps; True when it is the highest so far."""
        if step < self.after:
            return False
        if score > self.score:
            self.score, self.since = score, 0
            return True
        self.since += 1
        return False

    @property
    def stop(self) -> bool:
        return 0 < self.patience <= self.since


# The optimiser, its learning rate at every step, and the average of the weights.


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over what is trainable; vectors (biases, gains) are not decayed."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    betas = (config.betas[0], config.betas[1])
    # The fused kernel takes scaled gradients only as a whole, which clipping in float16 would come before.
    return kind(groups, lr=config.learning_rate, betas=betas, fused=config.precision != "16")


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of ``step`` (from 0 on): a linear warm-up, then the schedule."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


class Average:
    """An exponential mean of a network's weights over the steps, the same on every process."""

    def __init__(self, network: TrainableModel, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: TrainableModel, step: int) -> None:
        """Take in the weights after optimiser step ``step`` (from 0 on)."""
        # A young average follows quickly; later it smooths over 1 / (1 - decay) steps.
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)
        for mine, current in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(current)


# Beginning with trained weights, also where the new data move other shapes or the network has gained styles.


def start_network(path: Path, network: TrainableModel, names: tuple[str, ...]) -> None:
    """Give ``network``, whose output statistics are those of the new data, the weights in ``path``.

    It moves then as the network in ``path`` does, but for shapes that rest in the new data. The statistics stay: a shape that
    the old data never moved, and the old units could not express, can be learned. Styles that the old network lacks begin as
    its one way of speaking; a contact that it lacks stays as it is. InputError when it is of another architecture or moves
    other shapes.
    """
    if isinstance(network, Baseline):
        baseline, _ = load_baseline(path)
        if baseline.config != network.config:
            raise InputError(
                f"{path} is another baseline than the settings describe: the same settings expected"
            )
        network.load_state_dict(baseline.state_dict())
        return
    old, old_names, _ = load_weights(path)
    fits = old.config.styles in ([], network.config.styles) and old.config.contact in (
        LipClosureConfig(),
        network.config.contact,
    )
    if _bare(old.config) != _bare(network.config) or old_names != names or not fits:
        raise InputError(
            f"{path} is another network than the settings describe: same model settings and face expected"
        )
    tensors = old.state_dict()
    scale = network.output_scale
    moves = scale > 0
    safe = torch.where(moves, scale, torch.ones_like(scale))
    with torch.no_grad():
        weight = old.head.weight * (old.output_scale / safe)[:, None]
        bias = (old.output_mean + old.output_scale * old.head.bias - network.output_mean) / safe
    tensors |= {
        "head.weight": torch.where(moves[:, None], weight, torch.zeros_like(weight)),
        "head.bias": torch.where(moves, bias, torch.zeros_like(bias)),
        "output_mean": network.output_mean,
        "output_scale": scale,
    }
    network.load_state_dict({**network.state_dict(), **tensors})


def _bare(config: ModelConfig) -> ModelConfig:
    """The settings that weights have to agree on: dropout is of the training, styles may be added."""
    encoder = (
        replace(config.encoder, dropout=0.0)
        if isinstance(config.encoder, EncoderConfig)
        else config.encoder
    )
    return replace(
        config,
        styles=[],
        contact=LipClosureConfig(),
        encoder=encoder,
        decoder=replace(config.decoder, dropout=0.0),
    )


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
        self.folder = RunDir(run_dir, config, task.data_hash)
        self.optimizer = make_optimiser(task.module, config)
        task.module.to(self.fabric.device)
        self.module, self.optimizer = self.fabric.setup(ModuleWithStep(task.module), self.optimizer)
        self.average = Average(task.network, config.ema)
        self.best = EarlyStopper(config.early_stopping.patience, config.early_stopping.after)
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
        """Take up the run in ``run_dir`` where it stopped; False when there is none. Raises as ``RunDir.load``."""
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
            stack.enter_context(all_threads())
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

    def _board(self, stack: contextlib.ExitStack) -> TensorBoardLogger | None:
        """The board that the first process writes, closed with ``stack``."""
        if not self.first:
            return None
        board = TensorBoardLogger(self.run_dir / "tensorboard", self.step)
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
            torch.manual_seed(
                int(
                    np.random.SeedSequence([c.seed, self.step, rows.start]).generate_state(
                        1, np.uint64
                    )[0]
                )
            )
            unfinished = part + 1 < len(batches)
            with (
                self.fabric.no_backward_sync(self.module, enabled=True)
                if unfinished
                else contextlib.nullcontext()
            ):
                total, terms = self.module(
                    OpaqueBatch(to_device(batch, self.fabric.device)), self.step
                )
                self.fabric.backward(total / len(batches))
            for name, value in {"loss": total, **terms}.items():
                totals[name] = totals.get(name, 0.0) + value.detach() / len(batches)
        means = torch.stack([value.double() for value in totals.values()])
        if self.fabric.world_size > 1:
            means = self.fabric.all_reduce(means, reduce_op="mean")  # type: ignore[assignment]
        values = dict(zip(totals, means.tolist(), strict=True))
        clipped: Any = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=c.clip_norm, error_if_nonfinite=False
        )
        norm = float(clipped)
        # Gradients beyond float16's range are ordinary: the scaler leaves such a step out and scales less.
        if not math.isfinite(values["loss"]) or (not math.isfinite(norm) and c.precision != "16"):
            what = (
                f"the loss is {values['loss']}"
                if not math.isfinite(values["loss"])
                else f"the gradient's norm is {norm}"
            )
            raise InputError(
                f"{what} at step {self.step + 1}: lower learning_rate (now {c.learning_rate}); {self.folder.last} stays as it was"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.task.network, self.step)
        return {**values, "grad_norm": norm, "learning_rate": rate(c, self.step)}

    def _validated(self) -> dict[str, float]:
        """The first process validates the averaged network; all take its figures."""
        with free_threads():
            own = self.task.validate(self.average.network) if self.first else None
        figures: Any = self.fabric.broadcast(own)
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
                "steps": self.step,
                "train": asdict(self.config),
                "data_hash": self.task.data_hash,
                "torch": torch.__version__,
            }
            save_network(path, self.average.network, self.task.names, notes, half)
