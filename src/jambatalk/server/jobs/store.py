"""Jobs on disk: a folder each, that appears and vanishes as a whole.

A plain folder rather than a database: uploads and results are files anyway, and renaming a folder is all the transaction that
is needed. ``ID/job.json`` is replaced atomically, ``ID/upload`` is the sound, ``ID/result.FORMAT`` is there once it is whole.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError
from jambatalk.file_lock import FileLock, Held
from jambatalk.motion import format_names

# One job: what is wanted, and how far it is.


QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
KINDS = tuple(format_names())
"""What can be made of speech."""

LONGEST_NAME = 120
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class JobOptions:
    """What to make: format (one of ``KINDS``), frames a second, pixels each way, who speaks, how, and with which life."""

    format: str = "mp4"
    fps: float | None = None
    size: int = 512
    identity: str | None = None
    style: str | None = None
    life: str = "off"

    def __post_init__(self) -> None:
        from jambatalk.idle import IdleSettings

        if self.format not in KINDS:
            raise InputError(f"format is {self.format[:40]!r}, expected one of {', '.join(KINDS)}")
        if self.fps is not None and not 1 <= self.fps <= 240:
            raise InputError(f"fps is {self.fps}, expected 1 to 240")
        if not 16 <= self.size <= LARGEST_SIDE:
            raise InputError(f"size is {self.size}, expected 16 to {LARGEST_SIDE} pixels")
        IdleSettings.parse(self.life)


@dataclass(frozen=True)
class Job:
    """Times in seconds since 1970. attempts: how often a worker began. seconds: of sound. bytes: of the result."""

    id: str
    name: str
    options: JobOptions
    created: float
    status: str = QUEUED
    stage: str = ""
    progress: float = 0.0
    attempts: int = 0
    seconds: float | None = None
    finished: float | None = None
    bytes: int | None = None
    error: str | None = None
    upload_bytes: int = field(default=0)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in (DONE, FAILED)

    @property
    def result(self) -> str:
        """Name of its result in its folder."""
        return f"result.{self.options.format}"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Job:
        """From what ``plain`` gave. InputError when it is none."""
        try:
            known = {one.name for one in fields(cls)}
            return cls(
                **{k: v for k, v in values.items() if k in known}
                | {"options": JobOptions(**values["options"])}
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"a stored job is damaged ({error})") from error

    def with_(self, **changes: Any) -> Job:
        """A copy."""
        return replace(self, **changes)


def label(name: str) -> str:
    """A name that a client gave, fit for showing and for a file's name: no folders, no control or reserved characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(
        "_" if c in '<>:"|?*\\/;' or unicodedata.category(c)[0] == "C" else c for c in base
    )
    return kept.strip(" .")[:LONGEST_NAME] or "speech"


NEW, GONE = ".new-", ".gone-"
UPLOAD = "upload"
MOST_ATTEMPTS = 2

log = logging.getLogger("jambatalk.jobs")


class Full(Exception):
    """No room for another job."""


class JobStore:
    """All jobs of one server. Calls may come from any thread.

    folder: where they are; only one server at a time may use it. most: jobs that may wait. keep: seconds for which ended
    jobs stay. most_bytes: of all uploads and results; uploads on their way count as what they may become. InputError when
    another server uses the folder or it cannot be written.
    """

    def __init__(
        self, folder: Path, most: int = 100, keep: float = 86400.0, most_bytes: int = 20 << 30
    ) -> None:
        self.folder, self.most, self.keep, self.most_bytes = folder, most, keep, most_bytes
        self.changed = threading.Condition()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock")
        except Held:
            raise InputError(
                f"another server uses the jobs in {folder}: end it, or give another folder with --jobs"
            ) from None
        except OSError as error:
            raise InputError(
                f"jobs cannot be kept in {folder}: {error.strerror or error}"
            ) from error
        self._jobs: dict[str, Job] = {}
        self._arriving: dict[
            Path, int
        ] = {}  # folder of an upload on its way -> bytes kept free for it
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
                self._recover_job(job)
            elif re.fullmatch("[0-9a-f]{32}", path.name):
                shutil.rmtree(
                    path, ignore_errors=True
                )  # forgotten while somebody still had a file of it open

    def _recover_job(self, job: Job) -> None:
        running = job.status == RUNNING
        if running and job.attempts >= MOST_ATTEMPTS:
            self._fail(
                job,
                f"the server ended {job.attempts} times while it worked on this: it is not tried again",
            )
        elif not job.ended and not (self.path(job) / UPLOAD).is_file():
            self._fail(job, "its sound is gone from the server's folder")
        elif running:
            self._put(job.with_(status=QUEUED, stage="to be started again", progress=0.0))
        elif job.status == DONE and not (self.path(job) / job.result).is_file():
            self._fail(job, "its result is gone from the server's folder")
        elif job.ended:
            self._drop_upload(job)

    def _fail(self, job: Job, sentence: str) -> None:
        self._put(
            job.with_(status=FAILED, finished=time.time(), stage="", bytes=None, error=sentence)
        )

    def begin(self, size: int = 0) -> tuple[str, Path]:
        """A new job's id and its folder, not yet a job; ``add`` or ``abandon`` must follow.

        size: bytes that its upload may have at most. Full when too many wait or too much is stored, OSError when the disk is
        full.
        """
        identifier = secrets.token_hex(16)
        folder, size = self.folder / f"{NEW}{identifier}", min(size, self.most_bytes)
        with self.changed:
            self._sweep()
            waiting = sum(not job.ended for job in self._jobs.values()) + len(self._arriving)
            stored = sum((job.bytes or 0) + job.upload_bytes for job in self._jobs.values()) + sum(
                self._arriving.values()
            )
            if waiting >= self.most:
                raise Full(f"{waiting} jobs wait already: try again later")
            if stored + size > self.most_bytes:
                raise Full(
                    "the jobs' folder is full: delete jobs that are done, or try again later"
                )
            folder.mkdir(mode=0o700)
            self._arriving[folder] = size
        return identifier, folder

    def abandon(self, folder: Path) -> None:
        """An upload that came to nothing."""
        with self.changed:
            self._arriving.pop(folder, None)
        shutil.rmtree(folder, ignore_errors=True)

    def add(self, identifier: str, folder: Path, name: str, options: JobOptions) -> Job:
        """The upload is whole: from now on it is a job. OSError when the disk is full; it is none then."""
        size = (folder / UPLOAD).stat().st_size
        job = Job(identifier, label(name), options, time.time(), upload_bytes=size)
        _write(folder, job)
        with self.changed:
            folder.rename(self.folder / identifier)
            self._arriving.pop(folder, None)
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
                    return self._put(
                        job.with_(
                            status=RUNNING,
                            stage="starting",
                            progress=0.0,
                            attempts=job.attempts + 1,
                        )
                    )
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

    def finish(self, identifier: str, **changes: Any) -> Job | None:
        """A job that ended, with changes; its sound is not kept. None when it is gone."""
        with self.changed:
            if self.update(identifier, finished=time.time(), stage="", **changes) is None:
                return None
            self._drop_upload(self._jobs[identifier])
            return self._jobs[identifier]

    def counts(self) -> dict[str, int]:
        """How many jobs there are of each status."""
        with self.changed:
            found = [job.status for job in self._jobs.values()]
        return {status: found.count(status) for status in (QUEUED, RUNNING, DONE, FAILED)}

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
        here, gone = self.folder / identifier, self.folder / f"{GONE}{identifier}"
        try:
            here.rename(gone)
        except OSError:  # Windows: somebody is still downloading; without job.json it does not come back after a restart
            gone = here
            with suppress(OSError):
                (here / "job.json").unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)
        self.changed.notify_all()
        return True

    def _drop_upload(self, job: Job) -> None:
        if not job.upload_bytes:
            return
        with suppress(OSError):
            (self.path(job) / UPLOAD).unlink(missing_ok=True)
            self._put(job.with_(upload_bytes=0))

    def _put(self, job: Job) -> Job:
        """The state in memory is what counts while the server runs: a full disk costs at most the memory of it after a restart,
        when the job is done once more."""
        try:
            _write(self.folder / job.id, job)
        except OSError as error:
            log.warning(
                "job %s: its state could not be written (%s)", job.id, error.strerror or error
            )
        self._jobs[job.id] = job
        self.changed.notify_all()
        return job


def _write(folder: Path, job: Job) -> None:
    with atomic_write(folder / "job.json") as path:
        path.write_text(json.dumps(job.plain()), "utf-8")
