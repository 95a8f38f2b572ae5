"""Motion as binary glTF 2.0: the head with its shapes as morph targets, and an animation that moves
them. A character of a user's own is written as its file has it, see ``own_glb``.

Opens in three.js, Blender, Unity, Unreal, Babylon and model viewers; glTF holds no sound. The mesh
has one primitive per material, each with vertices of its own, since viewers that mix shapes on the
GPU keep every shape of a primitive's vertices in a texture; every shape is a morph target with
positions and normals, stored sparsely, named in ``mesh.extras.targetNames``. A motion with a head
pose also gets two joints, ``body`` and ``head``, that bend the neck as the renderer does.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError
from jambatalk.face.deform import HeadTurn, as_shapes, pose_matrix
from jambatalk.face.face import Face
from jambatalk.formats.own_glb import write_character
from jambatalk.motion import Motion
from jambatalk.render.geometry import vertex_normals, weld
from jambatalk.render.materials import materials_of
from jambatalk.version import __version__

Array = NDArray[Any]

COMPONENTS = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
VERTEX_DATA, INDEX_DATA = 34962, 34963
DENSE_SHARE = 0.7
"""Above this share of moved rows a sparse accessor is no smaller than a plain one."""

ROUGHNESS = {
    "skin": 0.55,
    "lips": 0.35,
    "eye": 0.12,
    "cornea": 0.02,
    "teeth": 0.22,
    "gums": 0.35,
    "tongue": 0.4,
    "mouth": 0.6,
    "lash": 0.8,
    "brow": 0.9,
    "hair": 0.75,
    "cloth": 0.95,
}
"""How rough a material is, by its name; skin's value for names not listed."""

SMALLEST_STEP = 1e-6
"""Metres; a shape leaves vertices that it moves less where they are."""

SMALLEST_TILT = 1e-3
"""The same for unit normals."""


def save(
    motion: Motion,
    path: Path,
    *,
    identity: str | None = None,
    shapes: str = "all",
    split: bool = True,
) -> None:
    """Write the face, its shapes and their animation.

    Vertex offsets become up to 64 shapes of their own.

    Args:
        motion: what moves.
        path: the file.
        identity: one of the face's identities.
        shapes: "all" exports every shape of the face, so that the file can also be driven by
            something else; "used" only those that the motion moves, for a smaller file.
        split: False keeps the face's vertices in their order, shared by all primitives: for a
            program that mixes shapes itself and needs to find a vertex.

    Raises:
        InputError: the motion is empty or does not fit the face.
    """
    if shapes not in ("all", "used"):
        raise InputError(f"shapes is {shapes!r}, expected 'all' or 'used'")
    if not len(motion):
        raise InputError("the motion has no frames to animate")
    if motion.face is not None and motion.face.source is not None:
        if identity is not None:
            raise InputError(
                f"identity {identity!r} is one of the default head's, "
                f"but {motion.face.source.path} is another character"
            )
        write_character(motion, motion.face, path)
        return
    face, names, weights = _face(motion, identity), motion.names, motion.weights
    if weights is None:
        assert motion.offsets is not None
        face, weights = as_shapes(motion.offsets, face)
        names = face.names
    moved = dict(zip(face.columns(names), weights.T))
    kept = [k for k in range(len(face.names)) if shapes == "all" or (k in moved and moved[k].any())]
    if not kept:
        kept = list(range(min(1, len(face.names))))
    table = np.zeros((len(motion), len(kept)), np.float32)
    for column, k in enumerate(kept):
        if k in moved:
            table[:, column] = moved[k]

    file = GltfFile()
    node: dict[str, Any] = {"name": "face", "mesh": 0}
    document = file.document
    document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": [node]}
    times = file.accessor((np.arange(len(motion)) / motion.fps).astype(np.float32), bounds=True)
    channels = [({"node": 0, "path": "weights"}, file.accessor(table.reshape(-1)))] if kept else []
    skinning: dict[str, Array] = {}
    if motion.head_pose is not None:
        skinning = _skeleton(file, face)
        channels.append(
            ({"node": 2, "path": "rotation"}, file.accessor(quaternions(motion.head_pose)))
        )
    document["meshes"] = [_mesh(file, face, kept, skinning, split)]
    if channels:
        document["animations"] = [
            {
                "name": "speech",
                "extras": {"fps": motion.fps},
                "samplers": [
                    {"input": times, "output": output, "interpolation": "LINEAR"}
                    for _, output in channels
                ],
                "channels": [
                    {"sampler": i, "target": target} for i, (target, _) in enumerate(channels)
                ],
            }
        ]
    file.write(path)


def quaternions(head_pose: Array) -> Array:
    """Turn (T, 3) radians into (T, 4) float32 unit quaternions (x, y, z, w), signs continuous."""
    result = np.zeros((len(head_pose), 4))
    for t, pose in enumerate(head_pose):
        pose_matrix(pose)  # refuses what is not finite
        (cp, cy, cr), (sp, sy, sr) = (
            np.cos(0.5 * np.asarray(pose, float)),
            np.sin(0.5 * np.asarray(pose, float)),
        )
        # The product yaw * pitch * roll of three half-angle quaternions.
        result[t] = (
            cy * sp * cr + sy * cp * sr,
            sy * cp * cr - cy * sp * sr,
            cy * cp * sr - sy * sp * cr,
            cy * cp * cr + sy * sp * sr,
        )
        if t and result[t] @ result[t - 1] < 0:
            result[t] = -result[t]
    return result.astype(np.float32)


def linear(colours: Array) -> Array:
    """sRGB in 0..1 -> linear light in 0..1: glTF's vertex colours are linear."""
    return np.where(
        colours <= 0.04045, colours / 12.92, ((np.maximum(colours, 0) + 0.055) / 1.055) ** 2.4
    )


def _face(motion: Motion, identity: str | None) -> Face:
    if motion.face is None:
        from jambatalk.face.head import default_head

        return default_head(identity)
    return motion.face if identity is None else motion.face.with_identity(identity)


def _material(name: str) -> dict[str, Any]:
    drawn = materials_of([name])[0]
    surface: dict[str, Any] = {
        "metallicFactor": 0.0,
        "roughnessFactor": ROUGHNESS.get(name, ROUGHNESS["skin"]),
    }
    material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
    if drawn.glass:
        surface["baseColorFactor"] = [1.0, 1.0, 1.0, 0.06]
        material["alphaMode"] = "BLEND"
    if drawn.two_sided:
        material["doubleSided"] = True
    return material


def _mesh(
    file: GltfFile, face: Face, kept: list[int], skinning: dict[str, Array], split: bool
) -> dict[str, Any]:
    """One primitive per material, with its own vertices or (``split`` False) with all."""
    vertices = np.ascontiguousarray(face.vertices, np.float32)
    triangles = np.ascontiguousarray(face.triangles, np.int32)
    materials = np.zeros(len(triangles), np.uint8) if face.materials is None else face.materials
    owner = weld(vertices, triangles, materials, materials_of(face.material_names))
    normals = _normals(vertices, triangles, owner)
    values = {"POSITION": vertices, "NORMAL": normals, **skinning}
    if face.colours is not None:
        opaque = np.ones((len(vertices), 4))
        opaque[:, :3] = linear(face.colours.astype(np.float64))
        values["COLOR_0"] = np.round(np.clip(opaque, 0, 1) * 65535).astype(np.uint16)
    shapes = []
    for k in kept:
        offsets = np.where(np.abs(face.basis[k]) < SMALLEST_STEP, 0, face.basis[k]).astype(
            np.float32
        )
        tilts = _normals((vertices + offsets).astype(np.float32), triangles, owner) - normals
        tilts[np.abs(tilts).max(axis=1) < SMALLEST_TILT] = 0
        shapes.append({"POSITION": offsets, "NORMAL": tilts})

    def written(own: Array) -> dict[str, Any]:
        """Attributes and targets of these vertices."""
        attributes = {
            name: file.accessor(
                value[own], VERTEX_DATA, bounds=name == "POSITION", normalized=name == "COLOR_0"
            )
            for name, value in values.items()
        }
        targets = [
            {name: file.sparse_accessor(moved[own]) for name, moved in shape.items()}
            for shape in shapes
        ]
        return {"attributes": attributes} | ({"targets": targets} if targets else {})

    everything = np.arange(len(vertices))
    shared = {} if split else written(everything)
    primitives, used = [], np.unique(materials)
    file.document["materials"] = [_material(face.material_names[material]) for material in used]
    for number, material in enumerate(used):
        corners = triangles[materials == material].reshape(-1)
        own, places = np.unique(corners, return_inverse=True) if split else (everything, corners)
        indices = places.reshape(-1).astype(np.uint16 if len(own) <= 0xFFFF else np.uint32)
        primitives.append(
            {
                **(written(own) if split else shared),
                "indices": file.accessor(indices, INDEX_DATA),
                "material": number,
            }
        )
    mesh: dict[str, Any] = {"name": "face", "primitives": primitives}
    if kept:
        mesh |= {
            "weights": [0.0] * len(kept),
            "extras": {"targetNames": [face.names[k] for k in kept]},
        }
    return mesh


def _normals(vertices: Array, triangles: Array, owner: Array) -> Array:
    normals: Array = vertex_normals(vertices, triangles, owner)
    normals[np.abs(normals).max(axis=1) == 0] = (
        0,
        0,
        1,
    )  # vertices of no triangle: any unit vector will do
    return normals


def _skeleton(file: GltfFile, face: Face) -> dict[str, Array]:
    """Add joints ``body`` and ``head`` (nodes 1 and 2); the attributes that bind the vertices."""
    turn = HeadTurn(face)
    share = turn.weights.astype(np.float32)
    joints = np.tile(np.array([0, 1, 0, 0], np.uint8), (len(share), 1))
    weights = np.stack([1 - share, share, 0 * share, 0 * share], axis=1).astype(np.float32)
    joints[share == 0, 1] = 0  # a joint without weight is to be named 0
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, :3, 3] = -turn.pivot
    document = file.document
    document["scenes"][0]["nodes"].append(1)
    document["nodes"][0]["skin"] = 0
    document["nodes"] += [
        {"name": "body", "children": [2]},
        {"name": "head", "translation": [float(v) for v in turn.pivot]},
    ]
    # glTF stores matrices column by column.
    matrices = file.accessor(np.ascontiguousarray(inverse.transpose(0, 2, 1)).reshape(2, 16))
    document["skins"] = [{"joints": [1, 2], "skeleton": 1, "inverseBindMatrices": matrices}]
    return {"JOINTS_0": joints, "WEIGHTS_0": weights}


class GltfFile:
    """A glTF 2.0 document that grows: arrays go in, accessors come out, one file is written."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"jambatalk {__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._parts: list[bytes] = []
        self._size = 0
        self._zeros: dict[int, int] = {}  # rows -> the accessor of as many zeros

    def accessor(
        self,
        values: Array,
        target: int | None = None,
        bounds: bool = False,
        normalized: bool = False,
    ) -> int:
        """Add an accessor; its index.

        Args:
            values: (n,) or (n, components) of float32, uint32, uint16 or uint8.
            target: VERTEX_DATA, INDEX_DATA, or None for animation data.
            bounds: state min and max, which positions and key times need.
            normalized: whether integers stand for 0..1.
        """
        accessor = self._described(values)
        accessor["bufferView"] = self._view(values, target)
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= _bounds(values)
        return self._add("accessors", accessor)

    def sparse_accessor(self, values: Array) -> int:
        """As ``accessor`` with bounds, for vertex data: only rows that are not zero are stored."""
        moved = np.flatnonzero(values.any(axis=1))
        if len(moved) > DENSE_SHARE * len(values):
            return self.accessor(values, VERTEX_DATA, bounds=True)
        accessor = self._described(values) | _bounds(values)
        if not len(moved):  # an accessor with no data at all stands for zeros
            if len(values) not in self._zeros:
                self._zeros[len(values)] = self._add("accessors", accessor)
            return self._zeros[len(values)]
        indices = moved.astype(np.uint16 if len(values) <= 0xFFFF else np.uint32)
        accessor["sparse"] = {
            "count": len(moved),
            "indices": {
                "bufferView": self._view(indices, None),
                "componentType": COMPONENTS[indices.dtype.name],
            },
            "values": {"bufferView": self._view(values[moved], None)},
        }
        return self._add("accessors", accessor)

    def write(self, path: Path) -> None:
        """Write header, JSON and binary part, both parts padded to four bytes."""
        self.document["buffers"] = [{"byteLength": self._size}]
        text = json.dumps(self.document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._size
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", self._size, b"BIN\0"))
            for part in self._parts:
                file.write(part)

    def _described(self, values: Array) -> dict[str, Any]:
        width = 1 if values.ndim == 1 else values.shape[1]
        return {
            "componentType": COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": SHAPES[width],
        }

    def _view(self, values: Array, target: int | None) -> int:
        data = (
            np.ascontiguousarray(values)
            .astype(values.dtype.newbyteorder("<"), copy=False)
            .tobytes()
        )
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
    return {
        "min": [float(v) for v in table.min(axis=0)],
        "max": [float(v) for v in table.max(axis=0)],
    }
