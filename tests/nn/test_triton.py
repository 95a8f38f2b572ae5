"""The Triton kernels against the reference: in Triton's interpreter on the CPU, compiled for a GPU, and on a GPU if there is one.

The interpreter must be chosen before Triton is imported, so those comparisons run in a process of their own.
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

from jambatalk.nn import backend
from jambatalk.nn.backend import chosen_backend, use_backend
from jambatalk.nn.conv import causal_conv
from jambatalk.nn.scan import selective_scan

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


def scan_difference(batch: int, length: int, channels: int, n_state: int, options: Any, device: str, dtype: torch.dtype) -> float:
    """Worst relative difference of values and gradients between Triton and the reference."""
    gate, bias, soft = options
    g = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    u, delta, b, c, z = (normal(batch, length, width) for width in (channels, channels, n_state, n_state, channels))
    delta = delta - 2 if soft else delta.abs()
    u, delta, b, c, z = (x.to(device, dtype) for x in (u, delta, b, c, z))
    a = -torch.rand(channels, n_state, generator=g) * 8
    rest = [x.to(device) for x in (a, normal(channels), normal(batch, channels, n_state), normal(channels).abs())]

    def scan(*own: Tensor) -> tuple[Tensor, Tensor]:
        u, delta, b, c, z, a, d, state, shift = own
        return selective_scan(u, delta, a, b, c, d, state, z if gate else None, shift if bias else None, soft)

    return _worst(scan, [u, delta, b, c, z, *rest])


def conv_difference(batch: int, length: int, channels: int, kernel: int, silu: bool, device: str, dtype: torch.dtype) -> float:
    g = torch.Generator().manual_seed(length)
    shapes = [(batch, length, channels), (kernel, channels), (channels,), (batch, kernel - 1, channels)]
    tensors = [torch.randn(*shape, generator=g).to(device, dtype) for shape in shapes]
    return _worst(lambda *own: causal_conv(*own, silu), tensors)


def _worst(operation: Any, tensors: list[Tensor]) -> float:
    found = []
    for name in ("triton", "reference"):
        own = [x.clone().requires_grad_() for x in tensors]
        with use_backend(name):
            y, last = operation(*own)
            factors = [1 + 0.5 * torch.arange(x.numel(), device=x.device).view_as(x).cos() for x in (y, last)]
            ((y.float() * factors[0]).sum() + (last.float() * factors[1]).sum()).backward()
        found.append([y, last, *(x.grad for x in own if x.grad is not None)])
    assert len(found[0]) == len(found[1])
    assert all(a.dtype == b.dtype and a.shape == b.shape for a, b in zip(*found))
    pairs = [(a.detach().float(), b.detach().float()) for a, b in zip(*found) if b.numel()]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-6)) for a, b in pairs)


SCANS = [  # batch, length, channels, n_state, (gate, bias, softplus)
    (1, 1, 8, 16, (True, True, True)),
    (2, 67, 11, 5, (True, True, True)),
    (1, 64, 8, 4, (False, False, False)),
    (1, 9, 3, 16, (True, False, True)),
    (2, 5, 20, 3, (False, True, False)),
]
CONVS = [(1, 1, 16, 4, True), (2, 35, 70, 2, False), (1, 3, 9, 16, True), (2, 40, 65, 8, True), (1, 33, 4, 1, False)]

INTERPRETED = """
import torch
import test_triton as t
for case in t.SCANS:
    print("scan", *case, t.scan_difference(*case, "cpu", torch.float32), sep="|")
for case in t.CONVS:
    print("conv", *case, t.conv_difference(*case, "cpu", torch.float32), sep="|")
narrow = t.scan_difference(1, 20, 8, 4, (True, True, True), "cpu", torch.bfloat16)
print("bfloat16", narrow / (4 * torch.finfo(torch.bfloat16).eps) * 1e-5, sep="|")
"""


@needs_triton
def test_interpreted_kernels_equal_reference() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    environment.pop(backend.VARIABLE, None)
    done = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "|" in line]
    assert len(lines) == len(SCANS) + len(CONVS) + 1
    assert not [line for line in lines if not float(line.rsplit("|", 1)[1]) < 1e-5]


@needs_triton
@pytest.mark.parametrize("options", [True, False])
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_kernels_compile_for_a_gpu(kind: str, options: bool) -> None:
    """No GPU is needed to compile for one (compute capability 9.0): what the interpreter lets pass is found here."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from jambatalk.nn import conv_triton, scan_triton

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
    numbers = {"length", "channels", "n_state", "chunks", *(f"{x}_{axis}" for x in "udzbcx" for axis in "bt")} - {"d_d"}
    narrow = {"u", "delta", "z", "B", "C", "y", "gy", "gu", "g_delta", "gz", "x", "weight", "bias"}
    for kernel, constants in kernels:
        kinds = {
            name: "constexpr" if name in constants else "i32" if name in numbers else f"*{kind if name in narrow else 'fp32'}"
            for name in kernel.arg_names
        }
        indexed = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        compiled = triton.compile(ASTSource(kernel, kinds, constexprs=indexed), target=GPUTarget("cuda", 90, 32))
        assert "ptx" in compiled.asm


def test_without_triton_a_gpu_takes_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_triton_found", lambda: False)
    assert chosen_backend("selective_scan", "cuda") == ("reference", "triton is not installed")
    with use_backend("triton"), pytest.raises(ValueError, match="not installed"):
        chosen_backend("causal_conv", "cuda")
    monkeypatch.setattr(backend, "_triton_found", lambda: True)
    assert chosen_backend("selective_scan", "cuda")[0] == "triton"
    assert chosen_backend("selective_scan", "mps") == ("reference", "there is no kernel for mps")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [1, 63, 300, 5000])
def test_on_a_gpu(length: int, dtype: torch.dtype) -> None:
    assert chosen_backend("selective_scan", "cuda", dtype)[0] == "triton"
    limit = 2e-5 if dtype == torch.float32 else 8 * torch.finfo(dtype).eps
    assert scan_difference(2, length, 70, 16, (True, True, True), "cuda", dtype) < limit
    assert scan_difference(2, length, 70, 8, (False, False, False), "cuda", dtype) < limit
    assert conv_difference(2, length, 70, 4, True, "cuda", dtype) < limit
