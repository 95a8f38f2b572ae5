"""The scan and the Mamba layer against outputs and gradients of the authors' code
(../shared/golden).
"""

from __future__ import annotations

import pytest
import torch

from golden import golden, relative_error, state_of
from jambatalk.models.mamba import Mamba
from jambatalk.ops.backend import use_backend
from jambatalk.ops.selective_scan import selective_scan

pytestmark = pytest.mark.shared


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_selective_scan_values_and_gradients(backend: str) -> None:
    tensors = golden("selective_scan")
    along_time = ("u", "delta", "B", "C", "z", "output")  # (B, *, L) there, (B, L, *) here
    ours = {
        name: x.transpose(1, 2) if name.removeprefix("grad_") in along_time else x
        for name, x in tensors.items()
    }
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    inputs = {name: ours[name].clone().requires_grad_() for name in names}
    state = torch.zeros_like(tensors["last_state"])
    with use_backend(backend):
        y, last = selective_scan(**inputs, state=state, delta_softplus=True)
        y.backward(ours["grad_output"])
    assert relative_error(y, ours["output"]) <= 1e-5
    assert relative_error(last, ours["last_state"]) <= 1e-5
    for name, x in inputs.items():
        assert x.grad is not None
        assert relative_error(x.grad, ours[f"grad_{name}"]) <= 1e-5, name


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_mamba_layer(backend: str) -> None:
    tensors = golden("mamba_layer")
    weights = state_of(tensors)
    weights["conv.weight"] = weights.pop("conv1d.weight")[
        :, 0
    ].T.contiguous()  # (D, 1, kernel) -> (kernel, D)
    weights["conv.bias"] = weights.pop("conv1d.bias")
    mamba = Mamba(32)
    mamba.load_state_dict(weights)
    with use_backend(backend), torch.inference_mode():
        y, _ = mamba(tensors["input"], mamba.init_state(2))
        assert relative_error(y, tensors["output"]) <= 1e-5
        state, parts = mamba.init_state(2), []
        for piece in tensors["input"].split(7, dim=1):
            part, state = mamba(piece, state)
            parts.append(part)
        assert relative_error(torch.cat(parts, 1), tensors["output"]) <= 1e-5
