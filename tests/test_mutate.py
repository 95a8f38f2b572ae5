"""The list of mutations fits the code: every line is there once, every test file exists."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from mutate import MUTATIONS, Mutation  # noqa: E402

sys.path.remove(str(ROOT / "tools"))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mutation_fits_the_code(mutation: Mutation) -> None:
    text = (ROOT / "src" / "jambatalk" / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.line) == 1
    assert mutation.new not in ("", mutation.line)
    for tests in mutation.tests:
        assert (ROOT / tests).exists(), tests
