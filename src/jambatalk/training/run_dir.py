"""The run folder: the log of every step, and the checkpoint that an exact resume needs.

last.pt holds what training changes. What it never changes (a frozen encoder) is written once, as
frozen-<hash>.safetensors beside it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, reading
from jambatalk.file_lock import locked
from jambatalk.training.config import BlendshapesConfig, TrainConfig, VerticesConfig, train_config


class RunDir:
    """``log.jsonl`` (one line per step) and ``last.pt`` of one training run.

    Only the main process writes.

    Args:
        path: The folder; made when absent.
        config: The settings of the run.
        data_hash: SHA-256 of its data, in hexadecimal.
    """

    def __init__(self, path: Path, config: TrainConfig, data_hash: str) -> None:
        self.path, self.config, self.data_hash = path, config, data_hash
        # As a checkpoint stores them: lists, not tuples.
        self.settings = json.loads(json.dumps(asdict(config)))

    @property
    def last(self) -> Path:
        """The checkpoint."""
        return self.path / "last.pt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint: ``state`` with the settings and the hash of the data.

        Args:
            state: Tensors, numbers, texts and containers of them.
        """
        with atomic_write(self.last) as temporary:
            torch.save(
                {**state, "config": json.dumps(self.settings), "data_hash": self.data_hash},
                temporary,
            )

    def save_frozen(self, tensors: Mapping[str, Tensor], name: str) -> None:
        """Write tensors that training never changes; nothing where they are there already.

        Args:
            tensors: By name.
            name: Their hash, see ``tensors_hash``; files of other hashes are deleted.
        """
        path = self._frozen(name)
        if not path.exists():
            with atomic_write(path) as temporary:
                try:
                    save_file(
                        {key: value.detach().cpu().contiguous() for key, value in tensors.items()},
                        temporary,
                    )
                except SafetensorError as error:  # a full disk
                    raise InputError(f"cannot write {path}: {error}") from error

    def sweep_frozen(self, name: str) -> None:
        """Delete frozen tensors that the checkpoint no longer names."""
        for path in self.path.glob("frozen-*.safetensors"):
            if path != self._frozen(name):
                path.unlink()

    def load_frozen(self, name: str) -> dict[str, Tensor]:
        """Read what ``save_frozen`` wrote. InputError where it is missing or damaged."""
        path = self._frozen(name)
        if not path.is_file():
            raise InputError(f"{path} is missing, which {self.last} needs: expected it beside it")
        with reading(path, "a safetensors file"):
            found = load_file(path)
        if tensors_hash(found) != name:
            raise InputError(f"{path} is damaged: its content has another hash than its name")
        return found

    def _frozen(self, name: str) -> Path:
        return self.path / f"frozen-{name}.safetensors"

    def load(self) -> dict[str, Any] | None:
        """Read what ``save`` wrote last, on the CPU; None when there is nothing.

        Raises:
            InputError: The file is damaged, or was made with other settings or other data.
        """
        if not self.last.exists():
            return None
        saved, config, data_hash = self._read()
        if _in_use(config) != _in_use(self.config):
            old = json.loads(json.dumps(asdict(config)))
            raise InputError(
                f"{self.last} was made with other settings "
                f"({first_difference(old, self.settings)}); choose another run folder or the "
                "same settings"
            )
        if data_hash != self.data_hash:
            raise InputError(
                f"{self.last} was made with other data (hash {data_hash[:12]}, now "
                f"{self.data_hash[:12]}); choose another run folder or the same data"
            )
        return saved

    def _read(self) -> tuple[dict[str, Any], TrainConfig, str]:
        with reading(self.last, "a checkpoint (delete it to start afresh)"):
            # torch reads without comparing the checksums that its files, zip files, have.
            with zipfile.ZipFile(self.last) as file:
                if (damaged := file.testzip()) is not None:
                    raise ValueError(f"wrong checksum of {damaged}")
            saved = torch.load(self.last, weights_only=True, map_location="cpu")
            config = train_config(json.loads(saved["config"]), str(self.last))
            return saved, config, saved["data_hash"]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append the figures of a step."""
        row = {"step": step, **{name: float(f"{value:.6g}") for name, value in values.items()}}
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def prepare(self, step: int) -> None:
        """Make the folder ready to go on after ``step``: lines of later steps are dropped.

        They were logged after the checkpoint was written, and will be logged again.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for partial in self.path.glob(".last.*.pt"):  # of a process that was killed while saving
            partial.unlink()
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] > step:
                    break
            except (json.JSONDecodeError, KeyError):  # cut short when the process was killed
                break
            kept.append(line + "\n")
        with atomic_write(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _in_use(config: TrainConfig) -> TrainConfig:
    """The settings without the other task's block, whose defaults a later version may change."""
    if config.task == "blendshapes":
        return replace(config, vertices=VerticesConfig())
    return replace(config, blendshapes=BlendshapesConfig())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits of named tensors' shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def on_cpu(value: Any) -> Any:
    """Copy all tensors in dictionaries, lists and tuples, so that training may go on meanwhile."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: on_cpu(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(on_cpu(one) for one in value)
    return value


class BackgroundWriter:
    """Runs one piece of writing at a time in a thread of its own, while training goes on."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._running is not None and not self._running.done()

    def submit(self, write: Callable[[], None]) -> None:
        """Start ``write`` when what was begun before is done; errors of that are raised here."""
        self.wait()
        self._running = self._pool.submit(write)

    def wait(self) -> None:
        """Return when nothing is being written. Raises the error with which writing ended."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def lock_run_dir(path: Path) -> AbstractContextManager[None]:
    """Hold the run folder ``path``; the lock ends with the process, however that ends.

    Raises:
        InputError: Another process trains in it; the message names that process.
    """
    return locked(path / ".train.lock", f"the training run {path}")


def first_difference(old: Any, new: Any, name: str = "") -> str:
    """Describe the first setting that differs between two nested mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key):
                return first_difference(
                    old.get(key), new.get(key), f"{name}.{key}" if name else str(key)
                )
    return f"{name} was {json.dumps(old)}, is {json.dumps(new)}"
