"""Meshes that a user brings: .obj, .ply and .npz files as a ``Face`` without shapes, vertex for vertex as in the file."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.face import Face

Array = NDArray[Any]


def load_mesh(path: str | Path) -> Face:
    """The mesh in a file; positions are taken to be metres, faces of more than three corners are cut into triangles.

    .obj needs nothing else, .ply needs the extra ``mesh``, .npz holds arrays ``vertices`` (V, 3) and ``triangles`` (F, 3).
    Vertices keep the file's order and number, also where texture coordinates part them. Raises InputError when the file is
    missing, damaged, of another kind or holds no surface.
    """
    path = Path(path)
    readers = {".obj": _read_obj, ".ply": _read_ply, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is no mesh that can be read, expected {', '.join(readers)}")
    if not path.is_file():
        raise InputError(f"no mesh at {path}")
    vertices, triangles = readers[path.suffix.lower()](path)
    if not len(vertices) or not len(triangles):
        raise InputError(
            f"{path} holds {len(vertices)} vertices and {len(triangles)} triangles, expected a surface"
        )
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} holds positions that are not finite")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        wrong = int(triangles.max() if triangles.max() >= len(vertices) else triangles.min())
        raise InputError(
            f"{path}: a face names vertex {wrong}, but the file has {len(vertices)} (counted from 0)"
        )
    return Face(
        np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(triangles, np.int32)
    )


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
    return np.array(vertices, np.float32).reshape(-1, 3), np.array(triangles, np.int64).reshape(
        -1, 3
    )


def _corner(word: str, known: int) -> int:
    """``7``, ``7/2`` or ``7/2/9`` -> 6; negative numbers count back from the last vertex so far."""
    index = int(word.split("/")[0])
    if index == 0:
        raise ValueError("vertices are counted from 1")
    return index - 1 if index > 0 else known + index


def _read_ply(path: Path) -> tuple[Array, Array]:
    try:
        from trimesh.exchange.ply import load_ply
    except ImportError as error:
        raise MissingExtraError(
            'reading .ply needs trimesh: pip install "jambatalk[mesh]"'
        ) from error
    try:
        with path.open("rb") as file:
            found = load_ply(file, fix_texture=False, skip_materials=True)
        vertices = np.asarray(found["vertices"], np.float64).reshape(-1, 3)
        faces = np.asarray(found.get("faces", np.zeros((0, 3))))
    except (
        Exception
    ) as error:  # trimesh's reader fails on damaged files in as many ways as there are damages
        raise InputError(f"{path} is damaged or no .ply file") from error
    if faces.ndim != 2 or faces.shape[1] < 3 or faces.dtype.kind not in "iuf":
        raise InputError(f"{path} has faces that are neither triangles nor quadrilaterals")
    fans = [faces[:, [0, corner, corner + 1]] for corner in range(1, faces.shape[1] - 1)]
    return vertices, np.concatenate(fans).astype(np.int64)


def _read_npz(path: Path) -> tuple[Array, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("vertices", "triangles") if name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path} is damaged or no .npz archive of plain arrays") from error
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
                f"{path}: {name} are {values.dtype} of shape {values.shape}, expected numbers of shape (n, 3)"
            )
    return found["vertices"], found["triangles"].astype(np.int64)
