"""The report on a prepared corpus as pictures: faces and diagrams in one folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.datasets.av_sync import (
    REACH,
    clip_opening,
    head_weights,
    lag_curve,
    loudness,
    opening_lag_curve,
)
from jambatalk.datasets.dataset import WEIGHTS, PreparedClip, PreparedCorpus, open_prepared
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.head import default_head
from jambatalk.render import Renderer, contact_sheet, frame_face, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A prepared corpus in diagrams: how long, how wide, how well in step with its sound, which shapes
# and which phones.


Array = NDArray[Any]

SAMPLED = 120
"""Clips, evenly spread over the corpus, that the lags and the ranges are taken from."""

PAUSES = ("sil", "sp")

SHOWN = 4
"""Clips whose opening is drawn against their loudness."""


def require_matplotlib() -> None:
    """MissingExtraError when the diagrams' library is absent."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'diagrams of a corpus need matplotlib: pip install "jambatalk[plots]"'
        ) from error


def plots(corpus: PreparedCorpus, out: Path) -> list[Path]:
    """Write the diagrams as PNG into ``out``; returns the files. Damaged clips are passed over.

    durations.png, opening.png, lag.png, shapes.png (weights only) and phones.png (where phones or
    words are known).
    """
    require_matplotlib()
    clips = corpus.clips()
    sample = [clip for clip in clips[:: max(1, -(-len(clips) // SAMPLED))] if _readable(clip)]
    drawn: dict[str, Figure | None] = {
        "durations": _durations(corpus),
        "opening": _openings(sample[:: max(1, len(sample) // SHOWN)][:SHOWN]) if sample else None,
        "lag": _lags(corpus, sample),
        "shapes": _shapes(corpus, sample) if corpus.motion == WEIGHTS and sample else None,
        "phones": _phones(clips),
    }
    written = []
    for name, figure in drawn.items():
        if figure is not None:
            with atomic_write(out / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=90)
            written.append(out / f"{name}.png")
    return written


def _figure(width: float, height: float) -> Figure:
    # The object interface: no global state, no display, safe in threads.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _readable(clip: PreparedClip) -> bool:
    try:
        clip_opening(clip, clip.samples)
    except InputError:
        return False
    return True


def _durations(corpus: PreparedCorpus) -> Figure:
    figure = _figure(7, 3.5)
    axes = figure.subplots()
    by_split: dict[str, list[float]] = {}
    for clip in corpus.clips():
        by_split.setdefault(clip.splits[corpus.schemes[0]] or "no split", []).append(
            clip.frames / clip.fps
        )
    axes.hist(
        list(by_split.values()),
        bins=30,
        stacked=True,
        label=[f"{k} ({len(v)})" for k, v in by_split.items()],
    )
    axes.set(
        xlabel="seconds",
        ylabel="clips",
        title=f"{corpus.name}: lengths of clips by {corpus.schemes[0]}",
    )
    axes.legend()
    return figure


def _openings(clips: Sequence[PreparedClip]) -> Figure:
    figure = _figure(10, 2.2 * len(clips))
    for axes, clip in zip(figure.subplots(len(clips), 1, squeeze=False)[:, 0], clips):
        samples = clip.samples
        opening = clip_opening(clip, samples)
        times = np.arange(len(opening)) / clip.fps
        level = loudness(samples, len(opening), clip.fps)
        in_mm = clip.corpus.motion == WEIGHTS
        axes.plot(times, opening * (1e3 if in_mm else 1.0), color="tab:blue", label="opening")
        axes.set_ylabel("lip gap, mm" if in_mm else "opening", color="tab:blue")
        other = axes.twinx()
        other.plot(times, level, color="tab:orange", linewidth=0.8)
        other.set_ylabel("dB", color="tab:orange")
        axes.set_title(": ".join(filter(None, (clip.name, clip.text))), fontsize=9)
        for text, start, end in clip.words or ():
            if text not in PAUSES:
                axes.annotate(
                    text,
                    ((start + end) / 2, 1.0),
                    xycoords=("data", "axes fraction"),
                    fontsize=7,
                    va="top",
                    ha="center",
                )
        axes.margins(x=0)
    axes.set_xlabel("seconds")
    return figure


def _lags(corpus: PreparedCorpus, clips: Sequence[PreparedClip]) -> Figure | None:
    curves = []
    for clip in clips:
        samples = clip.samples
        if corpus.motion == WEIGHTS:
            curve = opening_lag_curve(clip_opening(clip, samples), samples, clip.fps)
        else:
            curve = lag_curve(np.asarray(clip.offsets, np.float32), samples, clip.fps)
        if curve is not None:
            curves.append(curve)
    if not curves:
        return None
    figure = _figure(7, 3.5)
    axes = figure.subplots()
    lags = 1e3 * np.arange(-round(REACH * corpus.fps), round(REACH * corpus.fps) + 1) / corpus.fps
    axes.plot(lags, np.array(curves).T, color="0.8", linewidth=0.5)
    axes.plot(lags, np.mean(curves, axis=0), color="tab:blue", linewidth=2)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(
        xlabel="motion behind sound, ms",
        ylabel="correlation",
        title=f"{corpus.name}: lag of {len(curves)} clips and their mean",
    )
    return figure


def _shapes(corpus: PreparedCorpus, clips: Sequence[PreparedClip]) -> Figure:
    weights = np.concatenate([np.asarray(clip.weights, np.float32) for clip in clips])
    figure = _figure(8, 0.2 * len(corpus.names) + 1)
    axes = figure.subplots()
    rows = np.arange(len(corpus.names))[::-1]
    low, middle, high = np.percentile(weights, [5, 50, 95], axis=0)
    axes.barh(rows, weights.max(0), color="0.88", label="highest")
    axes.barh(rows, high - low, left=low, color="tab:blue", label="5 to 95 %")
    axes.plot(middle, rows, "|", color="black", label="median")
    axes.set_yticks(rows, corpus.names, fontsize=7)
    axes.set(
        xlim=(0, 1),
        xlabel="weight",
        ylim=(-0.6, len(rows) - 0.4),
        title=f"{corpus.name}: weights of shapes",
    )
    axes.legend(loc="lower right")
    return figure


def _phones(clips: Sequence[PreparedClip]) -> Figure | None:
    counts: Counter[str] = Counter(
        phone.text for clip in clips for phone in clip.phones or () if phone.text not in PAUSES
    )
    what = "phones"
    if not counts:
        counts, what = (
            Counter(
                word.text for clip in clips for word in clip.words or () if word.text not in PAUSES
            ),
            "words",
        )
    if not counts:
        return None
    common = counts.most_common(60)
    figure = _figure(max(5, 0.22 * len(common)), 3.2)
    axes = figure.subplots()
    axes.bar(range(len(common)), [count for _, count in common])
    axes.set_xticks(
        range(len(common)),
        [text for text, _ in common],
        fontsize=8,
        rotation=90 if what == "words" else 0,
    )
    axes.set(
        ylabel="how often", title=f"{what}: {len(counts)} kinds, {sum(counts.values())} in all"
    )
    axes.margins(x=0.01)
    return figure


# Pictures of a prepared corpus: every speaker at wide openings and at closures, to see whether the
# motion looks right.


OPEN, SHUT = 3, 3
"""Pictures of each speaker, and how many of them are shut."""

SUBJECTS = 8
"""At most so many speakers, those with the most clips."""

CANDIDATES = 12
"""Clips of a speaker among which the moments are looked for."""

AROUND = 0.24
"""Seconds before and after a closure within which the mouth has to be open."""


def sheet(
    corpus: PreparedCorpus, size: int = 220, progress: Callable[[int, int], None] | None = None
) -> Array | None:
    """(H, W, 3) uint8: one row per speaker, wide openings and then closures, with clip, time and
    opening beneath.

    Weights are applied to the default head, vertices by their own mesh; None when the corpus has no
    triangles. Damaged clips are passed over.
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
            label = f"{abs(1e3 * opening):.1f}mm" if corpus.motion == WEIGHTS else f"{opening:.2g}"
            labels.append(f"{_short(clip.name)} {frame / clip.fps:.2f}s {label}")
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
    """(clip, frame, opening) of a speaker's widest openings, each of another clip if there are
    enough, then of closures.
    """
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
    """(T,) how much the mouth opens both shortly before and shortly after each frame, beyond what
    it is open there.
    """
    reach = max(1, round(AROUND * fps))
    padded = np.pad(opening, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach + 1)
    before, after = windows[: len(opening)].max(1), windows[reach:].max(1)
    return np.asarray(np.minimum(before, after) - 2 * opening)


def _best(
    curves: Sequence[tuple[PreparedClip, Array]], score: Callable[[Array, float], Array], count: int
) -> Iterator[tuple[PreparedClip, int, float]]:
    """The ``count`` highest-scored frames: each clip's best first, then the second best half a
    second away from it, …
    """
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
        return Renderer(
            head, (size, size), camera=frame_face(head).closer((x, y, z), 0.13), threads=1
        )
    face = clip.corpus.face(clip.subject)
    return None if face is None else Renderer(face, (size, size), threads=1)


def _vertices(clip: PreparedClip, frame: int) -> Array:
    if clip.corpus.motion == WEIGHTS:
        head = default_head()
        return head.pose(head_weights(clip, head)[frame])
    return np.asarray(clip.template + np.asarray(clip.offsets[frame], np.float32))


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:7]}..{name[-7:]}"


def write_report(
    folder: str | Path, out: str | Path, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write sheet.png (where there is a mesh to draw) and the diagrams of ``plots`` into ``out``;
    gives the files.

    progress: called with (done, in all) faces. Raises MissingExtraError without matplotlib,
    InputError when ``folder`` is not a prepared corpus or ``out`` cannot be written.
    """
    require_matplotlib()
    corpus, out, written = open_prepared(folder), Path(out), []
    faces = sheet(corpus, progress=progress)
    if faces is not None:
        save_png(faces, out / "sheet.png")
        written.append(out / "sheet.png")
    return written + plots(corpus, out)
