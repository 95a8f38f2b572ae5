"""Where a training runs: one process, or the processes that torchrun started, on CPUs or GPUs."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from jambatalk.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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
        raise MissingExtraError('training needs lightning-fabric: pip install "jambatalk[train]"') from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it says of itself is no news to a user
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
        accelerator=device, devices=here, num_nodes=world // here, strategy=strategy, precision=PRECISIONS[precision]  # type: ignore[arg-type]
    )  # fmt: skip
    fabric.launch()
    return fabric


class Held:
    """A batch as something that neither Fabric nor DistributedDataParallel looks into: targets keep their precision."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class Stepped(torch.nn.Module):
    """A task's module, taking a ``Held`` batch."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, held: Held, step: int) -> Any:
        """What the task's module returns."""
        return self.module(held.batch, step)


def moved(batch: Any, device: torch.device) -> Any:
    """``batch`` with all tensors in dataclasses, tuples, lists and dictionaries on ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(batch, **{f.name: moved(getattr(batch, f.name), device) for f in dataclasses.fields(batch)})
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(moved(value, device) for value in batch)
    if isinstance(batch, dict):
        return {key: moved(value, device) for key, value in batch.items()}
    return batch
