"""The processes of a training: this one alone, or those that torchrun started, on CPUs or GPUs."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from jambatalk.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def start_fabric(device: str, precision: str) -> Fabric:
    """Join the processes that torchrun's environment variables name; without them, run alone.

    Args:
        device: cpu, cuda or auto.
        precision: See ``TrainConfig``.

    Raises:
        InputError: The device is not available or cannot compute in that precision.
        MissingExtraError: The extra ``train`` is not installed.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise MissingExtraError(
            'training needs lightning-fabric: pip install "jambatalk[train]"'
        ) from error
    # Lightning's own log lines say nothing that a user could act on.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
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
    # Some steps leave parts of a network out (a masked embedding, a layer dropped at random).
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
    """Hides a batch from Fabric and DistributedDataParallel, so that targets keep their dtype."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class ModuleWithStep(nn.Module):
    """Calls a task's module with the content of an ``OpaqueBatch`` and the step."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, opaque: OpaqueBatch, step: int) -> Any:
        """Return what the task's module returns."""
        return self.module(opaque.batch, step)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move all tensors in dataclasses, tuples, lists and dictionaries to ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = [field.name for field in dataclasses.fields(batch)]
        moved = {name: to_device(getattr(batch, name), device) for name in fields}
        return dataclasses.replace(batch, **moved)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch
