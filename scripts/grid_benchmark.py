"""The open benchmark: every system of configs/grid trained on GRID-468, some seeds each, and the table of all of them.

    python scripts/grid_benchmark.py train DATA [--runs runs/grid] [--seeds 3] [--jobs 1] [--only NAME ...]
    python scripts/grid_benchmark.py table DATA [--runs runs/grid] [--extra NAME=SPEC ...] [-o DIR]

DATA is made by ``jambatalk data prepare grid468 GRID DATA``. ``train`` goes on where it was stopped: runs that are done are
left alone, a half-finished one is resumed. ``table`` scores each run's best weights on test_seen and test_unseen, prints mean
± deviation over seeds, tells which differences from the reference system are real, and writes table.md and table.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.atomic import atomic_write
from jambatalk.datasets.dataset import write_json
from jambatalk.errors import InputError
from jambatalk.evaluation.dataset import load_test_set
from jambatalk.evaluation.evaluate import Scored, evaluate
from jambatalk.evaluation.regions import Regions
from jambatalk.evaluation.statistics import (
    bootstrap_interval,
    compare_paired,
    corrected,
    over_seeds,
    units_of,
)
from jambatalk.evaluation.systems import Entry, open_entry

CONFIGS = Path(__file__).parents[1] / "configs" / "grid"
SPLITS = ("test_seen", "test_unseen")
REFERENCE = "jambatalk"
TESTED = ("LVE_cm2", "opening_correlation")
COLUMNS = (
    ("LVE_cm2", "LVE cm²", 4),
    ("LVE_mm", "LVE mm", 2),
    ("MVE_mm", "MVE mm", 3),
    ("FDD_cm2", "FDD cm²", 4),
    ("MOD_mm", "MOD mm", 2),
    ("LDTW_mm", "LDTW mm", 3),
    ("MTM_ms", "MTM ms", 0),
    ("jitter_mm", "jitter mm", 3),
    ("lag_ms", "lag ms", 0),
    ("closure_percent", "closed %", 0),
    ("opening_correlation", "opening r", 3),
)
MEMORY = """
import resource, sys
from pathlib import Path
from jambatalk.evaluation.systems import open_entry
from jambatalk.evaluation.dataset import load_test_set
from jambatalk.evaluation.speed import timing_clip
tests = load_test_set(sys.argv[1], ["test_seen"])
entry = open_entry(sys.argv[2], tests)
entry.animate(timing_clip(tests), 0)
# On Linux getrusage also counts what the process was before exec: its parent.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
print(own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("train", "table"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/grid"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    parser.add_argument(
        "--only", nargs="*", default=[], help="systems, by the names of their settings"
    )
    parser.add_argument(
        "--extra",
        nargs="*",
        default=[],
        metavar="NAME=SPEC",
        help="rows without seeds, such as visemes",
    )
    parser.add_argument("-o", "--out", type=Path, default=None)
    options = parser.parse_args()
    try:
        return train(options) if options.what == "train" else table(options)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


def train(options: argparse.Namespace) -> int:
    names = options.only or sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    # Seed by seed, so that an early look compares all systems.
    wanted = [(name, seed) for seed in range(1, options.seeds + 1) for name in names]
    with ThreadPoolExecutor(options.jobs) as pool:
        codes = list(pool.map(lambda one: run_one(options, *one), wanted))
    return max(codes, default=0)


def run_one(options: argparse.Namespace, name: str, seed: int) -> int:
    folder: Path = options.runs / f"{name}-{seed}"
    if (folder / "done").exists():
        return 0
    command = [
        sys.executable,
        "-m",
        "jambatalk",
        "train",
        str(CONFIGS / f"{name}.yaml"),
        "--data",
        str(options.data),
        "--set",
        f"seed={seed}",
        "--run",
        str(folder),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("ab") as output:
        threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        code = subprocess.run(
            command, stdout=output, stderr=output, env={**os.environ, **threads}
        ).returncode
    print(
        f"{name}, seed {seed}: {'done' if code == 0 else f'failed with status {code}, see {folder}/output.txt'}",
        flush=True,
    )
    if code == 0:
        (folder / "done").touch()
    return code


def table(options: argparse.Namespace) -> int:
    tests = load_test_set(options.data, list(SPLITS))
    regions = Regions.load(options.data / "regions.json", tests.vertices)
    groups: dict[str, list[Entry]] = {}
    trained: dict[str, list[float]] = {}
    for folder in sorted(path for path in options.runs.glob("*-*") if (path / "done").exists()):
        name, _, seed = folder.name.rpartition("-")
        if options.only and name not in options.only:
            continue
        groups.setdefault(name, []).append(
            replace(open_entry(str(folder / "best.safetensors"), tests), name=f"{name}-{seed}")
        )
        log = [
            json.loads(line)
            for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        trained.setdefault(name, []).append(sum(line["seconds"] for line in log) / 60)
    for extra in options.extra:
        entry = open_entry(extra, tests)
        groups[entry.name] = [entry]
    if not groups:
        raise InputError(f"{options.runs} holds no finished run: train first")
    entries = [entry for group in groups.values() for entry in group]
    scored = evaluate(
        entries,
        tests,
        regions,
        SPLITS,
        progress=lambda s, a, b: print(f"\r{s} {a}/{b}   ", end="", file=sys.stderr),
    )
    print(file=sys.stderr)
    memory = {name: peak_memory(options.data, group[0]) for name, group in groups.items()}
    for name in ("truth", "static", "mean"):
        groups[name] = [open_entry(name, tests)]
    found: dict[str, Any] = {}
    subjects = {clip.name: clip.subject for clip in tests.clips}
    text = []
    for split in SPLITS:
        by_name = {one.system: one for one in scored if one.split == split}
        seeds = {name: [by_name[entry.name] for entry in group] for name, group in groups.items()}
        found[split] = numbers(seeds, trained, memory, subjects)
        text += markdown(split, found[split], next(iter(by_name.values())))
    out: Path = options.out or options.runs
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "table.json", found)
    with atomic_write(out / "table.md") as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))
    return 0


def peak_memory(data: Path, entry: Entry) -> float | None:
    """Megabytes at most of a fresh process that loads the system and animates ten seconds; None where it has no file."""
    if entry.path is None:
        return None
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(data), str(entry.path)], capture_output=True, text=True
    )
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return float(done.stdout) / unit if done.returncode == 0 else None


def scores(seeds: Sequence[Scored], metric: str) -> np.ndarray:
    """(S, C) of a metric, seeds by clips."""
    return np.array(
        [[row.get(metric, np.nan) for row in one.rows.values()] for one in seeds], float
    )


def numbers(
    seeds: dict[str, list[Scored]],
    trained: dict[str, list[float]],
    memory: dict[str, Any],
    subjects: dict[str, str],
) -> Any:
    """Everything of one split by system. subjects: who speaks in each clip."""
    units = units_of([subjects[clip] for clip in next(iter(seeds.values()))[0].rows])
    rows: dict[str, Any] = {}
    for name, group in seeds.items():
        info, factor = (
            group[0].info,
            [one.info["real_time_factor"] for one in group if one.info["real_time_factor"]],
        )
        row: dict[str, Any] = {
            "seeds": len(group),
            "parameters": info["parameters"],
            "look_ahead_ms": info["look_ahead_ms"],
            "training_minutes": float(np.mean(trained[name])) if name in trained else None,
            "times_real_time": 1 / min(factor) if factor else None,
            "memory_mb": memory.get(name),
            "sha256": [one.info["sha256"] for one in group],
        }
        for metric, _, _ in COLUMNS:
            totals = np.array([one.totals.get(metric, np.nan) for one in group], float)
            row[metric] = {
                "mean": float(totals.mean()),
                "deviation": float(totals.std(ddof=1)) if len(totals) > 1 else None,
            }
        for metric in TESTED:
            interval = bootstrap_interval(scores(group, metric), units)
            row[metric] |= {
                "low": interval.low,
                "high": interval.high,
                "seeds": over_seeds(scores(group, metric)).seeds,
            }
        rows[name] = row
    others = [name for name in seeds if name not in (REFERENCE, "truth", "static", "mean")]
    for reference in (name for name in (REFERENCE, f"{REFERENCE}-full") if name in seeds):
        for metric in TESTED:
            compared = [name for name in others if name != reference]
            base = scores(seeds[reference], metric)
            apart = corrected(
                [compare_paired(scores(seeds[n], metric), base, units) for n in compared]
            )
            for name, one in zip(compared, apart):
                rows[name][metric][f"against {reference}"] = {
                    "difference": one.mean,
                    "low": one.low,
                    "high": one.high,
                    "p": one.adjusted_p,
                    "real": one.real,
                    "too_few": one.too_few,
                }
    return rows


def markdown(split: str, rows: dict[str, Any], protocol: Scored) -> list[str]:
    """The table of one split, lowest LVE first; sanity rows last."""
    order = sorted(
        rows, key=lambda n: (n in ("truth", "static", "mean"), rows[n]["LVE_cm2"]["mean"])
    )
    heads = [
        "system",
        *(head for _, head, _ in COLUMNS),
        "parameters",
        "training min",
        "x real time",
        "MB",
        "look-ahead ms",
    ]
    lines = [
        f"**{split}** ({protocol.protocol})",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for name in order:
        row, cells = rows[name], []
        for metric, _, digits in COLUMNS:
            mean, deviation = row[metric]["mean"], row[metric]["deviation"]
            cell = "-" if np.isnan(mean) else f"{mean:.{digits}f}"
            cells.append(
                cell
                if deviation is None or np.isnan(deviation)
                else f"{cell} ± {deviation:.{digits}f}"
            )
        ahead = row["look_ahead_ms"]
        cells += [
            "-" if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f} M",
            *(
                "-" if row[key] is None else f"{row[key]:.{digits}f}"
                for key, digits in (
                    ("training_minutes", 1),
                    ("times_real_time", 0),
                    ("memory_mb", 0),
                )
            ),
            "-"
            if ahead is None or np.isnan(ahead)
            else "whole clip"
            if np.isinf(ahead)
            else f"{ahead:.0f}",
        ]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    for reference in (REFERENCE, f"{REFERENCE}-full"):
        for metric in TESTED:
            key = f"against {reference}"
            said = [
                f"{name} {one['difference']:+.4f} ({one['low']:+.4f}, {one['high']:+.4f}; "
                + (
                    "too few clips"
                    if one["too_few"]
                    else f"p {one['p']:.3g}, {'real' if one['real'] else 'not shown'}"
                )
                + ")"
                for name in order
                if (one := rows[name].get(metric, {}).get(key))
            ]
            if said:
                lines += ["", f"{metric} {key}: " + "; ".join(said) + "."]
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
