"""Trained weights on disk: one safetensors file with all settings that build the network again.

The file's metadata hold ``format`` as plain text and further parts as JSON: ``config`` (settings),
``notes`` (how it was trained) and, where outputs have names, ``names``. ``save_weights`` and
``load_weights`` are for the network; baselines write the same file under formats of their own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jambatalk.atomic import atomic_write
from jambatalk.config import from_mapping
from jambatalk.errors import InputError, reading, reason, shown
from jambatalk.models.config import ModelConfig
from jambatalk.models.encoders.pretrained import unfilled_networks
from jambatalk.models.speech_to_motion import SpeechToMotion

FORMAT = "jambatalk-1"

SHIPPED = {
    name: Path(__file__).parents[1] / "assets" / f"{name}.safetensors" for name in ("base", "light")
}
"""Weights inside the package by their names."""

TRAINING_ONLY = "lip_reader."
"""Begin of the names of tensors that only training uses; animating leaves them on disk."""

SCALE, SMALL_MATRIX = ":scale", 4096
"""Suffix of the scales of int8 matrices; values from which a matrix is large enough for int8."""

LARGEST_SETTING = 1 << 16
"""Settings above this must be dimensions of a tensor in the file: no file may fill the memory."""

Network = TypeVar("Network", bound=nn.Module)


def save_weights(
    path: str | Path,
    model: SpeechToMotion,
    names: tuple[str, ...],
    notes: dict[str, Any],
    half: bool = False,
    int8: bool = False,
) -> None:
    """Write a network.

    Args:
        path: The file.
        model: The network, whose settings are stored too.
        names: Of its outputs; none for vertex offsets.
        notes: How it was trained.
        half: Store float16, which halves the file; loading gives float32 in either case.
        int8: Store large matrices as int8 with a scale for each row: a quarter of the file. Values
            move by up to 1/254 of their row's largest.
    """
    save_tensors(path, model.state_dict(), model.config, names, notes, half, int8)


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    config: ModelConfig,
    names: tuple[str, ...],
    notes: dict[str, Any],
    half: bool = False,
    int8: bool = False,
) -> None:
    """Write a state dict as ``save_weights`` does; it may hold TRAINING_ONLY tensors besides."""
    parts = {"config": dataclasses.asdict(config), "names": list(names), "notes": notes}
    write_checkpoint(path, FORMAT, tensors, parts, half, int8)


def find_weights(path: str | Path | None = None) -> Path:
    """Return the file that is meant by a path or by the name of weights in the package.

    Args:
        path: A file; "base" or "light" (where no file is called so); None: base.
    """
    name = "base" if path is None else str(path)
    return SHIPPED[name] if name in SHIPPED and not Path(name).exists() else Path(name)


def load_weights(
    path: str | Path, device: str = "cpu"
) -> tuple[SpeechToMotion, tuple[str, ...], dict[str, Any]]:
    """Load a network.

    Returns:
        The network in evaluation mode, the names of its outputs, the notes.

    Raises:
        InputError: the file is missing, damaged, of another format or does not fit its settings.
    """
    path = find_weights(path)
    parts, tensors = read_checkpoint(path, FORMAT, skip=TRAINING_ONLY)
    config = _config(parts, path)
    names = checked_names(parts, config.outputs, path)
    model = build_network(lambda: SpeechToMotion(config), config, tensors, path)
    model.choose_style()
    return model.to(device), names, parts["notes"]


def read_config(path: str | Path) -> ModelConfig:
    """Load the settings of the network in a file; errors as ``load_weights``."""
    path = find_weights(path)
    return _config(read_checkpoint(path, FORMAT, tensors=False)[0], path)


def _config(parts: Mapping[str, Any], path: str | Path) -> ModelConfig:
    return from_mapping(ModelConfig, parts.get("config", {}), str(path))


# What all checkpoints share.


def write_checkpoint(
    path: str | Path,
    file_format: str,
    tensors: Mapping[str, Tensor],
    parts: Mapping[str, Any],
    half: bool = False,
    int8: bool = False,
) -> None:
    """Write tensors and the parts that describe them.

    Args:
        path: The file; it takes its name when it is complete.
        file_format: Tells one kind of network from others.
        tensors: By name, on any device.
        parts: Values by name that JSON can hold: config, notes, names.
        half: Store floating-point tensors as float16.
        int8: Store large floating-point matrices as int8, see ``save_weights``.
    """
    stored = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    if int8:
        stored = dict(_quantized(stored))
    if half:
        stored = {
            k: v.half() if v.is_floating_point() and not k.endswith(SCALE) else v
            for k, v in stored.items()
        }
    metadata = {"format": file_format} | {name: json.dumps(v) for name, v in parts.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(stored, temporary, metadata)
        except SafetensorError as error:  # a full disk
            raise InputError(f"cannot write {path}: {error}") from error


def _quantized(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in tensors.items():
        if not value.is_floating_point() or value.ndim < 2 or value.numel() < SMALL_MATRIX:
            yield name, value
            continue
        rows = value.float().flatten(1)
        scale = (rows.abs().amax(1) / 127.0).clamp_min(1e-12)
        yield name, (rows / scale[:, None]).round().to(torch.int8).view_as(value)
        # In float32, also beside float16: a scale may be below float16's range.
        yield name + SCALE, scale


def _dequantized(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Multiply int8 matrices by their scales; InputError where one has none that fits."""
    scales = {name: tensors.pop(name) for name in [n for n in tensors if n.endswith(SCALE)]}
    for name, value in tensors.items():
        if value.dtype == torch.int8 and value.ndim >= 2:
            scale = scales.pop(name + SCALE, None)
            if scale is None or scale.shape != value.shape[:1]:
                raise InputError(f"{path} is damaged: {name} is int8 and has no scale per row")
            tensors[name] = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
    if scales:
        raise InputError(f"{path} is damaged: {next(iter(scales))} belongs to no int8 matrix")
    return tensors


def checkpoint_format(path: str | Path) -> str | None:
    """Return the format that a file names; None for anything else than a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError, ValueError):
        return None


def read_checkpoint(
    path: str | Path, file_format: str, tensors: bool = True, skip: str | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what ``write_checkpoint`` wrote.

    Args:
        path: The file.
        file_format: The format that it must have.
        tensors: Whether to read the tensors.
        skip: Leave out tensors whose names begin with this.

    Returns:
        The parts by name, of which config and notes are mappings; the tensors, floating-point ones
        as float32.

    Raises:
        InputError: the file is missing, damaged, of another format, or has values that are not
            finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no weights at {path}: expected a .safetensors file written by jambatalk train"
        )
    with reading(path, "a safetensors file"), safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != file_format:
            raise InputError(
                f"{path} is of format {shown(metadata.get('format'))}, expected {file_format!r}: "
                "not written by jambatalk train"
            )
        wanted = [k for k in file.keys() if skip is None or not k.startswith(skip)]  # noqa: SIM118
        found = {key: _own(file.get_tensor(key)) for key in wanted} if tensors else {}
    found = _dequantized(found, path)
    for name, value in found.items():
        if not torch.isfinite(value).all():
            raise InputError(f"{path} holds values that are not finite in {name}")
    parts: dict[str, Any] = {}
    for name, text in metadata.items():
        if name != "format":
            with reading(f"the header of {path} ({name})", "JSON"):
                parts[name] = json.loads(text)
    for name in ("config", "notes"):
        if not isinstance(parts.get(name), dict):
            raise InputError(
                f"{path} has a damaged header: {name} is {shown(parts.get(name))}, "
                "expected a mapping"
            )
    return parts, found


def _own(value: Tensor) -> Tensor:
    """A tensor in memory of its own, floating-point ones as float32.

    Within the file tensors lie at any address, and torch rounds differently by it.
    """
    kind = torch.float32 if value.is_floating_point() else value.dtype
    return value.to(kind, copy=True)


def checked_names(parts: Mapping[str, Any], outputs: int, path: str | Path) -> tuple[str, ...]:
    """Return the names of the outputs in a header; none, or as many different ones as outputs."""
    names = parts.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{path} has a damaged header: names are {shown(names)}, expected a list of texts"
        )
    if names and len(set(names)) != outputs:
        raise InputError(
            f"{path} has a damaged header: {len(set(names))} different names for {outputs} outputs"
        )
    return tuple(names)


def build_network(
    make: Callable[[], Network], config: Any, tensors: Mapping[str, Tensor], path: str | Path
) -> Network:
    """Build a network and give it its tensors, without a copy: each is in memory once.

    Args:
        make: Builds the network; pretrained encoders within it get no weights of their own.
        config: The settings that it is built by.
        tensors: Its whole state.
        path: The file, for messages.

    Returns:
        The network in evaluation mode.

    Raises:
        InputError: the tensors are not those of the network that the settings describe.
    """
    largest = max((size for value in tensors.values() for size in value.shape), default=0)
    if (size := _largest_setting(config)) > max(LARGEST_SETTING, largest):
        raise InputError(f"{path} does not fit its own configuration: a setting is {shown(size)}")
    try:
        with torch_defaults(), unfilled_networks():
            network = make()
        network.load_state_dict(dict(tensors), assign=True)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise InputError(f"{path} does not fit its own configuration: {reason(error)}") from error
    return network.eval()


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Make float32 tensors on the CPU inside, whatever defaults the program has set."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def _largest_setting(config: Any) -> int:
    """The largest integer among settings, nested ones included."""
    if dataclasses.is_dataclass(config):
        values = [getattr(config, f.name) for f in dataclasses.fields(config)]
        return max(map(_largest_setting, values), default=0)
    if isinstance(config, (list, tuple)):
        return max(map(_largest_setting, config), default=0)
    return config if isinstance(config, int) else 0
