"""The workers of a server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from jambatalk.live.jobs.job import DONE, FAILED, QUEUED, Job
from jambatalk.live.jobs.store import JobStore


class Runner:
    """Runs a store's jobs, each in a process of its own, ``workers`` at a time; a context manager.

    weights: the network's file, None for the one in the package. longest: seconds of sound a job may have. metrics: see
    ``live.metrics``; None counts nothing.
    """

    def __init__(
        self, store: JobStore, weights: Path | None = None, workers: int = 1, longest: float = 7200.0, metrics: Any = None
    ) -> None:
        self.store, self.weights, self.longest, self.metrics = store, weights, longest, metrics
        self._closing = False
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._threads = [threading.Thread(target=self._run, daemon=True, name=f"jobs-{k}") for k in range(workers)]

    def __enter__(self) -> Runner:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Workers end at once; their jobs go back to the queue, for the next server."""
        with self.store.changed:
            self._closing = True
            for process in self._processes.values():
                _kill(process)
            self.store.changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(10.0)
        self.store.close()

    def cancel(self, identifier: str) -> bool:
        """Forget a job, whatever it does; whether there was one."""
        with self.store.changed:
            process = self._processes.pop(identifier, None)
        if process is not None:
            _kill(process)
            process.wait(10.0)  # no file may appear in a folder that is being removed
        return self.store.remove(identifier)

    def _run(self) -> None:
        while (job := self.store.take(lambda: self._closing)) is not None:
            try:
                self._work(job)
            except Exception as error:
                self._fail(job, f"the job could not be run ({type(error).__name__})")

    def _work(self, job: Job) -> None:
        folder = self.store.path(job)
        one = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "jambatalk.live.jobs.worker", str(folder), str(self.weights or ""), str(self.longest)]
        with self.store.changed:
            if self._closing or self.store.get(job.id) is None:
                return
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
                env=os.environ | one, start_new_session=os.name == "posix",
            )  # fmt: skip
            self._processes[job.id] = process
        end: dict[str, Any] = {}
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if "progress" in said:
                self.store.update(job.id, keep_on_disk=False, stage=said["stage"], progress=said["progress"])
            else:
                end = said
        code = process.wait()
        assert process.stdin is not None
        process.stdin.close()
        with self.store.changed:
            cancelled = self._processes.pop(job.id, None) is None
            if cancelled:
                return
            if self._closing and not end:
                self.store.update(job.id, status=QUEUED, stage="to be started again", progress=0.0, attempts=job.attempts - 1)
                return
        if "result" in end:
            size = (folder / job.result).stat().st_size
            self.store.update(
                job.id, status=DONE, stage="", progress=1.0, finished=time.time(), seconds=end["seconds"], bytes=size
            )
            if self.metrics is not None:
                self.metrics.job_ended(DONE, end["seconds"])
        else:
            self._fail(job, end.get("error") or f"the worker ended without a word (exit status {code})")

    def _fail(self, job: Job, sentence: str) -> None:
        self.store.update(job.id, status=FAILED, stage="", finished=time.time(), error=sentence)
        if self.metrics is not None:
            self.metrics.job_ended(FAILED, 0.0)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
