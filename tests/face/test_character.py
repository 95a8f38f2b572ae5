"""Characters' files as faces: several meshes as one, skins, units, and what is refused."""

from __future__ import annotations

import base64
import json
import struct
import sys

import numpy as np
import pytest

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.deform import AnimatedMesh
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES, default_head
from jambatalk.face.lips import find_lips, opening_shape
from jambatalk.motion import Motion
from tiny_avatar import SHARED, SPOKEN, make_avatar


def split(path):
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def join(path, document, binary):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def drawn(face):
    """Where the corners of all triangles are, as a set in which order does not matter."""
    return np.sort(face.vertices[face.triangles].reshape(-1, 9).round(5), axis=0)


def original():
    head = default_head()
    kept = ~np.isin(head.materials, [head.material_names.index("cornea")])
    return head.vertices, head.triangles[kept]


def test_several_meshes_are_one_face(tmp_path):
    make_avatar(tmp_path / "a.glb")
    face = Face.load(tmp_path / "a.glb")
    vertices, triangles = original()
    expected = (vertices + np.array([0, 1.6, 0], np.float32))[triangles].reshape(-1, 9)
    assert np.abs(drawn(face) - np.sort(expected.round(5), axis=0)).max() < 2e-5
    assert face.names == SPOKEN
    assert face.meanings["jawOpen"] == "jawOpen"
    # The jaw moves the skin and the teeth, though they are meshes of their own.
    head = default_head()
    moved = np.abs(head.basis[head.names.index("jawOpen")]).max(1) > 1e-5
    there = np.abs(face.basis[0]).max(1) > 1e-5
    assert there.sum() >= moved[np.unique(triangles)].sum()


@pytest.mark.parametrize("skinned", [True, False])
@pytest.mark.parametrize("unit", [1.0, 100.0, 0.01])
def test_units_and_skins(tmp_path, unit, skinned):
    make_avatar(tmp_path / "a.glb", unit=unit, skinned=skinned)
    face = Face.load(tmp_path / "a.glb")
    height = np.ptp(face.vertices[:, 1])
    assert 0.2 < height < 0.8
    opening = np.abs(face.basis[0]).max() / height
    head = default_head()
    jaw = np.abs(head.basis[head.names.index("jawOpen")]).max()
    assert opening == pytest.approx(jaw / np.ptp(head.vertices[:, 1]), rel=1e-3)


def test_a_character_that_looks_away_is_turned(tmp_path):
    make_avatar(tmp_path / "a.glb", turned=True)
    make_avatar(tmp_path / "b.glb")
    a, b = Face.load(tmp_path / "a.glb"), Face.load(tmp_path / "b.glb")
    assert a.source.reversed
    assert np.allclose(a.vertices, b.vertices, atol=1e-5)
    assert np.allclose(a.basis, b.basis, atol=1e-6)


def test_lips_are_found(tmp_path):
    head = default_head()
    make_avatar(tmp_path / "a.glb", moved=(0, 0, 0))
    for face in (head, Face.load(tmp_path / "a.glb")):
        lips = find_lips(face)
        heights = face.vertices[[lips.upper, lips.lower]]
        true = head.vertices[list(head.gap_vertices)]
        assert np.abs(heights - true).max() < 0.003
        ring = head.vertices[head.regions["outer_lip_ring"], 0]
        assert face.vertices[lips.left, 0].mean() == pytest.approx(ring.max(), abs=0.003)
        assert face.vertices[lips.right, 0].mean() == pytest.approx(ring.min(), abs=0.003)


def test_bones_are_found(tmp_path):
    make_avatar(tmp_path / "a.glb")
    face = Face.load(tmp_path / "a.glb")
    assert set(face.joints) == {"neck", "head", "left_eye", "right_eye"}
    assert face.joints["head"].pivot == pytest.approx([0, 1.52, -0.05], abs=1e-6)
    eye = face.joints["left_eye"].weights
    assert (face.vertices[eye > 0, 0] > 0).all()
    assert (face.joints["neck"].weights >= face.joints["head"].weights - 1e-6).all()


def test_a_folder_of_shapes(tmp_path):
    head = default_head()

    def write(name, vertices, triangles=()):
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in 100 * vertices]
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in triangles]
        (tmp_path / name).write_text("\n".join(lines))

    write("generic_neutral_mesh.obj", head.vertices, head.triangles)
    for ours, theirs in (("jawOpen", "jawOpen"), ("mouthSmileLeft", "mouthSmile_L")):
        write(f"{theirs}.obj", head.vertices + head.basis[head.names.index(ours)])
    write("identity000.obj", head.vertices * 1.1)
    face = Face.load(tmp_path)
    assert face.meanings == {"jawOpen": "jawOpen", "mouthSmile_L": "mouthSmileLeft"}
    assert list(face.identities) == ["identity000"]
    assert np.ptp(face.vertices[:, 1]) == pytest.approx(0.3, abs=1e-3)
    write("mouthFunnel.obj", head.vertices[:-1])
    with pytest.raises(InputError, match=r"mouthFunnel\.obj has"):
        Face.load(tmp_path)


def test_a_model_as_flame(tmp_path):
    rng = np.random.default_rng(0)
    head = default_head()
    count = len(head.vertices)
    jaw = head.basis[head.names.index("jawOpen")]
    weights = np.zeros((count, 5))
    weights[:, 2] = np.clip(-jaw[:, 1] / 0.03, 0, 1)
    regressor = np.zeros((5, count))
    regressor[2, np.argmin(np.abs(head.vertices - [0, -0.03, -0.07]).sum(1))] = 1
    np.savez(
        tmp_path / "flame.npz",
        v_template=head.vertices,
        f=head.triangles,
        shapedirs=rng.normal(0, 1e-4, (count, 3, 8)),
        J_regressor=regressor,
        weights=weights,
    )
    face = Face.load(tmp_path / "flame.npz")
    assert len(face.names) == 17
    assert opening_shape(face) == "jawOpen"
    talk = Motion(
        30.0,
        weights=np.eye(52, dtype=np.float32)[[ARKIT_NAMES.index("jawOpen")]],
        names=ARKIT_NAMES,
    )
    lips = find_lips(face)
    moved = AnimatedMesh(talk.__class__(30.0, weights=talk.weights, names=talk.names, face=face))
    assert lips.measure(moved.vertices(0))[0] > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["asset"].update(version="1.0"), "version '1.0', expected 2.0"),
        (lambda d: d.update(extensionsRequired=["ACME_mesh"]), "requires the glTF extension 'ACME"),
        (
            lambda d: (
                d["meshes"][0]["primitives"][0].update(mode=1)
                or d["meshes"].__delitem__(slice(1, None))
            ),
            "does not exist|no triangles",
        ),
        (lambda d: d["buffers"][0].update(byteLength=10**9), "the file was cut off"),
        (lambda d: d["buffers"][0].update(uri="../secret.bin"), "in the folder of the document"),
        (lambda d: d["buffers"][0].update(uri="away.bin"), "which is not beside it"),
        (lambda d: d["accessors"][2].update(count=10**8), "elements, expected at most"),
        (lambda d: d.update(scenes=[{"nodes": [77]}]), "names number 77"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, change, message):
    make_avatar(tmp_path / "a.glb")
    document, binary = split(tmp_path / "a.glb")
    change(document)
    join(tmp_path / "a.glb", document, binary)
    with pytest.raises(InputError, match=message) as caught:
        Face.load(tmp_path / "a.glb")
    assert "\n" not in str(caught.value)


def test_other_files(tmp_path):
    with pytest.raises(InputError, match="no face that can be read"):
        Face.load(tmp_path / "a.fbx")
    with pytest.raises(InputError, match="no face at"):
        Face.load(tmp_path / "a.glb")
    with pytest.raises(InputError, match=r"0 \.obj files with 'neutral'"):
        Face.load(tmp_path)


def test_text_with_a_buffer_beside_or_inside(tmp_path):
    make_avatar(tmp_path / "a.glb")
    whole = Face.load(tmp_path / "a.glb")
    document, binary = split(tmp_path / "a.glb")
    (tmp_path / "my data.bin").write_bytes(binary)
    document["buffers"][0]["uri"] = "my%20data.bin"
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    assert np.array_equal(Face.load(tmp_path / "a.gltf").basis, whole.basis)
    inside = base64.b64encode(binary).decode()
    document["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{inside}"
    (tmp_path / "b.gltf").write_text(json.dumps(document))
    assert np.array_equal(Face.load(tmp_path / "b.gltf").vertices, whole.vertices)


def test_quantized_meshes(tmp_path):
    """KHR_mesh_quantization: int16 positions that a node scales, normalized int8 offsets."""
    make_avatar(tmp_path / "a.glb", skinned=False, moved=(0, 0, 0))
    whole = Face.load(tmp_path / "a.glb")
    document, binary = split(tmp_path / "a.glb")
    document["extensionsRequired"] = document["extensionsUsed"] = ["KHR_mesh_quantization"]
    step = 1e-4
    for mesh in document["meshes"]:
        number = mesh["primitives"][0]["attributes"]["POSITION"]
        accessor = document["accessors"][number]
        view = document["bufferViews"][accessor["bufferView"]]
        points = np.frombuffer(binary, "<f4", accessor["count"] * 3, view["byteOffset"])
        padded = np.zeros((accessor["count"], 4), "<i2")
        padded[:, :3] = np.round(points.reshape(-1, 3) / step)
        document["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(binary), "byteLength": padded.nbytes, "byteStride": 8}
        )
        binary += padded.tobytes()
        accessor |= {"componentType": 5122, "bufferView": len(document["bufferViews"]) - 1}
        accessor["min"] = padded[:, :3].min(0).tolist()
        accessor["max"] = padded[:, :3].max(0).tolist()
        for target in mesh["primitives"][0].get("targets", []):
            document["accessors"].append(dict(document["accessors"][target["POSITION"]]))
            target["POSITION"] = len(document["accessors"]) - 1
            sparse = document["accessors"][-1]
            if "sparse" not in sparse:
                continue
            many = sparse["sparse"]["count"]
            place = document["bufferViews"][sparse["sparse"]["values"]["bufferView"]]
            found = np.frombuffer(binary, "<f4", many * 3, place["byteOffset"]) / step
            packed = np.round(found).astype("<i2").tobytes()
            document["bufferViews"].append(
                {"buffer": 0, "byteOffset": len(binary), "byteLength": len(packed)}
            )
            binary += packed + b"\0" * (-len(packed) % 4)
            sparse["componentType"] = 5122
            sparse["sparse"] = dict(
                sparse["sparse"], values={"bufferView": len(document["bufferViews"]) - 1}
            )
    for node in document["nodes"]:
        if "mesh" in node:
            node["scale"] = [step] * 3
    document["buffers"][0]["byteLength"] = len(binary)
    join(tmp_path / "q.glb", document, binary)
    face = Face.load(tmp_path / "q.glb")
    assert np.abs(face.vertices - whole.vertices).max() < step
    assert np.abs(face.basis - whole.basis).max() < step


def test_draco(tmp_path, monkeypatch):
    DracoPy = pytest.importorskip("DracoPy")
    head = default_head()
    packed = DracoPy.encode(
        head.vertices, head.triangles, quantization_bits=16, preserve_order=True
    )
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": len(packed)}]
    document = {
        "asset": {"version": "2.0"},
        "extensionsRequired": ["KHR_draco_mesh_compression"],
        "extensionsUsed": ["KHR_draco_mesh_compression"],
        "buffers": [{"byteLength": len(packed)}],
        "bufferViews": views,
        "accessors": [
            {"componentType": 5126, "count": len(head.vertices), "type": "VEC3"},
            {"componentType": 5125, "count": head.triangles.size, "type": "SCALAR"},
        ],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0},
                        "indices": 1,
                        "extensions": {
                            "KHR_draco_mesh_compression": {
                                "bufferView": 0,
                                "attributes": {"POSITION": 0},
                            }
                        },
                    }
                ]
            }
        ],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    join(tmp_path / "d.glb", document, packed)
    face = Face.load(tmp_path / "d.glb")
    assert len(face.triangles) == len(head.triangles)
    found = np.sort(face.vertices[face.triangles].mean(1), axis=0)
    assert np.abs(found - np.sort(head.vertices[head.triangles].mean(1), axis=0)).max() < 1e-4
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    with pytest.raises(MissingExtraError, match=r"jambatalk\[avatars\]"):
        Face.load(tmp_path / "d.glb")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "shapes"), [("brunette-t", 67), ("vroid", 124)])
def test_characters_of_others(name, shapes):
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data/avatars")
    face = Face.load(SHARED / f"{name}.glb")
    assert len(face.names) == shapes
    assert {"neck", "head", "left_eye", "right_eye"} <= set(face.joints)
    assert face.gap_vertices is not None
    document = face.source.gltf
    for number, accessor in enumerate(document.list("accessors")):
        # The file states the bounds of what meshopt and the quantization must give.
        if "min" in accessor:
            values = document._values(accessor, number)
            assert np.allclose(values.min(0), accessor["min"], atol=1e-4)
            assert np.allclose(values.max(0), accessor["max"], atol=1e-4)


def test_a_character_stays_in_its_file(tmp_path):
    make_avatar(tmp_path / "a.glb")
    with pytest.raises(InputError, match="stays in its own file"):
        Face.load(tmp_path / "a.glb").save(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_a_mesh_called_head_is_no_joint(tmp_path):
    """Turning it would leave the teeth where they are."""
    make_avatar(tmp_path / "a.glb", skinned=False)
    document, binary = split(tmp_path / "a.glb")
    for node in document["nodes"]:
        node["name"] = {"Head": "skull", "HeadMesh": "Head"}.get(node["name"], node["name"])
    join(tmp_path / "a.glb", document, binary)
    assert "head" not in Face.load(tmp_path / "a.glb").joints
