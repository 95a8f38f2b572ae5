"""Causal convolutions over time that carry their left context from chunk to chunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalDepthwiseConv(nn.Module):
    """One filter per channel; step t sees t - kernel + 1 ... t.

    Written as a sum of shifted products: the order of the additions does not depend on the chunk, so chunked and whole
    results are equal to the bit, and on a CPU it is faster than a grouped convolution at these widths.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(kernel, width).uniform_(-1, 1) * kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def init_state(self, batch: int) -> Tensor:
        """The kernel - 1 steps before the first one: zeros (B, kernel - 1, width)."""
        return self.weight.new_zeros(batch, self.kernel - 1, self.weight.shape[1])

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, width), state (B, kernel - 1, width) -> the same shapes."""
        length = x.shape[1]
        padded = torch.cat([state, x], dim=1)
        y = self.bias + padded[:, :length] * self.weight[0]
        for j in range(1, self.kernel):
            y = torch.addcmul(y, padded[:, j : j + length], self.weight[j])
        return y, padded[:, padded.shape[1] - (self.kernel - 1) :]


class CausalStridedConv(nn.Module):
    """A full convolution that keeps every ``stride``-th step: output i sees inputs up to (i + 1) * stride - 1.

    Chunks must be multiples of ``stride`` long.
    """

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        if kernel < stride:
            raise ValueError(f"kernel {kernel} is shorter than stride {stride}: some inputs would be dropped")
        self.kernel, self.stride, self.width_in = kernel, stride, width_in
        self.linear = nn.Linear(kernel * width_in, width_out)

    def init_state(self, batch: int) -> Tensor:
        """Zeros (B, kernel - stride, width_in)."""
        return self.linear.weight.new_zeros(batch, self.kernel - self.stride, self.width_in)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, width_in) -> (B, T / stride, width_out)."""
        if x.shape[1] % self.stride:
            raise ValueError(f"a chunk of {x.shape[1]} steps is no multiple of the stride {self.stride}")
        padded = torch.cat([state, x], dim=1)
        windows = padded.unfold(1, self.kernel, self.stride)  # (B, T / stride, width_in, kernel)
        y = self.linear(windows.flatten(2))
        return y, padded[:, padded.shape[1] - (self.kernel - self.stride) :]
