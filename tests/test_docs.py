"""What the documentation shows runs: Python blocks are executed, settings are loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jambatalk.models.block import LAYERS, MIXERS
from jambatalk.models.presets import load_preset

DOCS = Path(__file__).parents[1] / "docs"


def _blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for path in sorted(DOCS.glob("*.md")):
        for i, text in enumerate(
            re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
        ):
            found.append((f"{path.stem}-{i}", text))
    return found


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name) for name, text in _blocks("python") if name.startswith("network")],
)
def test_python_of_the_network_page_runs(text: str) -> None:
    names: dict[str, Any] = {}
    try:
        exec(text, names)
        assert names["y"].shape == (1, 10, 192)
    finally:
        LAYERS.pop("S", None)
        MIXERS.pop("smooth", None)


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name) for name, text in _blocks("yaml") if name.startswith("network")],
)
def test_settings_of_the_network_page_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(text)
    load_preset(path)


def test_the_network_page_names_every_preset_and_layer() -> None:
    page = (DOCS / "network.md").read_text(encoding="utf-8")
    for word in ("`base`", "`paper-vocaset`", "`paper-biwi6`", "`released-*`", "`order-a`"):
        assert word in page
    for letter in LAYERS:
        assert re.search(rf"\| .*\b{letter}\b.* \|", page)
