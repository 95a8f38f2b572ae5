"""GPU kernels of the causal depthwise convolution, in Triton.

One program makes BLOCK_T steps of BLOCK_D channels. Inputs of any float type, sums in float32. The
backward first takes the gradient through the silu and sums those of weight and bias per program
(added up over the programs in a fixed order), then convolves back.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from jambatalk.ops.gpu.scan import _sigmoid, dense_rows, on_device

BLOCK_T = 32
BLOCK_D = 64


@triton.jit
def _source(x, x_t, state, r, c, length, channels, inside, HISTORY: tl.constexpr):  # type: ignore[no-untyped-def]
    """Rows r (BLOCK_T, 1) of one sequence; those before the first step are in the state."""
    now = tl.load(x + r * x_t + c, inside & (r >= 0) & (r < length), 0.0).to(tl.float32)
    past = tl.load(
        state + (r + HISTORY) * channels + c, inside & (r < 0) & (r >= -HISTORY), 0.0
    ).to(tl.float32)
    return now + past


@triton.jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    x,
    x_b,
    x_t,
    weight,
    bias,
    state,
    y,
    length,
    channels,
    KERNEL: tl.constexpr,
    SILU: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    t = (tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    c = (tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D))[None, :]
    inside = (t < length) & (c < channels)
    x += b * x_b
    state += b * (KERNEL - 1) * channels
    out = tl.zeros((BLOCK_T, BLOCK_D), tl.float32) + tl.load(bias + c, c < channels, 0.0).to(
        tl.float32
    )
    for j in tl.static_range(KERNEL):
        w = tl.load(weight + j * channels + c, c < channels, 0.0).to(tl.float32)
        out += w * _source(
            x, x_t, state, t + j - (KERNEL - 1), c, length, channels, inside, KERNEL - 1
        )
    if SILU:
        out *= _sigmoid(out)
    tl.store(y + (b * length + t) * channels + c, out, inside)


@triton.jit
def _through_kernel(  # type: ignore[no-untyped-def]
    x,
    x_b,
    x_t,
    weight,
    bias,
    state,
    gy,
    g,
    g_weight,
    g_bias,
    length,
    channels,
    KERNEL: tl.constexpr,
    SILU: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """g (B, L, D): gradient before the silu. g_weight (programs over batch and time, KERNEL, D),
    g_bias (the same, D).
    """
    b = tl.program_id(0).to(tl.int64)
    t = (tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    c = (tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D))[None, :]
    real = c < channels
    inside = (t < length) & real
    x += b * x_b
    state += b * (KERNEL - 1) * channels
    to = (b * length + t) * channels + c
    out = tl.load(gy + to, inside, 0.0).to(tl.float32)
    if SILU:
        v = tl.zeros((BLOCK_T, BLOCK_D), tl.float32) + tl.load(bias + c, real, 0.0).to(tl.float32)
        for j in tl.static_range(KERNEL):
            w = tl.load(weight + j * channels + c, real, 0.0).to(tl.float32)
            v += w * _source(
                x, x_t, state, t + j - (KERNEL - 1), c, length, channels, inside, KERNEL - 1
            )
        opened = _sigmoid(v)
        out *= opened * (1.0 + v * (1.0 - opened))
    tl.store(g + to, out, inside)
    program = b * tl.num_programs(1) + tl.program_id(1)
    tl.store(g_bias + program * channels + c, tl.sum(out, 0)[None, :], real)
    for j in tl.static_range(KERNEL):
        v = _source(x, x_t, state, t + j - (KERNEL - 1), c, length, channels, inside, KERNEL - 1)
        tl.store(
            g_weight + (program * KERNEL + j) * channels + c, tl.sum(out * v, 0)[None, :], real
        )


@triton.jit
def _back_kernel(  # type: ignore[no-untyped-def]
    g,
    weight,
    gx,
    g_state,
    length,
    channels,
    KERNEL: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Rows of [state, x] get gradient from the KERNEL steps at and after them."""
    b = tl.program_id(0).to(tl.int64)
    r = (tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None] - (KERNEL - 1)
    c = (tl.program_id(2) * BLOCK_D + tl.arange(0, BLOCK_D))[None, :]
    real = c < channels
    out = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for j in tl.static_range(KERNEL):
        t = r + (KERNEL - 1 - j)
        w = tl.load(weight + j * channels + c, real, 0.0).to(tl.float32)
        out += w * tl.load(g + (b * length + t) * channels + c, real & (t >= 0) & (t < length), 0.0)
    tl.store(gx + (b * length + r) * channels + c, out, real & (r >= 0) & (r < length))
    tl.store(g_state + (b * (KERNEL - 1) + r + KERNEL - 1) * channels + c, out, real & (r < 0))


def _grid(batch: int, steps: int, channels: int) -> tuple[int, int, int]:
    return batch, triton.cdiv(steps, BLOCK_T), triton.cdiv(channels, BLOCK_D)


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool
) -> tuple[Tensor, Tensor]:
    """Shapes as in ``conv.causal_conv_reference``; y and the new state in x's type."""
    batch, length, channels = x.shape
    history = weight.shape[0] - 1
    last = torch.cat([state.to(x.dtype), x[:, max(0, length - history) :]], dim=1)
    last = last[:, last.shape[1] - history :].contiguous()
    x, state = dense_rows(x), state.contiguous()
    y = torch.empty(batch, length, channels, dtype=x.dtype, device=x.device)
    if y.numel():
        with on_device(x):
            _forward_kernel[_grid(batch, length, channels)](
                x,
                x.stride(0),
                x.stride(1),
                weight.contiguous(),
                bias,
                state,
                y,
                length,
                channels,
                KERNEL=history + 1,
                SILU=silu,
                BLOCK_T=BLOCK_T,
                BLOCK_D=BLOCK_D,
            )
    return y, last


def backward(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool, gy: Tensor, g_last: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, bias and state, in their types."""
    batch, length, channels = x.shape
    kernel = weight.shape[0]
    history = kernel - 1
    x, weight, state = dense_rows(x), weight.contiguous(), state.contiguous()
    grid = _grid(batch, length, channels)

    def exact(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float32, device=x.device)

    g, gx, g_state = (
        exact(batch, length, channels),
        exact(batch, length, channels),
        exact(batch, history, channels),
    )
    g_weight, g_bias = exact(batch * grid[1], kernel, channels), exact(batch * grid[1], channels)
    if g.numel():
        with on_device(x):
            _through_kernel[grid](
                x,
                x.stride(0),
                x.stride(1),
                weight,
                bias,
                state,
                gy.contiguous(),
                g,
                g_weight,
                g_bias,
                length,
                channels,
                KERNEL=kernel,
                SILU=silu,
                BLOCK_T=BLOCK_T,
                BLOCK_D=BLOCK_D,
            )
            _back_kernel[_grid(batch, length + history, channels)](
                g,
                weight,
                gx,
                g_state,
                length,
                channels,
                KERNEL=kernel,
                BLOCK_T=BLOCK_T,
                BLOCK_D=BLOCK_D,
            )
    # The new state is the end of [state, x]: its gradient goes to where its rows came from.
    from_state = max(0, history - length)
    g_state[:, history - from_state :] += g_last[:, :from_state]
    gx[:, length - (history - from_state) :] += g_last[:, from_state:]
    return (
        gx.to(x.dtype),
        g_weight.sum(0).to(weight.dtype),
        g_bias.sum(0).to(bias.dtype),
        g_state.to(state.dtype),
    )
