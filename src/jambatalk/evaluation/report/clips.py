"""The reference's worst clips as small videos with sound: truth and systems side by side."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.evaluation.metrics.base import Unit
from jambatalk.evaluation.report.collect import SEEDS, ReportSystem
from jambatalk.evaluation.report.figures import jpeg
from jambatalk.face.face import Face
from jambatalk.render import Renderer
from jambatalk.render.image import draw_text, text_size
from jambatalk.render.video import VideoFile

Array = NDArray[Any]

PANEL, LINE, COLUMNS = 320, 22, 3
"""Pixels of a face, of the line beneath it, and faces in a row."""
INK, PAPER = (226, 229, 234), (24, 27, 32)


@dataclass(frozen=True)
class WorstClip:
    """A clip's video.

    Attributes:
        error: Of the reference.
        systems: Beside the truth, in order.
        poster: A JPEG of the frame in which the true mouth is open widest.
    """

    clip: EvalClip
    error: float
    systems: tuple[str, ...]
    mp4: bytes
    poster: bytes
    width: int
    height: int


def worst(
    reference: ReportSystem, test_set: EvalDataset, metric: str, count: int
) -> list[tuple[EvalClip, float]]:
    """Find the clips with the highest ``metric`` (mean over the reference's runs), worst first."""
    errors: dict[str, float] = {}
    for split in test_set.splits:
        clips = [clip for clip in test_set.clips if clip.split == split]
        errors |= {
            clip.name: float(v)
            for clip, v in zip(clips, reference.values(split, metric).mean(0))
            if not math.isnan(v)
        }
    ranked = sorted(
        (clip for clip in test_set.clips if clip.name in errors),
        key=lambda clip: -errors[clip.name],
    )
    return [(clip, errors[clip.name]) for clip in ranked[:count]]


def film(
    chosen: Sequence[tuple[EvalClip, float]],
    systems: Sequence[ReportSystem],
    test_set: EvalDataset,
    truth: Mapping[str, Array],
    progress: Callable[[int, int], None] | None = None,
) -> list[WorstClip]:
    """Film each clip: the truth, then the first run of each system.

    Args:
        test_set: With known triangles.
        truth: Clip -> its true opening (T,).
    """
    films = []
    for done, (clip, error) in enumerate(chosen, 1):
        motions = [("truth", clip.truth)]
        motions += [
            (system.name, system.runs[0].offsets(clip, SEEDS[0], test_set.face))
            for system in systems
        ]
        widest = int(np.argmax(truth[clip.name]))
        mp4, poster = side_by_side(clip, motions, test_set, widest)
        height, width = poster.shape[:2]
        films.append(
            WorstClip(
                clip,
                error,
                tuple(system.name for system in systems),
                mp4,
                jpeg(poster),
                width,
                height,
            )
        )
        if progress is not None:
            progress(done, len(chosen))
    return films


def side_by_side(
    clip: EvalClip, motions: Sequence[tuple[str, Array]], test_set: EvalDataset, kept: int
) -> tuple[bytes, Array]:
    """Film motions of one clip, offsets (T, V, 3) by name, with the clip's sound.

    Returns:
        The MP4, and its picture (H, W, 3) of frame ``kept``.
    """
    assert test_set.triangles is not None
    assert clip.template is not None
    renderer, scale = _renderer(clip.template, test_set)
    columns = 2 if len(motions) == 4 else min(COLUMNS, len(motions))
    rows = -(-len(motions) // columns)
    picture = np.empty((rows * (PANEL + LINE), columns * PANEL, 3), np.uint8)
    picture[:] = PAPER
    places = [(n // columns * (PANEL + LINE), n % columns * PANEL) for n in range(len(motions))]
    for (name, _), (top, left) in zip(motions, places):
        label = name if len(name) <= 24 else f"{name[:22]}.."
        wide, _ = text_size(label, 2)
        draw_text(picture, label, (left + max(2, (PANEL - wide) // 2), top + PANEL + 4), INK, 2)
    size, poster = (picture.shape[1], picture.shape[0]), picture
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with VideoFile(path, size, clip.fps, Speech(clip.samples)) as video:
            for frame in range(clip.frames):
                for (_, offsets), (top, left) in zip(motions, places):
                    vertices = (clip.template + offsets[frame]) * scale
                    picture[top : top + PANEL, left : left + PANEL] = renderer.render(
                        vertices.astype(np.float32)
                    )
                video.add(picture)
                if frame == kept:
                    poster = picture.copy()
        return path.read_bytes(), poster


def _renderer(template: Array, test_set: EvalDataset) -> tuple[Renderer, float]:
    """A renderer of the subject in metres, and the factor from positions to metres."""
    scale = Unit(test_set.unit).to_metres(template)
    rest = np.asarray(template * scale, np.float32)
    if test_set.face is not None:
        return Renderer(replace(test_set.face, vertices=rest), (PANEL, PANEL), supersample=2), scale
    assert test_set.triangles is not None
    return Renderer(Face(rest, test_set.triangles), (PANEL, PANEL), supersample=2), scale
