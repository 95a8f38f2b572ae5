"""RMSNorm: the numba kernel against plain torch, and against its formula."""

from __future__ import annotations

import pytest
import torch

from jambatalk.models.layers import RMSNorm, rms_norm_reference
from jambatalk.ops.backend import chosen_backend, use_backend
from jambatalk.ops.cpu.norm import rms_norm


@pytest.mark.parametrize("width", [1, 5, 16, 31, 192, 200])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 700), (0, 4)])
def test_kernel_equals_reference(shape: tuple[int, ...], width: int) -> None:
    g = torch.Generator().manual_seed(width)
    x, weight = torch.randn(*shape, width, generator=g) * 30, torch.randn(width, generator=g)
    torch.testing.assert_close(
        rms_norm(x, weight, 1e-6), rms_norm_reference(x, weight, 1e-6), rtol=2e-6, atol=1e-6
    )


def test_slices_and_zeros() -> None:
    x = torch.randn(2, 40, 64)[:, ::2, 16:48]
    weight = torch.ones(32)
    torch.testing.assert_close(
        rms_norm(x, weight, 1e-6), rms_norm_reference(x, weight, 1e-6), rtol=2e-6, atol=1e-6
    )
    assert torch.equal(rms_norm(torch.zeros(1, 2, 32), weight, 1e-6), torch.zeros(1, 2, 32))


def test_rows_do_not_depend_on_how_many_there_are() -> None:
    x, weight = torch.randn(1, 900, 100), torch.randn(100)
    whole = rms_norm(x, weight, 1e-6)
    parts = [rms_norm(piece, weight, 1e-6) for piece in x.split(7, dim=1)]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_module_takes_the_kernel_without_gradients_only() -> None:
    norm = RMSNorm(48)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(1, 3, 48, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        torch.testing.assert_close(norm(x), y, rtol=2e-6, atol=1e-6)
        with use_backend("reference"):
            assert torch.equal(norm(x), y)
    assert chosen_backend("rms_norm") == ("numba", "float32 on the CPU")


def test_squares_do_not_overflow_in_half_precision() -> None:
    norm = RMSNorm(32).half()
    y = norm(torch.full((1, 1, 32), 3000.0, dtype=torch.float16))
    torch.testing.assert_close(y, torch.ones_like(y))
