"""A glTF 2.0 document that grows: arrays go in, accessors come out, one binary file is written."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.files import replacing
from jambatalk.version import __version__

Array = NDArray[Any]

COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
VERTEX_DATA, INDEX_DATA = 34962, 34963
DENSE_SHARE = 0.7
"""Above this share of moved rows a sparse accessor is no smaller than a plain one."""


class GltfFile:
    """Collects the binary part and its accessors; ``document`` takes the rest of the JSON."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"jambatalk {__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._parts: list[bytes] = []
        self._size = 0

    def accessor(self, values: Array, target: int | None = None, bounds: bool = False, normalized: bool = False) -> int:
        """Index of a new accessor for (n,) or (n, components) values of float32, uint32, uint16 or uint8.

        target: VERTEX_DATA, INDEX_DATA or None for animation data. bounds: state min and max, which positions and key times need.
        """
        accessor = self._described(values)
        accessor["bufferView"] = self._view(values, target)
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= _bounds(values)
        return self._add("accessors", accessor)

    def sparse_accessor(self, values: Array) -> int:
        """As ``accessor`` with bounds, for vertex data that is zero in most rows: only the others are stored."""
        moved = np.flatnonzero(values.any(axis=1))
        if len(moved) > DENSE_SHARE * len(values):
            return self.accessor(values, VERTEX_DATA, bounds=True)
        accessor = self._described(values) | _bounds(values)
        if len(moved):  # without any, an accessor with no data at all stands for zeros
            narrow = np.uint16 if len(values) <= 0xFFFF else np.uint32
            indices = moved.astype(narrow)
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {"bufferView": self._view(indices, None), "componentType": COMPONENTS[indices.dtype.name]},
                "values": {"bufferView": self._view(values[moved], None)},
            }
        return self._add("accessors", accessor)

    def write(self, path: Path) -> None:
        """Write header, JSON and binary part; both parts padded to four bytes as the format asks."""
        self.document["buffers"] = [{"byteLength": self._size}]
        text = json.dumps(self.document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._size
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", self._size, b"BIN\0"))
            for part in self._parts:
                file.write(part)

    def _described(self, values: Array) -> dict[str, Any]:
        width = 1 if values.ndim == 1 else values.shape[1]
        return {"componentType": COMPONENTS[values.dtype.name], "count": len(values), "type": SHAPES[width]}

    def _view(self, values: Array, target: int | None) -> int:
        data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._size, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        data += b"\0" * (-len(data) % 4)
        self._parts.append(data)
        self._size += len(data)
        return self._add("bufferViews", view)

    def _add(self, kind: str, entry: dict[str, Any]) -> int:
        self.document[kind].append(entry)
        return len(self.document[kind]) - 1


def _bounds(values: Array) -> dict[str, list[float]]:
    table = values.reshape(len(values), -1)
    return {"min": [float(v) for v in table.min(axis=0)], "max": [float(v) for v in table.max(axis=0)]}
