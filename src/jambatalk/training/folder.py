"""The run folder: the log of every step, and the checkpoint that an exact resume needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from jambatalk.errors import InputError
from jambatalk.files import replacing
from jambatalk.training.config import TrainConfig


class RunFolder:
    """``log.jsonl`` (one line per step) and ``last.pt`` of one training run; only its first process writes."""

    def __init__(self, path: Path, config: TrainConfig, data_hash: str) -> None:
        self.path, self.data_hash = path, data_hash
        self.settings = json.loads(json.dumps(asdict(config)))  # as a checkpoint gives them back: lists, not tuples

    @property
    def last(self) -> Path:
        return self.path / "last.pt"

    def save(self, state: Mapping[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, texts and containers of them) with the settings and the data's hash."""
        with replacing(self.last) as temporary:
            torch.save({**state, "config": json.dumps(self.settings), "data_hash": self.data_hash}, temporary)

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
            raise InputError(f"{self.last} is damaged ({type(error).__name__}); delete it to start afresh") from error
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
            file.write(json.dumps({"step": step, **{k: float(f"{v:.6g}") for k, v in values.items()}}) + "\n")

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
            except (json.JSONDecodeError, KeyError):  # a line cut short by the end of the earlier process
                break
            kept.append(line + "\n")
        with replacing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def first_difference(old: Any, new: Any, name: str = "") -> str:
    """``name was old, is new`` of the first setting that differs between two nested mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key):
                return first_difference(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    return f"{name} was {json.dumps(old)}, is {json.dumps(new)}"
