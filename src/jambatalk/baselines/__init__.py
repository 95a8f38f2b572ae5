from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from jambatalk.baselines.base import Baseline, BaselineConfig
from jambatalk.config import from_mapping
from jambatalk.errors import InputError

# All baselines by name: one file, and one line here.


BASELINES: Mapping[str, tuple[str, str]] = {
    "bigru": ("jambatalk.baselines.bigru", "VertexBiGRU"),
    "voca": ("jambatalk.baselines.voca", "VOCA"),
    "faceformer": ("jambatalk.baselines.faceformer", "FaceFormer"),
    "codetalker": ("jambatalk.baselines.codetalker", "CodeTalker"),
    "selftalk": ("jambatalk.baselines.selftalk", "SelfTalk"),
    "facediffuser": ("jambatalk.baselines.facediffuser", "FaceDiffuser"),
}
"""kind -> (module, class)."""


def baseline_class(kind: str) -> type[Baseline]:
    """The class of a baseline. InputError names those that there are."""
    if kind not in BASELINES:
        raise InputError(f"no baseline {kind!r}: choose from {', '.join(BASELINES)}")
    module, name = BASELINES[kind]
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


def baseline_config(values: Mapping[str, Any], where: str) -> BaselineConfig:
    """A baseline's settings from a mapping with its ``kind``; unknown keys are errors that name them."""
    return from_mapping(baseline_class(str(values.get("kind", ""))).Config, values, where)


def make_baseline(config: BaselineConfig) -> Baseline:
    """The baseline with new random weights (from torch's generator)."""
    return baseline_class(config.kind)(config)  # type: ignore[call-arg, arg-type]
