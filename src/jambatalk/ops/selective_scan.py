"""The selective scan of Mamba (arXiv 2312.00752, algorithm 2), with its state going in and coming
out.

Symbols, as in the paper: B batch, L length, D channels, N state size.

    delta = softplus(delta + bias)          (both optional)
    h_t = exp(delta_t A) * h_{t-1} + delta_t B_t u_t
    y_t = (C_t h_t + D u_t) * silu(z_t)     (the gate is optional)

``selective_scan_reference`` (plain torch, readable), the numba kernels of ``scan_numba`` and the
Triton kernels of ``scan_triton`` give the same values and gradients; ``selective_scan`` takes the
one that ``backend`` chooses.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from jambatalk.ops.backend import FOLDERS, chosen_backend


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    state: Tensor,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step after the other, for any dtype and device.

    u, delta, z: (B, L, D). A: (D, N), negative. B, C: (B, L, N). D, delta_bias: (D,). state: (B, D,
    N). delta must be positive once ``delta_bias`` is added and softplus taken (where asked for).
    Returns y (B, L, D) in u's dtype and the state after the last step (B, D, N). Inputs of less
    than float32 are computed, and their state returned, in float32: the recurrence adds up over
    thousands of steps.
    """
    kind = u.dtype
    exact = torch.promote_types(kind, torch.float32)
    u, delta, A, B, C, D, state = (x.to(exact) for x in (u, delta, A, B, C, D, state))
    if delta_bias is not None:
        delta = delta + delta_bias.to(exact)
    if delta_softplus:
        delta = F.softplus(delta)
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * A)  # (B, D, N)
        state = decay * state + (delta[:, t] * u[:, t])[..., None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1) + D * u[:, t])
    y = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(u)
    if z is not None:
        y = y * F.silu(z.to(exact))
    return y.to(kind), state


@cache
def _kernels(name: str) -> Any:
    """Import the kernels at first use: slow with numba and Triton, and Triton may be missing."""
    return import_module(f"jambatalk.ops.{FOLDERS[name]}.scan")


class _KernelScan(torch.autograd.Function):
    """One backend's kernels as a differentiable operation; they keep a state every few steps for
    the backward.
    """

    @staticmethod
    def forward(ctx: Any, name: str, *inputs: Any) -> tuple[Tensor, Tensor]:
        y, last, kept, before_gate = _kernels(name).forward(True, *inputs)
        ctx.save_for_backward(*inputs[:-1], kept, before_gate)
        ctx.name, ctx.delta_softplus = name, inputs[-1]
        return y, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, kept, before_gate = ctx.saved_tensors
        return (
            None,
            *_kernels(ctx.name).backward(*grads, kept, before_gate, ctx.delta_softplus, *inputs),
            None,
        )


def _run(name: str, *inputs: Any) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs[:-1]):
        y, last = _KernelScan.apply(name, *inputs)
        return y, last
    y, last, _, _ = _kernels(name).forward(False, *inputs)
    return y, last


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    state: Tensor,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """The selective scan by the fastest implementation there is; contract as
    ``selective_scan_reference``.

    Differentiable in every tensor, also through the returned state; u, delta, z, B and C may be
    slices of wider tensors.
    """
    name, _ = chosen_backend("selective_scan", u.device, u.dtype)
    if name == "reference":
        return selective_scan_reference(u, delta, A, B, C, D, state, z, delta_bias, delta_softplus)
    tensors = [u, delta, A, B, C, D, state, z, delta_bias]
    if name == "numba" and any(x is not None and x.dtype != torch.float32 for x in tensors):
        tensors = [None if x is None else x.float() for x in tensors]
        y, last = _run(name, *tensors, delta_softplus)
        return y.to(u.dtype), last
    return _run(name, *tensors, delta_softplus)
