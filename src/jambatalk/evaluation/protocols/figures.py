"""Numbers with the intervals that sentences drawn again give, and a table of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from jambatalk.evaluation.protocols.default_weights import Metrics
from jambatalk.evaluation.statistics import bootstrap_interval


@dataclass(frozen=True)
class Figure:
    """A number with the interval that sentences drawn again give (95 %), and how many there are."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    count: int = 0


Figures = dict[str, Figure]


def figure(values: Iterable[float]) -> Figure:
    """Average over sentences, with a bootstrap interval; nan values are left out."""
    kept = np.array([value for value in values if not math.isnan(value)])
    if not len(kept):
        return Figure(float("nan"))
    if len(kept) < 3:
        return Figure(float(kept.mean()), count=len(kept))
    interval = bootstrap_interval(kept)
    return Figure(float(kept.mean()), float(interval.low), float(interval.high), len(kept))


def as_numbers(figures: Figures) -> Metrics:
    """Flatten to name -> value, with the ends of intervals as ``name [low`` and ``name high]``."""
    numbers: Metrics = {}
    for name, found in figures.items():
        numbers[name] = found.value
        if not math.isnan(found.low):
            numbers |= {f"{name} [low": found.low, f"{name} high]": found.high}
    return numbers


def table(columns: Mapping[str, Figures]) -> str:
    """Write a Markdown table: a row for each number, a column for each system."""
    names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in names:
        cells = []
        for figures in columns.values():
            found = figures.get(name)
            if found is None or math.isnan(found.value):
                cells.append("–")
            elif math.isnan(found.low):
                cells.append(f"{found.value:.3f}")
            else:
                cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
