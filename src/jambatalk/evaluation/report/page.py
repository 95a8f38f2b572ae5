"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.atomic import atomic_write
from jambatalk.datasets.regions import Regions
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.evaluation.metrics.base import Unit
from jambatalk.evaluation.report.clips import WorstClip, film, worst
from jambatalk.evaluation.report.collect import ReportSystem, collect
from jambatalk.evaluation.report.figures import (
    CLASSES,
    PAUSES,
    ClassScore,
    FrontView,
    Scale,
    SpokenClip,
    data_uri,
    figure,
    require_matplotlib,
    score_classes,
    shared_scale,
)
from jambatalk.evaluation.report.table import Table, forest, make_table
from jambatalk.evaluation.statistics import ALPHA, LEVEL
from jambatalk.evaluation.systems import TRUTH
from jambatalk.evaluation.tables import PUBLISHED, Published, number, published_beside
from jambatalk.version import __version__

# What the report shows of one split, and of one clip: numbers and pictures, ready for the page.


AT_A_GLANCE = ("LVE_mm", "LVE_own", "opening_correlation")
"""Metrics that are drawn as dots with intervals, those of them that there are."""
MOST_CURVES = 40
"""Clips of a split whose curves are drawn, evenly spread over it."""


@dataclass(frozen=True)
class FaceMap:
    """Addresses of the pictures of one system; error is None for the truth, which has none."""

    system: str
    error: str | None
    moved: str


@dataclass(frozen=True)
class Maps:
    """Pictures of all systems and what their colours mean: one scale of errors, of the systems, and
    one of motion.
    """

    faces: tuple[FaceMap, ...]
    error: Scale
    moved: Scale


@dataclass(frozen=True)
class Closure:
    """rows: (system, class of phones -> score). counts: class -> (its phones, how many were
    spoken).
    """

    rows: tuple[tuple[str, Mapping[str, ClassScore]], ...]
    counts: Mapping[str, tuple[tuple[str, ...], int]]


@dataclass(frozen=True)
class SplitSection:
    """maps is None without triangles, closure without phones."""

    table: Table
    protocol: str
    forests: tuple[str, ...]
    maps: Maps | None
    closure: Closure | None
    published: tuple[Published, ...]


@dataclass(frozen=True)
class ClipFigure:
    name: str
    split: str
    label: str
    svg: str


def split_section(
    systems: Sequence[ReportSystem], test_set: EvalDataset, split: str, reference: str
) -> SplitSection:
    """Everything about one split."""
    clips = [clip for clip in test_set.clips if clip.split == split]
    table = make_table(systems, split, clips, reference)
    head = systems[0].scored[split][0]
    return SplitSection(
        table=table,
        protocol=head.protocol,
        forests=tuple(forest(table, metric) for metric in AT_A_GLANCE if metric in head.totals),
        maps=face_maps(systems, test_set, clips),
        closure=closure(systems, clips, Unit(test_set.unit)),
        published=tuple(published_beside(head)),
    )


def face_maps(
    systems: Sequence[ReportSystem], test_set: EvalDataset, clips: Sequence[EvalClip]
) -> Maps | None:
    """Error and motion of each vertex, mean over a system's runs, on the face of the first clip's
    subject.
    """
    if test_set.triangles is None:
        return None
    to_mm, split = Unit(test_set.unit).to_mm, clips[0].split
    errors, moved = {}, {}
    for system in systems:
        maps = [summary.maps[split] for summary in system.summaries]
        errors[system.name] = np.mean([one.error for one in maps], axis=0) * to_mm
        moved[system.name] = np.mean([one.moved for one in maps], axis=0) * to_mm
    assert clips[0].template is not None
    view = FrontView(clips[0].template, test_set.triangles)
    # A face that never moves errs more than any system: it would leave the systems in one dark
    # colour.
    judged = [system.name for system in systems if not system.sanity] or list(errors)
    of_error, of_moved = (
        shared_scale([errors[name] for name in judged]),
        shared_scale(list(moved.values())),
    )
    faces = tuple(
        FaceMap(
            name,
            None if name == TRUTH else data_uri(view.paint(errors[name], of_error), "image/png"),
            data_uri(view.paint(moved[name], of_moved), "image/png"),
        )
        for name in errors
    )
    return Maps(faces, of_error, of_moved)


def closure(
    systems: Sequence[ReportSystem], clips: Sequence[EvalClip], unit: Unit
) -> Closure | None:
    """What each class of phones does to the lips, from each system's first run; openings in mm
    where the unit is known.
    """
    true = truth_of(systems)
    spoken = [
        SpokenClip(clip.name, clip.subject, clip.fps, true[clip.name] * unit.to_mm, clip.phones)
        for clip in clips
        if clip.phones
    ]
    if not spoken:
        return None
    rows = tuple(
        (
            system.name,
            score_classes(
                spoken,
                {
                    clip.name: system.summaries[0].openings[clip.name] * unit.to_mm
                    for clip in spoken
                },
            ),
        )
        for system in systems
    )
    return Closure(
        rows, {name: (members, rows[0][1][name].count) for name, members in CLASSES.items()}
    )


def truth_of(systems: Sequence[ReportSystem]) -> Mapping[str, np.ndarray]:
    """Clip -> its true opening (T,)."""
    return next(system for system in systems if system.name == TRUTH).summaries[0].openings


def clips_drawn(test_set: EvalDataset) -> list[EvalClip]:
    """Of each split, at most MOST_CURVES clips, evenly spread over it."""
    drawn: list[EvalClip] = []
    for split in test_set.splits:
        clips = [clip for clip in test_set.clips if clip.split == split]
        drawn += [
            clips[int(n * max(1.0, len(clips) / MOST_CURVES))]
            for n in range(min(len(clips), MOST_CURVES))
        ]
    return drawn


def clip_figure(systems: Sequence[ReportSystem], clip: EvalClip, unit: Unit) -> ClipFigure:
    """Draw the opening curves of one clip: the truth, and the first run of each system."""
    words = clip.words or ()
    said = " ".join(word.text for word in words if word.text not in PAUSES)
    label = f"{clip.name}: {said}" if said else clip.name
    curves = {
        f"s{n}": system.summaries[0].openings[clip.name] * unit.to_mm
        for n, system in enumerate(moving(systems))
    }
    svg = figure(
        f"Lip opening in clip {label}",
        truth_of(systems)[clip.name] * unit.to_mm,
        curves,
        clip.fps,
        clip.samples,
        unit.length,
        words,
        clip.phones or (),
    )
    return ClipFigure(clip.name, clip.split, label, svg)


def moving(systems: Sequence[ReportSystem]) -> list[ReportSystem]:
    """All but the truth, in the order in which colours are given."""
    return [system for system in systems if system.name != TRUTH]


TEMPLATE = "report.html"
SHOWN_AT_FIRST = 4
"""Systems whose curves are drawn before anybody chooses."""
FILMED = 5
"""Systems beside the truth in the videos."""
MOST_BYTES = 15_000_000
"""Videos that would make the page larger are left out."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how many are done, how many in all)."""


def require_extra() -> None:
    """MissingExtraError, with the line that mends it, when what a report is made with is absent."""
    try:
        import jinja2  # noqa: F401
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'a report needs Jinja2 and SciPy: pip install "jambatalk[evaluate]"'
        ) from error
    require_matplotlib()


def write_report(
    systems: Sequence[ReportSystem],
    test_set: EvalDataset,
    regions: Regions,
    path: str | Path,
    *,
    reference: str | None = None,
    videos: int = 3,
    command: str = "",
    progress: Progress | None = None,
) -> list[ReportSystem]:
    """Score the systems and write the report to ``path``, whole or not at all; gives the systems
    with their scores.

    reference: the name of the system that others are tested against, None for the first one.
    videos: how many of its worst clips are filmed. command: the line that made the report, printed
    in it. The same input gives the same file. Raises InputError for an unknown reference or what
    ``gather`` refuses, MissingExtraError without the extra ``evaluate``.
    """
    require_extra()
    tell = progress or (lambda what, done, total: None)
    names = [system.name for system in systems]
    reference = names[0] if reference is None and names else reference
    if reference not in names:
        raise InputError(
            f"no system is called {reference!r}: choose the reference from "
            f"{', '.join(names) or 'none'}"
        )
    shown = collect(systems, test_set, regions, lambda done, total: tell("scoring", done, total))
    page = render(shown, test_set, regions, reference, videos, command, tell)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return shown


def render(
    systems: Sequence[ReportSystem],
    test_set: EvalDataset,
    regions: Regions,
    reference: str,
    videos: int,
    command: str,
    tell: Progress,
) -> str:
    """The page of systems that were gathered."""
    unit = Unit(test_set.unit)
    base = next(system for system in systems if system.name == reference)
    metric = f"LVE_{unit.length}"

    def error(system: ReportSystem) -> float:
        value = float(np.mean([system.total(split, metric) for split in test_set.splits]))
        return math.inf if math.isnan(value) else value

    best_first = [base, *sorted((s for s in systems if not s.sanity and s is not base), key=error)]
    sections = []
    for done, split in enumerate(test_set.splits, 1):
        sections.append(split_section(systems, test_set, split, reference))
        tell("tables and maps", done, len(test_set.splits))
    figures, drawn = [], clips_drawn(test_set)
    for done, clip in enumerate(drawn, 1):
        figures.append(clip_figure(systems, clip, unit))
        tell("curves", done, len(drawn))
    films: list[WorstClip] = []
    if videos and test_set.triangles is not None:
        chosen = worst(base, test_set, metric, videos)
        films = film(
            chosen,
            best_first[:FILMED],
            test_set,
            truth_of(systems),
            lambda done, total: tell("videos", done, total),
        )
    values: dict[str, Any] = {
        "systems": systems,
        "moving": moving(systems),
        "sections": sections,
        "figures": figures,
        "test_set": test_set,
        "regions": regions,
        "unit": unit,
        "reference": reference,
        "command": command,
        "version": __version__,
        "shown_at_first": [system.name for system in best_first[:SHOWN_AT_FIRST]],
        "level": LEVEL,
        "alpha": ALPHA,
        "published_known": len(PUBLISHED),
        "metric": metric,
    }
    template = _environment().get_template(TEMPLATE)
    size, fitting = len(template.render(**values, films=[], films_left_out=0).encode()), []
    for one in films:
        size += (len(one.mp4) + len(one.poster)) * 4 // 3
        if size <= MOST_BYTES:
            fitting.append(one)
    return template.render(**values, films=fitting, films_left_out=len(films) - len(fitting))


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jambatalk.evaluation.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "data_uri": data_uri}
    return environment
