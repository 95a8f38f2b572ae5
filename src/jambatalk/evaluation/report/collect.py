"""Score every system of a report once, and keep what its pictures are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.regions import Regions
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.evaluation.evaluate import Scored, evaluate
from jambatalk.evaluation.metrics.base import opening
from jambatalk.evaluation.report.figures import MotionMap
from jambatalk.evaluation.systems import TRUTH, System, check_names, open_system, reference_systems
from jambatalk.face.face import Face
from jambatalk.motion import Motion

Array = NDArray[Any]
SEEDS = range(3)
"""Of a stochastic system; the first gives the ordinary metrics and the pictures."""


@dataclass(frozen=True)
class MotionSummary:
    """What is kept of the motion of one run.

    Attributes:
        openings: Clip -> (T,) in the set's unit.
        maps: Split -> error and motion by vertex.
    """

    openings: dict[str, Array] = field(default_factory=dict)
    maps: dict[str, MotionMap] = field(default_factory=dict)

    def add(self, clip: EvalClip, offsets: Array, regions: Regions) -> None:
        """Add the predicted offsets (T, V, 3) of a clip."""
        assert clip.template is not None
        self.openings[clip.name] = opening(offsets, clip.template, regions)
        self.maps.setdefault(clip.split, MotionMap(len(clip.template))).add(clip.truth, offsets)


@dataclass(frozen=True)
class ReportSystem:
    """One row of the report: a system, or several trainings (runs) of it from other seeds.

    Attributes:
        summaries: Of the runs' motion.
        sanity: Whether it is a reference, which only shows what the numbers mean.
        scored: Split -> the scores of each run.
    """

    name: str
    runs: tuple[System, ...]
    summaries: tuple[MotionSummary, ...]
    sanity: bool = False
    scored: dict[str, list[Scored]] = field(default_factory=dict)

    def values(self, split: str, metric: str) -> Array:
        """(S, C) scores by run and clip, nan where there is none."""
        return np.array(
            [[row.get(metric, np.nan) for row in one.rows.values()] for one in self.scored[split]]
        )

    def total(self, split: str, metric: str) -> float:
        """The value over all clips as ``evaluate`` prints it, mean over the runs."""
        return float(np.mean([one.totals.get(metric, np.nan) for one in self.scored[split]]))


def open_report_system(spec: str, test_set: EvalDataset) -> ReportSystem:
    """Open what ``spec`` names, as ``open_system``; commas join the seeds of one system.

    Raises:
        InputError: As ``open_system``; also for a seed that names nothing.
    """
    name, equals, rest = spec.partition("=")
    named = bool(equals and name and "/" not in name and not Path(spec).exists())
    parts = (rest if named else spec).split(",")
    if len(parts) == 1 or Path(rest if named else spec).exists():
        runs = [open_system(spec, test_set)]
    elif not all(parts):
        raise InputError(
            f"{spec!r} has nothing between two commas, expected NAME=FIRST,SECOND,... one for "
            "each seed"
        )
    else:
        runs = [open_system(part, test_set) for part in parts]
    return _row(runs, name if named else runs[0].name)


def _row(runs: Sequence[System], name: str, sanity: bool = False) -> ReportSystem:
    return ReportSystem(name, tuple(runs), tuple(MotionSummary() for _ in runs), sanity)


def collect(
    systems: Sequence[ReportSystem],
    test_set: EvalDataset,
    regions: Regions,
    progress: Callable[[int, int], None] | None = None,
) -> list[ReportSystem]:
    """Score the systems and the reference systems not among them on all splits.

    Fills in ``scored`` and ``summaries``.

    Returns:
        The truth, the systems, the other references.

    Raises:
        InputError: Two systems have one name, or predictions are of another mesh.
    """
    check_names(systems)
    names = {system.name for system in systems}
    references = [_row([system], system.name, True) for system in reference_systems(test_set)]
    plain = {one.name for one in references}
    shown = [replace(system, sanity=system.name in plain) for system in systems]
    shown += [one for one in references if one.name not in names]
    shown.sort(key=lambda system: (system.name != TRUTH, system.sanity))
    done, total = 0, len(test_set.clips) * sum(len(system.runs) for system in shown)

    def step(*_: Any) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for system in shown:
        for run, summary in zip(system.runs, system.summaries):
            watched = _watched(run, summary, regions, test_set.face)
            for scored in evaluate(
                [watched], test_set, regions, progress=step, sanity=False, speed=False, seeds=SEEDS
            ):
                system.scored.setdefault(scored.split, []).append(scored)
    return shown


def _watched(system: System, summary: MotionSummary, regions: Regions, face: Face | None) -> System:
    """The same system, whose motion for the first seed is also added to ``summary``."""

    def animate(clip: EvalClip, seed: int) -> Motion:
        offsets = system.offsets(clip, seed, face)
        if seed == SEEDS[0]:
            summary.add(clip, offsets, regions)
        return Motion(clip.fps, offsets=offsets)

    return replace(system, animate=animate)
