"""Trained weights on disk: one safetensors file that carries its whole configuration."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jambatalk.atomic import atomic_write
from jambatalk.config import from_mapping
from jambatalk.errors import InputError
from jambatalk.models.config import ModelConfig
from jambatalk.models.encoders.pretrained import unfilled_networks
from jambatalk.models.speech_to_motion import SpeechToMotion

FORMAT = "jambatalk-1"

# Tensors of a checkpoint that only training uses; animating leaves them on disk.
TRAINING_ONLY = "lip_reader."


def save_weights(
    path: str | Path,
    model: SpeechToMotion,
    names: tuple[str, ...],
    notes: dict[str, Any],
    half: bool = False,
) -> None:
    """Write the network with its configuration, output names (none: vertex offsets) and ``notes`` (how it was trained).

    ``half`` stores float16, which halves the file; ``load_weights`` gives float32 in either case.
    """
    save_tensors(path, model.state_dict(), model.config, names, notes, half)


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    config: ModelConfig,
    names: tuple[str, ...],
    notes: dict[str, Any],
    half: bool = False,
) -> None:
    """As ``save_weights`` for a state dict without its network; it may hold TRAINING_ONLY tensors besides."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(dataclasses.asdict(config)),
        "names": json.dumps(list(names)),
        "notes": json.dumps(notes),
    }
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk
            raise InputError(f"cannot write {path}: {error}") from error


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Make float32 tensors on the CPU, whatever defaults the program has set (also a decorator)."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


@torch_defaults()
def load_weights(
    path: str | Path, device: str = "cpu"
) -> tuple[SpeechToMotion, tuple[str, ...], dict[str, Any]]:
    """(network in evaluation mode, output names, notes). InputError when the file is missing, damaged or of another kind."""
    path = Path(path)
    config, names, notes, tensors = _read(path, with_tensors=True)
    with unfilled_networks():
        model = SpeechToMotion(config)
    try:
        # Taken over, not copied: a network of a billion numbers is in memory once.
        model.load_state_dict(tensors, assign=True)
        model.choose_style()
    except RuntimeError as error:
        raise InputError(
            f"{path} does not fit its own configuration: {' '.join(str(error).split())[:300]}"
        ) from error
    if bad := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise InputError(f"{path} holds values that are not finite in {bad[0]}")
    return model.to(device).eval(), names, notes


def read_config(path: str | Path) -> ModelConfig:
    """The settings of the network in a weights' file; errors as ``load_weights``."""
    return _read(Path(path), with_tensors=False)[0]


def _read(
    path: Path, with_tensors: bool
) -> tuple[ModelConfig, tuple[str, ...], dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(
            f"no weights at {path}: expected a .safetensors file written by jambatalk train"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            wanted = [
                key for key in file.keys() if with_tensors and not key.startswith(TRAINING_ONLY)
            ]
            tensors = {key: file.get_tensor(key).float() for key in wanted}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} is of format {metadata.get('format')!r}, expected {FORMAT!r}: not written by jambatalk train"
        )
    try:
        config = from_mapping(ModelConfig, json.loads(metadata["config"]), str(path))
        names = tuple(json.loads(metadata["names"]))
        notes = json.loads(metadata["notes"])
    except (KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path} has a damaged header ({error!r})") from error
    return config, names, notes, tensors
