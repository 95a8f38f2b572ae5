"""Scores the trainings of a suite clip by clip, with the metrics of ``jambatalk evaluate``; each training once."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jambatalk.ablation.run import Runner, logged, read_json
from jambatalk.ablation.suite import Run
from jambatalk.ablation.worker import DONE
from jambatalk.checkpoint import file_sha256
from jambatalk.errors import InputError
from jambatalk.files import replacing

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


def score_runs(runner: Runner, splits: Sequence[str] | None = None, say: Callable[[str], None] = print) -> list[RunScores]:
    """The scores of all trainings that are done, those of before read from their folders.

    splits: of the first corpus; None takes those whose names begin with "test". Raises as ``load_test_set``.
    """
    from jambatalk.evaluation.evaluate import evaluate
    from jambatalk.evaluation.regions import find_regions
    from jambatalk.evaluation.test_set import load_test_set

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
                [_entry(folder / WEIGHTS, test_set)], test_set, regions, sanity=False, speed=run.variant not in timed
            )  # fmt: skip
            kept = {
                "key": key,
                "splits": {one.split: {clip: _stored(row) for clip, row in one.rows.items()} for one in scored},
                "protocol": {one.split: one.protocol for one in scored},
                "real_time_factor": scored[0].info.get("real_time_factor"),
            }
            with replacing(folder / SCORES) as temporary:
                temporary.write_text(json.dumps(kept), encoding="utf-8")
        timed.add(run.variant)
        found.append(_scores(run, folder, kept, subjects, frames))
    if not found:
        raise InputError(f"no training in {runner.out} is done, so there is nothing to compare")
    return found


def _entry(path: Path, test_set: Any) -> Any:
    from jambatalk.evaluation.entries import open_entry

    return open_entry(str(path), test_set)


def _scores(run: Run, folder: Path, kept: Mapping[str, Any], subjects: Mapping[str, str], frames: Mapping[str, int]) -> RunScores:
    done = read_json(folder / DONE) or {}
    seconds = [row["seconds"] for row in logged(folder) if "seconds" in row]
    factor = kept.get("real_time_factor")
    splits = {split: {clip: _restored(row) for clip, row in rows.items()} for split, rows in kept["splits"].items()}
    return RunScores(
        run.variant, run.seed, splits, subjects, frames, int(str(done.get("parameters", 0))),
        statistics.median(seconds) if seconds else float("nan"),
        float("nan") if factor is None else float(factor), kept["protocol"],
    )  # fmt: skip


def _stored(row: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no nan."""
    return {name: value if value == value else None for name, value in row.items()}


def _restored(row: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in row.items()}


def _key(folder: Path, *parts: object) -> str:
    """What the scores hang on."""
    weights = file_sha256(folder / WEIGHTS)
    return hashlib.sha256(json.dumps([weights, *map(str, parts)]).encode()).hexdigest()
