"""One metric at a glance: a dot and its interval for each system, SVG."""

from __future__ import annotations

import math
from html import escape

from jambatalk.evaluation.report.heat_maps import nice_step
from jambatalk.evaluation.report.results import Table

WIDTH, LEFT, RIGHT, ROW, TOP, FOOT = 520, 150, 20, 26, 30, 40
LABEL = 20
"""Letters of a system's name that fit."""


def forest(table: Table, metric: str) -> str:
    """An ``<svg>`` of one metric of a table; "" where it has no number. The dashed line stands at the reference."""
    column = next(n for n, one in enumerate(table.columns) if one.metric == metric)
    head = table.columns[column]
    rows = [(row, row.cells[column]) for row in table.rows if not row.sanity and not math.isnan(row.cells[column].value)]
    if not rows:
        return ""
    ends = [v for _, cell in rows for v in (cell.value, cell.interval.low, cell.interval.high) if not math.isnan(v)]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin
    height = TOP + ROW * len(rows) + FOOT
    bottom = TOP + ROW * len(rows)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    title = f"{head.title}{', ' + head.unit if head.unit else ''}" + (f" ({head.good})" if head.good else "")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="forest" aria-label="{escape(title)} with intervals, by system">',
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
            parts.append(f'<line class="base" x1="{x(cell.value):.1f}" x2="{x(cell.value):.1f}" y1="{TOP}" y2="{bottom}"/>')
    for n, (row, cell) in enumerate(rows):
        y = TOP + ROW * (n + 0.5)
        label = row.system if len(row.system) <= LABEL else f"{row.system[: LABEL - 1]}…"
        weight = " best" if cell.best else ""
        parts.append(f'<text class="tick side{weight}" x="{LEFT - 10}" y="{y + 4:.1f}">{escape(label)}</text>')
        if not math.isnan(cell.interval.low):
            parts.append(
                f'<line class="range" x1="{x(cell.interval.low):.1f}" x2="{x(cell.interval.high):.1f}" y1="{y}" y2="{y}"/>'
            )
        parts.append(
            f'<circle class="dot{weight}" cx="{x(cell.value):.1f}" cy="{y}" r="5"><title>{escape(row.system)} {cell.text} '
            f"{cell.bounds}</title></circle>"
        )
    parts.append("</svg>")
    return "".join(parts)
