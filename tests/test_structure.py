"""The package's structure: no import circle, and arrows between packages that point one way."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("structure", ROOT / "tools" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


structure = _load()
FILES = structure.file_graph()
ARROWS = structure.package_graph(FILES)


def test_no_circle_between_files() -> None:
    assert structure.circles(FILES) == []


def test_no_circle_between_packages() -> None:
    assert structure.circles({package: set(to) for package, to in ARROWS.items()}) == []


def test_imports_point_to_lower_levels() -> None:
    assert structure.wrong_arrows(ARROWS) == []


def test_every_package_has_a_level() -> None:
    named = [package for level in structure.LEVELS for package in level]
    assert len(named) == len(set(named))
    assert {structure.package_of(module) for module in FILES} <= set(named)


def test_circles_and_arrows_are_found(tmp_path: Path) -> None:
    """The measure itself: imports in functions count, imports for types only do not."""
    package = tmp_path / "src" / "jambatalk"
    for folder in ("ops", "models"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "errors.py").write_text("")
    (package / "ops" / "scan.py").write_text("def f():\n    from ..models import block\n")
    (package / "models" / "block.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from jambatalk.errors import InputError\n"
        "if TYPE_CHECKING:\n    from jambatalk.ops import scan\n"
    )
    files = structure.file_graph(tmp_path)
    assert files["jambatalk.ops.scan"] == {"jambatalk.models.block"}
    assert files["jambatalk.models.block"] == {"jambatalk.errors"}
    assert structure.circles(files) == []
    wrong = structure.wrong_arrows(structure.package_graph(files))
    assert len(wrong) == 1
    assert wrong[0].startswith("ops -> models")
    (package / "models" / "block.py").write_text("import jambatalk.ops.scan\n")
    assert structure.circles(structure.file_graph(tmp_path)) == [
        ["jambatalk.models.block", "jambatalk.ops.scan"]
    ]


@pytest.mark.parametrize("size", [2, 50])
def test_a_ring_is_one_circle(size: int) -> None:
    ring = {str(i): {str((i + 1) % size)} for i in range(size)}
    assert structure.circles(ring | {"outside": {"0"}}) == [sorted(ring)]
