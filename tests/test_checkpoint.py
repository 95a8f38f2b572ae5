"""Weights on disk: exact round trip, and one clear sentence for every kind of damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.models.checkpoint import load_weights


def test_round_trip(small_weights: Path) -> None:
    model, names, notes = load_weights(small_weights)
    assert names == ARKIT_NAMES
    assert notes == {"made": "random, for tests"}
    assert not model.training
    again, _, _ = load_weights(small_weights)
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


def test_damage_is_named(small_weights: Path, tmp_path: Path) -> None:
    data = small_weights.read_bytes()
    cases = {
        "missing": (None, "no weights at"),
        "empty": (b"", "damaged"),
        "text": (b"these are not weights", "damaged"),
        "cut": (data[: len(data) // 2], "damaged"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            load_weights(path)
        assert "\n" not in str(caught.value)


def test_foreign_and_unfit_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not written by jambatalk"):
        load_weights(path)
    save_file(
        {"x": torch.zeros(2)},
        path,
        {"format": "jambatalk-1", "config": "{}", "names": "[]", "notes": "{}"},
    )
    with pytest.raises(InputError, match="does not fit"):
        load_weights(path)
    save_file(
        {}, path, {"format": "jambatalk-1", "config": '{"heads": 3}', "names": "[]", "notes": "{}"}
    )
    with pytest.raises(InputError, match="unknown setting 'heads'"):
        load_weights(path)
