"""The report's table of results: values, intervals, spread over seeds and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.evaluation.dataset import EvalClip
from jambatalk.evaluation.metrics import HIGHER, LOWER, NONE, ONE, ZERO, better, metric_of
from jambatalk.evaluation.report.collect import ReportSystem
from jambatalk.evaluation.report.figures import nice_step
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
from jambatalk.text.phones import BILABIALS

Array = NDArray[Any]

BETTER, WORSE, UNCLEAR, FEW = "better", "worse", "unclear", "few"
UNIT_SIGNS = {
    "percent": "%",
    "own": "unit",
    "own2": "unit²",
    **{unit: unit for unit in ("mm", "ms")},
    **{f"{unit}2": f"{unit}²" for unit in ("mm", "cm", "m")},
}
"""The last part of a metric's full name -> its unit as it is printed."""


@dataclass(frozen=True)
class Cell:
    """A number of the table.

    Attributes:
        value: Over all clips as ``jambatalk evaluate`` prints it, mean over seeds; nan for none.
        deviation: Between seeds, nan for one.
        verdict: Against the reference, "" where nothing is compared.
    """

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


def make_table(
    systems: Sequence[ReportSystem], split: str, clips: Sequence[EvalClip], reference: str
) -> Table:
    """Make the table of one split.

    Args:
        clips: Of that split.
        reference: The system that the others are tested against.
    """
    known = dict.fromkeys(name for system in systems for name in system.scored[split][0].totals)
    metrics = [name for name in known if any(not math.isnan(s.total(split, name)) for s in systems)]
    units = units_of([clip.subject for clip in clips])
    columns = {
        metric: make_column(systems, split, clips, metric, reference, units) for metric in metrics
    }
    rows = [
        Row(
            system.name,
            system.sanity,
            system.name == reference,
            len(system.runs),
            "" if system.runs[0].parameters is None else f"{system.runs[0].parameters / 1e6:.2f} M",
            "" if system.sanity else look_ahead(system.runs[0].look_ahead_ms),
            tuple(columns[metric][system.name] for metric in metrics),
        )
        for system in systems
    ]
    heads = [make_head(metric) for metric in metrics]
    speakers = len({clip.subject for clip in clips})
    grouped = len(set(units)) == speakers < len(clips)
    return Table(
        split, len(clips), speakers, "speakers" if grouped else "clips", tuple(heads), tuple(rows)
    )


def make_head(name: str) -> Column:
    """Describe a metric by its full name; an unknown one stands for itself."""
    metric = metric_of(name)
    unit = UNIT_SIGNS.get(name.rpartition("_")[2], "")
    if metric is None:
        return Column(name, name, unit, "", "")
    return Column(name, metric.title, unit, GOOD.get(metric.better, ""), metric.about)


def make_column(
    systems: Sequence[ReportSystem],
    split: str,
    clips: Sequence[EvalClip],
    metric: str,
    reference: str,
    units: Sequence[Any],
) -> dict[str, Cell]:
    """System -> cell; all but the references are tested against ``reference``, Holm-corrected."""
    weights = clip_weights(metric, clips)
    goal = better(metric)
    totals = {system.name: system.total(split, metric) for system in systems}
    compared = [
        system for system in systems if not system.sanity and not math.isnan(totals[system.name])
    ]
    losses = {system.name: loss(totals[system.name], goal) for system in compared}
    least = min(losses.values(), default=math.nan)
    others = [system for system in compared if system.name != reference]
    verdicts: dict[str, tuple[str, Difference]] = {}
    if goal != NONE and reference in losses:
        base = loss(
            next(system for system in compared if system.name == reference).values(split, metric),
            goal,
        )
        found = [
            compare_paired(loss(s.values(split, metric), goal), base, units, weights=weights)
            for s in others
        ]
        verdicts = {s.name: (verdict(one), one) for s, one in zip(others, corrected(found))}
    column = {}
    for system in systems:
        values = system.values(split, metric)
        judged, difference = verdicts.get(system.name, ("", None))
        column[system.name] = Cell(
            value=totals[system.name],
            interval=bootstrap_interval(values, units, weights=weights),
            deviation=over_seeds(values, weights).deviation,
            best=goal != NONE and len(compared) > 1 and losses.get(system.name, math.nan) == least,
            verdict=judged,
            difference=difference,
        )
    return column


def loss(values: Any, goal: str) -> Any:
    """Values so that less is better, for each goal."""
    return {
        LOWER: values,
        HIGHER: -1 * values,
        ZERO: np.abs(values),
        ONE: np.abs(values - 1.0),
        NONE: values,
    }[goal]


def verdict(difference: Difference) -> str:
    """Of a difference in loss from the reference."""
    if difference.too_few:
        return FEW
    return UNCLEAR if not difference.real else BETTER if difference.mean < 0 else WORSE


def clip_weights(metric: str, clips: Sequence[EvalClip]) -> Array | None:
    """(C,) how much a clip counts in the metric's total; None for all alike."""
    known = metric_of(metric)
    if known is not None and known.pooled:
        return np.array([clip.frames for clip in clips], np.float64)
    if metric == "closure_percent" and all(clip.phones for clip in clips):
        return np.array(
            [sum(phone in BILABIALS for phone, _, _ in clip.phones or ()) for clip in clips],
            np.float64,
        )
    return None


def rounded(value: float, width: float) -> str:
    """With so many decimals that the width shows two digits."""
    if not math.isfinite(value):
        return ""
    decimals = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{value:.2g}" if decimals > 8 else f"{value + 0.0:.{decimals}f}"


# One metric at a glance: a dot and its interval for each system, SVG.


WIDTH, LEFT, RIGHT, ROW, TOP, FOOT = 520, 150, 20, 26, 30, 40
LABEL = 20
"""Letters of a system's name that fit."""


def forest(table: Table, metric: str) -> str:
    """Draw one metric of a table as ``<svg>``; "" where it has no number.

    The dashed line stands at the reference.
    """
    column = next(n for n, one in enumerate(table.columns) if one.metric == metric)
    head = table.columns[column]
    rows = [
        (row, row.cells[column])
        for row in table.rows
        if not row.sanity and not math.isnan(row.cells[column].value)
    ]
    if not rows:
        return ""
    ends = [
        v
        for _, cell in rows
        for v in (cell.value, cell.interval.low, cell.interval.high)
        if not math.isnan(v)
    ]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin
    height = TOP + ROW * len(rows) + FOOT
    bottom = TOP + ROW * len(rows)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    title = f"{head.title}{', ' + head.unit if head.unit else ''}" + (
        f" ({head.good})" if head.good else ""
    )
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="forest" '
        f'aria-label="{escape(title)} with intervals, by system">',
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="18">{escape(title)}</text>',
    ]
    step = nice_step((high - low) / 6)
    for n in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = x(n * step)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
            f'<text class="tick" x="{at:.1f}" y="{bottom + 18}">{round(n * step, 10):g}</text>'
        )
    for row, cell in rows:
        if row.reference:
            parts.append(
                f'<line class="base" x1="{x(cell.value):.1f}" x2="{x(cell.value):.1f}" y1="{TOP}" '
                f'y2="{bottom}"/>'
            )
    for n, (row, cell) in enumerate(rows):
        y = TOP + ROW * (n + 0.5)
        label = row.system if len(row.system) <= LABEL else f"{row.system[: LABEL - 1]}…"
        weight = " best" if cell.best else ""
        parts.append(
            f'<text class="tick side{weight}" x="{LEFT - 10}" y="{y + 4:.1f}">'
            f"{escape(label)}</text>"
        )
        if not math.isnan(cell.interval.low):
            parts.append(
                f'<line class="range" x1="{x(cell.interval.low):.1f}" '
                f'x2="{x(cell.interval.high):.1f}" y1="{y}" y2="{y}"/>'
            )
        parts.append(
            f'<circle class="dot{weight}" cx="{x(cell.value):.1f}" cy="{y}" r="5">'
            f"<title>{escape(row.system)} {cell.text} {cell.bounds}</title></circle>"
        )
    parts.append("</svg>")
    return "".join(parts)
