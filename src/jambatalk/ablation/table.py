"""What a suite found: mean ± deviation over seeds, the difference to what each variant is compared with, and which are real.

A difference is tested over seeds and clips (``evaluation.statistics.compare_paired``), and corrected by Holm's method for all
variants of one metric on one split.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jambatalk.ablation.score import RunScores
from jambatalk.ablation.suite import BASE, Suite
from jambatalk.errors import InputError
from jambatalk.evaluation.accumulate import HIGHER, LOWER, better
from jambatalk.evaluation.statistics import Difference, Spread, compare_paired, corrected, over_seeds, units_of

DEFAULT = ("LVE", "MVE", "opening_correlation")
"""Metrics of the printed table, by their names before the unit; the files hold all that are asked for."""
PER_FRAME = ("LVE", "MVE", "MOD")
"""Means over frames, where a long clip counts more."""


@dataclass(frozen=True)
class Cell:
    """One metric of one variant on one split. spread: over seeds. difference: to what it is compared with, None for the base.
    better: whether a real difference is for the better; None where there is none, or no such thing."""

    metric: str
    split: str
    spread: Spread
    difference: Difference | None
    better: bool | None

    @property
    def verdict(self) -> str:
        """What the difference comes to, in words; empty for the base."""
        if self.difference is None:
            return ""
        if not self.difference.real:
            return self.difference.verdict
        return "real" if self.better is None else "better" if self.better else "worse"


@dataclass(frozen=True)
class Row:
    """One variant. parameters: trainable. step_seconds: median over its trainings. real_time_factor: nan when not measured."""

    variant: str
    group: str
    about: str
    against: str
    seeds: tuple[int, ...]
    parameters: int
    step_seconds: float
    real_time_factor: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """All rows, the base first; left_out: rows that could not be had -> why; protocol: split -> what numbers hold under."""

    suite: str
    about: str
    rows: tuple[Row, ...]
    left_out: dict[str, str]
    protocol: dict[str, str]


def compare(suite: Suite, scores: Sequence[RunScores], metrics: Sequence[str] | None = None) -> Table:
    """The table of the trainings that were scored.

    metrics: names with or without their unit, None for DEFAULT. A variant whose reference has no training yet has no
    difference. InputError for an unknown metric, MissingExtraError without SciPy.
    """
    names = [name for name in suite.variants if any(one.variant == name for one in scores)]
    splits = list(scores[0].splits)
    wanted = _metrics(scores, metrics or DEFAULT)
    runs = {name: sorted((one for one in scores if one.variant == name), key=lambda one: one.seed) for name in names}
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for split in splits:
        clips = list(scores[0].splits[split])
        units = units_of([scores[0].subjects[clip] for clip in clips])
        frames = np.array([scores[0].frames[clip] for clip in clips], np.float64)
        for metric in wanted:
            weights = frames if metric.startswith(PER_FRAME) else None
            values = {
                name: np.array([[one.splits[split][clip][metric] for clip in clips] for one in runs[name]]) for name in names
            }
            pairs = [(name, suite.variants[name].against) for name in names if name != BASE]
            there = [(name, other) for name, other in pairs if other in runs]
            found = corrected([compare_paired(values[a], values[b], units, weights=weights) for a, b in there])
            differences = dict(zip((name for name, _ in there), found, strict=True))
            for name in names:
                difference = differences.get(name)
                cells[name].append(
                    Cell(metric, split, over_seeds(values[name], weights), difference, _is_better(metric, difference))
                )
    rows = [_row(suite, name, runs[name], cells[name]) for name in names]
    return Table(suite.name, suite.about, tuple(rows), suite.left_out, dict(scores[0].protocol))


def _row(suite: Suite, name: str, runs: Sequence[RunScores], cells: Sequence[Cell]) -> Row:
    variant = suite.variants[name]
    factors = [one.real_time_factor for one in runs if not math.isnan(one.real_time_factor)]
    return Row(
        name, variant.group, variant.about, "" if name == BASE else variant.against, tuple(one.seed for one in runs),
        runs[0].parameters, statistics.median(one.step_seconds for one in runs),
        statistics.median(factors) if factors else math.nan, tuple(cells),
    )  # fmt: skip


def _metrics(scores: Sequence[RunScores], wanted: Sequence[str]) -> list[str]:
    """Full names; a name without its unit is the first metric that begins so."""
    known = list(next(iter(scores[0].splits[next(iter(scores[0].splits))].values())))
    found = []
    for name in wanted:
        full = next((one for one in known if one == name or one.startswith(f"{name}_")), None)
        if full is None:
            raise InputError(f"no metric {name!r}: choose from {', '.join(known)}")
        found.append(full)
    return found


def _is_better(metric: str, difference: Difference | None) -> bool | None:
    kind = better(metric)
    if difference is None or not difference.real or kind not in (LOWER, HIGHER):
        return None
    return (difference.mean < 0) == (kind == LOWER)


def columns(table: Table) -> list[tuple[str, str]]:
    """(metric, split) of the cells, in order."""
    return [(cell.metric, cell.split) for cell in table.rows[0].cells]


def as_json(table: Table) -> dict[str, Any]:
    """Everything, with null for nan."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    def cell(one: Cell) -> dict[str, Any]:
        difference = one.difference
        return {
            "metric": one.metric, "split": one.split, "mean": plain(one.spread.mean), "deviation": plain(one.spread.deviation),
            "verdict": one.verdict,
            "difference": None if difference is None else {key: plain(value) for key, value in vars(difference).items()},
        }  # fmt: skip

    rows = [
        {**{key: plain(value) for key, value in vars(row).items() if key != "cells"}, "cells": [cell(one) for one in row.cells]}
        for row in table.rows
    ]
    return {
        "format": "jambatalk-ablation-1", "suite": table.suite, "about": table.about, "protocol": table.protocol,
        "left_out": table.left_out, "rows": rows,
    }  # fmt: skip
