"""The causal depthwise convolution's kernels against the readable reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jambatalk.models.layers import CausalDepthwiseConv
from jambatalk.ops.backend import use_backend
from jambatalk.ops.causal_conv import causal_conv, causal_conv_reference
from jambatalk.ops.cpu import conv as conv_numba


def _inputs(
    batch: int, length: int, channels: int, kernel: int, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    g = torch.Generator().manual_seed(batch * 1000 + length * 10 + channels + kernel)
    shapes = [
        (batch, length, channels),
        (kernel, channels),
        (channels,),
        (batch, kernel - 1, channels),
    ]
    return [torch.randn(*shape, generator=g, dtype=dtype) for shape in shapes]


def _relative(got: Tensor, wanted: Tensor) -> float:
    if not wanted.numel():
        return 0.0
    return float((got - wanted).detach().abs().max() / wanted.detach().abs().max().clamp_min(1e-6))


def _agree(inputs: list[Tensor], silu: bool) -> None:
    found: list[list[Any]] = []
    for conv in (causal_conv, causal_conv_reference):
        own = [x.clone().requires_grad_() for x in inputs]
        y, last = conv(*own, silu)
        # Around 1, so that no sum comes out near zero and its rounding looks large.
        factors = [1 + 0.5 * torch.arange(x.numel()).view_as(x).cos() for x in (y, last)]
        ((y * factors[0]).sum() + (last * factors[1]).sum()).backward()
        found.append([y, last, *(x.grad for x in own)])
    for name, got, wanted in zip(["y", "state", "x", "weight", "bias", "first state"], *found):
        assert _relative(got, wanted) < 1e-5, name


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("kernel", [2, 3, 4, 8, 16])
@pytest.mark.parametrize(
    ("batch", "length", "channels"), [(1, 1, 16), (2, 5, 70), (3, 100, 33), (1, 700, 64)]
)
def test_values_and_gradients_equal_reference(
    batch: int, length: int, channels: int, kernel: int, silu: bool
) -> None:
    _agree(_inputs(batch, length, channels, kernel), silu)


@pytest.mark.parametrize(("batch", "length", "channels"), [(1, 200, 150), (3, 7, 37)])
def test_equal_in_threads(
    monkeypatch: pytest.MonkeyPatch, batch: int, length: int, channels: int
) -> None:
    monkeypatch.setattr(conv_numba, "thread_count", lambda work, least: 3)
    _agree(_inputs(batch, length, channels, 4), True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 90), st.integers(1, 50), st.integers(1, 16), st.booleans())
def test_any_shape_equals_reference(
    batch: int, length: int, channels: int, kernel: int, silu: bool
) -> None:
    _agree(_inputs(batch, length, channels, kernel), silu)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize(("length", "kernel"), [(6, 4), (2, 5), (3, 1)])
def test_reference_gradcheck(length: int, kernel: int, silu: bool) -> None:
    inputs = [x.requires_grad_() for x in _inputs(2, length, 3, kernel, torch.float64)]
    assert torch.autograd.gradcheck(
        lambda *tensors: causal_conv(*tensors, silu), inputs
    )  # float64: takes the reference


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_chunks_equal_the_whole_to_the_bit(chunk: int, backend: str) -> None:
    x, weight, bias, state = _inputs(2, 50, 40, 5)
    with use_backend(backend):
        whole, last = causal_conv(x, weight, bias, state)
        parts = []
        for piece in x.split(chunk, dim=1):
            y, state = causal_conv(piece, weight, bias, state)
            parts.append(y)
    assert torch.equal(torch.cat(parts, 1), whole)
    assert torch.equal(state, last)


def test_slices_of_wider_tensors() -> None:
    x, weight, bias, state = _inputs(2, 50, 40, 5)
    half, _ = torch.cat([x, torch.randn_like(x)], dim=-1).chunk(2, dim=-1)
    turned = x.transpose(1, 2).contiguous().transpose(1, 2)
    wanted = causal_conv(x, weight, bias, state, True)
    for given_x in (half, turned):
        for got, want in zip(causal_conv(given_x, weight, bias, state, True), wanted):
            assert torch.equal(got, want)


def test_narrow_types_are_computed_in_float32() -> None:
    inputs = [x.bfloat16() for x in _inputs(2, 30, 20, 4)]
    y, last = causal_conv(*inputs, True)
    wanted, wanted_last = causal_conv_reference(*(x.float() for x in inputs), True)
    assert y.dtype == last.dtype == torch.bfloat16
    assert torch.equal(last.float(), wanted_last)
    assert _relative(y.float(), wanted) < 2 * torch.finfo(torch.bfloat16).eps


def test_parameters_are_named_as_in_the_weights_that_ship() -> None:
    shapes = {name: tuple(x.shape) for name, x in CausalDepthwiseConv(12, 4).state_dict().items()}
    assert shapes == {"weight": (4, 12), "bias": (12,)}
