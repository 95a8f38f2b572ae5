"""The table of results: value, interval, spread over seeds, the best, and what differs from the reference beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.phones import BILABIALS
from jambatalk.evaluation.accumulate import HIGHER, LOWER, NONE, ONE, ZERO, better
from jambatalk.evaluation.report.gather import System
from jambatalk.evaluation.report.glossary import ordered, split_name, term
from jambatalk.evaluation.statistics import (
    Difference,
    Interval,
    bootstrap_interval,
    compare_paired,
    corrected,
    over_seeds,
    units_of,
)
from jambatalk.evaluation.tables import GOOD, look_ahead, number
from jambatalk.evaluation.test_set import TestClip

Array = NDArray[Any]

BETTER, WORSE, UNCLEAR, FEW = "better", "worse", "unclear", "few"


@dataclass(frozen=True)
class Cell:
    """A number of the table. value: over all clips as ``jambatalk evaluate`` prints it, mean over seeds; nan for none.
    deviation: between seeds, nan for one. verdict: against the reference, "" where nothing is compared."""

    value: float
    interval: Interval
    deviation: float
    best: bool = False
    verdict: str = ""
    difference: Difference | None = None

    @property
    def text(self) -> str:
        return number(self.value)

    @property
    def bounds(self) -> str:
        """The interval in brackets, with as many decimals as tell its ends apart."""
        low, high = self.interval.low, self.interval.high
        if math.isnan(low) or (low == high == self.value):
            return ""
        return f"[{rounded(low, high - low)}, {rounded(high, high - low)}]"


@dataclass(frozen=True)
class Row:
    system: str
    sanity: bool
    reference: bool
    seeds: int
    parameters: str
    look_ahead: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    metric: str
    title: str
    unit: str
    good: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """The results on one split. unit: "clips" or "speakers", what intervals and tests are over."""

    split: str
    clips: int
    speakers: int
    unit: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def make_table(systems: Sequence[System], split: str, clips: Sequence[TestClip], reference: str) -> Table:
    """The table of one split. clips: of that split. reference: the system that the others are tested against."""
    known = dict.fromkeys(name for system in systems for name in system.scored[split][0].totals)
    metrics = [name for name in ordered(list(known)) if any(not math.isnan(s.total(split, name)) for s in systems)]
    units = units_of([clip.subject for clip in clips])
    columns = {metric: make_column(systems, split, clips, metric, reference, units) for metric in metrics}
    rows = [
        Row(
            system.name,
            system.sanity,
            system.name == reference,
            len(system.entries),
            "" if system.entries[0].parameters is None else f"{system.entries[0].parameters / 1e6:.2f} M",
            "" if system.sanity else look_ahead(system.entries[0].look_ahead_ms),
            tuple(columns[metric][system.name] for metric in metrics),
        )
        for system in systems
    ]
    heads = [Column(m, term(m).title, split_name(m)[1], GOOD.get(better(m), ""), term(m).meaning) for m in metrics]
    speakers = len({clip.subject for clip in clips})
    grouped = len(set(units)) == speakers < len(clips)
    return Table(split, len(clips), speakers, "speakers" if grouped else "clips", tuple(heads), tuple(rows))


def make_column(
    systems: Sequence[System], split: str, clips: Sequence[TestClip], metric: str, reference: str, units: Sequence[Any]
) -> dict[str, Cell]:
    """System -> cell. Tests are of all systems but the sanity rows against the reference, corrected among themselves."""
    weights = clip_weights(metric, clips)
    goal = better(metric)
    totals = {system.name: system.total(split, metric) for system in systems}
    compared = [system for system in systems if not system.sanity and not math.isnan(totals[system.name])]
    losses = {system.name: loss(totals[system.name], goal) for system in compared}
    least = min(losses.values(), default=math.nan)
    others = [system for system in compared if system.name != reference]
    verdicts: dict[str, tuple[str, Difference]] = {}
    if goal != NONE and reference in losses:
        base = loss(next(system for system in compared if system.name == reference).values(split, metric), goal)
        found = [compare_paired(loss(s.values(split, metric), goal), base, units, weights=weights) for s in others]
        verdicts = {s.name: (verdict(one), one) for s, one in zip(others, corrected(found))}
    column = {}
    for system in systems:
        values = system.values(split, metric)
        said, difference = verdicts.get(system.name, ("", None))
        column[system.name] = Cell(
            value=totals[system.name],
            interval=bootstrap_interval(values, units, weights=weights),
            deviation=over_seeds(values, weights).deviation,
            best=goal != NONE and len(compared) > 1 and losses.get(system.name, math.nan) == least,
            verdict=said,
            difference=difference,
        )
    return column


def loss(values: Any, goal: str) -> Any:
    """Values so that less is better, for each goal."""
    return {LOWER: values, HIGHER: -1 * values, ZERO: np.abs(values), ONE: np.abs(values - 1.0), NONE: values}[goal]


def verdict(difference: Difference) -> str:
    """Of a difference in loss from the reference."""
    if difference.too_few:
        return FEW
    return UNCLEAR if not difference.real else BETTER if difference.mean < 0 else WORSE


def clip_weights(metric: str, clips: Sequence[TestClip]) -> Array | None:
    """(C,) how much a clip counts in the metric's total; None for all alike."""
    if term(metric).frames:
        return np.array([clip.frames for clip in clips], np.float64)
    if metric == "closure_percent" and all(clip.phones for clip in clips):
        return np.array([sum(phone in BILABIALS for phone, _, _ in clip.phones or ()) for clip in clips], np.float64)
    return None


def rounded(value: float, width: float) -> str:
    """With so many decimals that the width shows two digits."""
    if not math.isfinite(value):
        return ""
    decimals = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{value:.2g}" if decimals > 8 else f"{value + 0.0:.{decimals}f}"
