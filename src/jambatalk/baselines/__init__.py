"""Published systems, re-implemented from their papers, and their trained weights on disk.

A new baseline is one file with a subclass of ``Baseline`` and one line in ``BASELINES``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from jambatalk.baselines.base import Baseline, BaselineConfig
from jambatalk.config import from_mapping, rename_keys
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import (
    build_network,
    checkpoint_format,
    read_checkpoint,
    write_checkpoint,
)

BASELINES: dict[str, tuple[str, str]] = {
    "bigru": ("jambatalk.baselines.bigru", "VertexBiGRU"),
    "voca": ("jambatalk.baselines.voca", "VOCA"),
    "faceformer": ("jambatalk.baselines.faceformer", "FaceFormer"),
    "codetalker": ("jambatalk.baselines.codetalker", "CodeTalker"),
    "selftalk": ("jambatalk.baselines.selftalk", "SelfTalk"),
    "facediffuser": ("jambatalk.baselines.facediffuser", "FaceDiffuser"),
}
"""kind -> (module, class)."""

FORMAT = "jambatalk-baseline-1"

RENAMED = {"recogniser": "recognizer"}
"""Keys of earlier versions, in any baseline's settings."""


def baseline_class(kind: str) -> type[Baseline]:
    """Import the class of a baseline. InputError lists the known kinds."""
    if kind not in BASELINES:
        raise InputError(f"no baseline {kind!r:.80}: choose from {', '.join(BASELINES)}")
    module, name = BASELINES[kind]
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


def baseline_config(values: Mapping[str, Any], where: str) -> BaselineConfig:
    """Build a baseline's settings from a mapping with its ``kind``; an unknown key is an error."""
    values = rename_keys(values, {"": RENAMED}, {})
    return from_mapping(baseline_class(str(values.get("kind", ""))).Config, values, where)


def make_baseline(config: BaselineConfig) -> Baseline:
    """Build the baseline with new random weights (from torch's generator)."""
    return baseline_class(config.kind)(config)  # type: ignore[call-arg, arg-type]


def save_baseline(
    path: str | Path, network: Baseline, notes: dict[str, Any], half: bool = False
) -> None:
    """Write a baseline with its settings and ``notes`` (how it was trained).

    ``half`` stores float16; loading gives float32 in either case.
    """
    config = dataclasses.replace(network.config, encoder=network.hearing.config)
    parts = {"config": dataclasses.asdict(config), "notes": notes}
    write_checkpoint(path, FORMAT, network.state_dict(), parts, half)


def is_baseline(path: str | Path) -> bool:
    """Return whether a file holds a baseline; False for anything else."""
    return checkpoint_format(path) == FORMAT


def load_baseline(path: str | Path) -> tuple[Baseline, dict[str, Any]]:
    """Load a baseline in evaluation mode and its notes.

    Raises:
        InputError: the file is missing, damaged, of another format or does not fit its settings.
    """
    parts, tensors = read_checkpoint(path, FORMAT)
    config = baseline_config(parts["config"], str(path))
    return build_network(lambda: make_baseline(config), config, tensors, path), parts["notes"]
