"""Typed configurations from YAML or JSON mappings; an unknown key is an error that names it."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from jambatalk.errors import InputError

T = TypeVar("T")


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build the dataclass ``kind`` (nested dataclasses too) from ``values``; ``where`` names the source in errors."""
    if not isinstance(values, Mapping):
        raise InputError(
            f"{where}: {values!r} found where settings of {kind.__name__} were expected"
        )
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise InputError(
                f"{where}: unknown setting {key!r}; {kind.__name__} has {', '.join(sorted(fields))}"
            )
        arguments[key] = _converted(hints[key], value, f"{where}: {key}")
    try:
        return kind(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error


def _converted(wanted: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(wanted):
        return from_mapping(typing.cast(type, wanted), value, where)
    if wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            pass
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # YAML reads names that are digits, such as precision: 16, as numbers
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(wanted), value, where)
    if origin in (list, tuple):
        element = typing.get_args(wanted)[0]
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} is {value!r}, expected a list")
        return origin(_converted(element, v, where) for v in value)
    if isinstance(wanted, type) and (
        not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)
    ):
        raise InputError(f"{where} is {value!r}, expected {wanted.__name__}")
    return value


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    """A value for one of several dataclasses, told apart by their field ``kind``; without one, the first."""
    kinds = {
        choice.kind: choice for choice in choices
    }  # a dataclass keeps a field's default as its attribute
    kind = value.get("kind", choices[0].kind) if isinstance(value, Mapping) else None
    if kind not in kinds:
        raise InputError(f"{where} is {value!r}, expected settings with kind: {' or '.join(kinds)}")
    return _converted(kinds[kind], value, where)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. InputError when the file is missing or holds no mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds {type(values).__name__}, expected settings (a mapping)")
    return values
