"""The scan and the Mamba layer against outputs and gradients of the authors' code (../shared/golden)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from jambatalk.nn.backend import use_backend
from jambatalk.nn.mamba import Mamba
from jambatalk.nn.scan import selective_scan

GOLDEN = Path(__file__).parents[2] / "../shared/golden"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not GOLDEN.is_dir(), reason="needs ../shared/golden beside the repository"),
]


def _error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the scale of what is wanted."""
    assert got.shape == wanted.shape
    return float((got - wanted).detach().abs().max() / wanted.abs().max())


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_selective_scan_values_and_gradients(backend: str) -> None:
    golden = load_file(GOLDEN / "selective_scan.safetensors")
    along_time = ("u", "delta", "B", "C", "z", "output")  # (B, *, L) there, (B, L, *) here
    ours = {name: x.transpose(1, 2) if name.removeprefix("grad_") in along_time else x for name, x in golden.items()}
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    inputs = {name: ours[name].clone().requires_grad_() for name in names}
    state = torch.zeros_like(golden["last_state"])
    with use_backend(backend):
        y, last = selective_scan(**inputs, state=state, delta_softplus=True)
        y.backward(ours["grad_output"])
    assert _error(y, ours["output"]) <= 1e-5
    assert _error(last, ours["last_state"]) <= 1e-5
    for name, x in inputs.items():
        assert x.grad is not None
        assert _error(x.grad, ours[f"grad_{name}"]) <= 1e-5, name


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_mamba_layer(backend: str) -> None:
    golden = load_file(GOLDEN / "mamba_layer.safetensors")
    weights = {name.removeprefix("state."): x for name, x in golden.items() if name.startswith("state.")}
    weights["conv.weight"] = weights.pop("conv1d.weight")[:, 0].T.contiguous()  # (D, 1, kernel) -> (kernel, D)
    weights["conv.bias"] = weights.pop("conv1d.bias")
    mamba = Mamba(32)
    mamba.load_state_dict(weights)
    with use_backend(backend), torch.inference_mode():
        y, _ = mamba(golden["input"], mamba.init_state(2))
        assert _error(y, golden["output"]) <= 1e-5
        state, parts = mamba.init_state(2), []
        for piece in golden["input"].split(7, dim=1):
            part, state = mamba(piece, state)
            parts.append(part)
        assert _error(torch.cat(parts, 1), golden["output"]) <= 1e-5
