"""The readers of motions, meshes and faces, fed with mutated files."""

from __future__ import annotations

import json
import random
import warnings
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from file_mutations import CASES, check_reader
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.face.mesh import load_mesh
from jambatalk.face.report import report_on
from jambatalk.motion import Motion
from jambatalk.render.textures import looks_of
from tiny_avatar import make_avatar, texture

OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1/1 2/2 -1/3\n"
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 3\n"
    "property float x\nproperty float y\nproperty float z\n"
    "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
)


def motion(path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = rng.random((40, 3)).astype(np.float32)
    pose = rng.normal(0, 0.1, (40, 3)).astype(np.float32)
    Motion(30.0, weights=weights, names=ARKIT_NAMES[24:27], head_pose=pose).save(path)


def offsets(path: Path) -> None:
    Motion(25.0, offsets=np.ones((4, 5, 3), np.float32)).save(path)


def face(path: Path) -> None:
    vertices = np.random.default_rng(2).random((5, 3)).astype(np.float32)
    Face(
        vertices,
        np.array([[0, 1, 2], [2, 3, 4]], np.int32),
        {"lips": np.array([1, 2], np.int32)},
        ("jawOpen",),
        0.01 * vertices[None],
        gap_vertices=(0, 1),
        identities={"ann": 0.1 * vertices},
    ).save(path)


def mesh(path: Path) -> None:
    np.savez(path, vertices=np.eye(3), triangles=np.array([[0, 1, 2]]))


def character(path: Path) -> None:
    make_avatar(path, ("jawOpen", "mouthPucker"), picture=texture((200, 120, 90)))


def draw(path: Path) -> None:
    """Read a character and prepare it for pictures, as ``--face`` does for a video."""
    looks_of(Face.load(path))


def text_document(path: Path) -> None:
    """A small .gltf with everything in one text, so that mutations meet its JSON."""
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.2, 0], [0.1, 0.2, 0.1]], "<f4")
    moved = (0.1 * points).astype("<f4")
    order = np.array([0, 1, 2, 2, 1, 3], "<u2")
    inverse = np.eye(4, dtype="<f4")[None].repeat(2, 0)
    joints = np.array([[0, 1, 0, 0]] * 4, np.uint8)
    weights = np.array([[0.5, 0.5, 0, 0]] * 4, "<f4")
    sparse = np.array([1, 3], "<u2"), moved[[1, 3]]
    parts = [points, moved, order, inverse, joints, weights, points[:, :2].copy(), *sparse]
    data, views = b"", []
    for part in parts:
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": part.nbytes})
        data += part.tobytes() + b"\0" * (-part.nbytes % 4)
    floats = {"componentType": 5126, "count": 4}
    accessors: list[dict[str, Any]] = [
        {"bufferView": 0, **floats, "type": "VEC3"},
        {"bufferView": 1, **floats, "type": "VEC3"},
        {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        {"bufferView": 3, "componentType": 5126, "count": 2, "type": "MAT4"},
        {"bufferView": 4, "componentType": 5121, "count": 4, "type": "VEC4"},
        {"bufferView": 5, **floats, "type": "VEC4"},
        {"bufferView": 6, **floats, "type": "VEC2"},
        {
            **floats,
            "type": "VEC3",
            "sparse": {
                "count": 2,
                "indices": {"bufferView": 7, "componentType": 5123},
                "values": {"bufferView": 8},
            },
        },
    ]
    binds = [{"node": 1, "index": 0, "weight": 1.0}]
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [
            {"name": "Neck", "children": [2], "translation": [0, -0.1, 0]},
            {"mesh": 0, "skin": 0, "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]},
            {"name": "Head"},
        ],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {
                            "POSITION": 0,
                            "JOINTS_0": 4,
                            "WEIGHTS_0": 5,
                            "TEXCOORD_0": 6,
                        },
                        "indices": 2,
                        "material": 0,
                        "targets": [{"POSITION": 1}, {"POSITION": 7}],
                    }
                ],
                "extras": {"targetNames": ["Fcl_MTH_A", "jawOpen"]},
            }
        ],
        "skins": [{"joints": [0, 2], "inverseBindMatrices": 3}],
        "materials": [
            {
                "name": "Face",
                "alphaMode": "MASK",
                "pbrMetallicRoughness": {
                    "baseColorFactor": [1, 1, 1, 1],
                    "baseColorTexture": {
                        "index": 0,
                        "extensions": {"KHR_texture_transform": {"scale": [2, 2], "rotation": 1}},
                    },
                },
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"wrapS": 33071}],
        "images": [{"uri": f"data:image/png;base64,{b64encode(texture((9, 9, 9))).decode()}"}],
        "extensions": {
            "VRMC_vrm": {
                "humanoid": {"humanBones": {"head": {"node": 2}, "neck": {"node": 0}}},
                "expressions": {"preset": {"aa": {"morphTargetBinds": binds, "isBinary": True}}},
                "lookAt": {"type": "bone", "rangeMapVerticalUp": {"outputScale": 8}},
            }
        },
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [
            {
                "byteLength": len(data),
                "uri": f"data:application/octet-stream;base64,{b64encode(data).decode()}",
            }
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")


MUTATIONS = {"me.glb": 300, "me.gltf": 600}
"""Of these more is tried: they have more parts than the other kinds."""


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "motion.npz": (motion, Motion.load),
    "offsets.npz": (offsets, Motion.load),
    "motion.csv": (motion, Motion.load),
    "motion.json": (motion, Motion.load),
    "face.npz": (face, Face.load),
    "mesh.npz": (mesh, load_mesh),
    "me.glb": (character, draw),
    "me.gltf": (text_document, draw),
    "mesh.obj": (lambda path: path.write_text(OBJ), load_mesh),
    "mesh.ply": (lambda path: path.write_text(PLY), load_mesh),
}
"""Name of the file -> (makes a good one, reads it)."""


@pytest.mark.parametrize("name", READERS)
def test_mutated_files(name: str, tmp_path: Path) -> None:
    make, read = READERS[name]
    if name.endswith(".ply"):
        pytest.importorskip("trimesh")
    path = tmp_path / name
    make(path)

    def read_bytes(content: bytes) -> Any:
        path.write_bytes(content)
        return read(path)

    cases = max(MUTATIONS.get(name, 0), CASES)
    assert check_reader(path.read_bytes(), read_bytes, cases) > 0


ODD = (None, -1, 0, 1, 2, 3, 7, 255, 10**6, 2**31, 2**63, 1e300, -0.5, True, "", "x", [], {}, [0])
"""What a value of a document may become."""


VRM_0 = {
    "humanoid": {"humanBones": [{"bone": "head", "node": 2}, {"bone": "neck", "node": 0}]},
    "firstPerson": {"lookAtTypeName": "Bone", "lookAtVerticalUp": {"xRange": 90, "yRange": 8}},
    "blendShapeMaster": {
        "blendShapeGroups": [
            {"presetName": "a", "binds": [{"mesh": 0, "index": 0, "weight": 100}]},
            {"presetName": "unknown", "name": "jawOpen", "isBinary": True, "binds": []},
        ]
    },
}


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            _places(value[key], found)
    return found


def test_documents_with_odd_values(tmp_path: Path) -> None:
    """Sound JSON with one or two values changed, dropped or doubled, read, drawn and written."""
    path = tmp_path / "me.gltf"
    text_document(path)
    text = path.read_text(encoding="utf-8")
    rng = random.Random(8)
    weights = np.zeros((2, len(ARKIT_NAMES)), np.float32)
    weights[1, ARKIT_NAMES.index("jawOpen")] = 0.5
    read = 0
    for _ in range(max(CASES * 6, 600)):
        document = json.loads(text)
        if rng.random() < 0.4:
            document["extensions"] = {"VRM": json.loads(json.dumps(VRM_0))}
        for _ in range(rng.choice((1, 1, 2))):
            holder, key = rng.choice(_places(document, []))
            kind = rng.randrange(4)
            if kind == 0:
                del holder[key]
            elif kind == 1 and isinstance(holder, list):
                holder.append(holder[key])
            else:
                holder[key] = rng.choice(ODD)
        path.write_text(json.dumps(document), encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                face = Face.load(path)
                looks_of(face)
                report_on(face)
                pose = np.full((2, 3), 0.1, np.float32)
                moved = Motion(25.0, weights=weights, names=ARKIT_NAMES, head_pose=pose, face=face)
                moved.save(tmp_path / "talk.glb")
                read += 1
            except (InputError, MissingExtraError) as error:
                message = str(error)
                assert "\n" not in message
                assert len(message) < 600
    assert read > 100
