"""The step as a torch program: the network's motion after saving and loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import speechlike
from jambatalk.checkpoint import load_weights
from jambatalk.deploy.check import compare
from jambatalk.deploy.program import load_program
from jambatalk.deploy.writing import export_step
from jambatalk.errors import InputError


@pytest.mark.parametrize("batch", [1, 2])
def test_saved_program_moves_as_the_network(small_weights: Path, tmp_path: Path, batch: int) -> None:
    path = tmp_path / "step.pt2"
    export_step(small_weights, path, batch=batch)
    assert list(tmp_path.iterdir()) == [path]
    program = load_program(path)
    parity = compare(load_weights(small_weights)[0], program, torch.from_numpy(speechlike(3.0)))
    assert parity.largest <= 1e-5
    assert program.info.batch == batch
    first = program.init_state(batch).tensors
    assert first["norm.level"].shape == (batch, 2)
    assert float(first["norm.level"][-1, 0]) > 0


def test_program_runs_without_jambatalks_classes(small_weights: Path, tmp_path: Path) -> None:
    """The graph is of plain torch operations: torch alone loads and runs it."""
    path = tmp_path / "step.pt2"
    export_step(small_weights, path)
    program = torch.export.load(path)
    assert {node.target.namespace for node in program.graph.nodes if hasattr(node.target, "namespace")} <= {"aten", "prims"}


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
