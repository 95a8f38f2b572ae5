"""The authors' outputs on random weights, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "golden"


def golden(name: str) -> dict[str, Tensor]:
    """The tensors of one file; the test is skipped where the files are absent."""
    path = FOLDER / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"the authors' outputs are not there ({name}.safetensors in ../shared/golden)")
    return load_file(path)


def state_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The module's weights, under the authors' names."""
    return {
        name.removeprefix("state."): tensor
        for name, tensor in tensors.items()
        if name.startswith("state.")
    }


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference relative to the wanted tensor's scale."""
    return float((got.detach() - wanted).abs().max() / wanted.abs().max())
