"""The causal depthwise convolution over time, with its left context going in and coming out.

Symbols: B batch, L length, D channels, K kernel.

    y_t = bias + weight_0 x_{t-K+1} + ... + weight_{K-1} x_t      then silu, where asked for

``causal_conv_reference`` (plain torch, readable), the numba kernels of ``cpu.conv`` and the Triton
kernels of ``gpu.conv`` give the same values and gradients; ``causal_conv`` calls the one that
``backend`` chooses.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from jambatalk.ops.backend import FOLDERS, chosen_backend


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute the convolution by the fastest kernel; arguments as ``causal_conv_reference``.

    Differentiable in every tensor, also through the returned state; x may be a slice of a wider
    tensor.
    """
    name, _ = chosen_backend("causal_conv", x.device, x.dtype)
    if name == "reference":
        return causal_conv_reference(x, weight, bias, state, silu)
    if name == "numba" and not x.dtype == weight.dtype == state.dtype == torch.float32:
        y, last = _run(name, x.float(), weight.float(), bias.float(), state.float(), silu)
        return y.to(x.dtype), last.to(x.dtype)
    return _run(name, x, weight, bias, state, silu)


def causal_conv_reference(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute the convolution in plain torch, for any dtype and device.

    Written as a sum of shifted products: the order of the additions does not depend on the chunk,
    so chunked and whole results are equal to the bit.

    Args:
        x: (B, L, D).
        weight: (K, D); its last row is multiplied with the present step.
        bias: (D,).
        state: (B, K - 1, D), the steps before the first.
        silu: Return silu(y) instead of y.

    Returns:
        (B, L, D), and the last K - 1 steps of [state, x].
    """
    kernel, length = weight.shape[0], x.shape[1]
    padded = torch.cat([state.to(x.dtype), x], dim=1)
    y = bias + padded[:, :length] * weight[0]
    for j in range(1, kernel):
        y = torch.addcmul(y, padded[:, j : j + length], weight[j])
    return F.silu(y) if silu else y, padded[:, length:]


@cache
def _kernels(name: str) -> Any:
    """Import the kernels at first use: slow with numba and Triton, and Triton may be missing."""
    return import_module(f"jambatalk.ops.{FOLDERS[name]}.conv")


class _KernelConv(torch.autograd.Function):
    """One backend's kernels as a differentiable operation."""

    @staticmethod
    def forward(ctx: Any, name: str, *inputs: Any) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*inputs[:-1])
        ctx.name, ctx.silu = name, inputs[-1]
        y, last = _kernels(name).forward(*inputs)
        return y, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_kernels(ctx.name).backward(*ctx.saved_tensors, ctx.silu, *grads), None


def _run(name: str, *inputs: Any) -> tuple[Tensor, Tensor]:
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs[:-1]):
        y, last = _KernelConv.apply(name, *inputs)
    else:
        y, last = _kernels(name).forward(*inputs)
    return y, last
