"""Jobs on disk: a folder each, that appears and vanishes as a whole.

A plain folder rather than a database: uploads and results are files anyway, and renaming a folder is all the transaction that
is needed. ``ID/job.json`` is replaced atomically, ``ID/upload`` is the sound, ``ID/result.FORMAT`` is there once it is whole.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from jambatalk.errors import InputError
from jambatalk.files import replacing
from jambatalk.live.jobs.job import FAILED, QUEUED, RUNNING, Job, JobOptions, label
from jambatalk.live.jobs.lock import FileLock, Held

NEW, GONE = ".new-", ".gone-"
UPLOAD = "upload"
MOST_ATTEMPTS = 2


class Full(Exception):
    """No room for another job."""


class JobStore:
    """All jobs of one server. Calls may come from any thread.

    folder: where they are; only one server at a time may use it. most: jobs that may wait. keep: seconds for which ended
    jobs stay. most_bytes: of all uploads and results. InputError when another server uses the folder or it cannot be written.
    """

    def __init__(self, folder: Path, most: int = 100, keep: float = 86400.0, most_bytes: int = 20 << 30) -> None:
        self.folder, self.most, self.keep, self.most_bytes = folder, most, keep, most_bytes
        self.changed = threading.Condition()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock")
        except Held:
            raise InputError(f"another server uses the jobs in {folder}: end it, or give another folder with --jobs") from None
        except OSError as error:
            raise InputError(f"jobs cannot be kept in {folder}: {error.strerror or error}") from error
        self._jobs: dict[str, Job] = {}
        with self.changed:
            self._recover()

    def close(self) -> None:
        """Let another server use the folder."""
        self._lock.close()

    def _recover(self) -> None:
        """What a server that died left behind: half uploads go, jobs that ran begin anew, unless they ended it twice."""
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith((NEW, GONE)):
                shutil.rmtree(path, ignore_errors=True)
            elif (path / "job.json").is_file():
                try:
                    job = Job.of(json.loads((path / "job.json").read_text("utf-8")))
                except (ValueError, OSError):
                    continue  # not ours to delete
                if job.id != path.name:
                    continue
                for left in path.glob(".result.*"):
                    left.unlink(missing_ok=True)
                self._jobs[job.id] = job
                if job.status == RUNNING and job.attempts >= MOST_ATTEMPTS:
                    self._put(job.with_(
                        status=FAILED, finished=time.time(), stage="",
                        error=f"the server ended {job.attempts} times while it worked on this: it is not tried again",
                    ))  # fmt: skip
                elif job.status == RUNNING:
                    self._put(job.with_(status=QUEUED, stage="to be started again", progress=0.0))

    def begin(self) -> tuple[str, Path]:
        """A new job's id and its folder, not yet a job. Full when too many wait or too much is stored."""
        self.sweep()
        with self.changed:
            waiting = sum(not job.ended for job in self._jobs.values())
            stored = sum((job.bytes or 0) + job.upload_bytes for job in self._jobs.values())
        if waiting >= self.most:
            raise Full(f"{waiting} jobs wait already: try again later")
        if stored >= self.most_bytes:
            raise Full("the jobs' folder is full: delete jobs that are done, or try again later")
        identifier = secrets.token_hex(16)
        folder = self.folder / f"{NEW}{identifier}"
        folder.mkdir(mode=0o700)
        return identifier, folder

    def abandon(self, folder: Path) -> None:
        """An upload that came to nothing."""
        shutil.rmtree(folder, ignore_errors=True)

    def add(self, identifier: str, folder: Path, name: str, options: JobOptions) -> Job:
        """The upload is whole: from now on it is a job."""
        size = (folder / UPLOAD).stat().st_size
        job = Job(identifier, label(name), options, time.time(), upload_bytes=size)
        _write(folder, job)
        with self.changed:
            folder.rename(self.folder / identifier)
            self._jobs[identifier] = job
            self.changed.notify_all()
        return job

    def get(self, identifier: str) -> Job | None:
        """A job, None if there is none."""
        with self.changed:
            return self._jobs.get(identifier)

    def all(self) -> list[Job]:
        """The oldest first."""
        with self.changed:
            return sorted(self._jobs.values(), key=lambda job: job.created)

    def path(self, job: Job) -> Path:
        """Its folder."""
        return self.folder / job.id

    def take(self, closing: Callable[[], bool]) -> Job | None:
        """Wait for the oldest job that is queued and mark it as running; None when ``closing``."""
        with self.changed:
            while not closing():
                queued = [job for job in self._jobs.values() if job.status == QUEUED]
                if queued:
                    job = min(queued, key=lambda one: one.created)
                    return self._put(job.with_(status=RUNNING, stage="starting", progress=0.0, attempts=job.attempts + 1))
                self.changed.wait(60.0)
                self._sweep()
        return None

    def update(self, identifier: str, keep_on_disk: bool = True, **changes: object) -> Job | None:
        """A job with changes; progress need not go to disk. None when it is gone."""
        with self.changed:
            job = self._jobs.get(identifier)
            if job is None:
                return None
            if keep_on_disk:
                return self._put(job.with_(**changes))
            self._jobs[identifier] = job.with_(**changes)
            self.changed.notify_all()
            return self._jobs[identifier]

    def remove(self, identifier: str) -> bool:
        """Forget a job and all its files; whether there was one."""
        with self.changed:
            return self._remove(identifier)

    def sweep(self) -> None:
        """Forget ended jobs whose time is over."""
        with self.changed:
            self._sweep()

    def _sweep(self) -> None:
        now = time.time()
        for job in list(self._jobs.values()):
            if job.ended and now - (job.finished or now) > self.keep:
                self._remove(job.id)

    def _remove(self, identifier: str) -> bool:
        if self._jobs.pop(identifier, None) is None:
            return False
        gone = self.folder / f"{GONE}{identifier}"
        (self.folder / identifier).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        self.changed.notify_all()
        return True

    def _put(self, job: Job) -> Job:
        _write(self.folder / job.id, job)
        self._jobs[job.id] = job
        self.changed.notify_all()
        return job


def _write(folder: Path, job: Job) -> None:
    with replacing(folder / "job.json") as path:
        path.write_text(json.dumps(job.plain()), "utf-8")
