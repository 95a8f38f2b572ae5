"""Dialects of shape names: what a face's shapes mean in ARKit's terms, whatever they are called.

The one table is ``dialects.yaml`` beside this file; a user adds to it by a YAML file of the same
form, ``names`` and ``recipes``, beside the character's. Spellings are compared by their words:
capitals, separators and trailing copy numbers (``.001``) do not matter, a last ``L`` or ``R`` is
Left or Right, and words in front may be anything (``AK_01_``, ``blendShape1.``, ``A25_``) where
enough is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from jambatalk.errors import InputError, reading, shown
from jambatalk.face.head import ARKIT_NAMES

Array = NDArray[Any]

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\x00-\x7f]+")
SIDES = {"l": "left", "r": "right"}
BY_GEOMETRY = "by_geometry"
"""The meaning of a shape that no word describes: what it does to the lips decides about it."""

SHORTEST_SUFFIX = 6
"""Letters that must be left after a prefix: ``Hair_A`` is no vowel, ``head_viseme_aa`` is one."""

BOTH_SIDES = {
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "eyes_wide": ("eyeWideLeft", "eyeWideRight"),
}
"""Meanings that are left out where the face has a shape for each side."""


@dataclass(frozen=True)
class Dialects:
    """The table.

    Args:
        spellings: words, see ``words_of``, put together -> meaning.
        recipes: meaning -> ARKit weights; an ARKit name means itself.
    """

    spellings: Mapping[str, str]
    recipes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def meaning(self, name: str) -> str | None:
        """What a shape of this name means: an ARKit name or a key of ``recipes``; None: unknown."""
        words = words_of(name)
        for start in range(len(words)):
            text = "".join(words[start:])
            if text in self.spellings and (start == 0 or len(text) >= SHORTEST_SUFFIX):
                return self.spellings[text]
        return None

    def meanings(self, names: Sequence[str]) -> dict[str, str]:
        """name -> meaning of the names that are known."""
        found = {name: self.meaning(name) for name in names}
        known = {name: meaning for name, meaning in found.items() if meaning is not None}
        there = set(known.values())
        return {
            name: meaning
            for name, meaning in known.items()
            if meaning not in BOTH_SIDES or not there.issuperset(BOTH_SIDES[meaning])
        }

    def own_recipes(self) -> dict[str, Mapping[str, float]]:
        """The recipes that are not the package's."""
        known = known_dialects().recipes
        return {name: one for name, one in self.recipes.items() if known.get(name) != one}

    def matrix(self, meanings: Sequence[str], names: Sequence[str] = ARKIT_NAMES) -> Array:
        """(len(names), len(meanings)) float64: what each meaning at 1 is in ARKit's weights."""
        rows = {name: i for i, name in enumerate(names)}
        table = np.zeros((len(names), len(meanings)))
        for column, meaning in enumerate(meanings):
            for name, weight in self.recipes.get(meaning, {meaning: 1.0}).items():
                if name in rows:
                    table[rows[name], column] = weight
        return table


def words_of(name: str) -> tuple[str, ...]:
    """The words of a spelling: ``AK_09_EyeBlink_L`` -> ak, 09, eye, blink, left."""
    words = [word.lower() for word in WORDS.findall(re.sub(r"\.\d{3}$", "", name))]
    if len(words) > 1 and words[-1] in SIDES:
        words[-1] = SIDES[words[-1]]
    return tuple(words)


@lru_cache(maxsize=1)
def known_dialects() -> Dialects:
    """The table that comes with the package."""
    text = (files("jambatalk") / "face" / "dialects.yaml").read_text(encoding="utf-8")
    plain = Dialects({"".join(words_of(name)): name for name in ARKIT_NAMES})
    return _extended(plain, yaml.safe_load(text), "dialects.yaml")


def read_dialects(path: str | Path) -> Dialects:
    """The table with a user's YAML added: ``names`` and ``recipes`` as in dialects.yaml.

    Raises:
        InputError: the file is missing or damaged, or a recipe names no ARKit shape.
    """
    with reading(path, "a YAML file with names and recipes of shapes"):
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return _extended(known_dialects(), found, str(path))


def dialects_beside(path: Path) -> Dialects:
    """The table for one file: with the YAML of its name beside it (``me.glb``, ``me.yaml``), or a
    folder's ``shapes.yaml``, where there is one.
    """
    own = path / "shapes.yaml" if path.is_dir() else path.with_suffix(".yaml")
    return read_dialects(own) if own.is_file() else known_dialects()


def _extended(table: Dialects, found: Any, where: str) -> Dialects:
    if not isinstance(found, dict) or set(found) - {"names", "recipes"} or not found:
        raise InputError(f"{where} holds {shown(found)}, expected the keys names and recipes")
    recipes, spellings = dict(table.recipes), dict(table.spellings)
    for meaning, recipe in (found.get("recipes") or {}).items():
        if not isinstance(recipe, dict):
            raise InputError(f"{where}: the recipe of {shown(meaning)} is no list of weights")
        for name, weight in recipe.items():
            if name not in ARKIT_NAMES:
                raise InputError(
                    f"{where}: the recipe of {shown(meaning)} names {shown(name)}, "
                    "expected names of ARKit such as 'jawOpen'"
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise InputError(f"{where}: {name} of {shown(meaning)} is {shown(weight)}")
        recipes[str(meaning)] = {name: float(weight) for name, weight in recipe.items()}
    for meaning, names in (found.get("names") or {}).items():
        if meaning not in recipes and meaning not in ARKIT_NAMES:
            raise InputError(
                f"{where}: {shown(meaning)} is neither a name of ARKit nor has it a recipe"
            )
        for name in [names] if isinstance(names, str) else names:
            spellings["".join(words_of(str(name)))] = str(meaning)
    return Dialects(spellings, recipes)
