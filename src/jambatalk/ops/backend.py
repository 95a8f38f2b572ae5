"""Which implementation of the selective scan and the causal convolution runs: the one place that
decides.

``numba`` (scan_numba, conv_numba) on the CPU, ``triton`` (scan_triton, conv_triton) on a CUDA
device, ``reference`` (plain torch, in scan and conv) anywhere. ``use_backend`` or the environment
variable JAMBATALK_KERNELS overrides the choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec

import torch

NAMES = ("numba", "triton", "reference")
# The operations and the kernels that each has besides its reference. The norm's counts in streaming
# steps on a CPU only, where a handful of torch calls cost more than the arithmetic.
KERNELS = {
    "selective_scan": ("numba", "triton"),
    "causal_conv": ("numba", "triton"),
    "rms_norm": ("numba",),
}
OPS = tuple(KERNELS)
FOLDERS = {"numba": "cpu", "triton": "gpu"}  # in jambatalk.ops
VARIABLE = "JAMBATALK_KERNELS"

_FAST = (torch.float32, torch.bfloat16, torch.float16)
_forced: ContextVar[str | None] = ContextVar("jambatalk_kernels", default=None)
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run what is inside with this implementation; other threads keep theirs.

    ValueError for an unknown name.
    """
    token = _forced.set(_known(name, "use_backend"))
    try:
        yield
    finally:
        _forced.reset(token)


def _known(name: str, source: str) -> str:
    from jambatalk.errors import InputError

    if name not in NAMES:
        raise InputError(f"{source} is {name!r}, expected one of {', '.join(NAMES)}")
    return name


@cache
def _triton_found() -> bool:
    return find_spec("triton") is not None


def tracing() -> bool:
    """True while torch turns a module into a graph: the kernels would be invisible in it."""
    return (
        torch.compiler.is_compiling()
        or _is_exporting()
        or torch.jit.is_tracing()
        or torch.jit.is_scripting()
    )


def chosen_backend(
    op: str = "selective_scan",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[str, str]:
    """(name, reason) of the implementation that ``op`` takes for tensors of this device and dtype.

    InputError (a ValueError) where JAMBATALK_KERNELS or ``use_backend`` asks for one that does not
    exist or cannot take such tensors.
    """
    if op not in KERNELS:
        raise ValueError(f"no such operation: {op!r}, expected one of {', '.join(OPS)}")
    if tracing():
        return "reference", "torch is tracing, a graph needs plain torch operations"
    kind = torch.device(device).type if isinstance(device, str) else device.type
    name, source = _forced.get(), "use_backend"
    if name is None:
        wanted = os.environ.get(VARIABLE)
        name, source = (_known(wanted, VARIABLE), f"{VARIABLE}={wanted}") if wanted else (None, "")
    if name is None:
        name, source = _natural(kind, dtype)
    elif name != "reference":
        _refuse_unfit(name, source, kind, dtype)
    if name != "reference" and name not in KERNELS[op]:
        return "reference", f"it has no {name} kernel"
    return name, source


def _natural(kind: str, dtype: torch.dtype) -> tuple[str, str]:
    if dtype not in _FAST:
        return (
            "reference",
            f"the kernels compute in float32, the tensors are {str(dtype).removeprefix('torch.')}",
        )
    if kind == "cpu":
        return (
            "numba",
            "float32 on the CPU" if dtype == torch.float32 else "on the CPU, computed in float32",
        )
    if kind == "cuda":
        return (
            ("triton", "on a CUDA device")
            if _triton_found()
            else ("reference", "triton is not installed")
        )
    return "reference", f"no kernel runs on {kind}"


def _refuse_unfit(name: str, source: str, kind: str, dtype: torch.dtype) -> None:
    """A forced choice that cannot work is an error, not another choice in silence."""
    from jambatalk.errors import InputError

    if dtype not in _FAST:
        raise InputError(
            f"{source} asks for {name}, which computes in float32; the tensors are {dtype}"
        )
    if name == "numba" and kind != "cpu":
        raise InputError(
            f"{source} asks for numba, which runs on the CPU only; the tensors are on {kind}"
        )
    if name == "triton" and not _triton_found():
        raise InputError(f"{source} asks for triton, which is not installed")
    if name == "triton" and kind == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InputError(
            f"{source} asks for triton, which needs a CUDA device (or TRITON_INTERPRET=1); the "
            "tensors are on cpu"
        )
