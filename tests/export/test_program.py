"""The step as a torch program: the network's motion after saving and loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jambatalk.errors import InputError
from jambatalk.export.export import compare, export_step
from jambatalk.export.torch_program import load_program
from jambatalk.models.checkpoint import load_weights
from small_network import speechlike


@pytest.fixture(scope="module")
def saved(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network's step for two streams."""
    path = tmp_path_factory.mktemp("program") / "step.pt2"
    export_step(small_weights, path, batch=2)
    return path


def test_saved_program_moves_as_the_network(small_weights: Path, saved: Path) -> None:
    program = load_program(saved)
    parity = compare(load_weights(small_weights)[0], program, torch.from_numpy(speechlike(3.0)))
    assert parity.largest <= 1e-5
    assert program.info.batch == 2
    first = program.init_state(2).tensors
    assert first["norm.level"].shape == (2, 3)
    assert float(first["norm.level"][-1, 0]) > 0
    assert list(saved.parent.iterdir()) == [saved]


def test_program_is_of_plain_torch_operations(saved: Path) -> None:
    """torch alone loads and runs it."""
    program = torch.export.load(saved)
    operations = [node.target for node in program.graph.nodes if node.op == "call_function"]
    namespaces = {target.namespace for target in operations if hasattr(target, "namespace")}
    assert len(operations) > 300
    assert namespaces == {"aten"}


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no network at"):
        load_program(tmp_path / "none.pt2")
    bad = tmp_path / "bad.pt2"
    bad.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match="damaged or no torch program"):
        load_program(bad)
    other = tmp_path / "other.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), other)
    with pytest.raises(InputError, match="not written by jambatalk export"):
        load_program(other)
