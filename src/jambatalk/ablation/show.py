"""A suite's table for eyes and for programs: text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from jambatalk.ablation.table import Cell, Row, Table, as_json, columns
from jambatalk.data.prepared import write_json
from jambatalk.evaluation.accumulate import HIGHER, LOWER, better
from jambatalk.evaluation.tables import number
from jambatalk.files import replacing

GOOD = {LOWER: "↓", HIGHER: "↑"}


def text_table(table: Table) -> str:
    """A block for each split: a row for each variant with mean ± deviation and verdict of every metric."""
    blocks = []
    for split in table.protocol:
        rows = [_head(table, split)] + [_cells(row, split) for row in table.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [table.protocol[split]]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, *(f"left out: {name}: {reason}" for name, reason in table.left_out.items())])


def markdown_table(table: Table) -> str:
    """The same as Markdown, with what each variant is and how the verdicts are made."""
    parts = [f"# {table.suite}\n\n{table.about}\n"]
    for split, protocol in table.protocol.items():
        head = _head(table, split)
        parts.append(f"## {split}\n\n{protocol}\n")
        lines = [head, ["---"] * len(head), *(_cells(row, split) for row in table.rows)]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    parts.append(
        "± is the sample standard deviation between seeds. A difference (to base, or to what the row is against) is better, "
        "worse or real where a paired test over clips and a test between seeds, corrected for all rows of the column (Holm), "
        "stay below 0.05 and the 95 % interval of the difference leaves out 0; otherwise it is not shown.\n"
    )
    what = [f"| {row.variant} | {row.group} | {row.about} | {row.against} |" for row in table.rows]
    parts.append("\n".join(["| variant | asks about | is | against |", "| --- | --- | --- | --- |", *what]) + "\n")
    parts += [f"Left out: {name}: {reason}\n" for name, reason in table.left_out.items()]
    return "\n".join(parts)


def save_table(folder: Path, table: Table) -> None:
    """Write table.json, table.md and table.csv, each whole or not at all."""
    write_json(folder / "table.json", as_json(table))
    with replacing(folder / "table.md") as temporary:
        temporary.write_text(markdown_table(table), encoding="utf-8")
    with replacing(folder / "table.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("variant", "against", "seeds", "parameters", "step_seconds", "real_time_factor", "split", "metric", "mean",
             "deviation", "difference", "low", "high", "p", "adjusted_p", "clips", "verdict")
        )  # fmt: skip
        for row in table.rows:
            for cell in row.cells:
                writer.writerow(
                    [row.variant, row.against, len(row.seeds), row.parameters, row.step_seconds, row.real_time_factor, cell.split,
                     cell.metric, cell.spread.mean, cell.spread.deviation, *_difference(cell), cell.verdict]
                )  # fmt: skip


def _difference(cell: Cell) -> list[float | str]:
    found = cell.difference
    return [""] * 6 if found is None else [found.mean, found.low, found.high, found.p, found.adjusted_p, found.units]


def _head(table: Table, split: str) -> list[str]:
    head = ["variant", "seeds", "parameters", "ms a step", "real-time factor"]
    for metric in (metric for metric, one in columns(table) if one == split):
        head += [f"{metric} {GOOD.get(better(metric), '')}".strip(), "difference [95 %]", ""]
    return head


def _cells(row: Row, split: str) -> list[str]:
    step = "-" if math.isnan(row.step_seconds) else f"{1000 * row.step_seconds:.0f}"
    cells = [row.variant, str(len(row.seeds)), f"{row.parameters:,}", step, number(row.real_time_factor)]
    for cell in (cell for cell in row.cells if cell.split == split):
        spread, found = cell.spread, cell.difference
        cells.append(f"{number(spread.mean)} ± {number(spread.deviation)}")
        cells.append("" if found is None else f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]")
        cells.append(cell.verdict)
    return cells
