"""Every reader, fed with mutated files: a result or one InputError, never another exception.

To add a reader, put a function that makes a good file and one that reads it into READERS.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from file_mutations import TALLY, check_reader, many
from jambatalk.config import from_mapping, read_yaml
from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.errors import InputError
from jambatalk.training.config import TrainConfig

SETTINGS = b"""\
data: {folders: [data/a, data/b], split: train}
model: {presets: x, dim: 32, layers: [1, 2]}
seed: 5
steps: 100
learning_rate: 1e-4
precision: 16
"""


def plain_pickle() -> bytes:
    value = {"a": {"b": np.ones((2, 3), np.float32), "c": [1, 2.5, (3, "x")]}, "d": {1, 2}}
    return pickle.dumps(value, 2)


READERS: dict[str, tuple[Callable[[], bytes], Callable[[Path], Any]]] = {
    "pickle": (plain_pickle, read_pickle),
    "pickle-4": (lambda: pickle.dumps({"a": np.ones(3), "b": {"c": b"x" * 300}}, 4), read_pickle),
    "pickle-0": (lambda: pickle.dumps({"a": 1, "b": ["c", 2.5, None]}, 0), read_pickle),
    "settings.yaml": (lambda: SETTINGS, read_yaml),
}
"""Name of the file -> (makes a good one, reads it)."""


@pytest.mark.parametrize("name", READERS)
def test_mutated_files(name: str, tmp_path: Path) -> None:
    make, read = READERS[name]
    path = tmp_path / name

    def read_bytes(content: bytes) -> Any:
        path.write_bytes(content)
        return read(path)

    assert check_reader(make(), read_bytes) > 0


def test_settings_of_any_kind() -> None:
    """Values of another type than a setting has are refused by the setting's name."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )
    names = st.sampled_from([*TrainConfig.__dataclass_fields__, "no such"])

    @many()
    @given(st.dictionaries(names, values, max_size=3))
    def run(mapping: dict[str, Any]) -> None:
        with suppress(InputError), TALLY.case():
            from_mapping(TrainConfig, mapping, "s.yaml")

    run()
