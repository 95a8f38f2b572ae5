"""What the report shows of one split, and of one clip: numbers and pictures, ready for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jambatalk.evaluation.published import Published, published_beside
from jambatalk.evaluation.report.closure_table import CLASSES, ClassScore, SpokenClip, score_classes
from jambatalk.evaluation.report.curves import PAUSES, figure
from jambatalk.evaluation.report.forest import forest
from jambatalk.evaluation.report.gather import System
from jambatalk.evaluation.report.heat_maps import FrontView, Scale, shared_scale
from jambatalk.evaluation.report.pictures import data_uri
from jambatalk.evaluation.report.results import Table, make_table
from jambatalk.evaluation.sanity import TRUTH
from jambatalk.evaluation.test_set import TestClip, TestSet
from jambatalk.evaluation.units import Unit

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
    """Pictures of all systems and what their colours mean: one scale of errors, of the systems, and one of motion."""

    faces: tuple[FaceMap, ...]
    error: Scale
    moved: Scale


@dataclass(frozen=True)
class Closure:
    """rows: (system, class of phones -> score). counts: class -> (its phones, how many were spoken)."""

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


def split_section(systems: Sequence[System], test_set: TestSet, split: str, reference: str) -> SplitSection:
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


def face_maps(systems: Sequence[System], test_set: TestSet, clips: Sequence[TestClip]) -> Maps | None:
    """Error and motion of each vertex, mean over a system's entries, on the face of the first clip's subject."""
    if test_set.triangles is None:
        return None
    to_mm, split = Unit(test_set.unit).to_mm, clips[0].split
    errors, moved = {}, {}
    for system in systems:
        maps = [watch.maps[split] for watch in system.watches]
        errors[system.name] = np.mean([one.error for one in maps], axis=0) * to_mm
        moved[system.name] = np.mean([one.moved for one in maps], axis=0) * to_mm
    view = FrontView(clips[0].template, test_set.triangles)
    # A face that never moves errs more than any system: it would leave the systems in one dark colour.
    judged = [system.name for system in systems if not system.sanity] or list(errors)
    of_error, of_moved = shared_scale([errors[name] for name in judged]), shared_scale(list(moved.values()))
    faces = tuple(
        FaceMap(
            name,
            None if name == TRUTH else data_uri(view.paint(errors[name], of_error), "image/png"),
            data_uri(view.paint(moved[name], of_moved), "image/png"),
        )
        for name in errors
    )
    return Maps(faces, of_error, of_moved)


def closure(systems: Sequence[System], clips: Sequence[TestClip], unit: Unit) -> Closure | None:
    """What each class of phones does to the lips, from each system's first entry; openings in mm where the unit is known."""
    true = truth_of(systems)
    spoken = [
        SpokenClip(clip.name, clip.subject, clip.fps, true[clip.name] * unit.to_mm, clip.phones) for clip in clips if clip.phones
    ]
    if not spoken:
        return None
    rows = tuple(
        (
            system.name,
            score_classes(spoken, {clip.name: system.watches[0].openings[clip.name] * unit.to_mm for clip in spoken}),
        )
        for system in systems
    )
    return Closure(rows, {name: (members, rows[0][1][name].count) for name, members in CLASSES.items()})


def truth_of(systems: Sequence[System]) -> Mapping[str, np.ndarray]:
    """Clip -> its true opening (T,)."""
    return next(system for system in systems if system.name == TRUTH).watches[0].openings


def clips_drawn(test_set: TestSet) -> list[TestClip]:
    """Of each split, at most MOST_CURVES clips, evenly spread over it."""
    drawn: list[TestClip] = []
    for split in test_set.splits:
        clips = [clip for clip in test_set.clips if clip.split == split]
        drawn += [clips[int(n * max(1.0, len(clips) / MOST_CURVES))] for n in range(min(len(clips), MOST_CURVES))]
    return drawn


def clip_figure(systems: Sequence[System], clip: TestClip, unit: Unit) -> ClipFigure:
    """The opening curves of one clip: the truth, and the first entry of each of ``moving(systems)``."""
    words = clip.words or ()
    said = " ".join(word.text for word in words if word.text not in PAUSES)
    label = f"{clip.name}: {said}" if said else clip.name
    curves = {f"s{n}": system.watches[0].openings[clip.name] * unit.to_mm for n, system in enumerate(moving(systems))}
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


def moving(systems: Sequence[System]) -> list[System]:
    """All but the truth, in the order in which colours are given."""
    return [system for system in systems if system.name != TRUTH]
