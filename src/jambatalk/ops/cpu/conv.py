"""CPU kernels of the causal depthwise convolution, LANES channels side by side.

Rows of the input are read as they lie. Every output is bias + w_0 x_{t-k+1} + ... + w_{k-1} x_t in
this order, wherever the chunk that holds it begins: pieces and the whole are equal to the bit. The
backward walks over the channels in groups, so that sums over time have one fixed order. Names as in
``ops.cpu.scan``: x_ is an address, x_b and x_t are strides, spare is scratch memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from jambatalk.ops.cpu.scan import _put_row, _row, rows
from jambatalk.ops.cpu.simd import LANES, aligned, floats, load, prefetch, sigmoid, splat, store
from jambatalk.ops.threads import run_jobs, share_count, thread_count

TIME_TILE = 64
# Below this many multiplications, starting threads costs more than it saves.
SERIAL_WORK = 1 << 19
_COMPILE: dict[str, Any] = {"fastmath": True, "cache": True, "nogil": True}


@njit(inline="always")
def _source(b, r, c, history, channels, x, x_b, x_t, state, width, spare, place):  # type: ignore[no-untyped-def]
    """Row r of one sequence; rows before the first are in the state (B, history, D)."""
    if r >= 0:
        v = _row(x, b * x_b + r * x_t + c, width, spare, place)
    else:
        v = _row(state, (b * history + history + r) * channels + c, width, spare, place)
    return v


@njit(**_COMPILE)
def _forward_job(  # type: ignore[no-untyped-def]
    job, parts, length, channels, kernel, x_, x_b, x_t, weight_, bias_, state_, y_, last_, take_silu
):
    """One sequence's ``parts``-th part of the time."""
    x, weight, bias, state, y, last = (
        floats(x_),
        floats(weight_),
        floats(bias_),
        floats(state_),
        floats(y_),
        floats(last_),
    )
    b, part = job // parts, job % parts
    history = kernel - 1
    spare = np.empty((TIME_TILE + history + kernel + 2) * LANES, np.float32)
    place = aligned(spare)
    ws = place + LANES
    xs = ws + kernel * LANES
    stop = (part + 1) * length // parts
    for start in range(part * length // parts, stop, TIME_TILE):
        steps = min(TIME_TILE, stop - start)
        for c in range(0, channels, LANES):
            width = min(LANES, channels - c)
            shift = _row(bias, c, width, spare, place)
            for j in range(kernel):
                store(spare, ws + j * LANES, _row(weight, j * channels + c, width, spare, place))
            for i in range(steps + history):
                # The next block's lines: far apart in memory, so the processor does not guess them
                # by itself.
                prefetch(x, b * x_b + (start - history + i) * x_t + c + LANES)
                v = _source(
                    b,
                    start - history + i,
                    c,
                    history,
                    channels,
                    x,
                    x_b,
                    x_t,
                    state,
                    width,
                    spare,
                    place,
                )
                store(spare, xs + i * LANES, v)
            for i in range(steps):
                prefetch(y, (b * length + start + i) * channels + c + LANES)
                out = shift
                for j in range(kernel):
                    out = out + load(spare, ws + j * LANES) * load(spare, xs + (i + j) * LANES)
                if take_silu:
                    out = out * sigmoid(out)
                _put_row(y, (b * length + start + i) * channels + c, out, width, spare, place)
    if part == parts - 1:
        for s in range(history):
            for c in range(0, channels, LANES):
                width = min(LANES, channels - c)
                v = _source(
                    b,
                    length - history + s,
                    c,
                    history,
                    channels,
                    x,
                    x_b,
                    x_t,
                    state,
                    width,
                    spare,
                    place,
                )
                _put_row(last, (b * history + s) * channels + c, v, width, spare, place)


@njit(**_COMPILE)
def _backward_job(  # type: ignore[no-untyped-def]
    job,
    groups,
    length,
    channels,
    kernel,
    x_,
    x_b,
    x_t,
    weight_,
    bias_,
    state_,
    gy_,
    g_last_,
    gx_,
    g_weight_,
    g_bias_,
    g_state_,
    take_silu,
):
    """One sequence's group of channel blocks, tile by tile from the end. g_weight (B, kernel, D)
    and g_bias (B, D) are per sequence. Row r of [state, x] gets gradient from the ``kernel``
    outputs at and after it, so each tile hands the gradients of its first kernel - 1 outputs (taken
    before the silu) to the tile before it.
    """
    x, weight, bias, state = floats(x_), floats(weight_), floats(bias_), floats(state_)
    gy, g_last, gx = floats(gy_), floats(g_last_), floats(gx_)
    g_weight, g_bias, g_state = floats(g_weight_), floats(g_bias_), floats(g_state_)
    b, group = job // groups, job % groups
    history = kernel - 1
    blocks = -(-channels // LANES)
    first, stop = group * blocks // groups, (group + 1) * blocks // groups
    each = (
        2 * kernel + history + 1
    ) * LANES  # weights, their gradients, handed-on outputs, gradient of the bias
    tile = (TIME_TILE + history) * LANES
    spare = np.zeros((stop - first) * each + 2 * tile + 2 * LANES, np.float32)
    place = aligned(spare)
    xs = place + LANES  # rows start - history ... of x
    outs = xs + tile  # gradients of outputs start ..., handed-on ones behind them
    own = outs + tile
    for k in range(first, stop):
        c, w = k * LANES, own + (k - first) * each
        for j in range(kernel):
            store(
                spare,
                w + j * LANES,
                _row(weight, j * channels + c, min(LANES, channels - c), spare, place),
            )
    tiles = -(-length // TIME_TILE)
    for back in range(tiles):
        start = (tiles - 1 - back) * TIME_TILE
        steps = min(TIME_TILE, length - start)
        for k in range(first, stop):
            c, w = k * LANES, own + (k - first) * each
            sums, later, sum_bias = (
                w + kernel * LANES,
                w + 2 * kernel * LANES,
                w + (2 * kernel + history) * LANES,
            )
            width = min(LANES, channels - c)
            shift = _row(bias, c, width, spare, place)
            for i in range(steps + history):
                v = _source(
                    b,
                    start - history + i,
                    c,
                    history,
                    channels,
                    x,
                    x_b,
                    x_t,
                    state,
                    width,
                    spare,
                    place,
                )
                store(spare, xs + i * LANES, v)
            for i in range(history):
                store(spare, outs + (steps + i) * LANES, load(spare, later + i * LANES))
            total_bias = load(spare, sum_bias)
            for i in range(steps):
                to = (b * length + start + i) * channels + c
                # The next block's lines: far apart in memory, so the processor does not guess them
                # by itself.
                prefetch(x, b * x_b + (start + i) * x_t + c + LANES)
                prefetch(gy, to + LANES)
                prefetch(gx, to + LANES)
                g = _row(gy, to, width, spare, place)
                if take_silu:
                    out = shift
                    for j in range(kernel):
                        out = out + load(spare, w + j * LANES) * load(spare, xs + (i + j) * LANES)
                    s = sigmoid(out)
                    g = g * (s * (out * (1.0 - s) + 1.0))
                total_bias = total_bias + g
                store(spare, outs + i * LANES, g)
            store(spare, sum_bias, total_bias)
            for i in range(steps):
                done = splat(0.0)
                for j in range(kernel):
                    done = done + load(spare, w + j * LANES) * load(
                        spare, outs + (i + history - j) * LANES
                    )
                t = start + i
                if t >= length - history:
                    done = done + _row(
                        g_last,
                        (b * history + t - length + history) * channels + c,
                        width,
                        spare,
                        place,
                    )
                _put_row(gx, (b * length + t) * channels + c, done, width, spare, place)
            for j in range(kernel):
                even, odd = load(spare, sums + j * LANES), splat(0.0)
                for i in range(0, steps - 1, 2):
                    even = even + load(spare, outs + i * LANES) * load(spare, xs + (i + j) * LANES)
                    odd = odd + load(spare, outs + (i + 1) * LANES) * load(
                        spare, xs + (i + 1 + j) * LANES
                    )
                if steps % 2:
                    i = steps - 1
                    even = even + load(spare, outs + i * LANES) * load(spare, xs + (i + j) * LANES)
                store(spare, sums + j * LANES, even + odd)
            for i in range(history):
                store(spare, later + i * LANES, load(spare, outs + i * LANES))
    for k in range(first, stop):
        c, w = k * LANES, own + (k - first) * each
        sums, later, sum_bias = (
            w + kernel * LANES,
            w + 2 * kernel * LANES,
            w + (2 * kernel + history) * LANES,
        )
        width = min(LANES, channels - c)
        for j in range(kernel):
            _put_row(
                g_weight,
                (b * kernel + j) * channels + c,
                load(spare, sums + j * LANES),
                width,
                spare,
                place,
            )
        _put_row(g_bias, b * channels + c, load(spare, sum_bias), width, spare, place)
        for i in range(history):  # the state's rows, which outputs 0 ... i have seen
            done = splat(0.0)
            for t in range(i + 1):
                done = done + load(spare, w + (i - t) * LANES) * load(spare, later + t * LANES)
            if i >= length:
                done = done + _row(
                    g_last, (b * history + i - length) * channels + c, width, spare, place
                )
            _put_row(g_state, (b * history + i) * channels + c, done, width, spare, place)


@njit(**_COMPILE)
def _forward_jobs(first, stop, *arguments):  # type: ignore[no-untyped-def]
    for job in range(first, stop):
        _forward_job(job, *arguments)


@njit(**_COMPILE)
def _backward_jobs(first, stop, *arguments):  # type: ignore[no-untyped-def]
    for job in range(first, stop):
        _backward_job(job, *arguments)


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool
) -> tuple[Tensor, Tensor]:
    """float32 on the CPU, shapes as in ``conv.causal_conv_reference``."""
    batch, length, channels = x.shape
    kernel = weight.shape[0]
    x, *where = rows(x)
    weight, bias, state = weight.contiguous(), bias.contiguous(), state.contiguous()
    y, last = x.new_empty(batch, length, channels), torch.empty_like(state)
    threads = thread_count(y.numel() * kernel, SERIAL_WORK)
    parts = min(max(1, length), share_count(threads, batch))
    addresses = (t.data_ptr() for t in (weight, bias, state, y, last))
    arguments = (parts, length, channels, kernel, *where, *addresses, int(silu))
    run_jobs(_forward_jobs, batch * parts, threads, arguments)
    return y, last


def backward(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool, gy: Tensor, g_last: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, bias and state."""
    batch, length, channels = x.shape
    kernel = weight.shape[0]
    x, *where = rows(x)
    weight, bias, state, gy, g_last = (t.contiguous() for t in (weight, bias, state, gy, g_last))
    gx, g_state = x.new_empty(batch, length, channels), torch.empty_like(state)
    g_weight, g_bias = x.new_empty(batch, kernel, channels), x.new_empty(batch, channels)
    blocks = -(-channels // LANES)
    threads = thread_count(gx.numel() * kernel, SERIAL_WORK // 4)
    groups = min(max(1, blocks), share_count(threads, batch))
    addresses = (
        t.data_ptr() for t in (weight, bias, state, gy, g_last, gx, g_weight, g_bias, g_state)
    )
    arguments = (groups, length, channels, kernel, *where, *addresses, int(silu))
    run_jobs(_backward_jobs, batch * groups, threads, arguments)
    return gx, g_weight.sum(0), g_bias.sum(0), g_state
