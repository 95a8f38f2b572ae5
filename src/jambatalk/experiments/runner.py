"""Run a suite: every (variant, seed) once, several side by side, resumed when stopped.

Each training is a process of its own,
``python -m jambatalk.experiments.runner RUN CACHE DEVICE DATA...``: RUN holds settings.yaml and
gets done.json when the training has ended. The process ends when its standard input does, so that
a runner that is killed leaves no training behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jambatalk.atomic import atomic_write, file_sha256
from jambatalk.baselines import baseline_config
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.regions import FILE as REGIONS
from jambatalk.errors import BAD_INPUT, EXPECTED, InputError, one_line
from jambatalk.experiments.suite import Run, Suite, data_hash
from jambatalk.file_lock import is_locked, locked
from jambatalk.training.vertex_data import check_fit

DONE, SETTINGS, LOCK = "done.json", "settings.yaml", ".lock"
RUN_LOCK, LOG, PLAN = ".lock", "ablate.log", "plan.json"
OUTPUT, FAILED = "worker.log", "failed.json"
POLL = 0.1  # seconds

GONE = 3
"""Exit status of a worker whose runner is gone."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """The status of one run.

    Attributes:
        state: done, failed, stopped (it can be resumed) or waiting.
        reason: Of a failure.
    """

    variant: str
    seed: int
    folder: Path
    state: str
    step: int
    steps: int
    reason: str = ""


class Runner:
    """Trains the variants of a suite in one folder; two runners never work in it at once.

    Args:
        data: Corpus folders.
        out: Holds runs, scores and tables.
        names: The variants to train, with what they are compared with; none for all.
        device, slow: See ``Trainer``.
    """

    def __init__(
        self,
        suite: Suite,
        data: Sequence[Path],
        out: Path,
        seeds: Sequence[int],
        names: Sequence[str] = (),
        device: str = "cpu",
        slow: bool = False,
    ) -> None:
        self.suite, self.out = suite, out
        self.device = f"{device}:slow" if slow else device
        self.data = [Path(os.path.abspath(folder)) for folder in data]
        self.data_hash = data_hash(self.data)
        regions = self.data[0] / REGIONS
        self._regions = file_sha256(regions) if regions.is_file() else ""
        # Seed by seed, so that a suite that is stopped early has every row once rather than one row
        # three times.
        self.runs = [suite.run(name, seed) for seed in seeds for name in suite.chosen(names)]

    def folder(self, run: Run) -> Path:
        """The run's folder."""
        return self.out / run.folder(self._data_of(run))

    def _data_of(self, run: Run) -> str:
        """What a run's data are known by; masks that are put beside a corpus later are others."""
        lips = run.config.task == "vertices" and run.config.vertices.lips.choose == "regions"
        return f"{self.data_hash}/{self._regions}" if lips else self.data_hash

    def check(self) -> None:
        """Check that the settings of every training on vertices fit the corpora.

        Raises:
            InputError: Another number of vertices or frame rate, or a split that is not there.
        """
        for run in {run.variant: run for run in self.runs}.values():
            config = run.config
            if config.task != "vertices":
                continue
            size: Any = config.model
            if config.baseline:
                size = baseline_config(config.baseline, run.variant)
            try:
                for folder in self.data:
                    corpus = open_prepared(folder)
                    check_fit(corpus, float(size.fps), size.outputs)
                    for split in (config.vertices.train, config.vertices.val):
                        corpus.clips(split, config.vertices.scheme or None)
            except InputError as error:
                raise InputError(f"{run.variant}: {error}") from error

    def states(self) -> list[State]:
        """Read the status of every run from the folder."""
        return [self._state(run) for run in self.runs]

    def _state(self, run: Run) -> State:
        folder = self.folder(run)
        failed, step = read_json(folder / FAILED), last_step(folder)
        state = (
            "done"
            if (folder / DONE).exists()
            else "failed"
            if failed
            else "stopped"
            if step
            else "waiting"
        )
        reason = "" if state != "failed" or failed is None else str(failed["reason"])
        return State(run.variant, run.seed, folder, state, step, run.config.steps, reason)

    def working(self) -> bool:
        """Whether a runner is at work in the folder."""
        return is_locked(self.out / RUN_LOCK)

    def run(self, jobs: int = 1, log: Log = print) -> list[State]:
        """Train what is not done, ``jobs`` at a time; failed runs are tried again.

        With 0 jobs the trainings happen in this process, one after the other, for short trials.

        The trainings end with this process, and the next call resumes them.

        Raises:
            InputError: The folder is in use.
        """
        with locked(self.out / RUN_LOCK, str(self.out)):
            self._write_plan()
            todo = [run for run in self.runs if not (self.folder(run) / DONE).exists()]
            log(
                f"{len(self.runs) - len(todo)} of {len(self.runs)} trainings are done, "
                + (f"{jobs} at a time" if jobs else "the others follow in this process")
            )
            for place, run in enumerate(todo if not jobs else (), len(self.runs) - len(todo) + 1):
                log(f"{self._here(run)} ({place} of {len(self.runs)})")
            todo = todo if jobs else []
            active: list[tuple[Run, subprocess.Popen[bytes], float]] = []
            try:
                while todo or active:
                    while todo and len(active) < jobs:
                        run = todo.pop(0)
                        active.append((run, self._start(run, jobs), time.monotonic()))
                    for item in [item for item in active if item[1].poll() is not None]:
                        active.remove(item)
                        left = len(todo) + len(active)
                        log(f"{self._ended(*item)} ({len(self.runs) - left} of {len(self.runs)})")
                    time.sleep(POLL)
            finally:
                for _, process, _ in active:
                    process.kill()
                    process.wait()
            return self.states()

    def _prepare(self, run: Run) -> Path:
        """Make the run's folder with its settings."""
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILED).unlink(missing_ok=True)
        with atomic_write(folder / SETTINGS) as temporary:
            temporary.write_text(
                yaml.safe_dump(dict(run.values), sort_keys=False), encoding="utf-8"
            )
        return folder

    def _here(self, run: Run) -> str:
        """Train in this process; what happened, in words."""
        folder, started = self._prepare(run), time.monotonic()
        with open(folder / OUTPUT, "a", encoding="utf-8") as output, redirect_stdout(output):
            try:
                work(folder, self.out / "cache", self.device, self.data)
            except EXPECTED as error:
                print(f"error: {one_line(error)}")
        return self._outcome(run, None, started)

    def _start(self, run: Run, jobs: int) -> subprocess.Popen[bytes]:
        folder = self._prepare(run)
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
        }
        command = [
            sys.executable,
            "-m",
            "jambatalk.experiments.runner",
            str(folder),
            str(self.out / "cache"),
            self.device,
            *map(str, self.data),
        ]
        with open(folder / OUTPUT, "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=sys.platform != "win32",
            )

    def _ended(self, run: Run, process: subprocess.Popen[bytes], started: float) -> str:
        if process.stdin is not None:
            process.stdin.close()
        return self._outcome(run, process.returncode, started)

    def _outcome(self, run: Run, status: int | None, started: float) -> str:
        """Note a failure in the run's folder; say how the training ended."""
        folder, what = self.folder(run), f"{run.variant}, seed {run.seed}"
        if (folder / DONE).exists():
            score = (read_json(folder / DONE) or {}).get("score", float("nan"))
            return (
                f"{what}: done in {time.monotonic() - started:.0f} s, validation score {score:.4g}"
            )
        reason = last_line(folder / OUTPUT) or f"ended with status {status}"
        with atomic_write(folder / FAILED) as temporary:
            temporary.write_text(json.dumps({"reason": reason, "status": status}), encoding="utf-8")
        return f"{what}: failed, {reason}"

    def _write_plan(self) -> None:
        """Write what this folder is about, for readers."""
        runs = [
            {"variant": run.variant, "seed": run.seed, "folder": run.folder(self._data_of(run))}
            for run in self.runs
        ]
        plan = {
            "suite": self.suite.name,
            "data": [folder.name for folder in self.data],
            "data_hash": self.data_hash,
            "runs": runs,
        }
        with atomic_write(self.out / PLAN) as temporary:
            temporary.write_text(json.dumps(plan, indent=1), encoding="utf-8")


def detach(arguments: Sequence[str], log: Path) -> int:
    """Start ``python -m jambatalk`` so that it outlives this process; its output goes to ``log``.

    Returns:
        The process id.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "jambatalk", *arguments]
    with open(log, "ab") as file:
        if sys.platform == "win32":
            flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, creationflags=flags
            )
        else:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
    return process.pid


def logged(folder: Path) -> list[dict[str, float]]:
    """Read a run's log without a line that was cut short by a kill."""
    rows = []
    path = folder / "log.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def last_step(folder: Path) -> int:
    """The last step that a run has logged; 0 before the first."""
    rows = logged(folder)
    return int(rows[-1]["step"]) if rows else 0


def last_line(path: Path) -> str:
    """The last line of a log that is not blank."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def read_json(path: Path) -> dict[str, object] | None:
    """Read a JSON object; None where the file is missing or damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


# The worker: one training.


def work(run: Path, cache: Path, device: str, data: list[Path]) -> None:
    """Train in the folder ``run``, or resume the training there; "cuda:slow" allows a slow scan."""
    from jambatalk.models.speech_to_motion import parameter_count
    from jambatalk.training import build_task
    from jambatalk.training.config import load_train_config
    from jambatalk.training.trainer import Trainer

    # A worker whose runner was killed frees its lock within moments.
    with locked(run / LOCK, str(run), wait=20):
        config = load_train_config(run / SETTINGS)
        task = build_task(config, data, cache)
        name, _, slow = device.partition(":")
        trainer = Trainer(config, task, run, name, slow == "slow")
        print(trainer.headline, *task.notes, sep="\n", flush=True)
        if trainer.resume():
            print(f"resumed at step {trainer.step}", flush=True)
        trainer.run()
        if not (run / "best.safetensors").exists():
            trainer.export(run / "best.safetensors")
        facts = {
            "steps": trainer.step,
            "score": trainer.best_score,
            "parameters": parameter_count(task.network),
            "data_hash": task.data_hash,
        }
        with atomic_write(run / DONE) as temporary:
            temporary.write_text(json.dumps(facts), encoding="utf-8")


def _end_with_runner() -> None:
    # os.read, since a thread that waits in a Python buffer holds its lock when the process ends.
    while os.read(0, 1):
        pass
    os._exit(GONE)


def main(arguments: list[str]) -> int:
    """Status 0, or 2 with one line on standard error for bad input."""
    threading.Thread(target=_end_with_runner, daemon=True).start()
    run, cache, device, *data = arguments
    try:
        work(Path(run), Path(cache), device, [Path(folder) for folder in data])
    except EXPECTED as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
