"""The numba selective scan against the readable reference: values, gradients, chaining."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jambatalk.nn.backend import chosen_backend
from jambatalk.nn.scan import selective_scan, selective_scan_reference


def _inputs(batch: int, length: int, channels: int, n_state: int = 16, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    g = torch.Generator().manual_seed(batch * 1000 + length * 10 + channels)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    u, delta = normal(batch, length, channels), torch.rand(batch, length, channels, generator=g, dtype=dtype) * 0.5
    a = -torch.rand(channels, n_state, generator=g, dtype=dtype) * 16
    return [u, delta, a, normal(batch, length, n_state), normal(batch, length, n_state), normal(channels),
            normal(batch, channels, n_state)]  # fmt: skip


def _relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 200, 1500])
@pytest.mark.parametrize(("batch", "channels"), [(1, 32), (3, 70), (8, 5)])
def test_values_equal_reference(length: int, batch: int, channels: int) -> None:
    inputs = _inputs(batch, length, channels)
    assert chosen_backend()[0] == "numba"
    y, state = selective_scan(*inputs)
    y_ref, state_ref = selective_scan_reference(*inputs)
    assert _relative(y, y_ref) < 1e-5
    assert _relative(state, state_ref) < 1e-5


@pytest.mark.parametrize("length", [1, 32, 75])
@pytest.mark.parametrize(("batch", "channels"), [(2, 70), (1, 32)])
def test_gradients_equal_reference(length: int, batch: int, channels: int) -> None:
    fast = [x.requires_grad_() for x in _inputs(batch, length, channels)]
    slow = [x.detach().clone().requires_grad_() for x in fast]
    for tensors, scan in ((fast, selective_scan), (slow, selective_scan_reference)):
        y, state = scan(*tensors)
        # Unequal factors per element: a gradient that lands in the wrong place is seen.
        (y * torch.arange(y.numel()).view_as(y).cos()).sum().add((state * state.detach().sin()).sum()).backward()
    for name, a, b in zip(["u", "delta", "A", "B", "C", "D", "state"], fast, slow):
        assert a.grad is not None
        assert b.grad is not None
        assert _relative(a.grad, b.grad) < 1e-5, name


def test_reference_gradcheck() -> None:
    inputs = [x.requires_grad_() for x in _inputs(2, 5, 3, 4, torch.float64)]
    assert torch.autograd.gradcheck(selective_scan_reference, inputs)


def test_chunks_chain_through_the_state() -> None:
    u, delta, a, b, c, d, state = _inputs(2, 100, 40)
    whole, last = selective_scan(u, delta, a, b, c, d, state)
    parts = []
    for piece in torch.arange(100).split(7):
        y, state = selective_scan(u[:, piece], delta[:, piece], a, b[:, piece], c[:, piece], d, state)
        parts.append(y)
    assert _relative(torch.cat(parts, 1), whole) < 1e-6
    assert _relative(state, last) < 1e-6


def test_strong_decay_forgets_without_nan() -> None:
    u, delta, a, b, c, d, state = _inputs(1, 10, 32)
    y, last = selective_scan(u, delta + 1e3, a - 1, b, c, d, state * 1e6)
    assert torch.isfinite(y).all()
    assert torch.isfinite(last).all()
