"""Typed settings from YAML or JSON mappings, and settings files that extend each other.

An unknown key is an error that names it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import logging
import math
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from jambatalk.errors import InputError, reading, shown

T = TypeVar("T")
Upgrade = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Variants:
    """Base of a family of dataclasses that their field ``kind`` tells apart.

    Each subclass of a family's first class adds itself to ``kinds`` under the default of its
    ``kind``; ``from_mapping`` chooses among them. Settings without a ``kind`` are of the first.
    """

    kind: str
    kinds: ClassVar[dict[str, type]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Variants in cls.__bases__:
            cls.kinds = {}
        else:
            cls.kinds[cls.kind] = cls


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass, nested dataclasses too, from a mapping.

    Args:
        kind: The dataclass.
        values: A value for each field that is to differ from its default.
        where: What the values were read from, for messages.

    Raises:
        InputError: for an unknown key, a value of another type or one that the class refuses.
    """
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
                f"{where}: unknown setting {shown(key)}; {kind.__name__} has "
                f"{', '.join(sorted(fields))}"
            )
        arguments[key] = _converted(hints[key], value, f"{where}: {key}")
    try:
        return kind(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error


def _converted(wanted: Any, value: Any, where: str) -> Any:
    if isinstance(wanted, type) and issubclass(wanted, Variants):
        return _variant(wanted, value, where)
    if dataclasses.is_dataclass(wanted):
        return from_mapping(typing.cast(type, wanted), value, where)
    if wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            value = float(value)  # YAML reads 1e-4 as a string
    if wanted is float and isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}, expected a finite number")
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # YAML reads names that are digits, such as precision: 16, as numbers
    origin = typing.get_origin(wanted)
    wanted = dict if origin is dict else wanted
    if origin in (list, tuple):
        element = typing.get_args(wanted)[0]
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} is {shown(value)}, expected a list")
        return origin(_converted(element, v, where) for v in value)
    if isinstance(wanted, type) and (
        not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)
    ):
        raise InputError(f"{where} is {shown(value)}, expected {wanted.__name__}")
    return value


def _variant(family: type[Variants], value: Any, where: str) -> Any:
    """Settings of the member of a family that their ``kind`` names; without one, the first."""
    first = next(iter(family.kinds))
    kind = value.get("kind", first) if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in family.kinds:
        raise InputError(
            f"{where} is {shown(value)}, expected settings with kind: {' or '.join(family.kinds)}"
        )
    return from_mapping(family.kinds[kind], value, where)


CONFIGS = Path(__file__).parent / "configs"
"""Settings of trainings and experiments that come with the package, used by their names."""


def settings_names() -> tuple[str, ...]:
    """List the settings in the package, such as ``light-grid`` and ``experiments/ablation``."""
    found = (path.relative_to(CONFIGS).with_suffix("") for path in CONFIGS.rglob("*.yaml"))
    return tuple(sorted(path.as_posix() for path in found))


def find_settings(name: str | Path) -> Path:
    """Find a file of settings: a path, or the name of one in the package.

    Args:
        name: A path; or a name of ``settings_names``, also with ``configs/`` before or ``.yaml``
            behind it.

    Raises:
        InputError: There is neither a file nor a name like this.
    """
    if Path(name).exists():
        return Path(name)
    known = Path(name).with_suffix("").as_posix().removeprefix("configs/")
    if known in settings_names():
        return CONFIGS / f"{known}.yaml"
    near = difflib.get_close_matches(known, settings_names(), 1)
    hint = f", did you mean {near[0]}?" if near else ""
    raise InputError(
        f"no settings {shown(str(name))}: expected a YAML file, or a name in the package{hint} "
        f"({', '.join(n for n in settings_names() if '/' not in n)}, and more in "
        f"{', '.join(sorted({n.partition('/')[0] + '/' for n in settings_names() if '/' in n}))})"
    )


def read_settings(
    path: str | Path, library: Path | None = None, upgrade: Upgrade = dict
) -> dict[str, Any]:
    """Read a YAML file and merge it over the file that its key ``extends`` names, if it has one.

    Mappings are merged key by key; lists and plain values of the base are replaced.

    Args:
        path: The file. ``extends`` is a path relative to it (``.yaml`` may be left out).
        library: A folder whose files may be extended by their names from everywhere.
        upgrade: Applied to each file's own mapping before it is merged, e.g. to rename old keys.

    Raises:
        InputError: A file is missing or not YAML, or files extend each other in a circle.
    """
    path = Path(path)
    return extended(read_yaml(path), str(path), path.parent, library, upgrade, (path.resolve(),))


def extended(
    values: Mapping[str, Any],
    where: str,
    folder: Path,
    library: Path | None = None,
    upgrade: Upgrade = dict,
    seen: tuple[Path, ...] = (),
) -> dict[str, Any]:
    """Merge a mapping over the file that its key ``extends`` names; see ``read_settings``.

    Args:
        values: The mapping, with or without ``extends``.
        where: The source of ``values`` in error messages.
        folder: Where relative paths begin.
        library: See ``read_settings``.
        upgrade: See ``read_settings``.
        seen: The files that led here.
    """
    own = dict(upgrade(values))
    if "extends" not in own:
        return own
    base = own.pop("extends")
    path = _base_path(base, where, folder, library)
    files = (*seen, path.resolve())
    if files[-1] in seen:
        circle = " -> ".join(file.name for file in files)
        raise InputError(f"{where}: settings extend each other in a circle: {circle}")
    below = extended(read_yaml(path), str(path), path.parent, library, upgrade, files)
    return overlay(below, own)


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``above`` over ``below``, nested mappings key by key. Neither is changed."""
    merged = {k: overlay(v, {}) if isinstance(v, Mapping) else v for k, v in below.items()}
    for key, value in above.items():
        if isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = overlay(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def _base_path(base: Any, where: str, folder: Path, library: Path | None) -> Path:
    if not isinstance(base, str) or not base:
        raise InputError(f"{where}: extends is {shown(base)}, expected the path of one YAML file")
    name = base if base.endswith((".yaml", ".yml")) else f"{base}.yaml"
    if library is not None and (library / Path(name).name).is_file() and Path(name).name == name:
        return library / name
    if (folder / name).is_file():
        return folder / name
    known = "" if library is None else f" or one of {', '.join(names_in(library))}"
    raise InputError(f"{where}: extends {shown(base)}, expected an existing YAML file{known}")


def names_in(library: Path) -> tuple[str, ...]:
    """List the names of the settings files in a folder, in alphabetical order."""
    return tuple(sorted(path.stem for path in library.glob("*.yaml")))


Renamed = Mapping[str, Mapping[str, str]]
"""Section (dotted, "" for the top) -> old key -> new key. Sections have their new names."""


def rename_keys(
    values: Mapping[str, Any], renamed: Renamed, found: dict[str, str], section: str = ""
) -> dict[str, Any]:
    """Give the settings of earlier versions their present names.

    Args:
        values: A mapping of settings, nested ones included.
        renamed: What is called otherwise now.
        found: Gets old name -> new name (dotted) of each key that was renamed.
        section: Where ``values`` stand in the whole.

    Raises:
        InputError: A setting is given under both names.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{shown(values)} found where settings were expected")
    result: dict[str, Any] = {}
    names = renamed.get(section, {})
    for key, value in values.items():
        new = names.get(key, key)
        if new in result or (new != key and new in values):
            raise InputError(f"{key} and {new} are one setting: expected it once, as {new}")
        inner = f"{section}.{new}" if section else str(new)
        if new != key:
            found[f"{section}.{key}" if section else str(key)] = inner
        result[new] = (
            rename_keys(value, renamed, found, inner) if isinstance(value, Mapping) else value
        )
    return result


def warn_of_renamed(where: str, found: Mapping[str, str]) -> None:
    """Log one line that lists the old names in ``where`` and their new ones, if there are any."""
    if found:
        pairs = ", ".join(f"{old} is now {new}" for old, new in found.items())
        logging.getLogger("jambatalk").warning("%s: settings have new names: %s", where, pairs)


MOST_SETTINGS_BYTES = 1_000_000
DEEPEST = 50
"""Levels of nesting in a settings file; real ones have five."""


class _Loader(yaml.SafeLoader):
    """Plain YAML without aliases, whose repetition grows without bound (322 bytes can fill a
    machine's memory).
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InputError(
                "it repeats a part by an alias (*name), expected every setting written out"
            )
        self.depth += 1
        if self.depth > DEEPEST:
            raise InputError(f"it is nested more than {DEEPEST} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def parse_yaml(text: str) -> Any:
    """Parse YAML of bounded size: no aliases, at most ``DEEPEST`` levels. InputError otherwise."""
    return yaml.load(text, _Loader)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        InputError: the file is missing, is not YAML, holds another thing than a mapping, repeats
            parts by aliases, is nested more than ``DEEPEST`` levels deep, or larger than
            ``MOST_SETTINGS_BYTES``.
    """
    with reading(path, "YAML with settings"):
        with open(path, "rb") as file:
            content = file.read(MOST_SETTINGS_BYTES + 1)
        if len(content) > MOST_SETTINGS_BYTES:
            raise InputError(
                f"{path} holds more than {MOST_SETTINGS_BYTES:,} bytes, expected settings"
            )
        try:
            values = parse_yaml(content.decode("utf-8"))
        except InputError as error:
            raise InputError(f"{path} is refused: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds {type(values).__name__}, expected settings (a mapping)")
    return values
