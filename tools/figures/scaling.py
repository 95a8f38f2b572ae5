"""Draw what ``experiments/scaling`` found: error and cost against context and size.

    python tools/figures/scaling.py runs/scaling [--cost out/long_context.json] [-o docs/images]

RUN is the folder of ``jambatalk ablate experiments/scaling``; cost is measured by
``benchmarks/speed/long_context.py --settings grid/small``. Writes scaling-context and
scaling-size as PNG and SVG.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jambatalk.atomic import atomic_write
from jambatalk.datasets.report import require_matplotlib
from jambatalk.errors import InputError

BASE_WINDOW = 64
Rows = Sequence[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--cost", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    require_matplotlib()
    try:
        rows = json.loads((options.run / "table.json").read_text(encoding="utf-8"))["rows"]
        cost = json.loads(options.cost.read_text(encoding="utf-8")) if options.cost else []
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {options.run} has no table of an experiment ({error})", file=sys.stderr)
        return 2
    draw_context(rows, cost, options.out)
    draw_size(rows, options.out)
    return 0


def group(rows: Rows, name: str) -> Rows:
    """The rows of a group and the base, by the number in their names (the base's own is 64)."""
    chosen = [row for row in rows if row["group"] == name or row["variant"] == "base"]
    if len(chosen) < 2:
        raise InputError(f"the table has no rows of the group {name}")
    return chosen


def window(row: dict[str, Any]) -> int:
    """The attention window of a row, in frames."""
    return BASE_WINDOW if row["variant"] == "base" else int(row["variant"].rpartition("-")[2])


def draw_context(rows: Rows, cost: Rows, out: Path) -> None:
    """LVE against the window; time and memory of one decoder call against its length."""
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    points = sorted(group(rows, "context"), key=window)
    draw_errors(left, points, [window(row) for row in points], "attention window, frames")
    for name in dict.fromkeys(row["network"] for row in cost):
        found = sorted((row for row in cost if row["network"] == name), key=lambda r: r["frames"])
        lengths = [row["frames"] for row in found]
        each = [1e6 * row["seconds"] / row["frames"] for row in found]
        middle.plot(lengths, each, "o-", label=name)
        # A short call fits into what was needed before it: no point.
        grown = [row["peak_mb"] - row["start_mb"] or math.nan for row in found]
        right.plot(lengths, grown, "o-", label=name)
    for axes, label in ((middle, "decoder, µs a frame"), (right, "memory of one call, MB")):
        axes.set(xscale="log", yscale="log", xlabel="length, frames", ylabel=label)
        if cost:
            axes.legend()
    save(figure, out / "scaling-context")


def draw_size(rows: Rows, out: Path) -> None:
    """LVE, real-time factor and time of a training step against the number of parameters."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    points = sorted(group(rows, "size"), key=lambda row: row["parameters"])
    sizes = [row["parameters"] for row in points]
    draw_errors(left, points, sizes, "parameters")
    for key, style, label in (
        ("real_time_factor", "o-", "real-time factor, animating"),
        ("step_seconds", "s-", "seconds a training step"),
    ):
        right.plot(sizes, [row[key] for row in points], style, label=label)
    right.set(xscale="log", yscale="log", xlabel="parameters")
    right.legend()
    save(figure, out / "scaling-size")


def draw_errors(axes: Any, points: Rows, at: Sequence[float], label: str) -> None:
    """LVE of every split, ± the deviation over seeds."""
    for split in dict.fromkeys(cell["split"] for cell in points[0]["cells"]):
        cells = [
            next(c for c in row["cells"] if c["split"] == split and c["metric"].startswith("LVE"))
            for row in points
        ]
        spread = [cell["deviation"] or 0.0 for cell in cells]
        values = [cell["mean"] for cell in cells]
        axes.errorbar(at, values, spread, fmt="o-", capsize=3, label=split)
    axes.set(xscale="log", xlabel=label, ylabel=cells[0]["metric"])
    axes.legend()


def save(figure: Any, path: Path) -> None:
    """Write PNG and SVG."""
    from matplotlib.ticker import NullFormatter

    for axes in figure.axes:
        axes.xaxis.set_minor_formatter(NullFormatter())
    for suffix in (".png", ".svg"):
        with atomic_write(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, dpi=150)
        print(path.with_suffix(suffix))


if __name__ == "__main__":
    sys.exit(main())
