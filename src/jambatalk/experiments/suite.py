"""A suite of trainings in one YAML file: a base and small differences to it.

    base: {...}            # training settings, as for `jambatalk train`; {extends: FILE} in short
    variants:
      no-velocity:
        about: the loss without its velocity term
        change: {vertices: {loss: {velocity: 0}}}
      voca:
        change: {extends: ../grid/voca}
    left_out:
      name: why this row cannot be had

A variant is ``base`` with ``change`` merged over it, mapping by mapping; a ``change`` that extends
a file is merged over that file instead. ``against`` names the variant that it is compared with.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jambatalk.config import (
    extended,
    find_settings,
    from_mapping,
    overlay,
    read_settings,
    warn_of_renamed,
)
from jambatalk.errors import InputError, shown
from jambatalk.training.config import TrainConfig, change_setting, train_config, upgrade_settings

BASE = "base"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}")
"""Names of variants become names of folders."""


@dataclass(frozen=True)
class Variant:
    """One row of the table: what is changed, and why."""

    about: str = ""
    """One line for the table's reader."""
    group: str = ""
    """Which part of the system it asks about; rows of one group stand together."""
    against: str = BASE
    """The variant it is compared with."""
    change: dict[str, Any] = field(default_factory=dict)
    """Merged over the settings of ``base``, or over the file that it extends."""


@dataclass(frozen=True)
class SuiteFile:
    """The contents of a suite's YAML file."""

    base: dict[str, Any]
    """Training settings."""
    about: str = ""
    variants: dict[str, Any] = field(default_factory=dict)
    """Name -> ``Variant``."""
    left_out: dict[str, Any] = field(default_factory=dict)
    """Name -> the reason, printed with the table."""
    metrics: list[str] = field(default_factory=list)
    """Metrics of the table, with or without their units; empty: the usual ones."""
    references: bool = False
    """Whether truth, static and mean are rows of the table."""
    memory: bool = False
    """Whether the peak memory of animating is measured."""


@dataclass(frozen=True)
class Run:
    """One training: a variant with a seed, its settings as a YAML mapping (values) and typed."""

    variant: str
    seed: int
    values: Mapping[str, Any]
    config: TrainConfig

    def identity(self, data_hash: str) -> str:
        """SHA-256 of the full settings and the data, so that what is finished is not done again."""
        settings = asdict(self.config)
        del settings["save_minutes"]  # when checkpoints are written changes nothing
        if not settings["tf32"]:
            del settings["tf32"]  # identities of before it was a setting stay
        text = json.dumps({"settings": settings, "data": data_hash}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder(self, data_hash: str) -> str:
        """Its folder below the suite's; other settings or data have another one."""
        return f"runs/{self.variant}-{self.seed}-{self.identity(data_hash)[:10]}"


class Suite:
    """A suite whose variants all have valid training settings.

    Attributes:
        variants: By name, ``base`` first.
        left_out: Name -> reason.
        metrics, references, memory: As in ``SuiteFile``.
    """

    def __init__(
        self,
        name: str,
        file: SuiteFile,
        where: str,
        changes: Sequence[str] = (),
        adapt: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        self.name, self.about = name, file.about
        self.metrics, self.references = tuple(file.metrics), file.references
        self.memory = file.memory
        self.left_out = {
            key: " ".join(str(reason).split()) for key, reason in file.left_out.items()
        }
        self.variants = {BASE: Variant("as the suite's base says")}
        for key, values in file.variants.items():
            if key == BASE or not NAME.fullmatch(str(key)):
                raise InputError(
                    f"{where}: a variant is called {shown(key)}, expected letters, digits, - and "
                    f"_, and not {BASE!r}"
                )
            self.variants[key] = from_mapping(Variant, values or {}, f"{where}: {key}")
        renamed: dict[str, str] = {}
        upgrade = partial(upgrade_settings, found=renamed)
        folder = Path(where).parent
        base = extended(file.base, f"{where}: base", folder, upgrade=upgrade)
        self._values, self._configs = {}, {}
        for key, variant in self.variants.items():
            if variant.against not in self.variants:
                raise InputError(
                    f"{where}: {key} is against {variant.against!r}, expected a variant of this "
                    "suite"
                )
            if "extends" in variant.change:
                values = extended(variant.change, f"{where}: {key}", folder, upgrade=upgrade)
            else:
                values = overlay(base, upgrade(variant.change))
            for change in changes:
                change_setting(values, change, renamed)
            values = adapt(values)
            self._values[key] = values
            self._configs[key] = train_config(values, f"{where}: {key}")
        warn_of_renamed(where, renamed)

    def chosen(self, only: Sequence[str]) -> list[str]:
        """Choose variants and what they are compared with, in the suite's order; none named: all.

        Raises:
            InputError: A name is unknown.
        """
        if unknown := [name for name in only if name not in self.variants]:
            raise InputError(
                f"no variant {unknown[0]!r} in {self.name}: choose from {', '.join(self.variants)}"
            )
        wanted = set(only or self.variants)
        while more := {self.variants[name].against for name in wanted} - wanted:
            wanted |= more
        return [name for name in self.variants if name in wanted]

    def run(self, variant: str, seed: int) -> Run:
        """Make the training of one variant from one seed."""
        values = {**self._values[variant], "seed": seed}
        return Run(variant, seed, values, train_config(values, f"{self.name}: {variant}"))


def load_suite(
    path: str | Path,
    changes: Sequence[str] = (),
    steps: int | None = None,
    adapt: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Suite:
    """Read a suite from its YAML file, or by its name in the package.

    Args:
        changes: KEY=VALUE, for every variant, over the variant's own.
        steps: The same for the number of steps.
        adapt: Gets the settings of each variant, as a mapping, and gives those to use.

    Raises:
        InputError: The file is missing, a key is unknown or settings do not fit each other.
    """
    path = find_settings(path)
    file = from_mapping(SuiteFile, read_settings(path), str(path))
    return Suite(
        Path(path).stem,
        file,
        str(path),
        [*changes, *([f"steps={steps}"] if steps is not None else [])],
        adapt,
    )


def data_hash(folders: Sequence[Path]) -> str:
    """SHA-256 of the folders' contents.

    Of the manifest, which holds the clips' checksums, or of all names, sizes and times.
    """
    digest = hashlib.sha256()
    for folder in folders:
        manifest = folder / "manifest.json"
        if manifest.is_file():
            digest.update(manifest.read_bytes())
        elif folder.is_dir():
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                found = path.stat()
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
        else:
            raise InputError(f"no folder {folder}, expected a corpus")
        digest.update(b"\n")
    return digest.hexdigest()
