"""The selective scan's kernels against the readable reference: values, gradients, chaining; and who
chooses between them.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from jambatalk.models.mamba import Mamba
from jambatalk.ops.backend import chosen_backend, use_backend
from jambatalk.ops.cpu import scan as scan_numba
from jambatalk.ops.selective_scan import selective_scan, selective_scan_reference

NAMES = ("u", "delta", "A", "B", "C", "D", "state", "z", "delta_bias")
OPTIONS = [
    (gate, bias, soft) for gate in (False, True) for bias in (False, True) for soft in (False, True)
]


def _inputs(
    batch: int,
    length: int,
    channels: int,
    n_state: int = 16,
    dtype: torch.dtype = torch.float32,
    options: Any = (True,) * 3,
) -> dict[str, Any]:
    """Arguments of the scan by name; ``options``: with gate, with bias, with softplus."""
    gate, bias, soft = options
    g = torch.Generator().manual_seed(batch * 1000 + length * 10 + channels)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    delta = (
        normal(batch, length, channels) * 1.5 - 2
        if soft
        else torch.rand(batch, length, channels, generator=g, dtype=dtype)
    )
    return {
        "u": normal(batch, length, channels),
        "delta": delta,
        "A": -torch.rand(channels, n_state, generator=g, dtype=dtype) * 16,
        "B": normal(batch, length, n_state),
        "C": normal(batch, length, n_state),
        "D": normal(channels),
        "state": normal(batch, channels, n_state),
        "z": normal(batch, length, channels) * 2 if gate else None,
        # Without the softplus delta must stay positive.
        "delta_bias": normal(channels).abs() if bias else None,
        "delta_softplus": soft,
    }


def _relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).detach().abs().max() / wanted.detach().abs().max().clamp_min(1e-6))


def _agree(inputs: dict[str, Any], gradients: bool = True, limit: float = 1e-5) -> None:
    """Values, and all gradients through y and the last state, of the kernel and the reference."""
    found = []
    for scan in (selective_scan, selective_scan_reference):
        own = {
            name: x.clone().requires_grad_(gradients) if isinstance(x, Tensor) else x
            for name, x in inputs.items()
        }
        y, last = scan(**own)
        if gradients:
            # Unequal factors per element: a gradient that lands in the wrong place is seen.
            total = (y * torch.arange(y.numel()).view_as(y).cos()).sum() + (
                last * torch.arange(last.numel()).view_as(last).sin()
            ).sum()
            total.backward()
        found.append(
            {"y": y, "last": last}
            | {f"grad of {n}": own[n].grad for n in NAMES if gradients and own[n] is not None}
        )
    for name, wanted in found[1].items():
        assert _relative(found[0][name], wanted) < limit, name


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 63, 64, 65, 300, 1023, 5000])
@pytest.mark.parametrize(("batch", "channels", "n_state"), [(1, 32, 16), (3, 70, 8), (8, 5, 3)])
def test_values_equal_reference(length: int, batch: int, channels: int, n_state: int) -> None:
    assert chosen_backend()[0] == "numba"
    _agree(_inputs(batch, length, channels, n_state), gradients=False)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("batch", "length", "channels", "n_state"), [(1, 1, 16, 16), (2, 33, 70, 16), (3, 64, 9, 5)]
)
def test_gradients_equal_reference(
    batch: int, length: int, channels: int, n_state: int, options: Any
) -> None:
    _agree(_inputs(batch, length, channels, n_state, options=options))


def test_gradients_of_long_sequences_equal_reference() -> None:
    _agree(_inputs(2, 1023, 24))


@pytest.mark.parametrize(("batch", "length", "channels"), [(1, 40, 150), (3, 20, 37)])
def test_gradients_equal_reference_in_threads(
    monkeypatch: pytest.MonkeyPatch, batch: int, length: int, channels: int
) -> None:
    monkeypatch.setattr(scan_numba, "thread_count", lambda work, least: 3)
    _agree(_inputs(batch, length, channels))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(1, 8),
    st.integers(1, 70),
    st.integers(1, 50),
    st.integers(1, 20),
    st.sampled_from(OPTIONS),
)
def test_any_shape_equals_reference(
    batch: int, length: int, channels: int, n_state: int, options: Any
) -> None:
    _agree(_inputs(batch, length, channels, n_state, options=options))


@pytest.mark.parametrize("options", OPTIONS)
def test_reference_gradcheck(options: Any) -> None:
    inputs = _inputs(2, 5, 3, 4, torch.float64, options)
    tensors = {name: x.requires_grad_() for name, x in inputs.items() if isinstance(x, Tensor)}

    def scan(*values: Tensor) -> tuple[Tensor, Tensor]:
        return selective_scan(
            **{**inputs, **dict(zip(tensors, values))}
        )  # float64: takes the reference

    assert chosen_backend(dtype=torch.float64)[0] == "reference"
    assert torch.autograd.gradcheck(scan, list(tensors.values()))


@pytest.mark.parametrize("options", [(False, False, False), (True, True, True)])
def test_chunks_chain_through_the_state(options: Any) -> None:
    inputs = _inputs(2, 150, 40, options=options)
    whole, last = selective_scan(**inputs)
    parts, state = [], inputs["state"]
    for piece in torch.arange(150).split(37):
        own = {
            name: inputs[name][:, piece]
            for name in ("u", "delta", "B", "C", "z")
            if inputs[name] is not None
        }
        y, state = selective_scan(**{**inputs, **own, "state": state})
        parts.append(y)
    assert _relative(torch.cat(parts, 1), whole) < 1e-6
    assert _relative(state, last) < 1e-6


def test_slices_of_wider_tensors_need_no_copy() -> None:
    inputs = _inputs(2, 40, 24, 8)
    wide = torch.cat([inputs["u"], inputs["z"], inputs["delta"], inputs["B"], inputs["C"]], dim=-1)
    names = ("u", "z", "delta", "B", "C")
    sliced = dict(zip(names, wide.split([24, 24, 24, 8, 8], dim=-1)))
    for got, wanted in zip(selective_scan(**{**inputs, **sliced}), selective_scan(**inputs)):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    turned = {name: inputs[name].transpose(1, 2).contiguous().transpose(1, 2) for name in names}
    for got, wanted in zip(selective_scan(**{**inputs, **turned}), selective_scan(**inputs)):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_inputs_are_left_alone_and_runs_repeat_to_the_bit() -> None:
    inputs = _inputs(3, 50, 40)
    kept = {name: x.clone() for name, x in inputs.items() if isinstance(x, Tensor)}
    first, second = selective_scan(**inputs), selective_scan(**inputs)
    assert all(torch.equal(x, inputs[name]) for name, x in kept.items())
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_strong_decay_forgets_without_nan() -> None:
    inputs = _inputs(1, 10, 32, options=(False, False, False))
    inputs |= {"delta": inputs["delta"] + 1e3, "A": inputs["A"] - 1, "state": inputs["state"] * 1e6}
    y, last = selective_scan(**inputs)
    wanted, _ = selective_scan_reference(**inputs)
    assert torch.isfinite(last).all()
    assert _relative(y, wanted) < 1e-5


def test_softplus_and_gate_hold_far_out() -> None:
    """Where exp would overflow or vanish."""
    inputs = _inputs(1, 6, 16)
    inputs["delta"] = torch.tensor([-120.0, -30.0, -5.0, 5.0, 30.0, 120.0])[None, :, None].expand(
        1, 6, 16
    )
    inputs["z"] = torch.tensor([120.0, -120.0, 30.0, -30.0, 5.0, -5.0])[None, :, None].expand(
        1, 6, 16
    )
    _agree(inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    inputs = {
        n: x.to(dtype) if n in ("u", "delta", "B", "C", "z") else x
        for n, x in _inputs(2, 40, 20).items()
    }
    exact = {n: x.float() if isinstance(x, Tensor) else x for n, x in inputs.items()}
    for scan in (selective_scan, selective_scan_reference):
        y, last = scan(**inputs)
        wanted, wanted_last = selective_scan_reference(**exact)
        assert (y.dtype, last.dtype) == (dtype, torch.float32)
        assert _relative(last, wanted_last) < 1e-5
        assert _relative(y.float(), wanted) < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_mamba_runs_and_learns_in_other_types(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    exact = Mamba(32)
    narrow = Mamba(32).to(dtype)
    narrow.load_state_dict(exact.state_dict())
    x = torch.randn(2, 20, 32)
    y, state = narrow(x.to(dtype), narrow.init_state(2))
    wanted, _ = exact(x, exact.init_state(2))
    assert y.dtype == dtype
    assert state.ssm.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert _relative(y.float(), wanted) < 5e-2
    y.float().sum().backward()
    assert all(
        p.grad is not None and p.grad.dtype == dtype and torch.isfinite(p.grad).all()
        for p in narrow.parameters()
    )


def test_two_threads_at_once() -> None:
    """Sessions of a server share the process: the second caller must neither wait for ever nor
    disturb the first.
    """
    inputs = _inputs(1, 400, 64)
    wanted, _ = selective_scan(**inputs)
    same: list[bool] = []

    def work() -> None:
        same.extend(_relative(selective_scan(**inputs)[0], wanted) < 1e-6 for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 40


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAMBATALK_KERNELS", "reference")
    assert chosen_backend() == ("reference", "JAMBATALK_KERNELS=reference")
    with use_backend("numba"):
        assert chosen_backend("causal_conv") == ("numba", "use_backend")
    monkeypatch.setenv("JAMBATALK_KERNELS", "abacus")
    with pytest.raises(ValueError, match="abacus"):
        chosen_backend()
    monkeypatch.delenv("JAMBATALK_KERNELS")
    assert chosen_backend()[0] == "numba"
    with pytest.raises(ValueError, match="abacus"), use_backend("abacus"):
        pass
    with pytest.raises(ValueError, match="no such operation"):
        chosen_backend("convolution")


def test_a_forced_choice_that_cannot_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for name, device, dtype in [
        ("numba", "cuda", torch.float32),
        ("numba", "cpu", torch.float64),
        ("triton", "cpu", torch.float32),
    ]:
        with use_backend(name), pytest.raises(ValueError, match=f"use_backend asks for {name}"):
            chosen_backend("selective_scan", device, dtype)


def test_each_thread_has_its_own_choice() -> None:
    seen: list[str] = []
    with use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(chosen_backend()[0]))
        thread.start()
        thread.join()
        assert chosen_backend()[0] == "reference"
    assert seen == ["numba"]
    assert chosen_backend()[0] == "numba"


class _Step(nn.Module):
    """A Mamba layer with its state as plain tensors, and a note of which backend it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.mamba = Mamba(16)
        self.seen: list[tuple[str, str]] = []

    def forward(self, x: Tensor, conv: Tensor, ssm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.seen.append(chosen_backend())
        state = self.mamba.init_state(1)
        state.conv, state.ssm = conv, ssm
        y, state = self.mamba(x, state)
        return y, state.conv, state.ssm


@pytest.mark.parametrize("strict", [False, True])
def test_export_takes_the_reference(strict: bool) -> None:
    step = _Step().eval()
    state = step.mamba.init_state(1)
    inputs = (torch.randn(1, 3, 16), state.conv, state.ssm)
    wanted = step(*inputs)
    exported = torch.export.export(step, inputs, strict=strict).module()
    for got, want in zip(exported(*inputs), wanted):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_tracing_takes_the_reference() -> None:
    step = _Step().eval()
    state = step.mamba.init_state(1)
    inputs = (torch.randn(1, 3, 16), state.conv, state.ssm)
    traced = torch.jit.trace(step, inputs)
    assert ("reference", "torch is tracing, a graph needs plain torch operations") in step.seen
    for got, want in zip(traced(*inputs), step(*inputs)):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
