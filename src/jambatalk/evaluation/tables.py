"""What ``evaluate`` found, for eyes and for programs: a text table, a JSON file and a CSV file of every clip."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jambatalk.data.prepared import write_json
from jambatalk.evaluation.accumulate import HIGHER, LOWER, ONE, ZERO, better
from jambatalk.evaluation.evaluate import Scored
from jambatalk.evaluation.published import Protocol, published_beside
from jambatalk.files import replacing

FORMAT = "jambatalk-evaluation-1"
RESULT, CLIPS = "result.json", "clips.csv"
ABSENT = "-"
GOOD = {LOWER: "lower is better", HIGHER: "higher is better", ZERO: "0 is best", ONE: "1 is best"}
PROTOCOL = ("system", "corpus", "scheme", "split", "unit", "region_hash", "data_hash")
"""The columns that begin every row of the CSV file."""


def text_table(scored: Sequence[Scored]) -> str:
    """One block for each split: the line of its protocol, then a row for each metric and a column for each system."""
    blocks = []
    for split in dict.fromkeys(one.split for one in scored):
        systems = [one for one in scored if one.split == split]
        rows = [["", *(one.system for one in systems)]]
        for metric in dict.fromkeys(name for one in systems for name in one.totals):
            if any(not math.isnan(one.totals.get(metric, math.nan)) for one in systems):
                rows.append([metric, *(number(one.totals.get(metric)) for one in systems)])
        rows += [
            ["parameters", *(ABSENT if (n := one.info.get("parameters")) is None else f"{n:,}" for one in systems)],
            ["look-ahead", *(look_ahead(one.info.get("look_ahead_ms")) for one in systems)],
            ["real-time factor", *(number(one.info.get("real_time_factor")) for one in systems)],
        ]
        told = [GOOD.get(better(row[0]), "") for row in rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [systems[0].protocol]
        for row, note in zip(rows, told):
            cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
            lines.append("  ".join([*cells, note]).rstrip())
        for beside in published_beside(systems[0]):
            table = f"{beside.protocol.source}, {beside.protocol.table} table"
            lines.append(f"published: {beside.system} {beside.metric} {number(beside.value)} ({table})")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def number(value: float | None) -> str:
    """Four significant digits; - for what is not known."""
    if value is None or math.isnan(value):
        return ABSENT
    return "0" if value == 0 else f"{value:.4g}"


def look_ahead(milliseconds: float | None) -> str:
    """In words."""
    if milliseconds is None or math.isnan(milliseconds):
        return ABSENT
    return "whole clip" if math.isinf(milliseconds) else f"{milliseconds:.0f} ms"


def as_json(scored: Sequence[Scored]) -> dict[str, Any]:
    """Everything, with null for nan; an infinite look-ahead is "whole clip"."""
    return {
        "format": FORMAT,
        "results": [
            {
                **{name: getattr(one, name) for name in (*PROTOCOL, "mask")},
                "protocol": one.protocol,
                "info": {name: _plain(value) for name, value in one.info.items()},
                "totals": {name: _plain(value) for name, value in one.totals.items()},
                "clips": {clip: {name: _plain(value) for name, value in row.items()} for clip, row in one.rows.items()},
                "published": [
                    {"system": beside.system, "metric": beside.metric, "value": beside.value, **_told(beside.protocol)}
                    for beside in published_beside(one)
                ],
            }
            for one in scored
        ],
    }


def _told(protocol: Protocol) -> dict[str, str]:
    return {"source": protocol.source, "table": protocol.table}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "whole clip"
    return value


def save_results(folder: Path, scored: Sequence[Scored]) -> None:
    """Write result.json and clips.csv into ``folder``, each whole or not at all."""
    write_json(folder / RESULT, as_json(scored))
    metrics = list(dict.fromkeys(name for one in scored for name in one.totals))
    with replacing(folder / CLIPS) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*PROTOCOL, "clip", *metrics])
        for one in scored:
            for clip, row in one.rows.items():
                values = [row.get(name, math.nan) for name in metrics]
                numbers = ["" if math.isnan(value) else repr(float(value)) for value in values]
                writer.writerow([*(getattr(one, name) for name in PROTOCOL), clip, *numbers])
