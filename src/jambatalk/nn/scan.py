"""The selective scan of Mamba (arXiv 2312.00752, algorithm 2), with its state going in and coming out.

Symbols, as in the paper: B batch, L length, D channels, N state size.

    h_t = exp(delta_t A) * h_{t-1} + delta_t B_t u_t
    y_t = C_t h_t + D u_t

Two implementations give the same values and gradients: ``selective_scan_reference`` (plain torch, readable) and the
numba kernels of ``scan_numba``. ``selective_scan`` chooses between them; the environment variable JAMBATALK_SCAN
(``numba`` or ``reference``) overrides the choice.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor


def selective_scan_reference(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """One step after the other, for any dtype and device.

    u, delta: (B, L, D), delta already positive. A: (D, N), negative. B, C: (B, L, N). D: (D,). state: (B, D, N).
    Returns y (B, L, D) and the state after the last step (B, D, N).
    """
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * A)  # (B, D, N)
        state = decay * state + (delta[:, t] * u[:, t])[..., None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1) + D * u[:, t])
    y = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(u)
    return y, state


def chosen_backend(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[str, str]:
    """(name, reason) of the implementation that ``selective_scan`` takes for tensors of this device and dtype."""
    forced = os.environ.get("JAMBATALK_SCAN")
    if forced == "reference":
        return "reference", "JAMBATALK_SCAN=reference"
    if forced not in (None, "", "numba"):
        raise ValueError(f"JAMBATALK_SCAN is {forced!r}, expected 'numba' or 'reference'")
    if torch.device(device).type != "cpu":
        return "reference", f"the numba kernel runs on the CPU only, the tensors are on {torch.device(device).type}"
    if dtype != torch.float32:
        return "reference", f"the numba kernel takes float32 only, the tensors are {str(dtype).removeprefix('torch.')}"
    return "numba", "float32 on the CPU"


class _NumbaScan(torch.autograd.Function):
    """The numba kernels as one differentiable operation; it keeps a state every CHUNK steps for its backward."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        from jambatalk.nn import scan_numba

        u, delta, a, b, c, d, state = (x.detach().contiguous().numpy() for x in inputs)
        needs_grad = any(x.requires_grad for x in inputs)
        y, last, kept = scan_numba.forward(u, delta, a, b, c, d, state, keep=needs_grad)
        if needs_grad:
            ctx.save_for_backward(*inputs)
            ctx.kept = kept
        return torch.from_numpy(y), torch.from_numpy(last)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        from jambatalk.nn import scan_numba

        u, delta, a, b, c, d, state = (x.detach().contiguous().numpy() for x in ctx.saved_tensors)
        gy, g_last = grad_y.contiguous().numpy(), grad_last.contiguous().numpy()
        grads = scan_numba.backward(u, delta, a, b, c, d, state, ctx.kept, gy, g_last)
        return tuple(torch.from_numpy(g) for g in grads)


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The selective scan by the fastest implementation there is; contract as ``selective_scan_reference``."""
    if chosen_backend(u.device, u.dtype)[0] == "numba":
        y, last = _NumbaScan.apply(u, delta, A, B, C, D, state)
        return y, last
    return selective_scan_reference(u, delta, A, B, C, D, state)
