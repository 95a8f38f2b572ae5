"""Meshes that a user brings: .obj, .ply and .npz files as a ``Face``, vertex for vertex as in the
file; and two kinds of models made of them, a folder of shapes and FLAME's arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.arrays import read_arrays
from jambatalk.errors import InputError, MissingExtraError, reading, shortened
from jambatalk.face.dialects import BY_GEOMETRY, dialects_beside
from jambatalk.face.face import Face
from jambatalk.face.lips import with_landmarks

Array = NDArray[Any]

MAX_INDEX = 2**31 - 1
"""A mesh has fewer vertices than this; larger numbers are damage."""

HEADS, USUAL_HEAD = (0.1, 1.0), 0.3
"""Metres that a head's mesh may be high; of another unit it is scaled to the latter."""

EXPRESSIONS = 10
JAW_JOINT, JAW_TURN = 2, 0.35
"""FLAME's joint of the jaw, and the radians about x that its shape jawOpen turns it."""


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
    return _checked(*readers[path.suffix.lower()](path), path)


def _checked(vertices: Array, triangles: Array, path: Path) -> Face:
    """A face without shapes. InputError for what is no surface."""
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


def load_folder(path: str | Path) -> Face:
    """Read a folder with one .obj for each shape beside a neutral one, as ICT-FaceKit's.

    The neutral face is the .obj with "neutral" in its name; every other with as many vertices is a
    shape by its file's name, those called ``identity...`` are other people. A head that is not
    within 0.1 to 1 m high is scaled to 0.3 m.

    Raises:
        InputError: there is no neutral face, or a file is damaged.
    """
    path = Path(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".obj")
    neutral = [file for file in files if "neutral" in file.stem.lower()]
    if len(neutral) != 1:
        raise InputError(
            f"the folder {path} holds {len(neutral)} .obj files with 'neutral' in their names, "
            "expected one, and an .obj for each shape beside it"
        )
    face = load_mesh(neutral[0])
    height = float(np.ptp(face.vertices[:, 1]))
    scale = np.float32(1.0 if HEADS[0] <= height <= HEADS[1] else USUAL_HEAD / max(height, 1e-9))
    names, shapes, people = [], [], {}
    for file in files:
        if file == neutral[0]:
            continue
        vertices, _ = _read_obj(file, only_vertices=True)
        if len(vertices) != len(face.vertices):
            raise InputError(
                f"{file} has {len(vertices):,} vertices, expected {len(face.vertices):,} as in "
                f"{neutral[0].name}"
            )
        if not np.isfinite(vertices).all():
            raise InputError(f"{file} holds positions that are not finite")
        offsets = ((vertices - face.vertices) * scale).astype(np.float32)
        if file.stem.lower().startswith("identity"):
            people[file.stem] = offsets
        else:
            names.append(file.stem)
            shapes.append(offsets)
    if not names:
        raise InputError(f"the folder {path} has no .obj of a shape beside {neutral[0].name}")
    dialects = dialects_beside(path)
    return with_landmarks(
        replace(
            face,
            recipes=dialects.own_recipes(),
            vertices=face.vertices * scale,
            names=tuple(names),
            basis=np.stack(shapes),
            identities=people,
            meanings=dialects.meanings(names),
        )
    )


def load_arrays(found: Mapping[str, Array], path: Path) -> Face:
    """A face of the arrays of an .npz: a mesh (``vertices``, ``triangles``), or a model as FLAME's.

    FLAME's has ``v_template`` (V, 3), ``f`` (F, 3) and ``shapedirs`` (V, 3, K), of which those
    after the 300th are expressions (all, where there are no more); with ``J_regressor`` (J, V) and
    ``weights`` (V, J) the turn of its third joint is a shape jawOpen (T. Li et al., Learning a
    model of facial shape and expression from 4D scans, 2017). Each of the first ten expressions is
    two shapes, one for each direction, of two standard deviations.

    Raises:
        InputError: the arrays are none of these, or do not fit together.
    """
    if "v_template" not in found:
        if not {"vertices", "triangles"} & set(found):
            raise InputError(
                f"{path} is not a face: it holds {shortened(', '.join(found)) or 'nothing'}, "
                "expected what Face.save wrote, vertices and triangles, or FLAME's v_template and f"
            )
        return _checked(*_mesh_arrays(found, path), path)
    with reading(path, "a model as FLAME's"):
        face = _checked(
            np.asarray(found["v_template"], np.float64).reshape(-1, 3),
            np.asarray(found["f"]).astype(np.int64).reshape(-1, 3),
            path,
        )
        count = len(face.vertices)
        directions = np.asarray(found["shapedirs"], np.float64)
        if directions.shape[:2] != (count, 3):
            raise InputError(f"{path}: shapedirs are {directions.shape}, expected ({count}, 3, K)")
        first = 300 if directions.shape[2] > 300 else 0
        names, shapes = [], []
        for k in range(first, min(first + EXPRESSIONS, directions.shape[2])):
            for sign, word in ((2.0, "plus"), (-2.0, "minus")):
                names.append(f"expression_{k - first}_{word}")
                shapes.append(sign * directions[:, :, k])
        meanings = dict.fromkeys(names, BY_GEOMETRY)
        if {"J_regressor", "weights"} <= set(found):
            joint = np.asarray(found["J_regressor"], np.float64)[JAW_JOINT] @ face.vertices
            share = np.asarray(found["weights"], np.float64)[:, JAW_JOINT, None]
            cos, sin = np.cos(JAW_TURN), np.sin(JAW_TURN)
            turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
            arm = face.vertices - joint
            names.append("jawOpen")
            shapes.append(share * (arm @ turn.T - arm))
            meanings["jawOpen"] = "jawOpen"
        basis = np.stack(shapes).astype(np.float32)
        if not np.isfinite(basis).all():
            raise InputError(f"{path} holds values that are not finite")
        return with_landmarks(replace(face, names=tuple(names), basis=basis, meanings=meanings))


def _read_obj(path: Path, only_vertices: bool = False) -> tuple[Array, Array]:
    # By hand: mesh libraries drop vertices without a face and split those on texture seams.
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    kinds = ("v",) if only_vertices else ("v", "f")
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words or words[0] not in kinds:
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
    return _mesh_arrays(read_arrays(path), path)


def _mesh_arrays(found: Mapping[str, Array], path: Path) -> tuple[Array, Array]:
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
