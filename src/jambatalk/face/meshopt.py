"""Decode buffer views of the glTF extension EXT_meshopt_compression.

Written after the extension's text (Khronos glTF registry, EXT_meshopt_compression), which states
the bit streams. Three modes: ATTRIBUTES (bytes of vertices as differences from vertex to vertex),
TRIANGLES (corners named by recently seen edges and vertices) and INDICES (differences of numbers);
three filters turn decoded integers into octahedral vectors, quaternions and floats. The decoder is
here, and not taken from a library, since none on PyPI has wheels for Linux, macOS and Windows.

Every read is checked against the end of the data: a damaged stream gives an InputError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jambatalk.errors import InputError, shown

Array = NDArray[Any]

BLOCK_BYTES, BLOCK_ELEMENTS, GROUP = 8192, 256, 16
"""A block holds so many bytes or elements at most; a group shares one way of packing."""

TAIL = 32
"""Bytes that end a stream of attributes at least; the last of them are the first element's base."""

LARGEST = 2**28
"""Bytes that one buffer view may unpack to."""


def decode(data: bytes | Array, count: int, stride: int, mode: str, filter: str) -> Array:
    """Unpack one buffer view.

    Args:
        data: the packed bytes.
        count: number of elements.
        stride: bytes of each.
        mode: ATTRIBUTES, TRIANGLES or INDICES.
        filter: NONE, OCTAHEDRAL, QUATERNION or EXPONENTIAL.

    Returns:
        (count * stride,) uint8.

    Raises:
        InputError: the stream is damaged, or stride, mode or filter are none that exist.
    """
    packed = np.frombuffer(bytes(data), np.uint8)
    if not 0 <= count <= LARGEST // max(stride, 1):
        raise InputError(f"meshopt data of {shown(count)} elements, more than fit into 256 MB")
    if mode == "ATTRIBUTES":
        if not (0 < stride <= 256 and stride % 4 == 0):
            raise InputError(f"meshopt attributes of {shown(stride)} bytes, expected 4, 8, ... 256")
        if len(packed) < 1 + max(TAIL, stride) or packed[0] != 0xA0:
            raise InputError("meshopt attributes are damaged or of another version")
        out = np.zeros((count, stride), np.uint8)
        good = _attributes(packed, out, min((BLOCK_BYTES // stride) & ~15, BLOCK_ELEMENTS))
        decoded = out.reshape(-1)
    elif mode in ("TRIANGLES", "INDICES"):
        if stride not in (2, 4):
            raise InputError(f"meshopt indices of {shown(stride)} bytes, expected 2 or 4")
        indices = np.zeros(count, np.uint32)
        head, tail, kernel = _INDEX_MODES[mode]
        if len(packed) < 1 + tail or packed[0] != head or (mode == "TRIANGLES" and count % 3):
            raise InputError("meshopt indices are damaged or of another version")
        good = kernel(packed, indices)
        decoded = indices.astype(np.uint16 if stride == 2 else np.uint32).view(np.uint8)
    else:
        raise InputError(f"unknown meshopt mode {shown(mode)}")
    if not good:
        raise InputError(f"meshopt {mode.lower()} are damaged: the data ends too early")
    return _filtered(decoded, stride, filter)


def _filtered(decoded: Array, stride: int, filter: str) -> Array:
    if filter in ("NONE", None):
        return decoded
    if filter == "OCTAHEDRAL" and stride in (4, 8):
        return _octahedral(decoded.view(np.int8 if stride == 4 else np.int16).reshape(-1, 4))
    if filter == "QUATERNION" and stride == 8:
        return _quaternions(decoded.view(np.int16).reshape(-1, 4))
    if filter == "EXPONENTIAL" and stride % 4 == 0:
        packed = decoded.view(np.int32)
        exponent, mantissa = packed >> 24, (packed << 8) >> 8
        return np.ldexp(mantissa.astype(np.float32), exponent).astype(np.float32).view(np.uint8)
    raise InputError(f"unknown meshopt filter {shown(filter)} for {stride} bytes")


def _octahedral(packed: Array) -> Array:
    """(n, 4) integers x, y, one, w -> the unit vectors x, y, z of the same type, w as it was."""
    largest = float(np.iinfo(packed.dtype).max)
    x, y, one, _ = (packed[:, i].astype(np.float32) for i in range(4))
    z = one - np.abs(x) - np.abs(y)
    fold = np.maximum(-z, 0)
    x, y = x + np.where(x >= 0, -fold, fold), y + np.where(y >= 0, -fold, fold)
    scale = largest / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-12)
    unit = packed.copy()
    for column, values in enumerate((x, y, z)):
        unit[:, column] = np.round(values * scale).astype(packed.dtype)
    return unit.reshape(-1).view(np.uint8)


def _quaternions(packed: Array) -> Array:
    """(n, 4) int16: three components, scale and the number of the largest -> int16 quaternions."""
    scale = (packed[:, 3] | 3).astype(np.float32)
    x, y, z = (packed[:, i] * np.float32(np.sqrt(0.5)) / scale for i in range(3))
    w = np.sqrt(np.maximum(1 - x * x - y * y - z * z, 0))
    first = (packed[:, 3] & 3).astype(np.int64)
    unit, rows = np.empty_like(packed), np.arange(len(packed))
    for step, values in ((1, x), (2, y), (3, z), (0, w)):
        unit[rows, (first + step) % 4] = np.round(np.clip(values, -1, 1) * 32767).astype(np.int16)
    return unit.reshape(-1).view(np.uint8)


@njit(cache=True, nogil=True)
def _attributes(data: Array, out: Array, block: int) -> bool:
    """Fill ``out`` (count, stride) from a stream of attributes; False where it ends too early."""
    count, stride = out.shape
    end = data.shape[0] - stride
    before = data[end:].copy()
    at = 1
    for start in range(0, count, block):
        size = min(block, count - start)
        groups = (size + GROUP - 1) // GROUP
        for k in range(stride):
            header = at
            at += (groups + 3) // 4
            if at > end:
                return False
            value = np.int64(before[k])
            for g in range(groups):
                kind = (np.int64(data[header + g // 4]) >> ((g % 4) * 2)) & 3
                packed = at
                at += 0 if kind == 0 else (4 if kind == 1 else (8 if kind == 2 else 16))
                if at > end:
                    return False
                for m in range(GROUP):
                    step = np.int64(0)
                    if kind == 1:
                        step = (np.int64(data[packed + m // 4]) >> (6 - (m % 4) * 2)) & 3
                    elif kind == 2:
                        step = (np.int64(data[packed + m // 2]) >> (4 - (m % 2) * 4)) & 15
                    elif kind == 3:
                        step = np.int64(data[packed + m])
                    if (kind == 1 and step == 3) or (kind == 2 and step == 15):
                        if at >= end:
                            return False
                        step = np.int64(data[at])
                        at += 1
                    element = g * GROUP + m
                    if element < size:
                        # Odd numbers stand for negative steps.
                        signed = (step >> 1) if step & 1 == 0 else 255 - (step >> 1)
                        value = (value + signed) & 255
                        out[start + element, k] = np.uint8(value)
            before[k] = np.uint8(value)
    return True


@njit(cache=True, nogil=True)
def _number(data: Array, at: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first; (number, place after it), or place -1."""
    value, shift = 0, 0
    while True:
        if at >= end or shift > 28:
            return 0, -1
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


@njit(cache=True, nogil=True)
def _step(value: int) -> int:
    """0, 1, 2, 3, 4 ... -> 0, -1, 1, -2, 2 ..."""
    return (value >> 1) ^ -(value & 1)


@njit(cache=True, nogil=True)
def _triangles(data: Array, out: Array) -> bool:
    """Fill ``out`` (3 n,) uint32 from a stream of triangles."""
    count = out.shape[0] // 3
    end = data.shape[0] - 16
    at = 1 + count
    if at > end:
        return False
    edges = np.zeros((16, 2), np.int64)
    seen = np.zeros(16, np.int64)
    new_edge, new_seen = 0, 0  # how many were ever put into the two rings
    fresh, last = 0, 0
    for t in range(count):
        code = np.int64(data[1 + t])
        high, low = code >> 4, code & 15
        if high < 15:
            a, b = edges[(new_edge - 1 - high) & 15]
            put = True
            if low == 0:
                c = fresh
                fresh += 1
            elif low < 13:
                c = seen[(new_seen - 1 - low) & 15]
                put = False
            else:
                if low == 15:
                    value, at = _number(data, at, end)
                    if at < 0:
                        return False
                    last += _step(value)
                else:
                    last += 1 if low == 14 else -1
                c = last
            if put:
                seen[new_seen & 15] = c
                new_seen += 1
        else:
            if low < 14:
                pair = np.int64(data[end + low])
                first = 0
            else:
                if at >= end:
                    return False
                pair = np.int64(data[at])
                at += 1
                first = 0 if low == 14 else 15
                if pair == 0:
                    fresh = 0
            corners = np.zeros(3, np.int64)
            kinds = np.array([np.int64(first), pair >> 4, pair & 15])
            for n in range(3):
                kind = kinds[n]
                if kind == 0:
                    corners[n] = fresh
                    fresh += 1
                elif kind == 15 and low >= 14:
                    value, at = _number(data, at, end)
                    if at < 0:
                        return False
                    last += _step(value)
                    corners[n] = last
                else:
                    corners[n] = seen[(new_seen - kind) & 15]
            a, b, c = corners[0], corners[1], corners[2]
            for n in range(3):
                if kinds[n] == 0 or (kinds[n] == 15 and low >= 14):
                    seen[new_seen & 15] = corners[n]
                    new_seen += 1
            edges[new_edge & 15] = (b, a)
            new_edge += 1
        edges[new_edge & 15] = (c, b)
        edges[(new_edge + 1) & 15] = (a, c)
        new_edge += 2
        out[3 * t], out[3 * t + 1], out[3 * t + 2] = (
            np.uint32(a & 0xFFFFFFFF),
            np.uint32(b & 0xFFFFFFFF),
            np.uint32(c & 0xFFFFFFFF),
        )
    return True


@njit(cache=True, nogil=True)
def _indices(data: Array, out: Array) -> bool:
    """Fill ``out`` (n,) uint32 from a stream of numbers, each a step from one of two before it."""
    end = data.shape[0] - 4
    at = 1
    last = np.zeros(2, np.int64)
    for n in range(out.shape[0]):
        value, at = _number(data, at, end)
        if at < 0:
            return False
        which = value & 1
        last[which] += _step(value >> 1)
        out[n] = np.uint32(last[which] & 0xFFFFFFFF)
    return True


_INDEX_MODES: dict[str, tuple[int, int, Callable[[Array, Array], bool]]] = {
    "TRIANGLES": (0xE1, 16, _triangles),
    "INDICES": (0xD1, 4, _indices),
}
"""Mode -> its first byte, the length of its tail, its kernel."""
