"""The workers of a server: each job runs in a process of its own (``worker``)."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from jambatalk.server.jobs.store import DONE, FAILED, QUEUED, Job, JobStore
from jambatalk.supervised_process import SupervisedProcess, last_line

LOG = "worker.log"

log = logging.getLogger("jambatalk.jobs")


class Runner:
    """Runs a store's jobs; a context manager.

    Args:
        store: the jobs.
        weights: the network's file, None for the one in the package.
        workers: jobs at the same time.
        longest: seconds of sound that a job may have.
        metrics: see ``server.metrics``; None counts nothing.
        patience: seconds without progress after which a worker is killed.
        character: file of the character that speaks, None for the default head.
    """

    def __init__(
        self,
        store: JobStore,
        weights: Path | None = None,
        workers: int = 1,
        longest: float = 7200.0,
        metrics: Any = None,
        patience: float = 1800.0,
        character: Path | None = None,
    ) -> None:
        self.store, self.weights, self.longest = store, weights, longest
        self.metrics, self.patience, self.character = metrics, patience, character
        self._closing = False
        self._processes: dict[str, SupervisedProcess] = {}
        self._threads = [
            threading.Thread(target=self._run, daemon=True, name=f"jobs-{k}")
            for k in range(workers)
        ]

    def __enter__(self) -> Runner:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers; their jobs go back to the queue, for the next server."""
        with self.store.changed:
            self._closing = True
            for process in self._processes.values():
                process.kill()
            self.store.changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(10.0)
        self.store.close()

    def cancel(self, identifier: str) -> bool:
        """Remove a job in any state; whether there was one."""
        with self.store.changed:
            process = self._processes.pop(identifier, None)
        if process is not None:
            process.kill()
            process.wait(10.0)  # no file may appear in a folder that is being removed
        return self.store.remove(identifier)

    def _run(self) -> None:
        while (job := self.store.take(lambda: self._closing)) is not None:
            try:
                self._work(job)
            except Exception as error:
                log.exception("job %s could not be run", job.id)
                self._fail(job, f"the job could not be run ({type(error).__name__})")

    def _work(self, job: Job) -> None:
        process = self._start(job)
        if process is None:
            return
        end: dict[str, Any] = {}  # the worker's last message
        try:
            for message in process.messages(self.patience):
                if "progress" in message:
                    progress = {name: message[name] for name in ("stage", "progress")}
                    self.store.update(job.id, keep_on_disk=False, **progress)
                else:
                    end = message
        finally:
            status = process.close()
            with self.store.changed:
                cancelled = self._processes.pop(job.id, None) is None
                given_back = not cancelled and self._closing and not end
                if given_back:
                    self._give_back(job)
        if cancelled or given_back or self.store.get(job.id) is None:
            return
        if "result" in end:
            size = (self.store.path(job) / job.result).stat().st_size
            self._end(job, DONE, end["seconds"], progress=1.0, seconds=end["seconds"], bytes=size)
        elif process.timed_out:
            self._fail(job, f"the worker made no progress for {self.patience:.0f} s and was ended")
        elif "error" in end:
            self._fail(job, end["error"])
        else:
            reason = last_line(self.store.path(job) / LOG) or "none"
            log.warning("job %s: the worker's last output: %s", job.id, reason)
            self._fail(job, f"the worker ended without a result (exit status {status})")

    def _start(self, job: Job) -> SupervisedProcess | None:
        """Start a worker; None when the job is gone or the server is ending."""
        folder = self.store.path(job)
        arguments = [str(folder), str(self.weights or ""), str(self.longest)]
        arguments += [str(self.character)] if self.character is not None else []
        with self.store.changed:
            if self.store.get(job.id) is None:
                return None
            if self._closing:
                self._give_back(job)
                return None
            process = SupervisedProcess(
                "jambatalk.server.jobs.worker", arguments, folder / LOG, reports=True
            )
            self._processes[job.id] = process
        return process

    def _give_back(self, job: Job) -> None:
        """Queue it for the next server; that this one ended is not the job's fault."""
        self.store.update(
            job.id,
            status=QUEUED,
            stage="to be started again",
            progress=0.0,
            attempts=job.attempts - 1,
        )

    def _fail(self, job: Job, sentence: str) -> None:
        self._end(job, FAILED, 0.0, error=sentence)

    def _end(self, job: Job, status: str, sound_seconds: float, **changes: Any) -> None:
        ended = self.store.finish(job.id, status=status, **changes)
        if ended is not None and self.metrics is not None:
            self.metrics.job_ended(status, sound_seconds)
