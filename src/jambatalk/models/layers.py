"""Small layers that larger ones are made of: causal convolutions, RMS norm, feed-forward part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jambatalk.ops.backend import chosen_backend
from jambatalk.ops.causal_conv import causal_conv

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}
"""Of feed-forward parts and experts, by their names in the settings."""


class FeedForward(nn.Sequential):
    """width -> hidden -> width."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__(
            nn.Linear(width, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, width)
        )


class CausalDepthwiseConv(nn.Module):
    """``ops.causal_conv`` with its parameters: weight (kernel, width) and bias (width)."""

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
                f"a chunk of {x.shape[1]} steps is not a multiple of the stride {self.stride}"
            )
        padded = torch.cat([state, x], dim=1)
        windows = padded.unfold(1, self.kernel, self.stride)  # (B, T / stride, width_in, kernel)
        y = self.linear(windows.flatten(2))
        return y, padded[:, padded.shape[1] - (self.kernel - self.stride) :]


class RMSNorm(nn.Module):
    """x / rms(x) * gain over the last axis of (..., width), arXiv 1910.07467."""

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


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis of (..., width), in plain torch."""
    y = (
        x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    )  # squares overflow in float16
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight
