"""CPU kernels of the selective scan: LANES channels in one register, time in the loop around them.

A job is one sequence of the batch and a group of channel blocks. It walks over the time in tiles,
and within a tile over its blocks, so that rows are read in long runs; a block's state (N, LANES)
stays in the first-level cache within a tile. Softplus, gate and skip are computed on the way,
nothing is copied or transposed but A and the state. The backward keeps the state at every CHUNK-th
step from the forward and computes the ones between again. The sums over channels (gradients of B
and C) and over time run in a fixed order, the same for every run with this number of groups.

Glossary (symbols of ``ops.selective_scan`` besides):

    x_              address of x (0: absent); x_b and x_t are its strides over batch and time
    u_b d_b z_b b_b c_b, u_t d_t z_t b_t c_t    strides of u, delta, z, B and C
    b, t, c, n      sequence, step, first channel of a block, state
    k, first, stop  block of LANES channels, and the blocks of this job
    spare           scratch memory of a job; the names below are offsets into it
    row             LANES floats for a last block that is not full
    own, a, h       start of a block's part: A times log2(e), then the state
    xs ds dxs outs  over a tile: u, delta, delta u, output (backward: gradient of the output)
    kept            states at every CHUNK-th step, for the backward
    g...            gradient of the tensor named after it
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from jambatalk.ops.cpu.simd import (
    LANES,
    LOG2E,
    aligned,
    at,
    exp2,
    floats,
    load,
    prefetch,
    put,
    sigmoid,
    softplus,
    splat,
    store,
    total,
)
from jambatalk.ops.threads import run_jobs, share_count, thread_count

CHUNK = 16
TIME_TILE = 64
FEW_STEPS = 4
MAX_GROUP = 32  # blocks; their states and A must fit into the second-level cache
LN2 = 0.6931471805599453
# Below this many element updates, starting threads costs more than it saves (a streaming step is
# one frame long).
SERIAL_WORK = 1 << 18
_COMPILE: dict[str, Any] = {"fastmath": True, "cache": True, "nogil": True}


@njit(inline="always")
def _row(base, offset, width, spare, place):  # type: ignore[no-untyped-def]
    """``width`` floats; where they do not fill the lanes, by way of LANES spare floats."""
    if width == LANES:
        v = load(base, offset)
    else:
        store(spare, place, splat(0.0))
        for i in range(width):
            put(spare, place + i, at(base, offset + i))
        v = load(spare, place)
    return v


@njit(inline="always")
def _put_row(base, offset, v, width, spare, place):  # type: ignore[no-untyped-def]
    if width == LANES:
        store(base, offset, v)
    else:
        store(spare, place, v)
        for i in range(width):
            put(base, offset + i, at(spare, place + i))


@njit(inline="always")
def _turned(base, offset, width, n_state, factor, spare, place):  # type: ignore[no-untyped-def]
    """(width, N) at ``base`` -> (N, LANES) in ``spare``, times ``factor``, zeros in lanes without a
    channel.
    """
    for n in range(n_state):
        for i in range(LANES):
            put(
                spare,
                place + n * LANES + i,
                at(base, offset + i * n_state + n) * factor if i < width else np.float32(0.0),
            )


@njit(inline="always")
def _turned_back(base, offset, width, n_state, spare, place):  # type: ignore[no-untyped-def]
    """(N, LANES) in ``spare`` -> (width, N) at ``base``."""
    for i in range(width):
        for n in range(n_state):
            put(base, offset + i * n_state + n, at(spare, place + n * LANES + i))


@njit(**_COMPILE)
def _forward_job(  # type: ignore[no-untyped-def]
    job,
    groups,
    length,
    channels,
    n_state,
    u_,
    u_b,
    u_t,
    delta_,
    d_b,
    d_t,
    z_,
    z_b,
    z_t,
    B_,
    b_b,
    b_t,
    C_,
    c_b,
    c_t,
    A_,
    D_,
    bias_,
    state_,
    y_,
    before_gate_,
    last_,
    kept_,
    take_softplus,
):
    """Names with ``_`` are addresses (0: absent), _b and _t their strides over batch and time."""
    u, delta, z, B, C, A, D, bias = (
        floats(u_),
        floats(delta_),
        floats(z_),
        floats(B_),
        floats(C_),
        floats(A_),
        floats(D_),
        floats(bias_),
    )
    state, y, before_gate, last, kept = (
        floats(state_),
        floats(y_),
        floats(before_gate_),
        floats(last_),
        floats(kept_),
    )
    b, group = job // groups, job % groups
    blocks = -(-channels // LANES)
    chunks = -(-length // CHUNK)
    first, stop = group * blocks // groups, (group + 1) * blocks // groups
    size = n_state * LANES
    tile = TIME_TILE * LANES
    spare = np.empty((stop - first) * 2 * size + 3 * tile + 2 * LANES, np.float32)
    row = aligned(spare)
    ds = row + LANES
    dxs, outs, own = ds + tile, ds + 2 * tile, ds + 3 * tile
    for k in range(first, stop):
        c, a = k * LANES, own + (k - first) * 2 * size
        width = min(LANES, channels - c)
        _turned(A, c * n_state, width, n_state, np.float32(LOG2E), spare, a)
        _turned(
            state, (b * channels + c) * n_state, width, n_state, np.float32(1.0), spare, a + size
        )
    for start in range(0, length, TIME_TILE):
        steps = min(TIME_TILE, length - start)
        for k in range(first, stop):
            c, a = k * LANES, own + (k - first) * 2 * size
            h = a + size
            width = min(LANES, channels - c)
            skip = _row(D, c, width, spare, row)
            shift = splat(0.0)
            if bias_ != 0:
                shift = _row(bias, c, width, spare, row)
            # Three passes over a tile, each a short loop whose steps do not wait for one another.
            for j in range(steps):
                t = start + j
                # The next block's lines: far apart in memory, so the processor does not guess them
                # by itself.
                prefetch(u, b * u_b + t * u_t + c + LANES)
                prefetch(delta, b * d_b + t * d_t + c + LANES)
                prefetch(y, (b * length + t) * channels + c + LANES)
                if z_ != 0:
                    prefetch(z, b * z_b + t * z_t + c + LANES)
                x = _row(u, b * u_b + t * u_t + c, width, spare, row)
                d = _row(delta, b * d_b + t * d_t + c, width, spare, row) + shift
                if take_softplus:
                    d = softplus(d)
                store(spare, ds + j * LANES, d)
                store(spare, dxs + j * LANES, d * x)
                store(spare, outs + j * LANES, skip * x)
            for j in range(steps):
                t = start + j
                if kept_ != 0 and t % CHUNK == 0:
                    to = ((b * blocks + k) * chunks + t // CHUNK) * size
                    for n in range(n_state):
                        store(kept, to + n * LANES, load(spare, h + n * LANES))
                d, dx, out = (
                    load(spare, ds + j * LANES),
                    load(spare, dxs + j * LANES),
                    load(spare, outs + j * LANES),
                )
                for n in range(n_state):
                    v = exp2(d * load(spare, a + n * LANES)) * load(spare, h + n * LANES) + dx * at(
                        B, b * b_b + t * b_t + n
                    )
                    store(spare, h + n * LANES, v)
                    out = out + v * at(C, b * c_b + t * c_t + n)
                store(spare, outs + j * LANES, out)
            for j in range(steps):
                t = start + j
                to = (b * length + t) * channels + c
                out = load(spare, outs + j * LANES)
                if z_ != 0:
                    if before_gate_ != 0:
                        _put_row(before_gate, to, out, width, spare, row)
                    gate = _row(z, b * z_b + t * z_t + c, width, spare, row)
                    out = out * (gate * sigmoid(gate))
                _put_row(y, to, out, width, spare, row)
    for k in range(first, stop):
        c = k * LANES
        h = own + (k - first) * 2 * size + size
        _turned_back(
            last, (b * channels + c) * n_state, min(LANES, channels - c), n_state, spare, h
        )


@njit(**_COMPILE)
def _few_steps(  # type: ignore[no-untyped-def]
    batch,
    length,
    channels,
    n_state,
    u_,
    u_b,
    u_t,
    delta_,
    d_b,
    d_t,
    z_,
    z_b,
    z_t,
    B_,
    b_b,
    b_t,
    C_,
    c_b,
    c_t,
    A_,
    D_,
    bias_,
    state_,
    y_,
    last_,
    take_softplus,
):
    """The forward for a few steps, as in streaming: the lanes hold one channel's states, so that A
    and the state are used as they lie in memory. Turning them, as above, would cost more than so
    few steps.
    """
    u, delta, z, B, C, A, D, bias = (
        floats(u_),
        floats(delta_),
        floats(z_),
        floats(B_),
        floats(C_),
        floats(A_),
        floats(D_),
        floats(bias_),
    )
    y, last = floats(y_), floats(last_)
    spare = np.empty(5 * LANES, np.float32)
    row = aligned(spare)
    ds, dxs, outs = row + LANES, row + 2 * LANES, row + 3 * LANES
    for b in range(batch):
        for t in range(length):
            before = floats(state_ if t == 0 else last_)
            b_row, c_row = b * b_b + t * b_t, b * c_b + t * c_t
            for c in range(0, channels, LANES):
                width = min(LANES, channels - c)
                x = _row(u, b * u_b + t * u_t + c, width, spare, row)
                d = _row(delta, b * d_b + t * d_t + c, width, spare, row)
                if bias_ != 0:
                    d = d + _row(bias, c, width, spare, row)
                if take_softplus:
                    d = softplus(d)
                store(spare, ds, d * LOG2E)
                store(spare, dxs, d * x)
                for i in range(width):
                    d_i, dx_i, out_i = at(spare, ds + i), at(spare, dxs + i), splat(0.0)
                    for n in range(0, n_state, LANES):
                        place = (b * channels + c + i) * n_state + n
                        h = (
                            exp2(load(A, (c + i) * n_state + n) * d_i) * load(before, place)
                            + load(B, b_row + n) * dx_i
                        )
                        store(last, place, h)
                        out_i = out_i + h * load(C, c_row + n)
                    put(spare, outs + i, total(out_i))
                out = load(spare, outs) + _row(D, c, width, spare, row) * x
                if z_ != 0:
                    gate = _row(z, b * z_b + t * z_t + c, width, spare, row)
                    out = out * (gate * sigmoid(gate))
                _put_row(y, (b * length + t) * channels + c, out, width, spare, row)


@njit(**_COMPILE)
def _backward_job(  # type: ignore[no-untyped-def]
    job,
    groups,
    length,
    channels,
    n_state,
    u_,
    u_b,
    u_t,
    delta_,
    d_b,
    d_t,
    z_,
    z_b,
    z_t,
    B_,
    b_b,
    b_t,
    C_,
    c_b,
    c_t,
    A_,
    D_,
    bias_,
    before_gate_,
    kept_,
    gy_,
    g_last_,
    gu_,
    g_delta_,
    gz_,
    gA_,
    gB_,
    gC_,
    gD_,
    g_bias_,
    g_state_,
    take_softplus,
):
    """Gradients by the reverse recurrence g_{t-1} = exp(delta_t A) (g_t + C_t gy_t). gA (B, D, N),
    gD and g_bias (B, D) are per sequence, gB and gC (B, groups, L, N) also per group; the caller
    sums them.
    """
    u, delta, z, B, C, A, D, bias = (
        floats(u_),
        floats(delta_),
        floats(z_),
        floats(B_),
        floats(C_),
        floats(A_),
        floats(D_),
        floats(bias_),
    )
    before_gate, kept, gy, g_last, gu, g_delta, gz = (
        floats(before_gate_),
        floats(kept_),
        floats(gy_),
        floats(g_last_),
        floats(gu_),
        floats(g_delta_),
        floats(gz_),
    )
    gA, gB, gC, gD, g_bias, g_state = (
        floats(gA_),
        floats(gB_),
        floats(gC_),
        floats(gD_),
        floats(g_bias_),
        floats(g_state_),
    )
    b, group = job // groups, job % groups
    blocks = -(-channels // LANES)
    chunks = -(-length // CHUNK)
    first, stop = group * blocks // groups, (group + 1) * blocks // groups
    # States are walked in pairs, two recurrences that do not wait for one another; an odd one gets
    # a partner of zeros.
    paired = n_state + n_state % 2
    size = paired * LANES
    tile = CHUNK * LANES
    each = 3 * size + 2 * LANES  # A, reverse state, gradient of A; gradients of D and bias
    spare = np.zeros(
        (stop - first) * each + 2 * CHUNK * size + 10 * tile + 2 * CHUNK * paired + 5 * LANES,
        np.float32,
    )
    row = aligned(spare)
    hs = row + LANES  # one step longer than the other tiles
    hs2 = hs + tile + LANES
    decays = hs2 + tile + LANES
    decays2, xs, ds, dxs = decays + tile, decays + 2 * tile, decays + 3 * tile, decays + 4 * tile
    outs, g_dxs, g_ds = decays + 5 * tile, decays + 6 * tile, decays + 7 * tile
    bs = decays + 8 * tile  # (paired, CHUNK)
    cs = bs + CHUNK * paired
    sums_b = cs + CHUNK * paired
    sums_c = sums_b + CHUNK * size
    own = sums_c + CHUNK * size
    for k in range(first, stop):
        c, a = k * LANES, own + (k - first) * each
        width = min(LANES, channels - c)
        _turned(A, c * n_state, width, n_state, np.float32(LOG2E), spare, a)
        _turned(
            g_last, (b * channels + c) * n_state, width, n_state, np.float32(1.0), spare, a + size
        )
    for chunk in range(chunks - 1, -1, -1):
        start = chunk * CHUNK
        steps = min(CHUNK, length - start)
        for i in range(0, CHUNK * size, LANES):
            store(spare, sums_b + i, splat(0.0))
            store(spare, sums_c + i, splat(0.0))
        for j in range(steps):
            for n in range(n_state):
                put(spare, bs + n * CHUNK + j, at(B, b * b_b + (start + j) * b_t + n))
                put(spare, cs + n * CHUNK + j, at(C, b * c_b + (start + j) * c_t + n))
        for k in range(first, stop):
            c, a = k * LANES, own + (k - first) * each
            reverse, sum_a, sum_skip, sum_bias = (
                a + size,
                a + 2 * size,
                a + 3 * size,
                a + 3 * size + LANES,
            )
            width = min(LANES, channels - c)
            skip = _row(D, c, width, spare, row)
            shift = splat(0.0)
            if bias_ != 0:
                shift = _row(bias, c, width, spare, row)
            g_skip = load(spare, sum_skip)
            for j in range(steps):
                t = start + j
                to = (b * length + t) * channels + c
                # The next block's lines: far apart in memory, so the processor does not guess them
                # by itself.
                prefetch(u, b * u_b + t * u_t + c + LANES)
                prefetch(delta, b * d_b + t * d_t + c + LANES)
                prefetch(gy, to + LANES)
                prefetch(gu, to + LANES)
                prefetch(g_delta, to + LANES)
                x = _row(u, b * u_b + t * u_t + c, width, spare, row)
                d = _row(delta, b * d_b + t * d_t + c, width, spare, row) + shift
                if take_softplus:
                    d = softplus(d)
                out = _row(gy, to, width, spare, row)
                if z_ != 0:
                    prefetch(z, b * z_b + t * z_t + c + LANES)
                    prefetch(before_gate, to + LANES)
                    prefetch(gz, to + LANES)
                    gate = _row(z, b * z_b + t * z_t + c, width, spare, row)
                    open_ = sigmoid(gate)
                    slope = open_ * (gate * (1.0 - open_) + 1.0)  # of silu
                    _put_row(
                        gz,
                        to,
                        out * _row(before_gate, to, width, spare, row) * slope,
                        width,
                        spare,
                        row,
                    )
                    out = out * (gate * open_)
                g_skip = g_skip + out * x
                store(spare, xs + j * LANES, x)
                store(spare, ds + j * LANES, d)
                store(spare, dxs + j * LANES, d * x)
                store(spare, outs + j * LANES, out)
                store(spare, g_dxs + j * LANES, splat(0.0))
                store(spare, g_ds + j * LANES, splat(0.0))
            store(spare, sum_skip, g_skip)
            for n in range(0, n_state, 2):
                both = n + 1 < n_state
                an, an2 = load(spare, a + n * LANES), load(spare, a + (n + 1) * LANES)
                at_start = ((b * blocks + k) * chunks + chunk) * n_state * LANES + n * LANES
                h = load(kept, at_start)
                h2 = splat(0.0)
                if both:
                    h2 = load(kept, at_start + LANES)
                store(spare, hs, h)
                store(spare, hs2, h2)
                b_n, c_n = bs + n * CHUNK, cs + n * CHUNK
                for j in range(steps):
                    o = j * LANES
                    d, dx = load(spare, ds + o), load(spare, dxs + o)
                    e, e2 = exp2(d * an), exp2(d * an2)
                    h = e * h + dx * at(spare, b_n + j)
                    h2 = e2 * h2 + dx * at(spare, b_n + CHUNK + j)
                    store(spare, decays + o, e)
                    store(spare, decays2 + o, e2)
                    store(spare, hs + o + LANES, h)
                    store(spare, hs2 + o + LANES, h2)
                g, g2 = load(spare, reverse + n * LANES), load(spare, reverse + (n + 1) * LANES)
                g_a, g_a2 = load(spare, sum_a + n * LANES), load(spare, sum_a + (n + 1) * LANES)
                for j in range(steps - 1, -1, -1):
                    o, i = j * LANES, n * tile + j * LANES
                    out, dx, d = load(spare, outs + o), load(spare, dxs + o), load(spare, ds + o)
                    g = g + out * at(spare, c_n + j)
                    g2 = g2 + out * at(spare, c_n + CHUNK + j)
                    store(
                        spare,
                        sums_c + i,
                        load(spare, sums_c + i) + out * load(spare, hs + o + LANES),
                    )
                    store(
                        spare,
                        sums_c + i + tile,
                        load(spare, sums_c + i + tile) + out * load(spare, hs2 + o + LANES),
                    )
                    store(spare, sums_b + i, load(spare, sums_b + i) + g * dx)
                    store(spare, sums_b + i + tile, load(spare, sums_b + i + tile) + g2 * dx)
                    g_dx = (
                        load(spare, g_dxs + o)
                        + g * at(spare, b_n + j)
                        + g2 * at(spare, b_n + CHUNK + j)
                    )
                    store(spare, g_dxs + o, g_dx)
                    g = g * load(spare, decays + o)
                    g2 = g2 * load(spare, decays2 + o)
                    through, through2 = g * load(spare, hs + o), g2 * load(spare, hs2 + o)
                    store(spare, g_ds + o, load(spare, g_ds + o) + through * an + through2 * an2)
                    g_a = g_a + through * d
                    g_a2 = g_a2 + through2 * d
                store(spare, reverse + n * LANES, g)
                store(spare, reverse + (n + 1) * LANES, g2)
                store(spare, sum_a + n * LANES, g_a)
                store(spare, sum_a + (n + 1) * LANES, g_a2)
            shifted = load(spare, sum_bias)
            for j in range(steps):
                o, t = j * LANES, start + j
                to = (b * length + t) * channels + c
                g_dx = load(spare, g_dxs + o)
                _put_row(
                    gu,
                    to,
                    skip * load(spare, outs + o) + load(spare, ds + o) * g_dx,
                    width,
                    spare,
                    row,
                )
                # a holds A log2(e); LN2 undoes that in d exp(delta A) / d delta.
                g_d = load(spare, xs + o) * g_dx + load(spare, g_ds + o) * LN2
                if take_softplus:
                    g_d = g_d * sigmoid(
                        _row(delta, b * d_b + t * d_t + c, width, spare, row) + shift
                    )
                shifted = shifted + g_d
                _put_row(g_delta, to, g_d, width, spare, row)
            store(spare, sum_bias, shifted)
        for j in range(steps):
            to = ((b * groups + group) * length + start + j) * n_state
            for n in range(n_state):
                put(gB, to + n, total(load(spare, sums_b + n * tile + j * LANES)))
                put(gC, to + n, total(load(spare, sums_c + n * tile + j * LANES)))
    for k in range(first, stop):
        c, a = k * LANES, own + (k - first) * each
        width = min(LANES, channels - c)
        _turned_back(g_state, (b * channels + c) * n_state, width, n_state, spare, a + size)
        _turned_back(gA, (b * channels + c) * n_state, width, n_state, spare, a + 2 * size)
        _put_row(gD, b * channels + c, load(spare, a + 3 * size), width, spare, row)
        _put_row(g_bias, b * channels + c, load(spare, a + 3 * size + LANES), width, spare, row)


@njit(**_COMPILE)
def _forward_jobs(first, stop, *arguments):  # type: ignore[no-untyped-def]
    for job in range(first, stop):
        _forward_job(job, *arguments)


@njit(**_COMPILE)
def _backward_jobs(first, stop, *arguments):  # type: ignore[no-untyped-def]
    for job in range(first, stop):
        _backward_job(job, *arguments)


def _shares(batch: int, channels: int, work: int) -> tuple[int, int]:
    """(groups, threads): into how many groups the channel blocks are split, enough for the threads
    and small enough for the cache, and how many threads there are for the batch's groups.
    """
    blocks = -(-channels // LANES)
    threads = thread_count(work, SERIAL_WORK)
    return min(max(blocks, 1), max(-(-blocks // MAX_GROUP), share_count(threads, batch))), threads


def rows(x: Tensor) -> tuple[Tensor, int, int, int]:
    """(the tensor, address, batch stride, time stride) of (B, L, *), copied where the last axis is
    not dense.

    Whoever uses the address keeps the tensor: it may be a copy that nobody else holds.
    """
    if x.stride(2) != 1:
        x = x.contiguous()
    return x, x.data_ptr(), x.stride(0), x.stride(1)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


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
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """float32 on the CPU, shapes as in ``scan``: y (B, L, D), last state (B, D, N), and for
    ``backward`` (where ``keep``) the state at every CHUNK-th step and, with a gate, what came out
    before it.
    """
    batch, length, channels = u.shape
    n_state = A.shape[1]
    parts = [(None, 0, 0, 0) if x is None else rows(x) for x in (u, delta, z, B, C)]
    A, D, state = A.contiguous(), D.contiguous(), state.contiguous()
    y = u.new_empty(batch, length, channels)
    last = torch.empty_like(state)
    along_time = [number for part in parts for number in part[1:]]
    if length <= FEW_STEPS and n_state % LANES == 0 and not keep:
        fixed = (A, D, delta_bias, state, y, last)
        _few_steps(
            batch,
            length,
            channels,
            n_state,
            *along_time,
            *map(_address, fixed),
            int(delta_softplus),
        )
        return y, last, None, None
    blocks, chunks = -(-channels // LANES), -(-length // CHUNK)
    kept = u.new_empty(batch, blocks, chunks, n_state, LANES) if keep else None
    before_gate = torch.empty_like(y) if keep and z is not None else None
    groups, threads = _shares(batch, channels, y.numel() * n_state)
    rest = (A, D, delta_bias, state, y, before_gate, last, kept)
    arguments = (
        groups,
        length,
        channels,
        n_state,
        *along_time,
        *map(_address, rest),
        int(delta_softplus),
    )
    run_jobs(_forward_jobs, batch * groups, threads, arguments)
    return y, last, kept, before_gate


def backward(
    gy: Tensor,
    g_last: Tensor,
    kept: Tensor,
    before_gate: Tensor | None,
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
    """Gradients of u, delta, A, B, C, D, state, z and delta_bias, in that order and in their
    shapes.
    """
    batch, length, channels = u.shape
    n_state = A.shape[1]
    parts = [(None, 0, 0, 0) if x is None else rows(x) for x in (u, delta, z, B, C)]
    A, D, gy, g_last = A.contiguous(), D.contiguous(), gy.contiguous(), g_last.contiguous()
    groups, threads = _shares(batch, channels, u.numel() * n_state)
    gu, g_delta = (u.new_empty(batch, length, channels) for _ in range(2))
    gz = None if z is None else torch.empty_like(gu)
    gA, g_state = (u.new_empty(batch, channels, n_state) for _ in range(2))
    gB, gC = (u.new_empty(batch, groups, length, n_state) for _ in range(2))
    gD, g_bias = (u.new_empty(batch, channels) for _ in range(2))
    rest = (
        A,
        D,
        delta_bias,
        before_gate,
        kept,
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
    )
    arguments: tuple[Any, ...] = (
        groups,
        length,
        channels,
        n_state,
        *(number for part in parts for number in part[1:]),
        *map(_address, rest),
    )
    run_jobs(_backward_jobs, batch * groups, threads, (*arguments, int(delta_softplus)))
    bias_grad = None if delta_bias is None else g_bias.sum(0)
    return gu, g_delta, gA.sum(0), gB.sum(1), gC.sum(1), gD.sum(0), g_state, gz, bias_grad
