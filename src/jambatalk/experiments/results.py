"""Score the trainings of a suite with the metrics of ``jambatalk evaluate``, and compare them.

Each training is scored once. A difference is tested over seeds and clips
(``evaluation.statistics.compare_paired``) and corrected by Holm's method for all rows of one metric
on one split.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.atomic import atomic_write, file_sha256, write_json
from jambatalk.datasets.regions import Regions
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import EvalDataset, find_regions, load_test_set
from jambatalk.evaluation.evaluate import Scored, evaluate
from jambatalk.evaluation.metrics import HIGHER, LOWER, METRICS, better
from jambatalk.evaluation.metrics.base import Unit
from jambatalk.evaluation.statistics import (
    Difference,
    Interval,
    Spread,
    bootstrap_interval,
    compare_paired,
    corrected,
    over_seeds,
    require_scipy,
    units_of,
)
from jambatalk.evaluation.systems import MEAN, STATIC, TRUTH, open_system, timing_clip
from jambatalk.evaluation.tables import look_ahead, number
from jambatalk.experiments.runner import DONE, Runner, logged, read_json
from jambatalk.experiments.suite import BASE, Suite

WEIGHTS, SCORES = "best.safetensors", "scores.json"
DEFAULT = ("LVE", "MVE", "opening_correlation")
"""Metrics of the printed table, by their names before the unit; the files hold all of them."""
PER_FRAME = ("LVE", "MVE", "MOD")
"""Means over frames, where a long clip counts more."""
UNKNOWN = Interval(math.nan, math.nan, math.nan)
REFERENCES = (TRUTH, STATIC, MEAN)

Rows = Mapping[str, Mapping[str, float]]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Scoring:
    """What the trainings of a suite are scored on."""

    test_set: EvalDataset
    regions: Regions
    extras: tuple[str, ...] = ()
    """Further systems, as for ``jambatalk evaluate``: rows that are not trained here."""


@dataclass(frozen=True)
class RunScores:
    """The scores and costs of one training; costs are nan where they were not measured.

    Attributes:
        splits: Split -> clip -> metric -> value, nan where it has none.
        subjects: Clip -> speaker.
        frames: Clip -> frames.
        step_seconds: Median time of an optimizer step as it was trained.
        real_time_factor: Of animating on this machine.
        protocol: Split -> what the numbers are comparable under.
        training_minutes: Of all steps.
        memory_mb: Peak of a process that loads the system and animates ten seconds.
    """

    variant: str
    seed: int
    splits: Mapping[str, Rows]
    subjects: Mapping[str, str]
    frames: Mapping[str, int]
    parameters: int
    step_seconds: float
    real_time_factor: float
    protocol: Mapping[str, str]
    look_ahead_ms: float = math.nan
    training_minutes: float = math.nan
    memory_mb: float = math.nan


def prepare_scoring(
    data: Path,
    suite: Suite,
    splits: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    regions: Callable[[EvalDataset], Regions] = find_regions,
    extras: Sequence[str] = (),
) -> Scoring:
    """Check everything that scoring needs, so that it cannot fail after the trainings.

    Args:
        data: The first corpus.
        splits: Of it; None for those named test...
        metrics: Of the printed table, with or without units.
        regions: Finds the regions of the test set.
        extras: Systems that are not trained here.

    Raises:
        InputError: There is no test split, no region, a clip or extra system cannot be read or a
            metric is unknown.
        MissingExtraError: SciPy is not installed.
    """
    require_scipy()
    test_set = load_test_set(data, splits, suite.run(BASE, 1).config.vertices.scheme or None)
    found = regions(test_set)
    found.check(test_set.vertices)
    unit = Unit(test_set.unit)
    full_names([metric.full_name(unit) for metric in METRICS], metrics or suite.metrics or DEFAULT)
    for clip in test_set.clips:
        if not len(clip.samples) or not np.isfinite(clip.truth).all():
            raise InputError(
                f"clip {clip.name} of {data} is empty or has values that are not finite"
            )
    for spec in extras:
        open_system(spec, test_set)
    return Scoring(test_set, found, tuple(extras))


def score_runs(runner: Runner, scoring: Scoring, log: Log = print) -> list[RunScores]:
    """Score all finished trainings, the extra systems and the references that the suite asks for.

    Scores of earlier calls are read from the runs' folders.

    Raises:
        InputError: No training is finished.
    """
    test_set, suite = scoring.test_set, runner.suite
    found: list[RunScores] = []
    timed: set[str] = set()
    for run in runner.runs:
        folder = runner.folder(run)
        if not (folder / DONE).exists():
            continue
        key = _key(folder, scoring.regions.hash, test_set.data_hash, test_set.splits)
        kept = read_json(folder / SCORES)
        if kept is None or kept.get("key") != key:
            log(f"scoring {run.variant}, seed {run.seed}")
            # The speed and memory of a variant are those of its first seed.
            first = run.variant not in timed
            kept = {"key": key, **_score(str(folder / WEIGHTS), scoring, first)}
            if first and suite.memory:
                kept["memory_mb"] = peak_memory(folder / WEIGHTS, test_set)
            with atomic_write(folder / SCORES) as temporary:
                temporary.write_text(json.dumps(kept), encoding="utf-8")
        timed.add(run.variant)
        done = read_json(folder / DONE) or {}
        seconds = [row["seconds"] for row in logged(folder) if "seconds" in row]
        one = _run_scores(run.variant, run.seed, kept, test_set)
        found.append(
            replace(
                one,
                parameters=int(str(done.get("parameters", 0))),
                step_seconds=statistics.median(seconds) if seconds else math.nan,
                training_minutes=sum(seconds) / 60 if seconds else math.nan,
            )
        )
    if not found:
        raise InputError(f"no training in {runner.out} is done, so there is nothing to compare")
    references = REFERENCES if test_set.has_training else REFERENCES[:2]
    for spec in (*scoring.extras, *(references if suite.references else ())):
        log(f"scoring {spec}")
        name = open_system(spec, test_set).name
        found.append(_run_scores(name, 0, _score(spec, scoring, spec in scoring.extras), test_set))
    return found


def _score(spec: str, scoring: Scoring, speed: bool) -> dict[str, Any]:
    """A system's scores as JSON."""
    system = open_system(spec, scoring.test_set)
    scored: Sequence[Scored] = evaluate(
        [system], scoring.test_set, scoring.regions, sanity=False, speed=speed
    )
    return {
        "splits": {
            one.split: {clip: _stored(row) for clip, row in one.rows.items()} for one in scored
        },
        "protocol": {one.split: one.protocol for one in scored},
        "real_time_factor": scored[0].info.get("real_time_factor"),
        "look_ahead_ms": system.look_ahead_ms,
        "parameters": system.parameters,
    }


def _run_scores(variant: str, seed: int, kept: Mapping[str, Any], data: EvalDataset) -> RunScores:
    def value(name: str) -> float:
        return math.nan if kept.get(name) is None else float(kept[name])

    return RunScores(
        variant=variant,
        seed=seed,
        splits={
            split: {clip: _restored(row) for clip, row in rows.items()}
            for split, rows in kept["splits"].items()
        },
        subjects={clip.name: clip.subject for clip in data.clips},
        frames={clip.name: clip.frames for clip in data.clips},
        parameters=kept.get("parameters") or 0,
        step_seconds=math.nan,
        real_time_factor=value("real_time_factor"),
        protocol=kept["protocol"],
        look_ahead_ms=value("look_ahead_ms"),
        memory_mb=value("memory_mb"),
    )


def _stored(row: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no nan."""
    return {name: value if value == value else None for name, value in row.items()}


def _restored(row: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in row.items()}


def _key(folder: Path, *parts: object) -> str:
    """Identifies what the scores depend on."""
    weights = file_sha256(folder / WEIGHTS)
    return hashlib.sha256(json.dumps([weights, *map(str, parts)]).encode()).hexdigest()


def peak_memory(weights: Path, test_set: EvalDataset) -> float | None:
    """Peak megabytes of a fresh process that animates ten seconds; None where it fails."""
    command = [sys.executable, "-m", __name__, str(test_set.folder), str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    return float(done.stdout) if done.returncode == 0 else None


def animate_and_print_peak(folder: str, weights: str) -> None:
    """The program of ``peak_memory``."""
    import resource

    test_set = load_test_set(folder)
    open_system(weights, test_set).offsets(timing_clip(test_set), 0, test_set.face)
    # On Linux getrusage also counts what the process was before exec: its parent.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    peak = own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1e6 if sys.platform == "darwin" else 1e3))


@dataclass(frozen=True)
class Cell:
    """One metric of one row on one split.

    Attributes:
        spread: Over seeds.
        difference: To what the row is compared with; None for the base.
        better: Whether a real difference is for the better; None where there is none, or neither
            direction is better.
        interval: Of the mean, over clips and seeds.
    """

    metric: str
    split: str
    spread: Spread
    difference: Difference | None
    better: bool | None
    interval: Interval = UNKNOWN

    @property
    def verdict(self) -> str:
        """better, worse, real, not shown or too few clips; empty for the base."""
        if self.difference is None:
            return ""
        if not self.difference.real:
            return self.difference.verdict
        return "real" if self.better is None else "better" if self.better else "worse"


@dataclass(frozen=True)
class Row:
    """One variant or extra system; costs are medians over its trainings, nan when not measured."""

    variant: str
    group: str
    about: str
    against: str
    seeds: tuple[int, ...]
    parameters: int
    step_seconds: float
    real_time_factor: float
    cells: tuple[Cell, ...]
    look_ahead_ms: float = math.nan
    training_minutes: float = math.nan
    memory_mb: float = math.nan


@dataclass(frozen=True)
class Table:
    """All rows, the base first.

    Attributes:
        left_out: Rows that could not be had -> why.
        protocol: Split -> what its numbers hold under.
    """

    suite: str
    about: str
    rows: tuple[Row, ...]
    left_out: dict[str, str]
    protocol: dict[str, str]


def compare(
    suite: Suite,
    scores: Sequence[RunScores],
    metrics: Sequence[str] | None = None,
    against: str | None = None,
) -> Table:
    """Make the table of the trainings and extra systems that were scored.

    A row whose counterpart has no training yet has no difference.

    Args:
        metrics: Names with or without their unit; None for the suite's.
        against: The row that all others are compared with; None for what each variant says.

    Raises:
        InputError: A metric or ``against`` is unknown.
        MissingExtraError: SciPy is not installed.
    """
    known = dict.fromkeys(one.variant for one in scores)
    names = [name for name in suite.variants if name in known]
    names += [name for name in known if name not in suite.variants]
    if against is not None and against not in names:
        raise InputError(f"no row {against!r} to compare with: choose from {', '.join(names)}")
    others = {name: _counterpart(suite, name, against) for name in names}
    splits = list(scores[0].splits)
    wanted = full_names(
        list(next(iter(scores[0].splits[splits[0]].values()))), metrics or suite.metrics or DEFAULT
    )
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
                    [
                        [one.splits[split][clip].get(metric, math.nan) for clip in clips]
                        for one in runs[name]
                    ]
                )
                for name in names
            }
            there = [(name, other) for name, other in others.items() if other in runs]
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
                        bootstrap_interval(values[name], units, weights=weights),
                    )
                )
    rows = [_row(suite, name, others[name], runs[name], cells[name]) for name in names]
    return Table(suite.name, suite.about, tuple(rows), suite.left_out, dict(scores[0].protocol))


def _counterpart(suite: Suite, name: str, against: str | None) -> str:
    """The row that a row is compared with; empty for none."""
    if name in REFERENCES or name == (against or BASE):
        return ""
    return against or (suite.variants[name].against if name in suite.variants else BASE)


def _row(
    suite: Suite, name: str, against: str, runs: Sequence[RunScores], cells: Sequence[Cell]
) -> Row:
    variant = suite.variants.get(name)

    def median(values: Sequence[float]) -> float:
        measured = [value for value in values if not math.isnan(value)]
        return statistics.median(measured) if measured else math.nan

    return Row(
        variant=name,
        group="" if variant is None else variant.group,
        about="" if variant is None else variant.about,
        against=against,
        seeds=tuple(one.seed for one in runs),
        parameters=runs[0].parameters,
        step_seconds=median([one.step_seconds for one in runs]),
        real_time_factor=median([one.real_time_factor for one in runs]),
        cells=tuple(cells),
        look_ahead_ms=runs[0].look_ahead_ms,
        training_minutes=median([one.training_minutes for one in runs]),
        memory_mb=median([one.memory_mb for one in runs]),
    )


def full_names(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Complete names of metrics; one without its unit is the first known one that begins so.

    Raises:
        InputError: A metric is unknown.
    """
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
    """List (metric, split) of the cells, in order."""
    return [(cell.metric, cell.split) for cell in table.rows[0].cells]


def as_json(table: Table) -> dict[str, Any]:
    """Give everything, with null for nan."""

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
            "low": plain(one.interval.low),
            "high": plain(one.interval.high),
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


# The table as text, Markdown, CSV and JSON.


GOOD = {LOWER: "↓", HIGHER: "↑"}


def text_table(table: Table) -> str:
    """Print a block for each split: mean ± deviation and verdict of every metric by row."""
    blocks = []
    for split in table.protocol:
        rows = [_head(table, split)] + [_cells(table, row, split) for row in table.rows]
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
    """Write the same as Markdown, with what each row is and how the verdicts are made."""
    parts = [f"# {table.suite}\n\n{table.about}\n"]
    for split, protocol in table.protocol.items():
        head = _head(table, split)
        parts.append(f"## {split}\n\n{protocol}\n")
        lines = [head, ["---"] * len(head), *(_cells(table, row, split) for row in table.rows)]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    parts.append(
        "± is the sample standard deviation between seeds. A difference (to base, or to what the "
        "row is against) is better, "
        "worse or real where a paired test over clips and a test between seeds, corrected for all "
        "rows of the column (Holm), "
        "stay below 0.05 and the 95 % interval of the difference leaves out 0; otherwise it is not "
        "shown.\n"
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
    if found is None:
        return [""] * 6
    return [found.mean, found.low, found.high, found.p, found.adjusted_p, found.units]


def _head(table: Table, split: str) -> list[str]:
    head = ["variant", "seeds", "parameters", "ms a step", "real-time factor"]
    head += ["minutes", "look-ahead"] + (["MB"] if _has_memory(table) else [])
    for metric in (metric for metric, one in columns(table) if one == split):
        head += [f"{metric} {GOOD.get(better(metric), '')}".strip(), "difference [95 %]", ""]
    return head


def _has_memory(table: Table) -> bool:
    return any(not math.isnan(row.memory_mb) for row in table.rows)


def _cells(table: Table, row: Row, split: str) -> list[str]:
    step = "-" if math.isnan(row.step_seconds) else f"{1000 * row.step_seconds:.0f}"
    cells = [
        row.variant,
        str(len(row.seeds)),
        f"{row.parameters:,}" if row.parameters else "-",
        step,
        number(row.real_time_factor),
        "-" if math.isnan(row.training_minutes) else f"{row.training_minutes:.1f}",
        look_ahead(row.look_ahead_ms),
    ]
    if _has_memory(table):
        cells.append("-" if math.isnan(row.memory_mb) else f"{row.memory_mb:.0f}")
    for cell in (cell for cell in row.cells if cell.split == split):
        spread, found = cell.spread, cell.difference
        cells.append(f"{number(spread.mean)} ± {number(spread.deviation)}")
        cells.append(
            "" if found is None else f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"
        )
        cells.append(cell.verdict)
    return cells


if __name__ == "__main__":
    animate_and_print_peak(*sys.argv[1:])
