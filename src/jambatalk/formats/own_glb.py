"""A motion in a character's own file: everything as it was, and one animation more.

The document's JSON keeps its content, and every buffer view its bytes: new data goes behind the old
in the binary part, and new accessors, buffer views and the animation behind those that are there.
Files beside a .gltf become data URIs, so that the result is one file.
"""

from __future__ import annotations

import base64
import copy
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError
from jambatalk.face.character import Source
from jambatalk.face.deform import eye_turns, neck_and_head, weights_on
from jambatalk.face.face import Face
from jambatalk.motion import Motion

Array = NDArray[Any]

NAME = "speech"
"""The animation's name."""


def write_character(motion: Motion, face: Face, path: Path) -> None:
    """Write the character's file with the motion as an animation.

    Args:
        motion: shape weights, and a head pose perhaps.
        face: of ``load_character``.
        path: another file than the character's.

    Raises:
        InputError: the motion moves vertices, or the file would overwrite the character's own.
    """
    source: Source = face.source
    if motion.weights is None:
        raise InputError(
            f"the motion moves vertices, but {source.path} moves by its shapes: "
            "animate it with a network of shape weights"
        )
    if path.exists() and path.samefile(source.path):
        raise InputError(f"{path} is the character's own file: choose another name")
    weights, columns = weights_on(face, motion)
    names = [face.names[k] for k in columns]
    file = _Addition(source)
    times = file.accessor((np.arange(len(motion)) / motion.fps).astype(np.float32), bounds=True)
    for node, table in _targets(source, names, weights).items():
        file.channel(node, "weights", times, table.reshape(-1))
    for node, turns in _turns(face, motion).items():
        file.channel(node, "rotation", times, turns)
    file.write(path)


def _targets(source: Source, names: list[str], weights: Array) -> dict[int, Array]:
    """Node -> (T, n) weights of its morph targets, of nodes that the names move."""
    tables: dict[int, Array] = {}
    for name, values in zip(names, weights.T):
        if not values.any():
            continue
        for bind in source.binds[name]:
            if bind.node not in tables:
                tables[bind.node] = np.zeros((len(values), source.targets[bind.node]), np.float32)
            tables[bind.node][:, bind.target] += bind.weight * values
    if not tables:  # a motion without any motion; the clip keeps its length
        node = next(iter(source.targets))
        count = source.targets[node]
        return {node: np.zeros((len(weights), count), np.float32)} if count else {}
    return {node: np.clip(table, 0, 1) for node, table in tables.items()}


def _turns(face: Face, motion: Motion) -> dict[int, Array]:
    """Node -> (T, 4) quaternions of neck, head and eyes, in their parents' axes."""
    source: Source = face.source
    world: dict[str, Array] = dict(eye_turns(face, motion))
    if motion.head_pose is not None and "head" in face.joints:
        both = [neck_and_head(pose, "neck" in face.joints) for pose in motion.head_pose]
        world["head"] = np.stack([head for _, head in both])
        if "neck" in face.joints:
            world["neck"] = np.stack([neck for neck, _ in both])
    ours = np.diag([-1.0, 1.0, -1.0]) if source.reversed else np.eye(3)
    nodes = source.gltf.list("nodes")
    found = {}
    for name, turns in world.items():
        node = source.bones[name]
        if "matrix" in nodes[node]:
            continue  # glTF forbids to animate a node that is given by a matrix
        above = int(source.parents[node])
        parent = _rotation(source.world[above]) if above >= 0 else np.eye(3)
        here = parent.T @ _rotation(source.world[node])
        # A turn about the character's axes, seen from the parent's, and then the node's own.
        local = parent.T @ ours @ turns @ ours @ parent @ here
        found[node] = quaternions_of(local)
    return found


def _rotation(matrix: Array) -> Array:
    """The rotation in a (4, 4) matrix, without scale or mirroring."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    turn: Array = u @ v
    return turn if np.linalg.det(turn) > 0 else -turn


def quaternions_of(turns: Array) -> Array:
    """(T, 3, 3) rotations -> (T, 4) float32 unit quaternions (x, y, z, w), signs continuous.

    From the largest of the four components (S. W. Shepperd, Quaternion from rotation matrix,
    Journal of Guidance and Control, 1978).
    """
    result = np.zeros((len(turns), 4))
    for t, turn in enumerate(turns):
        trace = float(np.trace(turn))
        k = int(np.argmax([*np.diag(turn), trace]))
        q = np.empty(4)
        if k == 3:
            q[3] = 1 + trace
            q[:3] = (turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1])
        else:
            i, j = (k + 1) % 3, (k + 2) % 3
            q[k] = 1 + 2 * turn[k, k] - trace
            q[i], q[j] = turn[i, k] + turn[k, i], turn[j, k] + turn[k, j]
            q[3] = turn[j, i] - turn[i, j]
        q /= np.linalg.norm(q)
        result[t] = -q if t and q @ result[t - 1] < 0 else q
    return result.astype(np.float32)


class _Addition:
    """A document that grows behind what it holds."""

    def __init__(self, source: Source) -> None:
        self._gltf = source.gltf
        self.document: dict[str, Any] = copy.deepcopy(source.gltf.document)
        self._binary = source.gltf.binary
        self._parts: list[bytes] = []
        buffers = self.document.setdefault("buffers", [])
        inside = self._binary is not None and bool(buffers) and "uri" not in buffers[0]
        if inside:
            self._buffer = 0
            assert self._binary is not None
            self._size = len(self._binary[: int(buffers[0]["byteLength"])])
            self._pad()
        else:
            self._buffer, self._size, self._binary = len(buffers), 0, None
            buffers.append({"byteLength": 0})
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []

    def _pad(self) -> None:
        assert self._binary is not None
        self._binary = self._binary[: self._size] + b"\0" * (-self._size % 4)
        self._size = len(self._binary)

    def accessor(self, values: Array, bounds: bool = False) -> int:
        """Add float32 values (n,) or (n, 4); the accessor's index."""
        data = np.ascontiguousarray(values, "<f4").tobytes()
        view = {"buffer": self._buffer, "byteOffset": self._size, "byteLength": len(data)}
        self._parts.append(data)
        self._size += len(data)
        views = self.document.setdefault("bufferViews", [])
        views.append(view)
        entry: dict[str, Any] = {
            "bufferView": len(views) - 1,
            "componentType": 5126,
            "count": len(values),
            "type": "SCALAR" if values.ndim == 1 else "VEC4",
        }
        if bounds:
            entry |= {"min": [float(values.min())], "max": [float(values.max())]}
        accessors = self.document.setdefault("accessors", [])
        accessors.append(entry)
        return len(accessors) - 1

    def channel(self, node: int, path: str, times: int, values: Array) -> None:
        """Animate one property of a node."""
        self._samplers.append(
            {"input": times, "output": self.accessor(values), "interpolation": "LINEAR"}
        )
        self._channels.append(
            {"sampler": len(self._samplers) - 1, "target": {"node": node, "path": path}}
        )

    def write(self, path: Path) -> None:
        """Write the .glb."""
        document = self.document
        if self._channels:
            document.setdefault("animations", []).append(
                {"name": NAME, "samplers": self._samplers, "channels": self._channels}
            )
        added = b"".join(self._parts)
        if self._binary is None:
            text = base64.b64encode(added).decode()
            document["buffers"][self._buffer] = {
                "byteLength": len(added),
                "uri": f"data:application/octet-stream;base64,{text}",
            }
            chunk = b""
        else:
            document["buffers"][0]["byteLength"] = self._size
            chunk = self._binary + added
        self._gather()
        text_bytes = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        text_bytes += b" " * (-len(text_bytes) % 4)
        total = 12 + 8 + len(text_bytes) + (8 + len(chunk) if chunk else 0)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            file.write(struct.pack("<I4s", len(text_bytes), b"JSON") + text_bytes)
            if chunk:
                file.write(struct.pack("<I4s", len(chunk), b"BIN\0") + chunk)

    def _gather(self) -> None:
        """Make data URIs of the files that the document names."""
        for kind in ("buffers", "images"):
            for entry in self.document.get(kind, []):
                uri = entry.get("uri")
                if isinstance(uri, str) and not uri.startswith("data:"):
                    data = base64.b64encode(self._gltf.resource(uri)).decode()
                    mime = entry.get("mimeType", "application/octet-stream")
                    entry["uri"] = f"data:{mime};base64,{data}"
