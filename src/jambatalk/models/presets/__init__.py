"""Named network settings: one YAML file each in this folder; a variant is a small diff that ``extends`` another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jambatalk.config import from_mapping, read_yaml
from jambatalk.errors import InputError
from jambatalk.models.speech_to_motion import ModelConfig

FOLDER = Path(__file__).parent


def preset_names() -> tuple[str, ...]:
    """The presets there are, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_preset(name: str | Path) -> ModelConfig:
    """The network's settings by a preset's name or a YAML file's path. InputError names the choices or the bad key."""
    return from_mapping(ModelConfig, preset_mapping(name), str(name))


def preset_mapping(name: str | Path) -> dict[str, Any]:
    """The settings as a mapping, with what the preset ``extends`` already merged in."""
    if str(name) in preset_names():
        path = FOLDER / f"{name}.yaml"
    elif Path(name).suffix in (".yaml", ".yml"):
        path = Path(name)
    else:
        raise InputError(
            f"unknown preset {str(name)!r}: choose one of {', '.join(preset_names())}, or a .yaml file"
        )
    return merged_preset(read_yaml(path), str(path))


def merged_preset(
    values: Mapping[str, Any], where: str, seen: tuple[str, ...] = ()
) -> dict[str, Any]:
    """``values`` laid over the preset that their key ``extends`` names; nested mappings are merged key by key."""
    values = dict(values)
    if "extends" not in values:
        return values
    base = str(values.pop("extends"))
    if base in seen:
        raise InputError(f"{where}: {' -> '.join((*seen, base))} extend each other in a circle")
    path = FOLDER / f"{base}.yaml"
    if not path.is_file():
        raise InputError(f"{where}: extends {base!r}, expected one of {', '.join(preset_names())}")
    return _merged(merged_preset(read_yaml(path), base, (*seen, base)), values)


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = (
            _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
        )
    return result
