"""Pictures of a prepared corpus: every speaker at wide openings and at closures, to see whether the motion looks right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.openings import clip_opening, head_weights
from jambatalk.data.prepared import WEIGHTS, PreparedClip, PreparedCorpus
from jambatalk.errors import InputError
from jambatalk.face.head import default_head
from jambatalk.render import Renderer, contact_sheet, frame_face

Array = NDArray[Any]

OPEN, SHUT = 3, 3
"""Pictures of each speaker, and how many of them are shut."""

SUBJECTS = 8
"""At most so many speakers, those with the most clips."""

CANDIDATES = 12
"""Clips of a speaker among which the moments are looked for."""

AROUND = 0.24
"""Seconds before and after a closure within which the mouth has to be open."""


def sheet(corpus: PreparedCorpus, size: int = 220, progress: Callable[[int, int], None] | None = None) -> Array | None:
    """(H, W, 3) uint8: one row per speaker, wide openings and then closures, with clip, time and opening beneath.

    Weights are worn by the default head, vertices by their own mesh; None when the corpus tells no triangles. Damaged clips are
    passed over.
    """
    pictures, labels = [], []
    rows = [list(_moments(corpus, subject)) for subject in _speakers(corpus)]
    total = sum(len(row) for row in rows)
    for row in rows:
        renderer: Renderer | None = None
        for clip, frame, opening in row:
            renderer = renderer or _renderer(clip, size)
            if renderer is None:
                return None
            pictures.append(renderer.render(_vertices(clip, frame)))
            # Metres as millimetres; other units as they are.
            told = f"{abs(1e3 * opening):.1f}mm" if corpus.motion == WEIGHTS else f"{opening:.2g}"
            labels.append(f"{_short(clip.name)} {frame / clip.fps:.2f}s {told}")
            if progress is not None:
                progress(len(pictures), total)
        while row and len(pictures) % (OPEN + SHUT):
            pictures.append(np.full_like(pictures[-1], 24))
            labels.append("")
    return contact_sheet(pictures, labels, OPEN + SHUT) if pictures else None


def _speakers(corpus: PreparedCorpus) -> list[str]:
    counts = dict.fromkeys(corpus.subjects, 0)
    for clip in corpus.clips():
        counts[clip.subject] += 1
    return sorted(counts, key=lambda subject: -counts[subject])[:SUBJECTS]


def _moments(corpus: PreparedCorpus, subject: str) -> Iterator[tuple[PreparedClip, int, float]]:
    """(clip, frame, opening) of a speaker's widest openings, each of another clip if there are enough, then of closures."""
    clips = [clip for clip in corpus.clips() if clip.subject == subject]
    chosen = clips[:: max(1, len(clips) // CANDIDATES)][:CANDIDATES]
    curves: list[tuple[PreparedClip, Array]] = []
    for clip in chosen:
        try:
            curves.append((clip, clip_opening(clip, clip.samples)))
        except InputError:
            continue
    yield from _best(curves, lambda opening, _: opening, OPEN)
    yield from _best(curves, _closure, SHUT)


def _closure(opening: Array, fps: float) -> Array:
    """(T,) how much the mouth opens both shortly before and shortly after each frame, beyond what it is open there."""
    reach = max(1, round(AROUND * fps))
    padded = np.pad(opening, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach + 1)
    before, after = windows[: len(opening)].max(1), windows[reach:].max(1)
    return np.asarray(np.minimum(before, after) - 2 * opening)


def _best(
    curves: Sequence[tuple[PreparedClip, Array]], score: Callable[[Array, float], Array], count: int
) -> Iterator[tuple[PreparedClip, int, float]]:
    """The ``count`` highest-scored frames: each clip's best first, then the second best half a second away from it, …"""
    ranked: list[tuple[int, float, PreparedClip, int, float]] = []
    for clip, opening in curves:
        scores = np.array(score(opening, clip.fps), np.float64)
        for turn in range(count):
            frame = int(np.argmax(scores))
            if not np.isfinite(scores[frame]):
                break
            ranked.append((turn, -float(scores[frame]), clip, frame, float(opening[frame])))
            reach = round(0.5 * clip.fps)
            scores[max(0, frame - reach) : frame + reach + 1] = -np.inf
    for _, _, clip, frame, opened in sorted(ranked, key=lambda one: one[:2])[:count]:
        yield clip, frame, opened


def _renderer(clip: PreparedClip, size: int) -> Renderer | None:
    if clip.corpus.motion == WEIGHTS:
        head = default_head()
        assert head.gap_vertices is not None
        x, y, z = (float(v) for v in head.vertices[list(head.gap_vertices)].mean(0))
        return Renderer(head, (size, size), camera=frame_face(head).closer((x, y, z), 0.13), threads=1)
    face = clip.corpus.face(clip.subject)
    return None if face is None else Renderer(face, (size, size), threads=1)


def _vertices(clip: PreparedClip, frame: int) -> Array:
    if clip.corpus.motion == WEIGHTS:
        head = default_head()
        return head.pose(head_weights(clip, head)[frame])
    return np.asarray(clip.template + np.asarray(clip.offsets[frame], np.float32))


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:7]}..{name[-7:]}"
