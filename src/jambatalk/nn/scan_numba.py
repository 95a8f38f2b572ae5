"""CPU kernels of the selective scan: blocks of 32 channels innermost, so that LLVM vectorises across channels.

Channels are padded to whole blocks and laid out (blocks, B, L, 32); a block's state (N, 32) stays in the first-level
cache while time runs. exp is a polynomial: numba calls the scalar library function otherwise, which cannot be vectorised.
The backward keeps the state at every CHUNK-th step from the forward and computes the ones between again.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[np.float32]

LANES = 32
CHUNK = 32
LOG2E = np.float32(1.4426950408889634)
LN2 = np.float32(0.6931471805599453)
# Below this many element updates, starting threads costs more than it saves (a streaming step is one frame long).
SERIAL_WORK = 1 << 18


@intrinsic
def _as_float(typingctx: Any, bits: Any) -> Any:
    """Reinterpret the bits of an int32 as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), codegen


@njit(inline="always", fastmath=True)
def _exp2(x):  # type: ignore[no-untyped-def]
    """2**x for x <= 0, relative error below 3e-7; x below -126 gives about 1e-38 instead of a denormal."""
    x = max(x, np.float32(-126.0))
    whole = np.int32(x - np.float32(0.5))  # truncation of x - 0.5 rounds negative x to the nearest integer
    f = x - np.float32(whole)
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1.0)
    return p * _as_float(np.int32((whole + np.int32(127)) << np.int32(23)))


def _forward(u, delta, A2, B, C, D, state, y, kept):  # type: ignore[no-untyped-def]
    blocks, batch, length, _ = u.shape
    n_state = A2.shape[1]
    keep = kept.shape[2] > 0
    for job in prange(blocks * batch):
        k = job // batch
        b = job % batch
        a = A2[k]
        skip = D[k]
        h = np.empty((n_state, LANES), np.float32)
        h[:] = state[k, b]
        du = np.empty(LANES, np.float32)
        acc = np.empty(LANES, np.float32)
        for t in range(length):
            if keep and t % CHUNK == 0:
                kept[k, b, t // CHUNK] = h
            x = u[k, b, t]
            d = delta[k, b, t]
            for i in range(LANES):
                du[i] = d[i] * x[i]
                acc[i] = skip[i] * x[i]
            for n in range(n_state):
                bn = B[b, t, n]
                cn = C[b, t, n]
                for i in range(LANES):
                    v = _exp2(d[i] * a[n, i]) * h[n, i] + du[i] * bn
                    h[n, i] = v
                    acc[i] += cn * v
            y[k, b, t] = acc
        state[k, b] = h


_forward_parallel = njit(parallel=True, fastmath=True, cache=True, nogil=True)(_forward)
_forward_serial = njit(fastmath=True, cache=True, nogil=True)(_forward)


def _backward(u, delta, A2, B, C, D, kept, gy, g_state, gu, g_delta, gA, gB, gC, gD):  # type: ignore[no-untyped-def]
    """Gradients by the reverse recurrence g_{t-1} = exp(delta_t A) g_t; gB and gC are per block, summed by the caller."""
    blocks, batch, length, _ = u.shape
    n_state = A2.shape[1]
    for job in prange(blocks * batch):
        k = job // batch
        b = job % batch
        a = A2[k]
        skip = D[k]
        hs = np.empty((CHUNK + 1, n_state, LANES), np.float32)
        decays = np.empty((CHUNK, n_state, LANES), np.float32)
        g = np.empty((n_state, LANES), np.float32)
        g[:] = g_state[k, b]
        g_du = np.empty(LANES, np.float32)
        g_d = np.empty(LANES, np.float32)
        for chunk in range((length - 1) // CHUNK, -1, -1):
            start = chunk * CHUNK
            stop = min(start + CHUNK, length)
            hs[0] = kept[k, b, chunk]
            for t in range(start, stop):
                j = t - start
                x = u[k, b, t]
                d = delta[k, b, t]
                for n in range(n_state):
                    bn = B[b, t, n]
                    for i in range(LANES):
                        e = _exp2(d[i] * a[n, i])
                        decays[j, n, i] = e
                        hs[j + 1, n, i] = e * hs[j, n, i] + d[i] * x[i] * bn
            for t in range(stop - 1, start - 1, -1):
                j = t - start
                x = u[k, b, t]
                d = delta[k, b, t]
                out = gy[k, b, t]
                for i in range(LANES):
                    g_du[i] = 0.0
                    g_d[i] = 0.0
                    gD[k, b, i] += out[i] * x[i]
                for n in range(n_state):
                    bn = B[b, t, n]
                    cn = C[b, t, n]
                    sum_b = np.float32(0.0)
                    sum_c = np.float32(0.0)
                    for i in range(LANES):
                        gi = g[n, i] + cn * out[i]
                        sum_c += out[i] * hs[j + 1, n, i]
                        sum_b += gi * d[i] * x[i]
                        g_du[i] += gi * bn
                        through = gi * hs[j, n, i] * decays[j, n, i]
                        g_d[i] += through * a[n, i]
                        gA[k, b, n, i] += through * d[i]
                        g[n, i] = gi * decays[j, n, i]
                    gB[k, b, t, n] = sum_b
                    gC[k, b, t, n] = sum_c
                for i in range(LANES):
                    gu[k, b, t, i] = skip[i] * out[i] + d[i] * g_du[i]
                    # a holds A log2(e); LN2 undoes that in d exp(delta A) / d delta.
                    g_delta[k, b, t, i] = x[i] * g_du[i] + LN2 * g_d[i]
        g_state[k, b] = g


_backward_parallel = njit(parallel=True, fastmath=True, cache=True, nogil=True)(_backward)
_backward_serial = njit(fastmath=True, cache=True, nogil=True)(_backward)


def _blocked(x: Array) -> Array:
    """(B, L, D) -> (blocks, B, L, LANES), zeros in the padding."""
    batch, length, channels = x.shape
    blocks = -(-channels // LANES)
    if channels % LANES:
        x = np.pad(x, ((0, 0), (0, 0), (0, blocks * LANES - channels)))
    return np.ascontiguousarray(x.reshape(batch, length, blocks, LANES).transpose(2, 0, 1, 3))


def _unblocked(x: Array, channels: int) -> Array:
    """(blocks, B, L, LANES) -> (B, L, D)."""
    blocks, batch, length, _ = x.shape
    return np.ascontiguousarray(x.transpose(1, 2, 0, 3).reshape(batch, length, blocks * LANES)[..., :channels])


def _blocked_state(x: Array) -> Array:
    """(B, D, N) -> (blocks, B, N, LANES)."""
    return np.ascontiguousarray(_blocked(np.ascontiguousarray(x.transpose(0, 2, 1))))


def _unblocked_state(x: Array, channels: int) -> Array:
    """(blocks, B, N, LANES) -> (B, D, N)."""
    return np.ascontiguousarray(_unblocked(x, channels).transpose(0, 2, 1))


def _parallel(work: int) -> bool:
    return work > SERIAL_WORK and numba.get_num_threads() > 1


def forward(
    u: Array, delta: Array, A: Array, B: Array, C: Array, D: Array, state: Array, keep: bool
) -> tuple[Array, Array, Array]:
    """y (B, L, D), last state (B, D, N), and the kept states for ``backward`` (empty unless ``keep``)."""
    batch, length, channels = u.shape
    n_state = A.shape[1]
    ub, db = _blocked(u), _blocked(delta)
    a2 = _blocked_state(A[None] * LOG2E)[:, 0]
    skip = _blocked(D[None, None])[:, 0, 0]
    h = _blocked_state(state)
    y = np.empty_like(ub)
    kept = np.empty((len(ub), batch, -(-length // CHUNK) if keep else 0, n_state, LANES), np.float32)
    run = _forward_parallel if _parallel(u.size * n_state) else _forward_serial
    run(ub, db, a2, B, C, skip, h, y, kept)
    return _unblocked(y, channels), _unblocked_state(h, channels), kept


def backward(
    u: Array, delta: Array, A: Array, B: Array, C: Array, D: Array, state: Array, kept: Array, gy: Array, g_last: Array
) -> tuple[Array, ...]:
    """Gradients of u, delta, A, B, C, D and the initial state, in that order and in their shapes."""
    batch, length, channels = u.shape
    n_state = A.shape[1]
    ub, db, gyb = _blocked(u), _blocked(delta), _blocked(gy)
    a2 = _blocked_state(A[None] * LOG2E)[:, 0]
    skip = _blocked(D[None, None])[:, 0, 0]
    blocks = len(ub)
    gu, gd = np.empty_like(ub), np.empty_like(ub)
    gA = np.zeros((blocks, batch, n_state, LANES), np.float32)
    gB = np.empty((blocks, batch, length, n_state), np.float32)
    gC = np.empty_like(gB)
    gD = np.zeros((blocks, batch, LANES), np.float32)
    g_state = _blocked_state(g_last)
    run = _backward_parallel if _parallel(u.size * n_state) else _backward_serial
    run(ub, db, a2, B, C, skip, kept, gyb, g_state, gu, gd, gA, gB, gC, gD)
    return (
        _unblocked(gu, channels),
        _unblocked(gd, channels),
        _unblocked_state(gA, channels).sum(0),
        gB.sum(0),
        gC.sum(0),
        gD.sum(1).reshape(-1)[:channels],
        _unblocked_state(g_state, channels),
    )
