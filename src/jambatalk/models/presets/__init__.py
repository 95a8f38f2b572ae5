"""Named network settings: one YAML file each in this folder; a variant extends another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jambatalk.config import from_mapping, names_in, read_settings
from jambatalk.errors import InputError
from jambatalk.models.config import ModelConfig
from jambatalk.models.speech_to_motion import check_network

FOLDER = Path(__file__).parent


def preset_names() -> tuple[str, ...]:
    """List the presets in alphabetical order."""
    return names_in(FOLDER)


def load_preset(name: str | Path) -> ModelConfig:
    """Load a network's settings by a preset's name or the path of a YAML file.

    Raises:
        InputError: The name or a key is unknown (the message lists the choices), or a value is
            out of range.
    """
    return check_network(from_mapping(ModelConfig, preset_mapping(name), str(name)), str(name))


def preset_mapping(name: str | Path) -> dict[str, Any]:
    """Read a preset as a mapping, merged over what it ``extends``."""
    if str(name) in preset_names():
        return read_settings(FOLDER / f"{name}.yaml", FOLDER)
    if Path(name).suffix in (".yaml", ".yml"):
        return read_settings(name, FOLDER)
    raise InputError(
        f"unknown preset {str(name)!r}: choose one of {', '.join(preset_names())}, or a .yaml file"
    )
