"""The readers of motions, meshes and faces, fed with mutated files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from file_mutations import check_reader
from jambatalk.face.face import Face
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.face.mesh import load_mesh
from jambatalk.motion import Motion

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


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "motion.npz": (motion, Motion.load),
    "offsets.npz": (offsets, Motion.load),
    "motion.csv": (motion, Motion.load),
    "motion.json": (motion, Motion.load),
    "face.npz": (face, Face.load),
    "mesh.npz": (mesh, load_mesh),
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

    assert check_reader(path.read_bytes(), read_bytes) > 0
