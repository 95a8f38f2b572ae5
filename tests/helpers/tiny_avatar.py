"""Characters as people have them, made of the default head: several meshes that share shapes, a
skin with neck, head and eyes, textures, names in any dialect, and a VRM's expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jambatalk.face.head import default_head
from jambatalk.formats.glb import INDEX_DATA, VERTEX_DATA, GltfFile

SHARED = Path(__file__).parents[3] / "shared" / "data" / "avatars"
"""Characters of others, for measuring; absent in most checkouts."""

MESHES = {
    "Head": ("skin", "lips", "mouth", "brow", "hair", "cloth"),
    "Eyes": ("eye",),
    "Teeth": ("teeth", "gums", "tongue"),
    "Lashes": ("lash",),
}
JOINTS = {
    "Hips": (0.0, -0.5, 0.0),
    "Neck": (0.0, -0.16, -0.06),
    "Head": (0.0, -0.08, -0.05),
    "LeftEye": (0.032, 0.0, 0.0),
    "RightEye": (-0.032, 0.0, 0.0),
}
PARENTS = {"Neck": "Hips", "Head": "Neck", "LeftEye": "Head", "RightEye": "Head"}
SPOKEN = ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthStretchLeft")


def texture(colour: tuple[int, ...], kind: str = "PNG", size: int = 8) -> bytes:
    """An encoded picture of one colour."""
    mode = "RGBA" if len(colour) == 4 else "RGB"
    file = BytesIO()
    Image.new(mode, (size, size), colour).save(
        file, kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    return file.getvalue()


def make_avatar(
    path: Path,
    shapes: Sequence[str] = SPOKEN,
    names: Mapping[str, str] | None = None,
    *,
    picture: bytes | None = None,
    alpha: str = "OPAQUE",
    unit: float = 1.0,
    skinned: bool = True,
    moved: tuple[float, float, float] = (0.0, 1.6, 0.0),
    turned: bool = False,
    extensions: Mapping[str, Any] | None = None,
) -> GltfFile:
    """Write a character.

    Args:
        path: the file.
        shapes: shapes of the default head that it has.
        names: what they are called in the file, where that is not their name.
        picture: base colour texture of the head.
        alpha: the head's alpha mode.
        unit: how many of the file's units are a metre.
        skinned: whether joints move it; else one node does.
        moved: where its root stands, in metres.
        turned: it looks along -z, as a VRM 0.x does.
        extensions: of the document.
    """
    head = default_head()
    file, document = GltfFile(), {}
    document = file.document
    spin = np.array([-1.0, 1.0, -1.0]) if turned else np.ones(3)
    document |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": [], "meshes": []}
    numbers = {name: i for i, name in enumerate(JOINTS)}
    for name, place in JOINTS.items():
        above = JOINTS.get(PARENTS.get(name, ""), (0.0, 0.0, 0.0))
        offset = (np.array(place) - above + (np.array(moved) if name == "Hips" else 0)) * spin
        document["nodes"].append({"name": name, "translation": [float(v) for v in offset * unit]})
    for name, parent in PARENTS.items():
        document["nodes"][numbers[parent]].setdefault("children", []).append(numbers[name])
    document["materials"] = []
    if picture is not None:
        view = file._view(np.frombuffer(picture, np.uint8), None)
        kind = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}.get(picture[:4], "image/jpeg")
        document["images"] = [{"bufferView": view, "mimeType": kind}]
        document["textures"] = [{"source": 0}]
    if skinned:
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINTS), 1, 1))
        inverse[:, :3, 3] = -np.array(list(JOINTS.values())) * spin * unit
        matrices = file.accessor(np.ascontiguousarray(inverse.transpose(0, 2, 1)).reshape(-1, 16))
        document["skins"] = [
            {"joints": list(range(len(JOINTS))), "inverseBindMatrices": matrices, "skeleton": 0}
        ]
    called = [(names or {}).get(name, name) for name in shapes]
    rows = head.columns(shapes)
    for mesh, kinds in MESHES.items():
        wanted = np.isin(head.materials, [head.material_names.index(kind) for kind in kinds])
        used, flat = np.unique(head.triangles[wanted], return_inverse=True)
        points = head.vertices[used]
        document["materials"].append(_material(mesh, alpha, picture is not None))
        attributes = {
            "POSITION": file.accessor(
                (points * spin * unit).astype(np.float32), VERTEX_DATA, bounds=True
            ),
            "TEXCOORD_0": file.accessor((points[:, :2] * 3 + 0.5).astype(np.float32), VERTEX_DATA),
        }
        if skinned:
            attributes |= _binding(file, mesh, points, numbers)
        index = file.accessor(flat.reshape(-1).astype(np.uint16), INDEX_DATA)
        primitive: dict[str, Any] = {
            "attributes": attributes,
            "indices": index,
            "material": len(document["materials"]) - 1,
        }
        moving = [k for k in rows if np.abs(head.basis[k, used]).max() > 1e-5]
        if moving and rows.size:
            primitive["targets"] = [
                {
                    "POSITION": file.sparse_accessor(
                        (head.basis[k, used] * spin * unit).astype(np.float32)
                    )
                }
                for k in rows
            ]
        entry: dict[str, Any] = {"name": mesh, "primitives": [primitive]}
        if "targets" in primitive:
            entry["extras"] = {"targetNames": called}
        document["meshes"].append(entry)
        node: dict[str, Any] = {"name": f"{mesh}Mesh", "mesh": len(document["meshes"]) - 1}
        document["nodes"].append(node)
        number = len(document["nodes"]) - 1
        if skinned:
            node["skin"] = 0
            document["scenes"][0]["nodes"].append(number)
        else:
            node["translation"] = [-float(v) * unit for v in np.array(JOINTS["Hips"]) * spin]
            document["nodes"][0].setdefault("children", []).append(number)
    if extensions:
        document["extensions"] = dict(extensions)
        document["extensionsUsed"] = list(extensions)
    file.write(path)
    return file


def _material(mesh: str, alpha: str, textured: bool) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0}
    material: dict[str, Any] = {"name": mesh, "pbrMetallicRoughness": surface}
    if mesh == "Head":
        if textured:
            surface["baseColorTexture"] = {"index": 0}
        material["alphaMode"] = alpha
    else:
        surface["baseColorFactor"] = [0.8, 0.8, 0.75, 1.0]
    material["doubleSided"] = True
    return material


def _binding(
    file: GltfFile, mesh: str, points: NDArray[Any], numbers: Mapping[str, int]
) -> dict[str, int]:
    joints = np.zeros((len(points), 4), np.uint8)
    weights = np.zeros((len(points), 4), np.float32)
    if mesh == "Eyes":
        joints[:, 0] = np.where(points[:, 0] > 0, numbers["LeftEye"], numbers["RightEye"])
        weights[:, 0] = 1
    else:
        up = np.clip((points[:, 1] + 0.2) / 0.1, 0, 1)
        joints[:, 0], joints[:, 1] = numbers["Hips"], numbers["Head"]
        weights[:, 0], weights[:, 1] = 1 - up, up
        joints[weights == 0] = 0
    return {
        "JOINTS_0": file.accessor(joints, VERTEX_DATA),
        "WEIGHTS_0": file.accessor(weights, VERTEX_DATA),
    }
