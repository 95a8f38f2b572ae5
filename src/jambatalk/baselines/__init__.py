"""Published systems to compare with, re-implemented from their papers: one file each.

``BASELINES`` lists them. A new one is a file with a subclass of ``Baseline`` and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from jambatalk.baselines.base import Baseline, BaselineConfig
from jambatalk.config import from_mapping, rename_keys
from jambatalk.errors import InputError

BASELINES: dict[str, tuple[str, str]] = {
    "bigru": ("jambatalk.baselines.bigru", "VertexBiGRU"),
    "voca": ("jambatalk.baselines.voca", "VOCA"),
    "faceformer": ("jambatalk.baselines.faceformer", "FaceFormer"),
    "codetalker": ("jambatalk.baselines.codetalker", "CodeTalker"),
    "selftalk": ("jambatalk.baselines.selftalk", "SelfTalk"),
    "facediffuser": ("jambatalk.baselines.facediffuser", "FaceDiffuser"),
}
"""kind -> (module, class)."""

RENAMED = {"recogniser": "recognizer"}
"""Keys of earlier versions, in any baseline's settings."""


def baseline_class(kind: str) -> type[Baseline]:
    """Import the class of a baseline. InputError lists the known kinds."""
    if kind not in BASELINES:
        raise InputError(f"no baseline {kind!r}: choose from {', '.join(BASELINES)}")
    module, name = BASELINES[kind]
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


def baseline_config(values: Mapping[str, Any], where: str) -> BaselineConfig:
    """Build a baseline's settings from a mapping with its ``kind``; an unknown key is an error."""
    values = rename_keys(values, {"": RENAMED}, {})
    return from_mapping(baseline_class(str(values.get("kind", ""))).Config, values, where)


def make_baseline(config: BaselineConfig) -> Baseline:
    """Build the baseline with new random weights (from torch's generator)."""
    return baseline_class(config.kind)(config)  # type: ignore[call-arg, arg-type]
