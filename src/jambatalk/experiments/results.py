"""Scores the trainings of a suite clip by clip, with the metrics of ``jambatalk evaluate``; each training once."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.atomic import atomic_write, file_sha256
from jambatalk.datasets.dataset import write_json
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics import HIGHER, LOWER, better
from jambatalk.evaluation.statistics import (
    Difference,
    Spread,
    compare_paired,
    corrected,
    over_seeds,
    units_of,
)
from jambatalk.evaluation.tables import number
from jambatalk.experiments.runner import DONE, Runner, logged, read_json
from jambatalk.experiments.suite import BASE, Run, Suite

WEIGHTS, SCORES = "best.safetensors", "scores.json"

Rows = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RunScores:
    """A training's scores. splits: split -> clip -> metric -> value, nan where it has none. subjects: clip -> speaker.
    frames: clip -> frames. step_seconds: median time of an optimiser step as it was trained. real_time_factor: of animating on
    this machine, nan where it was not measured. protocol: split -> what the numbers are comparable under."""

    variant: str
    seed: int
    splits: Mapping[str, Rows]
    subjects: Mapping[str, str]
    frames: Mapping[str, int]
    parameters: int
    step_seconds: float
    real_time_factor: float
    protocol: Mapping[str, str]


def score_runs(
    runner: Runner, splits: Sequence[str] | None = None, say: Callable[[str], None] = print
) -> list[RunScores]:
    """The scores of all trainings that are done, those of before read from their folders.

    splits: of the first corpus; None takes those whose names begin with "test". Raises as ``load_test_set``.
    """
    from jambatalk.evaluation.dataset import load_test_set
    from jambatalk.evaluation.evaluate import evaluate
    from jambatalk.evaluation.regions import find_regions

    test_set = load_test_set(runner.data[0], splits, runner.runs[0].config.vertices.scheme or None)
    regions = find_regions(test_set)
    subjects = {clip.name: clip.subject for clip in test_set.clips}
    frames = {clip.name: clip.frames for clip in test_set.clips}
    found, timed = [], set()
    for run in runner.runs:
        folder = runner.folder(run)
        if not (folder / DONE).exists():
            continue
        key = _key(folder, regions.hash, test_set.data_hash, test_set.splits)
        kept = read_json(folder / SCORES)
        if kept is None or kept.get("key") != key:
            say(f"scoring {run.variant}, seed {run.seed}")
            # The first seed of a variant tells its speed.
            scored = evaluate(
                [_entry(folder / WEIGHTS, test_set)],
                test_set,
                regions,
                sanity=False,
                speed=run.variant not in timed,
            )
            kept = {
                "key": key,
                "splits": {
                    one.split: {clip: _stored(row) for clip, row in one.rows.items()}
                    for one in scored
                },
                "protocol": {one.split: one.protocol for one in scored},
                "real_time_factor": scored[0].info.get("real_time_factor"),
            }
            with atomic_write(folder / SCORES) as temporary:
                temporary.write_text(json.dumps(kept), encoding="utf-8")
        timed.add(run.variant)
        found.append(_scores(run, folder, kept, subjects, frames))
    if not found:
        raise InputError(f"no training in {runner.out} is done, so there is nothing to compare")
    return found


def _entry(path: Path, test_set: Any) -> Any:
    from jambatalk.evaluation.systems import open_system

    return open_system(str(path), test_set)


def _scores(
    run: Run,
    folder: Path,
    kept: Mapping[str, Any],
    subjects: Mapping[str, str],
    frames: Mapping[str, int],
) -> RunScores:
    done = read_json(folder / DONE) or {}
    seconds = [row["seconds"] for row in logged(folder) if "seconds" in row]
    factor = kept.get("real_time_factor")
    splits = {
        split: {clip: _restored(row) for clip, row in rows.items()}
        for split, rows in kept["splits"].items()
    }
    return RunScores(
        run.variant,
        run.seed,
        splits,
        subjects,
        frames,
        int(str(done.get("parameters", 0))),
        statistics.median(seconds) if seconds else float("nan"),
        float("nan") if factor is None else float(factor),
        kept["protocol"],
    )


def _stored(row: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no nan."""
    return {name: value if value == value else None for name, value in row.items()}


def _restored(row: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in row.items()}


def _key(folder: Path, *parts: object) -> str:
    """What the scores hang on."""
    weights = file_sha256(folder / WEIGHTS)
    return hashlib.sha256(json.dumps([weights, *map(str, parts)]).encode()).hexdigest()


# What a suite found: mean ± deviation over seeds, the difference to what each variant is compared with, and which are real.
#
# A difference is tested over seeds and clips (``evaluation.statistics.compare_paired``), and corrected by Holm's method for all
# variants of one metric on one split.


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


def compare(
    suite: Suite, scores: Sequence[RunScores], metrics: Sequence[str] | None = None
) -> Table:
    """The table of the trainings that were scored.

    metrics: names with or without their unit, None for DEFAULT. A variant whose reference has no training yet has no
    difference. InputError for an unknown metric, MissingExtraError without SciPy.
    """
    names = [name for name in suite.variants if any(one.variant == name for one in scores)]
    splits = list(scores[0].splits)
    wanted = _metrics(scores, metrics or DEFAULT)
    runs = {
        name: sorted((one for one in scores if one.variant == name), key=lambda one: one.seed)
        for name in names
    }
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for split in splits:
        clips = list(scores[0].splits[split])
        units = units_of([scores[0].subjects[clip] for clip in clips])
        frames = np.array([scores[0].frames[clip] for clip in clips], np.float64)
        for metric in wanted:
            weights = frames if metric.startswith(PER_FRAME) else None
            values = {
                name: np.array(
                    [[one.splits[split][clip][metric] for clip in clips] for one in runs[name]]
                )
                for name in names
            }
            pairs = [(name, suite.variants[name].against) for name in names if name != BASE]
            there = [(name, other) for name, other in pairs if other in runs]
            found = corrected(
                [compare_paired(values[a], values[b], units, weights=weights) for a, b in there]
            )
            differences = dict(zip((name for name, _ in there), found, strict=True))
            for name in names:
                difference = differences.get(name)
                cells[name].append(
                    Cell(
                        metric,
                        split,
                        over_seeds(values[name], weights),
                        difference,
                        _is_better(metric, difference),
                    )
                )
    rows = [_row(suite, name, runs[name], cells[name]) for name in names]
    return Table(suite.name, suite.about, tuple(rows), suite.left_out, dict(scores[0].protocol))


def _row(suite: Suite, name: str, runs: Sequence[RunScores], cells: Sequence[Cell]) -> Row:
    variant = suite.variants[name]
    factors = [one.real_time_factor for one in runs if not math.isnan(one.real_time_factor)]
    return Row(
        name,
        variant.group,
        variant.about,
        "" if name == BASE else variant.against,
        tuple(one.seed for one in runs),
        runs[0].parameters,
        statistics.median(one.step_seconds for one in runs),
        statistics.median(factors) if factors else math.nan,
        tuple(cells),
    )


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
            "metric": one.metric,
            "split": one.split,
            "mean": plain(one.spread.mean),
            "deviation": plain(one.spread.deviation),
            "verdict": one.verdict,
            "difference": None
            if difference is None
            else {key: plain(value) for key, value in vars(difference).items()},
        }

    rows = [
        {
            **{key: plain(value) for key, value in vars(row).items() if key != "cells"},
            "cells": [cell(one) for one in row.cells],
        }
        for row in table.rows
    ]
    return {
        "format": "jambatalk-ablation-1",
        "suite": table.suite,
        "about": table.about,
        "protocol": table.protocol,
        "left_out": table.left_out,
        "rows": rows,
    }


# A suite's table for eyes and for programs: text, Markdown, CSV and JSON.


GOOD = {LOWER: "↓", HIGHER: "↑"}


def text_table(table: Table) -> str:
    """A block for each split: a row for each variant with mean ± deviation and verdict of every metric."""
    blocks = []
    for split in table.protocol:
        rows = [_head(table, split)] + [_cells(row, split) for row in table.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [table.protocol[split]]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(
        [*blocks, *(f"left out: {name}: {reason}" for name, reason in table.left_out.items())]
    )


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
    parts.append(
        "\n".join(["| variant | asks about | is | against |", "| --- | --- | --- | --- |", *what])
        + "\n"
    )
    parts += [f"Left out: {name}: {reason}\n" for name, reason in table.left_out.items()]
    return "\n".join(parts)


def save_table(folder: Path, table: Table) -> None:
    """Write table.json, table.md and table.csv, each whole or not at all."""
    write_json(folder / "table.json", as_json(table))
    with atomic_write(folder / "table.md") as temporary:
        temporary.write_text(markdown_table(table), encoding="utf-8")
    with (
        atomic_write(folder / "table.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(
            (
                "variant",
                "against",
                "seeds",
                "parameters",
                "step_seconds",
                "real_time_factor",
                "split",
                "metric",
                "mean",
                "deviation",
                "difference",
                "low",
                "high",
                "p",
                "adjusted_p",
                "clips",
                "verdict",
            )
        )
        for row in table.rows:
            for cell in row.cells:
                writer.writerow(
                    [
                        row.variant,
                        row.against,
                        len(row.seeds),
                        row.parameters,
                        row.step_seconds,
                        row.real_time_factor,
                        cell.split,
                        cell.metric,
                        cell.spread.mean,
                        cell.spread.deviation,
                        *_difference(cell),
                        cell.verdict,
                    ]
                )


def _difference(cell: Cell) -> list[float | str]:
    found = cell.difference
    return (
        [""] * 6
        if found is None
        else [found.mean, found.low, found.high, found.p, found.adjusted_p, found.units]
    )


def _head(table: Table, split: str) -> list[str]:
    head = ["variant", "seeds", "parameters", "ms a step", "real-time factor"]
    for metric in (metric for metric, one in columns(table) if one == split):
        head += [f"{metric} {GOOD.get(better(metric), '')}".strip(), "difference [95 %]", ""]
    return head


def _cells(row: Row, split: str) -> list[str]:
    step = "-" if math.isnan(row.step_seconds) else f"{1000 * row.step_seconds:.0f}"
    cells = [
        row.variant,
        str(len(row.seeds)),
        f"{row.parameters:,}",
        step,
        number(row.real_time_factor),
    ]
    for cell in (cell for cell in row.cells if cell.split == split):
        spread, found = cell.spread, cell.difference
        cells.append(f"{number(spread.mean)} ± {number(spread.deviation)}")
        cells.append(
            "" if found is None else f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"
        )
        cells.append(cell.verdict)
    return cells
