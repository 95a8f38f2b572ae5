"""CPU kernels of the causal depthwise convolution: LANES channels side by side, rows of the input read as they lie.

Every output is bias + w_0 x_{t-k+1} + ... + w_{k-1} x_t in this order, wherever the chunk that holds it begins: pieces and
the whole are equal to the bit. The backward walks over the channels in groups, so that sums over time have one fixed order.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from jambatalk.nn.scan_lanes import LANES, aligned, floats, load, sigmoid, splat, store
from jambatalk.nn.scan_numba import _put_row, _row, rows, run_jobs

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
):  # fmt: skip
    """One sequence's ``parts``-th part of the time."""
    x, weight, bias, state, y, last = floats(x_), floats(weight_), floats(bias_), floats(state_), floats(y_), floats(last_)
    b, part = job // parts, job % parts
    history = kernel - 1
    spare = np.empty(2 * LANES, np.float32)
    place = aligned(spare)
    for t in range(part * length // parts, (part + 1) * length // parts):
        inside = t >= history
        for c in range(0, channels, LANES):
            width = min(LANES, channels - c)
            out = _row(bias, c, width, spare, place)
            if inside and width == LANES:
                for j in range(kernel):
                    out = out + load(weight, j * channels + c) * load(x, b * x_b + (t - history + j) * x_t + c)
            else:
                for j in range(kernel):
                    v = _source(b, t - history + j, c, history, channels, x, x_b, x_t, state, width, spare, place)
                    out = out + _row(weight, j * channels + c, width, spare, place) * v
            if take_silu:
                out = out * sigmoid(out)
            _put_row(y, (b * length + t) * channels + c, out, width, spare, place)
    if part == parts - 1:
        for s in range(history):
            for c in range(0, channels, LANES):
                width = min(LANES, channels - c)
                v = _source(b, length - history + s, c, history, channels, x, x_b, x_t, state, width, spare, place)
                _put_row(last, (b * history + s) * channels + c, v, width, spare, place)


@njit(**_COMPILE)
def _backward_job(  # type: ignore[no-untyped-def]
    job, groups, length, channels, kernel, x_, x_b, x_t, weight_, bias_, state_, gy_, g_last_,
    gx_, g_weight_, g_bias_, g_state_, take_silu,
):  # fmt: skip
    """One sequence's group of channel blocks, from the last step to the first. g_weight (B, kernel, D) and g_bias (B, D) are
    per sequence. Rows of the padded input [state, x] get gradient from the ``kernel`` outputs at and after them: the
    contributions of outputs already seen wait in ``late``, a ring of ``kernel`` rows."""
    x, weight, bias, state = floats(x_), floats(weight_), floats(bias_), floats(state_)
    gy, g_last, gx = floats(gy_), floats(g_last_), floats(gx_)
    g_weight, g_bias, g_state = floats(g_weight_), floats(g_bias_), floats(g_state_)
    b, group = job // groups, job % groups
    history = kernel - 1
    blocks = -(-channels // LANES)
    first, stop = group * blocks // groups, (group + 1) * blocks // groups
    each = (3 * kernel + 1) * LANES  # weights, their gradients, the ring, the gradient of the bias
    spare = np.zeros((stop - first) * each + 2 * LANES, np.float32)
    place = aligned(spare)
    own = place + LANES
    for k in range(first, stop):
        c, w = k * LANES, own + (k - first) * each
        for j in range(kernel):
            store(spare, w + j * LANES, _row(weight, j * channels + c, min(LANES, channels - c), spare, place))
    for stop_time in range(length, -history, -TIME_TILE):
        for k in range(first, stop):
            c, w = k * LANES, own + (k - first) * each
            sums, late, sum_bias = w + kernel * LANES, w + 2 * kernel * LANES, w + 3 * kernel * LANES
            width = min(LANES, channels - c)
            shift = _row(bias, c, width, spare, place)
            for t in range(stop_time - 1, max(stop_time - TIME_TILE, -history) - 1, -1):
                slot = (t + history) % kernel
                if t >= 0:
                    g = _row(gy, (b * length + t) * channels + c, width, spare, place)
                    if take_silu:
                        out = shift
                        for j in range(kernel):
                            v = _source(b, t - history + j, c, history, channels, x, x_b, x_t, state, width, spare, place)
                            out = out + load(spare, w + j * LANES) * v
                        s = sigmoid(out)
                        g = g * (s * (out * (1.0 - s) + 1.0))
                    store(spare, sum_bias, load(spare, sum_bias) + g)
                    for j in range(kernel):
                        v = _source(b, t - history + j, c, history, channels, x, x_b, x_t, state, width, spare, place)
                        store(spare, sums + j * LANES, load(spare, sums + j * LANES) + g * v)
                        to = late + ((t + j) % kernel) * LANES
                        store(spare, to, load(spare, to) + g * load(spare, w + j * LANES))
                done = load(spare, late + slot * LANES)
                store(spare, late + slot * LANES, splat(0.0))
                if t >= length - history:
                    done = done + _row(g_last, (b * history + t - length + history) * channels + c, width, spare, place)
                if t >= 0:
                    _put_row(gx, (b * length + t) * channels + c, done, width, spare, place)
                else:
                    _put_row(g_state, (b * history + history + t) * channels + c, done, width, spare, place)
    for k in range(first, stop):
        c, w = k * LANES, own + (k - first) * each
        width = min(LANES, channels - c)
        for j in range(kernel):
            to = (b * kernel + j) * channels + c
            _put_row(g_weight, to, load(spare, w + (kernel + j) * LANES), width, spare, place)
        _put_row(g_bias, b * channels + c, load(spare, w + 3 * kernel * LANES), width, spare, place)


def _forward_all(jobs, *arguments):  # type: ignore[no-untyped-def]
    for job in prange(jobs):
        _forward_job(job, *arguments)


def _backward_all(jobs, *arguments):  # type: ignore[no-untyped-def]
    for job in prange(jobs):
        _backward_job(job, *arguments)


_forward_serial, _backward_serial = njit(**_COMPILE)(_forward_all), njit(**_COMPILE)(_backward_all)
_forward_parallel = njit(parallel=True, **_COMPILE)(_forward_all)
_backward_parallel = njit(parallel=True, **_COMPILE)(_backward_all)


def forward(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, silu: bool) -> tuple[Tensor, Tensor]:
    """float32 on the CPU, shapes as in ``conv.causal_conv_reference``."""
    batch, length, channels = x.shape
    kernel = weight.shape[0]
    x, *where = rows(x)
    weight, bias, state = weight.contiguous(), bias.contiguous(), state.contiguous()
    y, last = x.new_empty(batch, length, channels), torch.empty_like(state)
    parts = 1
    if y.numel() * kernel > SERIAL_WORK:
        parts = min(max(1, length), -(-numba.get_num_threads() // batch))
    addresses = (t.data_ptr() for t in (weight, bias, state, y, last))
    arguments = (parts, length, channels, kernel, *where, *addresses, int(silu))
    run_jobs(_forward_parallel, _forward_serial, batch * parts, arguments)
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
    groups = 1
    if gx.numel() * kernel > SERIAL_WORK // 4:
        groups = min(blocks, -(-numba.get_num_threads() // batch))
    addresses = (t.data_ptr() for t in (weight, bias, state, gy, g_last, gx, g_weight, g_bias, g_state))
    arguments = (groups, length, channels, kernel, *where, *addresses, int(silu))
    run_jobs(_backward_parallel, _backward_serial, batch * groups, arguments)
    return gx, g_weight.sum(0), g_bias.sum(0), g_state
