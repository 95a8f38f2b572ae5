"""A baseline's trained weights on disk: one safetensors file with all its settings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from jambatalk.atomic import atomic_write
from jambatalk.baselines import baseline_config, make_baseline
from jambatalk.baselines.base import Baseline
from jambatalk.errors import InputError
from jambatalk.models.encoders.pretrained import unfilled_networks

FORMAT = "jambatalk-baseline-1"


def save_baseline(
    path: str | Path, network: Baseline, notes: dict[str, Any], half: bool = False
) -> None:
    """Write the network with its configuration and ``notes`` (how it was trained). half: store float16."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    if half:
        tensors = {
            name: value.half() if value.is_floating_point() else value
            for name, value in tensors.items()
        }
    config = replace(network.config, encoder=network.hearing.config)
    metadata = {
        "format": FORMAT,
        "config": json.dumps(dataclasses.asdict(config)),
        "notes": json.dumps(notes),
    }
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk
            raise InputError(f"cannot write {path}: {error}") from error


def is_baseline(path: str | Path) -> bool:
    """Whether a file says that it holds a baseline; False for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError, ValueError):
        return False


def load_baseline(path: str | Path) -> tuple[Baseline, dict[str, Any]]:
    """(network in evaluation mode, notes). InputError when the file is missing, damaged or of another kind."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no weights at {path}: expected a .safetensors file written by jambatalk train"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(
                    f"{path} is of format {metadata.get('format')!r}, expected {FORMAT!r}: no baseline's weights"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = baseline_config(json.loads(metadata["config"]), str(path))
        with unfilled_networks():
            network = make_baseline(config)
        own = network.state_dict()
        network.load_state_dict(
            {k: v.to(own[k].dtype) if k in own else v for k, v in tensors.items()}
        )
        notes: dict[str, Any] = json.loads(metadata["notes"])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is damaged or no baseline's weights ({' '.join(str(error).split())[:200]})"
        ) from error
    if bad := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise InputError(f"{path} holds values that are not finite in {bad[0]}")
    return network.eval(), notes
