"""The Triton kernels against the reference: in Triton's interpreter on the CPU, compiled for a GPU,
and on a GPU if there is one.

The interpreter must be chosen before Triton is imported, so those comparisons run in a process of
their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from jambatalk.ops import backend
from jambatalk.ops.backend import chosen_backend, use_backend
from jambatalk.ops.causal_conv import causal_conv
from jambatalk.ops.selective_scan import selective_scan

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


Case = tuple[Any, list[Tensor]]
"""An operation and what it takes."""


def scan_case(
    batch: int,
    length: int,
    channels: int,
    n_state: int,
    options: Any,
    device: str,
    dtype: torch.dtype,
) -> Case:
    gate, bias, soft = options
    g = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    u, delta, b, c, z = (
        normal(batch, length, width) for width in (channels, channels, n_state, n_state, channels)
    )
    delta = delta - 2 if soft else delta.abs()
    u, delta, b, c, z = (x.to(device, dtype) for x in (u, delta, b, c, z))
    a = -torch.rand(channels, n_state, generator=g) * 8
    rest = [
        x.to(device)
        for x in (a, normal(channels), normal(batch, channels, n_state), normal(channels).abs())
    ]

    def scan(*own: Tensor) -> tuple[Tensor, Tensor]:
        u, delta, b, c, z, a, d, state, shift = own
        return selective_scan(
            u, delta, a, b, c, d, state, z if gate else None, shift if bias else None, soft
        )

    return scan, [u, delta, b, c, z, *rest]


def conv_case(
    batch: int, length: int, channels: int, kernel: int, silu: bool, device: str, dtype: torch.dtype
) -> Case:
    g = torch.Generator().manual_seed(length)
    shapes = [
        (batch, length, channels),
        (kernel, channels),
        (channels,),
        (batch, kernel - 1, channels),
    ]
    tensors = [torch.randn(*shape, generator=g).to(device, dtype) for shape in shapes]
    return lambda *own: causal_conv(*own, silu), tensors


def results(case: Case, name: str, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Values and gradients by the implementation of this name, with every input in ``dtype`` if
    given.
    """
    operation, tensors = case
    own = [x.to(dtype or x.dtype, copy=True).requires_grad_() for x in tensors]
    with use_backend(name):
        y, last = operation(*own)
        factors = [
            1 + 0.5 * torch.arange(x.numel(), device=x.device).view_as(x).cos() for x in (y, last)
        ]
        ((y.float() * factors[0]).sum() + (last.float() * factors[1]).sum()).backward()
    return [y.detach(), last.detach(), *(x.grad for x in own if x.grad is not None)]


def worst(found: list[Tensor], truth: list[Tensor]) -> float:
    """Largest difference, relative to the largest value of each tensor."""
    assert len(found) == len(truth)
    assert all(a.shape == b.shape for a, b in zip(found, truth))
    pairs = [(a.double(), b.double()) for a, b in zip(found, truth) if b.numel()]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-6)) for a, b in pairs)


def difference(case: Case) -> float:
    """Worst difference of Triton from the reference."""
    found, truth = results(case, "triton"), results(case, "reference")
    assert all(a.dtype == b.dtype for a, b in zip(found, truth))
    return worst(found, truth)


SCANS = [  # batch, length, channels, n_state, (gate, bias, softplus)
    (1, 1, 8, 16, (True, True, True)),
    (2, 67, 11, 5, (True, True, True)),
    (1, 64, 8, 4, (False, False, False)),
    (1, 9, 3, 16, (True, False, True)),
    (2, 5, 20, 3, (False, True, False)),
]
CONVS = [
    (1, 1, 16, 4, True),
    (2, 35, 70, 2, False),
    (1, 3, 9, 16, True),
    (2, 40, 65, 8, True),
    (1, 33, 4, 1, False),
]

INTERPRETED = """
import torch
import test_triton as t
for case in t.SCANS:
    print("scan", *case, t.difference(t.scan_case(*case, "cpu", torch.float32)), sep="|")
for case in t.CONVS:
    print("conv", *case, t.difference(t.conv_case(*case, "cpu", torch.float32)), sep="|")
narrow = t.difference(t.scan_case(1, 20, 8, 4, (True, True, True), "cpu", torch.bfloat16))
print("bfloat16", narrow / (4 * torch.finfo(torch.bfloat16).eps) * 1e-5, sep="|")
"""


@needs_triton
def test_interpreted_kernels_equal_reference() -> None:
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    environment.pop(backend.VARIABLE, None)
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "|" in line]
    assert len(lines) == len(SCANS) + len(CONVS) + 1
    assert not [line for line in lines if not float(line.rsplit("|", 1)[1]) < 1e-5]


@needs_triton
@pytest.mark.parametrize("options", [True, False])
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_kernels_compile_for_a_gpu(kind: str, options: bool) -> None:
    """No GPU is needed to compile for one (compute capability 9.0): what the interpreter lets pass
    is found here.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from jambatalk.ops.gpu import conv as conv_triton
    from jambatalk.ops.gpu import scan as scan_triton

    flags = dict.fromkeys(("GATE", "BIAS", "SOFTPLUS"), options)
    sizes = {"CHUNK": scan_triton.CHUNK, "BLOCK_D": scan_triton.BLOCK_D, "BLOCK_N": 16}
    tiles = {"KERNEL": 4, "BLOCK_T": conv_triton.BLOCK_T, "BLOCK_D": conv_triton.BLOCK_D}
    kernels = [
        (scan_triton._forward_kernel, {**flags, **sizes, "KEEP": options}),
        (scan_triton._backward_kernel, {**flags, **sizes}),
        (conv_triton._forward_kernel, {**tiles, "SILU": options}),
        (conv_triton._through_kernel, {**tiles, "SILU": options}),
        (conv_triton._back_kernel, tiles),
    ]
    numbers = {
        "length",
        "channels",
        "n_state",
        "chunks",
        *(f"{x}_{axis}" for x in "udzbcx" for axis in "bt"),
    } - {"d_d"}
    narrow = {"u", "delta", "z", "B", "C", "y", "gy", "gu", "g_delta", "gz", "x", "weight", "bias"}
    for kernel, constants in kernels:
        kinds = {
            name: "constexpr"
            if name in constants
            else "i32"
            if name in numbers
            else f"*{kind if name in narrow else 'fp32'}"
            for name in kernel.arg_names
        }
        indexed = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        compiled = triton.compile(
            ASTSource(kernel, kinds, constexprs=indexed), target=GPUTarget("cuda", 90, 32)
        )
        assert "ptx" in compiled.asm


def test_without_triton_a_gpu_takes_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_triton_found", lambda: False)
    assert chosen_backend("selective_scan", "cuda") == ("reference", "triton is not installed")
    with use_backend("triton"), pytest.raises(ValueError, match="not installed"):
        chosen_backend("causal_conv", "cuda")
    monkeypatch.setattr(backend, "_triton_found", lambda: True)
    assert chosen_backend("selective_scan", "cuda")[0] == "triton"
    assert chosen_backend("selective_scan", "mps") == ("reference", "no kernel runs on mps")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [1, 63, 300, 5000])
def test_on_a_gpu(length: int, dtype: torch.dtype) -> None:
    assert chosen_backend("selective_scan", "cuda", dtype)[0] == "triton"
    cases = [
        scan_case(2, length, 70, 16, (True, True, True), "cuda", dtype),
        scan_case(2, length, 70, 8, (False, False, False), "cuda", dtype),
        conv_case(2, length, 70, 4, True, "cuda", dtype),
    ]
    if dtype != torch.float32:
        assert max(difference(case) for case in cases) < 8 * torch.finfo(dtype).eps
        return
    for case in cases:
        # Over thousands of steps the reference's own rounding adds up (5e-5 at 5,000), so both are
        # held against float64.
        exact = results(case, "reference", torch.float64)
        plain = worst(results(case, "reference"), exact)
        assert worst(results(case, "triton"), exact) < max(1e-5, 2 * plain)
