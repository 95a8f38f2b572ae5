"""GPU kernels of the selective scan, in Triton.

One program holds the states of BLOCK_D channels of one sequence in registers and walks over the
time. Inputs of any float type, sums in float32.

The backward needs the states in reverse. The forward keeps one every CHUNK steps; from it the
backward computes the CHUNK states that follow again, into a small buffer that stays in the GPU's
cache, and walks back over them. Gradients of B and C are summed per program and then over the
programs in a fixed order: no atomic additions, the same bytes in every run.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64
# With 16 states four numbers a thread; small, so that one sequence alone fills the GPU with
# programs
BLOCK_D = 8
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _softplus(x):  # type: ignore[no-untyped-def]
    """log(1 + e) with e = exp(-|x|) loses what 1 + e rounds away: multiplied by e over what was
    left of it.
    """
    e = tl.exp2(-tl.abs(x) * LOG2E)
    s = 1.0 + e
    small = s == 1.0
    return tl.maximum(x, 0.0) + tl.where(small, e, tl.log(s) * (e / tl.where(small, 1.0, s - 1.0)))


@triton.jit
def _sigmoid(x):  # type: ignore[no-untyped-def]
    e = tl.exp2(-tl.abs(x) * LOG2E)
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    u,
    u_b,
    u_t,
    delta,
    d_b,
    d_t,
    z,
    z_b,
    z_t,
    B,
    b_b,
    b_t,
    C,
    c_b,
    c_t,
    A,
    D,
    bias,
    state,
    y,
    last,
    kept,
    length,
    channels,
    n_state,
    chunks,
    GATE: tl.constexpr,
    BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    KEEP: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    real, real_n = c < channels, n < n_state
    both = real[:, None] & real_n[None, :]
    where = c[:, None] * n_state + n[None, :]  # in (D, N)
    a = tl.load(A + where, both, 0.0).to(tl.float32) * LOG2E
    h = tl.load(state + b * channels * n_state + where, both, 0.0).to(tl.float32)
    skip = tl.load(D + c, real, 0.0).to(tl.float32)
    if BIAS:
        shift = tl.load(bias + c, real, 0.0).to(tl.float32)
    u += b * u_b
    delta += b * d_b
    B += b * b_b
    C += b * c_b
    y += b * length * channels
    if GATE:
        z += b * z_b
    for t in range(length):
        if KEEP:  # noqa: SIM102 (the outer one is settled when the kernel is compiled)
            if t % CHUNK == 0:
                tl.store(kept + (b * chunks + t // CHUNK) * channels * n_state + where, h, both)
        x = tl.load(u + c, real, 0.0).to(tl.float32)
        d = tl.load(delta + c, real, 0.0).to(tl.float32)
        bn = tl.load(B + n, real_n, 0.0).to(tl.float32)
        cn = tl.load(C + n, real_n, 0.0).to(tl.float32)
        if BIAS:
            d += shift
        if SOFTPLUS:
            d = _softplus(d)
        h = tl.exp2(d[:, None] * a) * h + (d * x)[:, None] * bn[None, :]
        out = tl.sum(h * cn[None, :], 1) + skip * x
        if GATE:
            gate = tl.load(z + c, real, 0.0).to(tl.float32)
            out *= gate * _sigmoid(gate)
            z += z_t
        tl.store(y + c, out, real)
        u += u_t
        delta += d_t
        B += b_t
        C += c_t
        y += channels
    tl.store(last + b * channels * n_state + where, h, both)


@triton.jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    u,
    u_b,
    u_t,
    delta,
    d_b,
    d_t,
    z,
    z_b,
    z_t,
    B,
    b_b,
    b_t,
    C,
    c_b,
    c_t,
    A,
    D,
    bias,
    kept,
    steps,
    gy,
    g_last,
    gu,
    g_delta,
    gz,
    gA,
    gB,
    gC,
    gD,
    g_bias,
    g_state,
    length,
    channels,
    n_state,
    chunks,
    GATE: tl.constexpr,
    BIAS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    block, blocks = tl.program_id(1), tl.num_programs(1)
    c = block * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    real, real_n = c < channels, n < n_state
    both = real[:, None] & real_n[None, :]
    where = c[:, None] * n_state + n[None, :]
    a = tl.load(A + where, both, 0.0).to(tl.float32) * LOG2E
    g = tl.load(g_last + b * channels * n_state + where, both, 0.0).to(tl.float32)
    skip = tl.load(D + c, real, 0.0).to(tl.float32)
    if BIAS:
        shift = tl.load(bias + c, real, 0.0).to(tl.float32)
    sum_a = tl.zeros((BLOCK_D, BLOCK_N), tl.float32)
    sum_skip = tl.zeros((BLOCK_D,), tl.float32)
    sum_bias = tl.zeros((BLOCK_D,), tl.float32)
    u += b * u_b
    delta += b * d_b
    B += b * b_b
    C += b * c_b
    z += b * z_b
    rows = b * length  # of the dense (B, L, D) tensors
    sums = (b * blocks + block) * length  # of (B, blocks, L, N)
    steps += b * CHUNK * channels * n_state
    for back in range(chunks):
        start = tl.cast((chunks - 1 - back) * CHUNK, tl.int64)
        count = tl.minimum(CHUNK, length - start).to(tl.int32)
        h = tl.load(kept + (b * chunks + chunks - 1 - back) * channels * n_state + where, both, 0.0)
        tl.debug_barrier()  # nobody reads the last chunk's states any more
        for j in range(count):
            t = start + j
            x = tl.load(u + t * u_t + c, real, 0.0).to(tl.float32)
            d = tl.load(delta + t * d_t + c, real, 0.0).to(tl.float32)
            bn = tl.load(B + t * b_t + n, real_n, 0.0).to(tl.float32)
            if BIAS:
                d += shift
            if SOFTPLUS:
                d = _softplus(d)
            tl.store(steps + j * channels * n_state + where, h, both)
            h = tl.exp2(d[:, None] * a) * h + (d * x)[:, None] * bn[None, :]
        tl.debug_barrier()  # another thread may read what this one wrote
        for ahead in range(count):
            j = count - 1 - ahead
            t = start + j
            to = (rows + t) * channels + c
            x = tl.load(u + t * u_t + c, real, 0.0).to(tl.float32)
            raw = tl.load(delta + t * d_t + c, real, 0.0).to(tl.float32)
            bn = tl.load(B + t * b_t + n, real_n, 0.0).to(tl.float32)
            cn = tl.load(C + t * c_t + n, real_n, 0.0).to(tl.float32)
            out = tl.load(gy + to, real, 0.0).to(tl.float32)
            if BIAS:
                raw += shift
            d = raw
            if SOFTPLUS:
                d = _softplus(raw)
            before = tl.load(steps + j * channels * n_state + where, both, 0.0)
            decay = tl.exp2(d[:, None] * a)
            h = decay * before + (d * x)[:, None] * bn[None, :]
            if GATE:
                gate = tl.load(z + t * z_t + c, real, 0.0).to(tl.float32)
                opened = _sigmoid(gate)
                ungated = tl.sum(h * cn[None, :], 1) + skip * x
                tl.store(gz + to, out * ungated * opened * (1.0 + gate * (1.0 - opened)), real)
                out *= gate * opened
            g += out[:, None] * cn[None, :]
            at = (sums + t) * n_state + n
            tl.store(gC + at, tl.sum(out[:, None] * h, 0), real_n)
            tl.store(gB + at, tl.sum(g * (d * x)[:, None], 0), real_n)
            g_dx = tl.sum(g * bn[None, :], 1)
            g *= decay
            through = g * before
            sum_a += through * d[:, None]
            sum_skip += out * x
            # a holds A log2(e), which d exp(delta A) / d delta does not want.
            g_d = x * g_dx + tl.sum(through * a, 1) / LOG2E
            if SOFTPLUS:
                g_d *= _sigmoid(raw)
            sum_bias += g_d
            tl.store(gu + to, skip * out + d * g_dx, real)
            tl.store(g_delta + to, g_d, real)
    tl.store(gA + b * channels * n_state + where, sum_a, both)
    tl.store(g_state + b * channels * n_state + where, g, both)
    tl.store(gD + b * channels + c, sum_skip, real)
    tl.store(g_bias + b * channels + c, sum_bias, real)


def dense_rows(x: Tensor) -> Tensor:
    """Return x, copied if its last axis is not dense; batch and time may have any stride."""
    return x if x.stride(-1) == 1 else x.contiguous()


def on_device(x: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _strided(*tensors: Tensor) -> list[Any]:
    """Each tensor, its stride over the batch and its stride over time."""
    return [part for x in tensors for part in (x, x.stride(0), x.stride(1))]


def forward(
    keep: bool,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    state: Tensor,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor | None, None]:
    """Shapes as in ``scan``: y (B, L, D) in u's type, last state (B, D, N) in float32, and, where
    ``keep``, the state at every CHUNK-th step. The last None stands where ``scan_numba`` gives what
    came out before the gate: the backward here computes it again.
    """
    batch, length, channels = u.shape
    n_state = A.shape[1]
    u, delta, B, C = (dense_rows(x) for x in (u, delta, B, C))
    gate = u if z is None else dense_rows(z)
    y = torch.empty(batch, length, channels, dtype=u.dtype, device=u.device)
    last = torch.empty(batch, channels, n_state, dtype=torch.float32, device=u.device)
    chunks = triton.cdiv(length, CHUNK)
    kept = (
        torch.empty(batch, chunks, channels, n_state, dtype=torch.float32, device=u.device)
        if keep
        else None
    )
    with on_device(u):
        _forward_kernel[(batch, triton.cdiv(channels, BLOCK_D))](
            *_strided(u, delta, gate, B, C),
            A.contiguous(),
            D,
            D if delta_bias is None else delta_bias,
            state.contiguous(),
            y,
            last,
            last if kept is None else kept,
            length,
            channels,
            n_state,
            chunks,
            GATE=z is not None,
            BIAS=delta_bias is not None,
            SOFTPLUS=delta_softplus,
            KEEP=keep,
            CHUNK=CHUNK,
            BLOCK_D=BLOCK_D,
            BLOCK_N=triton.next_power_of_2(n_state),
            num_warps=1,
        )
    return y, last, kept, None


def backward(
    gy: Tensor,
    g_last: Tensor,
    kept: Tensor,
    before_gate: None,
    delta_softplus: bool,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    state: Tensor,
    z: Tensor | None,
    delta_bias: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of u, delta, A, B, C, D, state, z and delta_bias, in that order, in their shapes
    and types.
    """
    batch, length, channels = u.shape
    n_state = A.shape[1]
    blocks = triton.cdiv(channels, BLOCK_D)
    u_rows, delta_rows, z_rows, B_rows, C_rows = (
        dense_rows(x) for x in (u, delta, u if z is None else z, B, C)
    )

    def exact(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=u.device)

    gu, g_delta, gz = (
        torch.empty(u.shape, dtype=x.dtype, device=u.device) for x in (u_rows, delta_rows, z_rows)
    )
    gA, g_state = exact(batch, channels, n_state), exact(batch, channels, n_state)
    gB, gC = exact(batch, blocks, length, n_state), exact(batch, blocks, length, n_state)
    gD, g_bias = exact(batch, channels), exact(batch, channels)
    with on_device(u):
        _backward_kernel[(batch, blocks)](
            *_strided(u_rows, delta_rows, z_rows, B_rows, C_rows),
            A.contiguous(),
            D,
            D if delta_bias is None else delta_bias,
            kept,
            exact(batch, CHUNK, channels, n_state),
            gy.contiguous(),
            g_last.contiguous(),
            gu,
            g_delta,
            gz,
            gA,
            gB,
            gC,
            gD,
            g_bias,
            g_state,
            length,
            channels,
            n_state,
            kept.shape[1],
            GATE=z is not None,
            BIAS=delta_bias is not None,
            SOFTPLUS=delta_softplus,
            CHUNK=CHUNK,
            BLOCK_D=BLOCK_D,
            BLOCK_N=triton.next_power_of_2(n_state),
            num_warps=1,
        )
    sums = (
        gA.sum(0).to(A.dtype),
        gB.sum(1).to(B.dtype),
        gC.sum(1).to(C.dtype),
        gD.sum(0).to(D.dtype),
    )
    bias_grad = None if delta_bias is None else g_bias.sum(0).to(delta_bias.dtype)
    return gu, g_delta, *sums, g_state.to(state.dtype), None if z is None else gz, bias_grad
