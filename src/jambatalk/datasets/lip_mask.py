"""Which vertices are the lips: from a file, from a box around the mouth, or those that speech moves
most.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.dataset import PreparedClip
from jambatalk.datasets.safe_pickle import read_pickle
from jambatalk.datasets.source import read_array
from jambatalk.errors import InputError, reading, shown

Array = NDArray[Any]
CHOICES = ("file", "box", "moving", "all")
MOST_CLIPS = 100
EVERY = 5


@dataclass(frozen=True)
class LipsConfig:
    """Where the lips are."""

    # file; box (on a template); moving (the vertices that move most in the training clips); all
    choose: str = "moving"
    # .npy, .txt, .json or .pkl: indices, a mask, or regions by name with "lips"; beside the corpus
    # or a path
    file: str = ""
    box: list[float] = field(
        default_factory=lambda: [-0.035, 0.035, -0.08, -0.035]
    )  # x from, x to, y from, y to: BIWI's
    template: str = ""  # subject whose template the box is laid on; empty: the corpus' first
    share: float = 0.05  # of all vertices, for moving

    def __post_init__(self) -> None:
        if self.choose not in CHOICES:
            raise ValueError(f"choose is {self.choose!r}, expected one of {', '.join(CHOICES)}")
        if self.choose == "file" and not self.file:
            raise ValueError("choose is 'file', but no file is named")
        if len(self.box) != 4 or self.box[0] >= self.box[1] or self.box[2] >= self.box[3]:
            raise ValueError(f"box is {self.box}, expected [x from, x to, y from, y to]")
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share is {self.share}, expected more than 0 and at most 1")


def lip_vertices(config: LipsConfig, clips: Sequence[PreparedClip], spread: Array) -> Array:
    """(L,) int64 indices in ascending order. spread: (V, 3), see ``offset_spread``. InputError when
    there are none.
    """
    count, corpus = len(spread), clips[0].corpus
    if config.choose == "all":
        return np.arange(count)
    if config.choose == "moving":
        most = np.argsort(-np.linalg.norm(spread, axis=1), kind="stable")[
            : max(1, round(config.share * count))
        ]
        return np.sort(most)
    if config.choose == "file":
        path = next(
            (p for p in (corpus.folder / config.file, Path(config.file)) if p.is_file()), None
        )
        if path is None:
            raise InputError(f"lips: no file {config.file} here or in {corpus.folder}")
        return read_region(path, count)
    x, y, _ = corpus.template(config.template or corpus.subjects[0]).T
    left, right, low, high = config.box
    inside = np.flatnonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))
    if not len(inside):
        raise InputError(
            f"lips: no vertex of {corpus.folder} lies in the box {config.box}: x spans "
            f"{x.min():.3g} to {x.max():.3g}, "
            f"y {y.min():.3g} to {y.max():.3g}"
        )
    return inside


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


def read_region(path: Path, vertices: int, name: str = "lips") -> Array:
    """The vertex indices (L,) in a file: a list, a mask over all ``vertices``, or regions by name.
    InputError otherwise.
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
        if isinstance(found, dict):
            if name not in found:
                raise InputError(f"{path} has no region {name!r}: it has {shown(list(found))}")
            found = found[name]
        indices = np.asarray(found).ravel()
        if indices.dtype == bool and len(indices) == vertices:
            indices = np.flatnonzero(indices)
    if (
        indices.dtype.kind not in "iu"
        or not len(indices)
        or indices.min() < 0
        or indices.max() >= vertices
    ):
        raise InputError(
            f"{path} holds no indices of {vertices} vertices: {indices.dtype} of shape "
            f"{indices.shape} found"
        )
    return np.unique(indices.astype(np.int64))
