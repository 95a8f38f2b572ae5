"""Meshes that a user brings: .obj, .ply and .npz files as a ``Face`` without shapes, vertex for
vertex as in the file.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.arrays import read_arrays
from jambatalk.errors import InputError, MissingExtraError, reading
from jambatalk.face.face import Face

Array = NDArray[Any]

MAX_INDEX = 2**31 - 1
"""A mesh has fewer vertices than this; larger numbers are damage."""


def load_mesh(path: str | Path) -> Face:
    """Read the mesh in a file.

    Positions are taken to be metres; faces of more than three corners are cut into triangles.
    Vertices keep the file's order and number, also where texture coordinates part them.

    Args:
        path: .obj, .ply (needs the extra ``mesh``), or .npz with the arrays ``vertices`` (V, 3) and
            ``triangles`` (F, 3).

    Raises:
        InputError: the file is missing, damaged, of another kind or holds no surface.
    """
    path = Path(path)
    readers = {".obj": _read_obj, ".ply": _read_ply, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is not a mesh that can be read, expected {', '.join(readers)}")
    if not path.is_file():
        raise InputError(f"no mesh at {path}")
    vertices, triangles = readers[path.suffix.lower()](path)
    with np.errstate(over="ignore"):
        vertices = np.ascontiguousarray(vertices, np.float32)
    if not len(vertices) or not len(triangles):
        raise InputError(
            f"{path} holds {len(vertices)} vertices and {len(triangles)} triangles, "
            "expected a surface"
        )
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} holds positions that are not finite")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        wrong = int(triangles.max() if triangles.max() >= len(vertices) else triangles.min())
        raise InputError(
            f"{path}: a face names vertex {wrong}, "
            f"but the file has {len(vertices)} (counted from 0)"
        )
    return Face(vertices, np.ascontiguousarray(triangles, np.int32))


def _read_obj(path: Path) -> tuple[Array, Array]:
    # By hand: mesh libraries drop vertices without a face and split those on texture seams.
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words or words[0] not in ("v", "f"):
                continue
            try:
                if words[0] == "v":
                    vertices.append([float(words[1]), float(words[2]), float(words[3])])
                else:
                    corners = [_corner(word, len(vertices)) for word in words[1:]]
                    if len(corners) < 3:
                        raise ValueError("a face of less than three corners")
                    triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
            except (ValueError, IndexError) as error:
                raise InputError(
                    f"{path}, line {number} is damaged: {line.strip()[:60]!r}"
                ) from error
    return np.array(vertices, np.float64).reshape(-1, 3), np.array(triangles, np.int64).reshape(
        -1, 3
    )


def _corner(word: str, known: int) -> int:
    """``7``, ``7/2`` or ``7/2/9`` -> 6; negative numbers count back from the last vertex so far."""
    index = int(word.split("/")[0])
    if index == 0 or abs(index) > MAX_INDEX:
        raise ValueError("vertices are counted from 1")
    return index - 1 if index > 0 else known + index


def _read_ply(path: Path) -> tuple[Array, Array]:
    try:
        from trimesh.exchange.ply import load_ply
    except ImportError as error:
        raise MissingExtraError(
            'reading .ply needs trimesh: pip install "jambatalk[mesh]"'
        ) from error
    with reading(path, "a .ply file"), path.open("rb") as file:
        found = load_ply(file, fix_texture=False, skip_materials=True)
        vertices = np.asarray(found["vertices"], np.float64).reshape(-1, 3)
        faces = np.asarray(found.get("faces", np.zeros((0, 3))))
    if faces.ndim != 2 or faces.shape[1] < 3 or faces.dtype.kind not in "iuf":
        raise InputError(f"{path} has faces that are neither triangles nor quadrilaterals")
    fans = [faces[:, [0, corner, corner + 1]] for corner in range(1, faces.shape[1] - 1)]
    return vertices, np.concatenate(fans).astype(np.int64)


def _read_npz(path: Path) -> tuple[Array, Array]:
    found = read_arrays(path)
    for name in ("vertices", "triangles"):
        if name not in found:
            raise InputError(
                f"{path} holds no {name}, expected vertices (V, 3) and triangles (F, 3)"
            )
        values = found[name]
        if (
            values.ndim != 2
            or values.shape[1] != 3
            or values.dtype.kind not in ("iuf" if name == "vertices" else "iu")
        ):
            raise InputError(
                f"{path}: {name} are {values.dtype} of shape {values.shape}, "
                "expected numbers of shape (n, 3)"
            )
    return found["vertices"], found["triangles"].astype(np.int64)
