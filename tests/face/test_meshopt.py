"""EXT_meshopt_compression: streams of the meshoptimizer library, its filters, and damaged data."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from jambatalk.errors import InputError
from jambatalk.face import meshopt

# Made by meshoptimizer's own encoders (vertex codec version 0, index codec version 1) from the
# arrays below.
ATTRIBUTES = (
    "oP8BAKiOWAhh5YIp6UaVgm2cV7A/1AndXFPzhBRDgaWpl2kfRL6tB7R/WMEs3xbzAewxppEmzKcvLnSerKB6NiWZ2P"
    "/wAAA4f7oZ/RaqAgiIiIZkYiIhATM1V3d3eXd3dVUzERICQmSGhqiIqIiGZkRCAAAAAAD/AQACBgoOEhYaHiImKi4y"
    "Njo+QhNKTlJWWl4IZmpucnYgfoKGMI6SlkCeoqZQrrJcur7CbMrOeNaA3uKM6u6Y9qD/8AAA/qj59bTtVAGEAJAJAA"
    "AJACSQAJACQAAAVQEwAAPAVVZVAA8AAFZVPAAA8FZVVlUAA8AAVlUPAAAAVlVVATAAA8AQDxAADwAADxA8AADwDxAP"
    "EAADwAAPEA8AAAAPEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMPgHAA=="
)
TRIANGLES = "4f4eEA4QDhAOzh4WDhUOFA7OHhQOFA4UDv8f/w8K/+IN+Q0w4h7/AAIDAHaHVmd4qYZliWiYAWkAAA=="


def attributes():
    t = np.arange(70)
    columns = [10000 * np.sin(t / 9), (t * t) % 301, np.where(t % 11, 5, -2000), 0 * t + 7]
    return np.stack(columns, 1).astype(np.int16)


def triangles():
    corners = []
    for row in range(3):
        for k in range(5 * row, 5 * row + 4):
            corners += [k, k + 1, k + 5, k + 5, k + 1, k + 6]
    return [*corners, 900, 7, 31, 31, 7, 2000, 2000, 2001, 1999]


def turned(corners):
    """Triangles from their smallest corner on: the codec may begin them at another one."""
    found = []
    for a, b, c in np.reshape(corners, (-1, 3)).tolist():
        found.append(min((a, b, c), (b, c, a), (c, a, b)))
    return found


def test_attributes():
    found = meshopt.decode(base64.b64decode(ATTRIBUTES), 70, 8, "ATTRIBUTES", "NONE")
    assert np.array_equal(found.view(np.int16).reshape(70, 4), attributes())


@pytest.mark.parametrize(("stride", "kind"), [(2, np.uint16), (4, np.uint32)])
def test_triangles(stride, kind):
    packed, wanted = base64.b64decode(TRIANGLES), triangles()
    found = meshopt.decode(packed, len(wanted), stride, "TRIANGLES", "NONE")
    assert turned(found.view(kind)) == turned(wanted)


def test_indices():
    """Each number is a step from one of two before it: bit 0 says which, then zigzag, 7 bits."""
    values, last, data = [5, 6, 1000, 7, 999, 8, 70000, 3], [0, 0], bytearray([0xD1])
    for value in values:
        which = int(abs(value - last[1]) < abs(value - last[0]))
        step = value - last[which]
        code = ((step << 1) ^ (step >> 63)) << 1 | which
        last[which] = value
        while code >= 128:
            data.append(code & 127 | 128)
            code >>= 7
        data.append(code)
    found = meshopt.decode(bytes(data) + bytes(4), len(values), 4, "INDICES", "NONE")
    assert found.view(np.uint32).tolist() == values


def raw(values):
    """A stream of attributes with every group stored as it is (mode 3), bases of zero."""
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    assert len(rows) == 16
    steps = np.diff(rows.astype(np.int64), axis=0, prepend=0) & 255
    zigzag = np.where(steps < 128, 2 * steps, 511 - 2 * steps).astype(np.uint8)
    body = b"".join(b"\x03" + zigzag[:, k].tobytes() for k in range(rows.shape[1]))
    return b"\xa0" + body + bytes(max(32, rows.shape[1]))


@pytest.mark.parametrize(("kind", "one"), [(np.int8, 127), (np.int16, 32767)])
def test_octahedral(kind, one):
    unit = np.random.default_rng(0).normal(size=(16, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    flat = unit / np.abs(unit).sum(1, keepdims=True)
    folded = flat[:, :2].copy()
    back = flat[:, 2] < 0
    signs = np.where(flat[:, :2] >= 0, 1, -1)
    folded[back] = ((1 - np.abs(flat[:, 1::-1])) * signs)[back]
    packed = np.zeros((16, 4), kind)
    packed[:, :2], packed[:, 2], packed[:, 3] = np.round(folded * one), one, 42
    found = meshopt.decode(raw(packed), 16, packed.itemsize * 4, "ATTRIBUTES", "OCTAHEDRAL")
    found = found.view(kind).reshape(16, 4)
    assert np.abs(found[:, :3] / one - unit).max() < 2.5 / one
    assert (found[:, 3] == 42).all()


def test_quaternions():
    q = np.random.default_rng(1).normal(size=(16, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    largest = np.abs(q).argmax(1)
    q *= np.sign(q[np.arange(16), largest])[:, None]
    packed = np.zeros((16, 4), np.int16)
    scale = 2047
    for row, k, into in zip(q, largest, packed):
        rest = [row[(k + n) % 4] for n in (1, 2, 3)]
        into[:3] = np.round(np.array(rest) * np.sqrt(2) * scale)
        into[3] = scale & ~3 | k
    found = meshopt.decode(raw(packed), 16, 8, "ATTRIBUTES", "QUATERNION").view(np.int16)
    assert np.abs(found.reshape(16, 4) / 32767 - q).max() < 1e-3


def test_exponential():
    wanted = np.array([[1.5, -0.375, 0, 1024, 3, -7, 0.25, 1e-3]] * 16, np.float32)
    exponent = -12
    packed = (np.round(wanted * 2.0**12).astype(np.int32) & 0xFFFFFF) | (exponent << 24)
    found = meshopt.decode(raw(packed.astype(np.int32)), 16, 32, "ATTRIBUTES", "EXPONENTIAL")
    assert np.abs(found.view(np.float32).reshape(16, 8) - wanted).max() < 2.0**-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"", 4, 8, "ATTRIBUTES", "NONE"), "damaged or of another version"),
        ((b"\xa1" + bytes(99), 4, 8, "ATTRIBUTES", "NONE"), "another version"),
        ((b"\xa0" + bytes(99), 4, 7, "ATTRIBUTES", "NONE"), "attributes of 7 bytes"),
        ((b"\xa0" + bytes(99), 4, 8, "ATTRIBUTES", "LINEAR"), "unknown meshopt filter 'LINEAR'"),
        ((b"\xa0" + bytes(99), 10**9, 8, "ATTRIBUTES", "NONE"), "more than fit"),
        ((b"\xa0" + bytes(33), 900, 8, "ATTRIBUTES", "NONE"), "ends too early"),
        ((b"\xe1" + bytes(30), 4, 4, "TRIANGLES", "NONE"), "damaged"),
        ((b"\xe1" + bytes(30), 300, 4, "TRIANGLES", "NONE"), "ends too early"),
        ((b"\xd1" + bytes(5), 300, 4, "INDICES", "NONE"), "ends too early"),
        ((b"\xd1" + bytes(5), 3, 3, "INDICES", "NONE"), "indices of 3 bytes"),
        ((b"\xd1" + bytes(5), 3, 4, "STRIPS", "NONE"), "unknown meshopt mode 'STRIPS'"),
    ],
)
def test_what_cannot_be_decoded(arguments, message):
    with pytest.raises(InputError, match=message):
        meshopt.decode(*arguments)


def test_mutated_streams():
    """No read beyond the data, whatever it says: numba checks no bounds, the kernels must."""
    rng = np.random.default_rng(2)
    for packed, count, stride, mode in (
        (base64.b64decode(ATTRIBUTES), 70, 8, "ATTRIBUTES"),
        (base64.b64decode(TRIANGLES), len(triangles()), 4, "TRIANGLES"),
    ):
        for _ in range(500):
            data = np.frombuffer(packed, np.uint8).copy()
            data[rng.integers(1, len(data), 4)] = rng.integers(0, 256, 4)
            cut = bytes(data[: rng.integers(1, len(data) + 1)])
            try:
                found = meshopt.decode(cut, count, stride, mode, "NONE")
            except InputError:
                continue
            assert len(found) == count * stride
