"""Vertex indices of a region: from files, from a box on a template, or by how vertices move."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.dataset import PreparedClip
from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.datasets.source import read_array
from jambatalk.errors import InputError, reading, shown

Array = NDArray[Any]
MOST_CLIPS = 100
EVERY = 5


def inside_box(template: Array, box: Sequence[float]) -> Array:
    """Indices of the vertices (V, 3) with x and y in [x from, x to, y from, y to]."""
    left, right, low, high = box
    x, y = template[:, 0], template[:, 1]
    return np.flatnonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))


def offset_spread(clips: Sequence[PreparedClip]) -> Array:
    """(V, 3) float32: root mean square offset of each coordinate, over at most a hundred clips
    evenly taken.
    """
    total, count = 0.0, 0
    for clip in clips[:: -(-len(clips) // MOST_CLIPS)]:
        offsets = np.asarray(clip.offsets[::EVERY], np.float64)
        total = total + np.square(offsets).sum(0)
        count += len(offsets)
    return np.sqrt(total / max(count, 1)).astype(np.float32)


ALSO_CALLED = {"upper_face": "forehead+eye_region"}
"""What FLAME's own masks call a region that has another name here."""


def named_region(spec: str | Path) -> tuple[Path, str]:
    """Split ``FILE:NAMES`` into the file and the names of its regions, "" where none are given."""
    path, colon, names = str(spec).rpartition(":")
    # A colon may belong to the file's name, and to a drive's.
    if not colon or Path(spec).exists() or not Path(path).suffix:
        return Path(spec), ""
    return Path(path), names


def read_region(path: Path, vertices: int, name: str = "lips") -> Array:
    """Read the vertex indices in a file.

    Args:
        path: .npy, .txt, .json or .pkl: a list, a mask over all ``vertices``, or regions by name.
        vertices: Of the mesh.
        name: The region of a file with several; "a+b" joins two.

    Returns:
        (L,) int64, ascending, each once.

    Raises:
        InputError: The file is missing or damaged, has no such region, or names other vertices.
    """
    suffix = path.suffix.lower()
    with reading(path, "vertex indices"):
        if suffix == ".npy":
            found: Any = read_array(path, mmap=False)
        elif suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
        elif suffix == ".txt":
            found = [
                int(word) for word in path.read_text(encoding="utf-8").replace(",", " ").split()
            ]
        elif suffix == ".pkl":
            found = read_pickle(path)
        else:
            raise InputError(
                f"{path} is of type {suffix or 'nothing'}, expected .npy, .txt, .json or .pkl"
            )
        if not isinstance(found, dict):
            return _indices(found, vertices, path)
        wanted = name.split("+")
        if name not in found and set(ALSO_CALLED.get(name, name).split("+")) <= set(found):
            wanted = ALSO_CALLED.get(name, name).split("+")
        if lacking := [one for one in wanted if one not in found]:
            raise InputError(
                f"{path} has no region {shown(lacking[0])}: it has {shown(list(found))}; FILE:NAME "
                "chooses one, FILE:NAME+NAME joins two"
            )
        return np.unique(
            np.concatenate([_indices(found[one], vertices, path, one) for one in wanted])
        )


def _indices(values: Any, vertices: int, path: Path, name: str = "") -> Array:
    indices = np.asarray(values).ravel()
    if indices.dtype == bool and len(indices) == vertices:
        indices = np.flatnonzero(indices)
    if (
        indices.dtype.kind not in "iu"
        or not len(indices)
        or indices.min() < 0
        or indices.max() >= vertices
    ):
        raise InputError(
            f"{path} holds no indices of {vertices} vertices{name and f' in {name}'}: "
            f"{indices.dtype} of shape {indices.shape} found"
        )
    return np.unique(indices.astype(np.int64))
