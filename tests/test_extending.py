"""Hold the chapter on extending in CONTRIBUTING: every recipe is true and has a test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from jambatalk import senders
from jambatalk.errors import InputError
from jambatalk.senders.base import Sender, Target
from running import run

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "jambatalk"
CHAPTER = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Extending")[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in CHAPTER.splitlines()
    if line.startswith("| ") and "`" in line
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_recipe_is_true(row: list[str]) -> None:
    kind, file, registry, _, example, test = row
    assert (PACKAGE / file.strip("`").rpartition("/")[0]).is_dir(), kind
    *names, home = re.findall(r"`([^`]+)`", registry)
    text = (PACKAGE / home).read_text(encoding="utf-8")
    for name in names:
        assert re.search(rf"(?m)^{name}\b.* = ", text), f"{home} has no {name}"
    assert (PACKAGE / file.strip("`")).with_name(example.strip("`")).exists(), kind
    path, _, function = test.strip("`").partition("::")
    assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), kind


def test_the_recipes_are_all_there() -> None:
    assert [row[0] for row in ROWS] == [
        "encoder",
        "layer",
        "corpus",
        "motion format",
        "baseline",
        "metric",
        "sender",
    ]


def test_a_new_sender_is_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[float] = []

    class Toy(Sender):
        def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
            super().__init__(target, names, fps)

        def send(self, frame: object) -> None:
            sent.append(self.fps)

        def close(self) -> None:
            sent.clear()

    toy = senders.SenderKind(Toy, "toy://host[:7]", "none", "a toy", 7)
    monkeypatch.setitem(senders.SENDERS, "toy", toy)
    link = senders.open_sender("toy://127.0.0.1", ["jawOpen"], 25)
    link.send(None)  # type: ignore[arg-type]
    assert sent == [25.0]
    assert link.target.port == 7
    assert "toy://host[:7]" in run("live").out
    with pytest.raises(InputError, match="toy://"):
        senders.open_sender("nothing://127.0.0.1:1", ["jawOpen"], 25)


def test_a_new_layer_is_documented_where_it_is_tested() -> None:
    page = (ROOT / "docs/background/network.md").read_text(encoding="utf-8")
    assert 'MIXERS["smooth"]' in page  # tests/test_docs.py runs the page
