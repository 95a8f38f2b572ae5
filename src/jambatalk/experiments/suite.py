"""A suite of trainings: one base and small differences to it, all in one YAML file.

    base: {...}            # training settings, as for `jambatalk train`
    variants:
      no-velocity:
        about: the loss without its velocity term
        change: {vertices: {loss: {velocity: 0}}}
    left_out:
      name: why this row cannot be had

A variant is ``base`` with ``change`` laid over it, mapping by mapping; ``against`` names the variant that it is compared with,
``base`` if it says nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jambatalk.config import extended, from_mapping, overlay, read_settings, warn_of_renamed
from jambatalk.errors import InputError
from jambatalk.training.config import TrainConfig, change_setting, train_config, upgrade_settings

BASE = "base"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}")
"""Names of variants become names of folders."""


@dataclass(frozen=True)
class Variant:
    """One row of the table: what is changed, and why."""

    about: str = ""  # one line for the table's reader
    group: str = ""  # which part of the system it asks about; rows of one group stand together
    against: str = BASE  # the variant it is compared with
    change: dict[str, Any] = field(default_factory=dict)  # laid over the settings of `base`


@dataclass(frozen=True)
class SuiteFile:
    """What a suite's YAML file holds."""

    base: dict[str, Any]  # training settings
    about: str = ""
    variants: dict[str, Any] = field(default_factory=dict)  # name -> Variant
    left_out: dict[str, Any] = field(
        default_factory=dict
    )  # name -> the reason, told with the table


@dataclass(frozen=True)
class Run:
    """One training: a variant with a seed, its full settings as the mapping that YAML would give, and typed."""

    variant: str
    seed: int
    values: Mapping[str, Any]
    config: TrainConfig

    def identity(self, data_hash: str) -> str:
        """SHA-256 of the full settings and the data: what is finished need not be done again."""
        text = json.dumps({"settings": asdict(self.config), "data": data_hash}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder(self, data_hash: str) -> str:
        """Where it lives below the suite's folder; other settings or data are another folder."""
        return f"runs/{self.variant}-{self.seed}-{self.identity(data_hash)[:10]}"


class Suite:
    """A suite that was read and checked: every variant's settings are those of a training.

    variants: by name, ``base`` first. left_out: name -> reason.
    """

    def __init__(self, name: str, file: SuiteFile, where: str, changes: Sequence[str] = ()) -> None:
        self.name, self.about = name, file.about
        self.left_out = {
            key: " ".join(str(reason).split()) for key, reason in file.left_out.items()
        }
        self.variants = {BASE: Variant("as the suite's base says")}
        for key, values in file.variants.items():
            if key == BASE or not NAME.fullmatch(str(key)):
                raise InputError(
                    f"{where}: a variant is called {key!r}, expected letters, digits, - and _, and not {BASE!r}"
                )
            self.variants[key] = from_mapping(Variant, values or {}, f"{where}: {key}")
        renamed: dict[str, str] = {}
        upgrade = partial(upgrade_settings, found=renamed)
        base = extended(file.base, f"{where}: base", Path(where).parent, upgrade=upgrade)
        self._values, self._configs = {}, {}
        for key, variant in self.variants.items():
            if variant.against not in self.variants:
                raise InputError(
                    f"{where}: {key} is against {variant.against!r}, which is no variant of this suite"
                )
            values = overlay(base, upgrade_settings(variant.change, renamed))
            for change in changes:
                change_setting(values, change, renamed)
            self._values[key] = values
            self._configs[key] = train_config(values, f"{where}: {key}")
        warn_of_renamed(where, renamed)

    def chosen(self, only: Sequence[str]) -> list[str]:
        """The variants of these names and what they are compared with, in the suite's order; none named: all.

        InputError for a name that there is not.
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
        """The training of one variant from one seed."""
        values = {**self._values[variant], "seed": seed}
        return Run(variant, seed, values, train_config(values, f"{self.name}: {variant}"))


def load_suite(path: str | Path, changes: Sequence[str] = (), steps: int | None = None) -> Suite:
    """A suite from its YAML file; ``changes`` (key=value) and ``steps`` apply to every variant, over what the variant says.

    InputError when the file is missing, a key is unknown or settings do not fit each other.
    """
    file = from_mapping(SuiteFile, read_settings(path), str(path))
    return Suite(
        Path(path).stem,
        file,
        str(path),
        [*changes, *([f"steps={steps}"] if steps is not None else [])],
    )


def data_hash(folders: Sequence[Path]) -> str:
    """SHA-256 of the folders' contents: of the manifest, which holds the clips' checksums, or of all names, sizes and times."""
    digest = hashlib.sha256()
    for folder in folders:
        manifest = folder / "manifest.json"
        if manifest.is_file():
            digest.update(manifest.read_bytes())
        elif folder.is_dir():
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                found = path.stat()
                digest.update(
                    f"{path.relative_to(folder).as_posix()} {found.st_size} {found.st_mtime_ns}\n".encode()
                )
        else:
            raise InputError(f"no folder {folder}, expected a corpus")
        digest.update(b"\n")
    return digest.hexdigest()
