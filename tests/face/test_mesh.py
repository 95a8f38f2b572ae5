"""Meshes as users have them: read vertex for vertex, refused in one sentence, and worn by a motion
of offsets.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.mesh import load_mesh
from jambatalk.motion import Motion

POINTS = np.array([[0, 0, 0], [1, 0, 0], [9, 9, 9], [1, 1, 0], [0, 1, 0.5]], np.float32)
TRIANGLES = [[0, 1, 3], [0, 3, 4]]

# A texture seam (vertex 1 with two coordinates) and a vertex without a face: neither may move the
# numbering.
SEAM = """# made by hand
o thing
v 0 0 0
v 1 0 0 0.5 0.5 0.5
v 9 9 9
v 1 1 0
v 0 1 0.5
vt 0 0
vt 1 0
vt 0.5 0.5
vn 0 0 1
s 1
f 1/1/1 2/2/1 4/3/1
f 1/3/1 4/3/1 5/2/1
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_obj_keeps_the_order(tmp_path):
    face = load_mesh(write(tmp_path / "a.obj", SEAM))
    assert np.array_equal(face.vertices, POINTS)
    assert face.triangles.tolist() == TRIANGLES
    assert face.vertices.dtype == np.float32
    assert face.triangles.dtype == np.int32
    assert face.names == ()


@pytest.mark.parametrize("line", ["f 1 2 4 5", "f -5 -4 -2 -1", "f 1//1 2//1 4//1 5//1"])
def test_obj_polygons_and_counting_back(tmp_path, line):
    text = "\n".join(row for row in SEAM.splitlines() if row[0] == "v") + f"\n{line}\n"
    assert load_mesh(write(tmp_path / "A.OBJ", text)).triangles.tolist() == TRIANGLES


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("quads", [False, True])
def test_ply(tmp_path, encoding, quads):
    pytest.importorskip("trimesh", reason="trimesh is not installed")
    faces = [[0, 1, 3, 4]] if quads else TRIANGLES
    kind = "ascii" if encoding == "ascii" else "binary_little_endian"
    header = (
        f"ply\nformat {kind} 1.0\ncomment TextureFile x.png\nelement vertex 5\n"
        "property float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\n"
        "property list uchar int vertex_indices\nend_header\n"
    ).encode()
    if encoding == "ascii":
        rows = [" ".join(map(str, row)) for row in POINTS.tolist()] + [
            " ".join(map(str, [len(f), *f])) for f in faces
        ]
        body = ("\n".join(rows) + "\n").encode()
    else:
        body = POINTS.tobytes() + b"".join(
            bytes([len(f)]) + np.array(f, "<i4").tobytes() for f in faces
        )
    (tmp_path / "a.ply").write_bytes(header + body)
    face = load_mesh(tmp_path / "a.ply")
    assert np.array_equal(face.vertices, POINTS)
    assert sorted(map(sorted, face.triangles.tolist())) == sorted(map(sorted, TRIANGLES)) or quads
    assert len(face.triangles) == 2


def test_ply_of_trimesh_and_its_damages(tmp_path):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    data = trimesh.Trimesh(POINTS, TRIANGLES, process=False).export(file_type="ply")
    (tmp_path / "whole.ply").write_bytes(data)
    assert np.array_equal(load_mesh(tmp_path / "whole.ply").vertices, POINTS)
    for name, damaged in (("cut", data[:-20]), ("empty", b""), ("other", b"solid nothing")):
        (tmp_path / f"{name}.ply").write_bytes(damaged)
        with pytest.raises(InputError, match="ply"):
            load_mesh(tmp_path / f"{name}.ply")


def test_npz(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        vertices=POINTS.astype(np.float64),
        triangles=np.array(TRIANGLES, np.uint16),
    )
    face = load_mesh(str(tmp_path / "a.npz"))
    assert np.array_equal(face.vertices, POINTS)
    assert face.triangles.tolist() == TRIANGLES


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.stl", "solid", r"not a mesh that can be read, expected \.obj, \.ply, \.npz"),
        ("a.obj", "", "holds 0 vertices and 0 triangles, expected a surface"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "holds 3 vertices and 0 triangles"),
        ("a.obj", "v 0 0\n", "line 1 is damaged: 'v 0 0'"),
        ("a.obj", "v 0 0 x\n", "line 1 is damaged"),
        ("a.obj", "v 0 0 0\nf 1 1\n", "line 2 is damaged"),
        ("a.obj", "v 0 0 0\nf 0 1 1\n", "line 2 is damaged"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nf 1 2 3\n", "a face names vertex 2, but the file has 2"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nf 1 2 -3\n", "a face names vertex -1"),
        ("a.obj", "v 0 0 nan\nv 1 0 0\nf 1 2 1\n", "positions that are not finite"),
        ("a.obj", f"v 0 0 0\nf 1 1 {10**30}\n", "line 2 is damaged"),
        ("a.obj", f"v 0 0 0\nf 1 1 -{2**63}\n", "line 2 is damaged"),
        ("a.obj", "v 0 0 1e300\nv 1 0 0\nf 1 2 1\n", "positions that are not finite"),
        ("a.npz", "no archive", "not an .npz archive"),
    ],
)
def test_refusals(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        load_mesh(write(tmp_path / name, text))


def test_more_refusals(tmp_path):
    with pytest.raises(InputError, match="no mesh at"):
        load_mesh(tmp_path / "nothing.obj")
    np.savez(tmp_path / "a.npz", vertices=POINTS)
    with pytest.raises(InputError, match="holds no triangles"):
        load_mesh(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", vertices=POINTS, triangles=np.array(TRIANGLES, np.float32))
    with pytest.raises(InputError, match="triangles are float32 of shape"):
        load_mesh(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", vertices=POINTS[:, :2], triangles=np.array(TRIANGLES))
    with pytest.raises(InputError, match=r"vertices are float32 of shape \(5, 2\)"):
        load_mesh(tmp_path / "c.npz")


def test_ply_without_trimesh(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh.exchange.ply", None)
    with pytest.raises(MissingExtraError, match=r'pip install "jambatalk\[mesh\]"'):
        load_mesh(write(tmp_path / "a.ply", "ply"))


def ball(tmp_path, size):
    """A rough ball of the size of a head, as .obj: 162 vertices."""
    rings, sides = 10, 16
    around, up = np.meshgrid(
        np.arange(sides) * 2 * np.pi / sides, np.linspace(0.15, np.pi - 0.15, rings)
    )
    points = size * np.stack(
        [np.sin(up) * np.sin(around), np.cos(up), np.sin(up) * np.cos(around)], -1
    ).reshape(-1, 3)
    corners = [
        (r * sides + s, r * sides + (s + 1) % sides) for r in range(rings - 1) for s in range(sides)
    ]
    rows = [f"v {x} {y} {z}" for x, y, z in points]
    rows += [f"f {a + 1} {a + sides + 1} {b + sides + 1} {b + 1}" for a, b in corners]
    return write(tmp_path / "ball.obj", "\n".join(rows))


@pytest.mark.parametrize("suffix", ["mp4", "glb", "npz"])
def test_a_motion_of_offsets_is_written_on_the_mesh(tmp_path, suffix):
    face = load_mesh(ball(tmp_path, 0.1))
    offsets = np.zeros((3, len(face.vertices), 3), np.float32)
    offsets[1:, :, 1] = 0.004 * np.random.default_rng(0).standard_normal((2, len(face.vertices)))
    out = tmp_path / f"out.{suffix}"
    Motion(30.0, offsets=offsets, face=face).save(out)
    assert out.stat().st_size > 500
    if suffix == "npz":
        assert np.array_equal(Motion.load(out).offsets, offsets)
