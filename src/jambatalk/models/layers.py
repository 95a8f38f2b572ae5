"""Causal convolutions over time that carry their left context from chunk to chunk."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.ops.backend import FOLDERS, chosen_backend


def causal_conv_reference(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool = False
) -> tuple[Tensor, Tensor]:
    """One filter per channel; step t sees t - kernel + 1 ... t. For any dtype and device.

    x: (B, L, D). weight: (kernel, D), its last row meets the present step. bias: (D,). state: (B,
    kernel - 1, D), the steps before the first. Returns silu(y) or y (B, L, D) and the last kernel -
    1 steps of [state, x]. Written as a sum of shifted products: the order of the additions does not
    depend on the chunk, so chunked and whole results are equal to the bit.
    """
    kernel, length = weight.shape[0], x.shape[1]
    padded = torch.cat([state.to(x.dtype), x], dim=1)
    y = bias + padded[:, :length] * weight[0]
    for j in range(1, kernel):
        y = torch.addcmul(y, padded[:, j : j + length], weight[j])
    return F.silu(y) if silu else y, padded[:, length:]


@cache
def _kernels(name: str) -> Any:
    """The kernels' module, loaded at first use: numba and Triton are slow to import, and Triton may
    be missing.
    """
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


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool = False
) -> tuple[Tensor, Tensor]:
    """The causal depthwise convolution by the fastest implementation there is; contract as
    ``causal_conv_reference``.

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


class CausalDepthwiseConv(nn.Module):
    """``causal_conv`` with its parameters: weight (kernel, width) and bias (width)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(kernel, width).uniform_(-1, 1) * kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def init_state(self, batch: int) -> Tensor:
        """The kernel - 1 steps before the first one: zeros (B, kernel - 1, width)."""
        return self.weight.new_zeros(batch, self.kernel - 1, self.weight.shape[1])

    def forward(self, x: Tensor, state: Tensor, silu: bool = False) -> tuple[Tensor, Tensor]:
        """x (B, T, width), state (B, kernel - 1, width) -> the same shapes; ``silu`` is applied to
        the output.
        """
        return causal_conv(x, self.weight, self.bias, state, silu)


class CausalStridedConv(nn.Module):
    """A full convolution that keeps every ``stride``-th step: output i sees inputs up to (i + 1) *
    stride - 1.

    Chunks must be multiples of ``stride`` long.
    """

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        if kernel < stride:
            raise ValueError(
                f"kernel {kernel} is shorter than stride {stride}: some inputs would be dropped"
            )
        self.kernel, self.stride, self.width_in = kernel, stride, width_in
        self.linear = nn.Linear(kernel * width_in, width_out)

    def init_state(self, batch: int) -> Tensor:
        """Zeros (B, kernel - stride, width_in)."""
        return self.linear.weight.new_zeros(batch, self.kernel - self.stride, self.width_in)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, width_in) -> (B, T / stride, width_out)."""
        if x.shape[1] % self.stride:
            raise ValueError(
                f"a chunk of {x.shape[1]} steps is no multiple of the stride {self.stride}"
            )
        padded = torch.cat([state, x], dim=1)
        windows = padded.unfold(1, self.kernel, self.stride)  # (B, T / stride, width_in, kernel)
        y = self.linear(windows.flatten(2))
        return y, padded[:, padded.shape[1] - (self.kernel - self.stride) :]


# Root-mean-square normalisation (arXiv 1910.07467).


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis of (..., width), in plain torch."""
    y = (
        x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    )  # squares overflow in float16
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


class RMSNorm(nn.Module):
    """x / rms(x) * gain over the last axis of (..., width)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        exact = x.dtype == self.weight.dtype == torch.float32
        if (
            exact
            and not torch.is_grad_enabled()
            and chosen_backend("rms_norm", x.device)[0] == "numba"
        ):
            from jambatalk.ops.cpu.norm import rms_norm

            return rms_norm(x, self.weight, self.eps)
        return rms_norm_reference(x, self.weight, self.eps)


ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class FeedForward(nn.Sequential):
    """width -> hidden -> width."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__(
            nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width)
        )
