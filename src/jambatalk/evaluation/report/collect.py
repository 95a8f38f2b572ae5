"""Every system on every clip, once: its numbers, and what the pictures of the report are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalClip, EvalDataset
from jambatalk.evaluation.evaluate import Scored, evaluate
from jambatalk.evaluation.regions import Regions
from jambatalk.evaluation.report.figures import MotionMap
from jambatalk.evaluation.systems import TRUTH, Entry, open_entry, sanity_entries

Array = NDArray[Any]


@dataclass(frozen=True)
class Watch:
    """What is kept of one entry's motion. openings: clip -> (T,) in the set's unit. maps: split -> error and motion by vertex."""

    openings: dict[str, Array] = field(default_factory=dict)
    maps: dict[str, MotionMap] = field(default_factory=dict)

    def add(self, clip: EvalClip, offsets: Array, regions: Regions) -> None:
        self.openings[clip.name] = opening(offsets, clip.template, regions)
        self.maps.setdefault(clip.split, MotionMap(len(clip.template))).add(clip.truth, offsets)


@dataclass(frozen=True)
class System:
    """One row of the report: a model, or several trainings of it from other seeds.

    scored: split -> the scores of each of the entries. sanity: whether it only shows what the numbers mean.
    """

    name: str
    entries: tuple[Entry, ...]
    watches: tuple[Watch, ...]
    sanity: bool = False
    scored: dict[str, list[Scored]] = field(default_factory=dict)

    def values(self, split: str, metric: str) -> Array:
        """(S, C) scores by entry and clip, nan where there is none."""
        return np.array(
            [[row.get(metric, np.nan) for row in one.rows.values()] for one in self.scored[split]]
        )

    def total(self, split: str, metric: str) -> float:
        """Over all clips as ``evaluate`` prints it, mean over the entries."""
        return float(np.mean([one.totals.get(metric, np.nan) for one in self.scored[split]]))


def opening(offsets: Array, template: Array, regions: Regions) -> Array:
    """(T,) float64 distance of the two middle vertices of the inner lips; offsets (T, V, 3) from template (V, 3)."""
    upper, lower = regions.opening
    rest = template[upper].astype(np.float64) - template[lower]
    return np.asarray(
        np.linalg.norm(rest + offsets[:, upper].astype(np.float64) - offsets[:, lower], axis=1)
    )


def open_system(spec: str, test_set: EvalDataset) -> System:
    """What ``spec`` names, as ``open_entry``; several files of weights with commas between them are seeds of one system.

    InputError as there, and when seeds are named that are no files.
    """
    name, equals, rest = spec.partition("=")
    named = bool(equals and name and "/" not in name and not Path(spec).exists())
    parts = (rest if named else spec).split(",")
    if len(parts) == 1 or Path(rest if named else spec).exists():
        entries = [open_entry(spec, test_set)]
    else:
        if not all(parts):
            raise InputError(
                f"{spec!r} has nothing between two commas, expected NAME=FIRST,SECOND,... one for each seed"
            )
        entries = [open_entry(part, test_set) for part in parts]
    return System(
        name if named else entries[0].name, tuple(entries), tuple(Watch() for _ in entries)
    )


def gather(
    systems: Sequence[System],
    test_set: EvalDataset,
    regions: Regions,
    progress: Callable[[int, int], None] | None = None,
) -> list[System]:
    """Score the systems and the sanity rows that are not among them on all splits: the truth, the systems, the other rows.

    Fills in ``scored`` and ``watches``. InputError when two systems have one name, or predictions are of another mesh.
    """
    names = [system.name for system in systems]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InputError(
            f"two systems are called {twice[0]}: expected different names, NAME=MODEL gives one"
        )
    sanity = [
        System(entry.name, (entry,), (Watch(),), sanity=True) for entry in sanity_entries(test_set)
    ]
    plain = {one.name for one in sanity}
    shown = [replace(system, sanity=system.name in plain) for system in systems]
    shown += [one for one in sanity if one.name not in names]
    shown.sort(key=lambda system: (system.name != TRUTH, system.sanity))
    done, total = 0, len(test_set.clips) * sum(len(system.entries) for system in shown)

    def step(*_: Any) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for system in shown:
        for entry, watch in zip(system.entries, system.watches):
            seen = watching(entry, watch, regions)
            for scored in evaluate(
                [seen], test_set, regions, progress=step, sanity=False, speed=False, seeds=SEEDS
            ):
                system.scored.setdefault(scored.split, []).append(scored)
    return shown


SEEDS = range(3)
"""How often a model that draws at random is asked; the first answer gives the ordinary metrics and the pictures."""


def watching(entry: Entry, watch: Watch, regions: Regions) -> Entry:
    """The same entry, which also tells ``watch`` what it gives for the first seed."""

    def animate(clip: EvalClip, seed: int) -> Array:
        offsets = entry.animate(clip, seed)
        if seed == SEEDS[0]:
            watch.add(clip, offsets, regions)
        return offsets

    return replace(entry, animate=animate)
