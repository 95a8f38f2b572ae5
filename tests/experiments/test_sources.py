"""docs/background/paper.md says what the settings are, and names ablations that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jambatalk.config import CONFIGS
from jambatalk.experiments.suite import load_suite
from jambatalk.training.config import load_train_config

PAGE = (Path(__file__).parents[2] / "docs/background/paper.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| setting")
]
SHORT = {
    "xlsr-53-english": "jonatasgrosman/wav2vec2-large-xlsr-53-english",
    "yes": True,
    "no": False,
}


def settings(corpus: str) -> dict[str, Any]:
    """Every setting by its name, those of decoder and training flat, others with their block."""
    config = load_train_config(CONFIGS / f"paper-{corpus}.yaml")
    found: dict[str, Any] = {**vars(config), **vars(config.model.decoder)}
    for block, values in (
        ("encoder", config.model.encoder),
        ("vertices", config.vertices),
        ("lip_reading", config.vertices.lip_reading),
        ("loss", config.vertices.loss),
    ):
        found |= {f"{block}.{name}": value for name, value in vars(values).items()}
    return found


def shown(row: list[str]) -> tuple[list[str], list[list[str]]]:
    """The settings' names in a row and what it says of them for each corpus."""
    names = re.findall(r"`([\w.]+)`", row[0])
    cells = [row[1], row[1] if row[2] == "the same" else row[2]]
    return names, [[value.strip() for value in cell.split(",")] for cell in cells]


def same(value: Any, text: str) -> bool:
    if text in SHORT:
        return bool(value == SHORT[text])
    try:
        return float(text) == float(value)
    except (TypeError, ValueError):
        return str(value).lower() == text.lower()


@pytest.mark.parametrize("corpus", ["vocaset", "biwi6"])
def test_values_are_those_of_the_settings(corpus: str) -> None:
    known, compared = settings(corpus), 0
    for row in ROWS:
        names, cells = shown(row)
        values = cells[corpus == "biwi6"]
        block = ""
        for name, text in zip(names, values, strict=False):
            block = name.partition(".")[0] if "." in name else block
            full = next((n for n in (f"{block}.{name}", name) if n in known), "")
            if full and len(names) == len(values) and name not in ("encoder", "loss"):
                assert same(known[full], text), (name, known[full], text)
                compared += 1
    loss = known["vertices.loss"]
    assert [loss.vertices, loss.velocity, loss.latent, loss.ctc] == [1000, 1000, 0.001, 0.0001]
    assert compared >= 25


def test_every_row_has_a_source() -> None:
    assert len(ROWS) > 35
    for row in ROWS:
        assert re.search(r"\b(paper|drawing|code|ours)\b", row[3]), row


def test_ablations_are_there_and_all_named() -> None:
    named = {name for row in ROWS for name in re.findall(r"`([\w-]+)`", row[4])}
    for corpus in ("vocaset", "biwi6"):
        suite = load_suite(f"experiments/paper-{corpus}-ablation")
        assert named == set(suite.variants) - {"base"}
