"""Read glTF 2.0 documents: their JSON, buffers and accessors.

Binary (.glb, .vrm) and text (.gltf) files; sparse accessors; the extensions KHR_mesh_quantization,
EXT_meshopt_compression (``meshopt``) and KHR_draco_mesh_compression (library DracoPy, extra
``avatars``). What a document means, as a character, is said in ``character``.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, MissingExtraError, reading, shown
from jambatalk.face import meshopt

Array = NDArray[Any]

COMPONENTS: dict[int, type[np.generic]] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}

READ = {
    "EXT_meshopt_compression",
    "EXT_texture_avif",
    "EXT_texture_webp",
    "KHR_draco_mesh_compression",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_texture_basisu",
    "KHR_texture_transform",
    "VRM",
    "VRMC_vrm",
}
"""Extensions that are read where a file requires them; those of materials are left out of pictures,
textures that cannot be decoded are refused when they are to be drawn."""

UNSEEN = ("KHR_materials_", "KHR_lights_", "VRMC_", "MSFT_", "KHR_animation_", "KHR_audio")
"""Starts of extensions that leave geometry as it is."""

MOST_ELEMENTS = 2**23
"""Elements of one accessor; beyond, a few bytes of a file would stand for gigabytes."""


class Gltf:
    """A glTF 2.0 document and its data.

    Args:
        path: a .glb, .vrm or .gltf file.

    Raises:
        InputError: the file is missing, damaged, of another version or of another kind, or requires
            an extension that changes geometry and is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path, "a glTF 2.0 file"):
            data = path.read_bytes()
            self.document, self.binary = _split(data, path)
            self._check()
        self._views: dict[int, Array] = {}
        self._accessors: dict[int, Array] = {}
        self._buffers: dict[int, bytes] = {}
        self._draco: dict[int, Any] = {}

    def _check(self) -> None:
        asset = self.document.get("asset")
        version = asset.get("version") if isinstance(asset, dict) else None
        if not isinstance(version, str) or not version.startswith("2."):
            raise InputError(f"{self.path} has glTF version {shown(version)}, expected 2.0")
        required = self.document.get("extensionsRequired", [])
        for name in required if isinstance(required, list) else []:
            if name not in READ and not str(name).startswith(UNSEEN):
                raise InputError(
                    f"{self.path} requires the glTF extension {shown(name)}, which is not read"
                )

    def list(self, kind: str) -> list[dict[str, Any]]:
        """The entries of one kind, such as "nodes"; none where the document has none."""
        found = self.document.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise InputError(f"{self.path}: {kind} are no list of objects")
        return found

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """One entry. InputError for an index that does not exist."""
        entries = self.list(kind)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(entries):
            raise InputError(
                f"{self.path} names number {shown(index)} of {len(entries)} {kind}, "
                "which does not exist"
            )
        return entries[index]

    def buffer(self, index: int) -> bytes:
        """The bytes of a buffer: the binary part of a .glb, a data URI, or a file beside it."""
        if index in self._buffers:
            return self._buffers[index]
        entry = self.entry("buffers", index)
        uri = entry.get("uri")
        if uri is None:
            if index != 0 or self.binary is None:
                raise InputError(f"{self.path}: buffer {index} has no data")
            data = self.binary
        else:
            data = self.resource(uri)
        if len(data) < int(entry.get("byteLength", 0)):
            raise InputError(
                f"{self.path}: buffer {index} holds {len(data):,} bytes, "
                f"expected {shown(entry['byteLength'])}: the file was cut off"
            )
        self._buffers[index] = data
        return data

    def resource(self, uri: Any) -> bytes:
        """The bytes behind a URI: a data URI, or a file in the document's folder or below it."""
        if not isinstance(uri, str):
            raise InputError(f"{self.path}: {shown(uri)} is no URI")
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        name = unquote(uri)
        if ":" in name or name.startswith(("/", "\\")) or ".." in Path(name).parts:
            raise InputError(
                f"{self.path} needs {shown(name)}: expected a file in the folder of the document"
            )
        beside = self.path.parent / name
        if not beside.is_file():
            raise InputError(f"{self.path} needs the file {shown(name)}, which is not beside it")
        return beside.read_bytes()

    def view(self, index: Any) -> Array:
        """The (n,) uint8 bytes of a buffer view, unpacked."""
        entry = self.entry("bufferViews", index)
        if index not in self._views:
            packed = _extension(entry, "EXT_meshopt_compression")
            place = entry if packed is None else packed
            data = self.buffer(place["buffer"])
            start, length = int(place.get("byteOffset", 0)), int(place["byteLength"])
            if start < 0 or length < 0 or start + length > len(data):
                raise InputError(
                    f"{self.path}: buffer view {index} ends at byte {start + length:,} of a buffer "
                    f"of {len(data):,}"
                )
            piece = np.frombuffer(data, np.uint8, length, start)
            if packed is not None:
                piece = meshopt.decode(
                    piece,
                    int(packed["count"]),
                    int(packed["byteStride"]),
                    packed["mode"],
                    packed.get("filter", "NONE"),
                )
            self._views[index] = piece
        return self._views[index]

    def accessor(self, index: Any) -> Array:
        """(count,) or (count, n) values; normalized integers become float32 in -1..1 or 0..1.

        Raises:
            InputError: the accessor does not exist or does not fit its buffer view.
        """
        entry = self.entry("accessors", index)
        if index not in self._accessors:
            values = self._values(entry, index)
            if entry.get("normalized") and values.dtype.kind in "iu":
                largest = np.float32(np.iinfo(values.dtype).max)
                values = np.maximum(values.astype(np.float32) / largest, np.float32(-1))
            self._accessors[index] = values[:, 0] if entry["type"] == "SCALAR" else values
        return self._accessors[index]

    def length(self, index: Any) -> int:
        """How many elements an accessor has, without reading them."""
        count = self.entry("accessors", index).get("count")
        if not isinstance(count, int) or not 0 <= count <= MOST_ELEMENTS:
            raise InputError(
                f"{self.path}: accessor {index} has {shown(count)} elements, "
                f"expected at most {MOST_ELEMENTS:,}"
            )
        return count

    def _values(self, entry: dict[str, Any], index: Any) -> Array:
        dtype = np.dtype(COMPONENTS[entry["componentType"]]).newbyteorder("<")
        width, count = WIDTHS[entry["type"]], self.length(index)
        if "bufferView" in entry:
            values = self._strided(
                entry["bufferView"], int(entry.get("byteOffset", 0)), dtype, width, count, index
            )
        else:
            values = np.zeros((count, width), dtype)
        sparse = entry.get("sparse")
        if sparse is not None:
            many = int(sparse["count"])
            if not 0 <= many <= count:
                raise InputError(
                    f"{self.path}: accessor {index} has more sparse values than values"
                )
            where, what = sparse["indices"], sparse["values"]
            kind = np.dtype(COMPONENTS[where["componentType"]]).newbyteorder("<")
            rows = self._strided(
                where["bufferView"], int(where.get("byteOffset", 0)), kind, 1, many, index
            )[:, 0].astype(np.int64)
            if many and (rows.min() < 0 or rows.max() >= count):
                raise InputError(f"{self.path}: accessor {index} has a sparse value out of range")
            values = values.copy()
            values[rows] = self._strided(
                what["bufferView"], int(what.get("byteOffset", 0)), dtype, width, many, index
            )
        return values.astype(dtype.newbyteorder("="), copy=False)

    def _strided(
        self, view: Any, start: int, dtype: np.dtype[Any], width: int, count: int, index: Any
    ) -> Array:
        data = self.view(view)
        item = dtype.itemsize * width
        entry = self.entry("bufferViews", view)
        packed = _extension(entry, "EXT_meshopt_compression")
        stride = int((packed or entry).get("byteStride", item))
        end = start + (count - 1) * stride + item
        if count and (start < 0 or stride < item or end > len(data)):
            raise InputError(
                f"{self.path}: accessor {index} reaches beyond its buffer view of "
                f"{len(data):,} bytes"
            )
        if not count:
            return np.zeros((0, width), dtype)
        whole = np.lib.stride_tricks.as_strided(
            data[start:], (count, item), (stride, 1), writeable=False
        )
        return np.ascontiguousarray(whole).view(dtype)

    def draco(self, extension: dict[str, Any]) -> Any:
        """The mesh of a primitive's KHR_draco_mesh_compression: an object of DracoPy.

        Raises:
            MissingExtraError: DracoPy is not installed.
            InputError: the data is damaged.
        """
        try:
            import DracoPy
        except ImportError as error:
            raise MissingExtraError(
                f"{self.path} is packed with Draco, which needs DracoPy: "
                'pip install "jambatalk[avatars]"'
            ) from error
        index = extension["bufferView"]
        if index not in self._draco:
            with reading(self.path, "a mesh packed with Draco"):
                self._draco[index] = DracoPy.decode(self.view(index).tobytes())
        return self._draco[index]


def _extension(entry: dict[str, Any], name: str) -> dict[str, Any] | None:
    found = entry.get("extensions")
    inner = found.get(name) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else None


def _split(data: bytes, path: Path) -> tuple[dict[str, Any], bytes | None]:
    """The JSON and the binary part of a file, by its first bytes."""
    binary = None
    if data[:4] == b"glTF":
        _, version, total = struct.unpack_from("<4sII", data)
        if version != 2:
            raise InputError(f"{path} has version {version} of binary glTF, expected 2")
        if total > len(data):
            raise InputError(f"{path} holds {len(data):,} bytes of {total:,}: it was cut off")
        size, kind = struct.unpack_from("<I4s", data, 12)
        if kind != b"JSON":
            raise InputError(f"{path} begins with a chunk {shown(kind)}, expected JSON")
        text, at = data[20 : 20 + size], 20 + size
        if at + 8 <= len(data):
            size, kind = struct.unpack_from("<I4s", data, at)
            if kind == b"BIN\0":
                binary = data[at + 8 : at + 8 + size]
    else:
        text = data
    document = json.loads(text.decode("utf-8-sig"))
    if not isinstance(document, dict):
        raise InputError(f"{path} is no glTF file: its JSON is no object")
    return document, binary
