"""Which vertices training takes for the lips: the corpus' regions, a file, a box around the mouth,
or those that speech moves most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.dataset import PreparedClip
from jambatalk.datasets.masks import inside_box, read_region
from jambatalk.datasets.regions import corpus_regions
from jambatalk.errors import InputError

Array = NDArray[Any]
CHOICES = ("regions", "file", "box", "moving", "all")


@dataclass(frozen=True)
class LipsConfig:
    """Where the lips are."""

    # regions (the corpus', as evaluation has them); file; box (on a template); moving (the vertices
    # that move most in the training clips); all
    choose: str = "regions"
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
    if config.choose == "regions":
        try:
            return corpus_regions(corpus).lips
        except InputError as error:
            raise InputError(f"{error}; or train with --set vertices.lips.choose=moving") from error
    if config.choose == "file":
        path = next(
            (p for p in (corpus.folder / config.file, Path(config.file)) if p.is_file()), None
        )
        if path is None:
            raise InputError(f"lips: no file {config.file} here or in {corpus.folder}")
        return read_region(path, count)
    template = corpus.template(config.template or corpus.subjects[0])
    inside = inside_box(template, config.box)
    if not len(inside):
        x, y, _ = template.T
        raise InputError(
            f"lips: no vertex of {corpus.folder} lies in the box {config.box}: x spans "
            f"{x.min():.3g} to {x.max():.3g}, "
            f"y {y.min():.3g} to {y.max():.3g}"
        )
    return inside
