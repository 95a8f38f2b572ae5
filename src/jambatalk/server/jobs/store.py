"""Jobs on disk: a folder each, that appears and vanishes as a whole.

A plain folder rather than a database: uploads and results are files anyway, and renaming a folder
is all the transaction that is needed. ``ID/job.json`` is replaced atomically, ``ID/upload`` is the
sound, ``ID/result.FORMAT`` is there once it is whole.
"""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, reading
from jambatalk.face.shape_sets import SHAPE_SETS
from jambatalk.file_lock import FileLock, LockHeldError
from jambatalk.idle import AUTO, IdleSettings
from jambatalk.motion import format_names

Status = Literal["queued", "running", "done", "failed"]
QUEUED: Status = "queued"
RUNNING: Status = "running"
DONE: Status = "done"
FAILED: Status = "failed"

KINDS = tuple(format_names())
"""What can be made of speech."""

MAX_NAME = 120
MAX_SIDE = 1024

UPLOAD = "upload"
NEW, REMOVED = ".new-", ".gone-"
"""Prefixes of folders of uploads on their way, and of jobs that are being removed."""

MAX_CRASHES, CRASH_WINDOW = 5, 3600.0
"""A job is given up when the server has died so often within so many seconds while it ran."""

log = logging.getLogger("jambatalk.jobs")


@dataclass(frozen=True)
class JobOptions:
    """What to make.

    Args:
        format: one of ``KINDS``.
        fps: frames per second, None for the network's own.
        size: pixels each way, of a video.
        identity: a head of the package, None for the default.
        style: a speaking style, None for the network's default.
        life: idle motion, as ``IdleSettings.for_output`` takes it.
        articulation: how far the mouth moves, 0.5 to 1.5.
        shapes: names of the weights in a file that shows no face, see ``face.shape_sets``.

    Raises:
        InputError: a value is not valid.
    """

    format: str = "mp4"
    fps: float | None = None
    size: int = 512
    identity: str | None = None
    style: str | None = None
    life: str = AUTO
    articulation: float = 1.0
    shapes: str = "arkit"

    def __post_init__(self) -> None:
        from jambatalk.session import articulation_gains

        if self.format not in KINDS:
            raise InputError(f"format is {self.format[:40]!r}, expected one of {', '.join(KINDS)}")
        if self.fps is not None and not 1 <= self.fps <= 240:
            raise InputError(f"fps is {self.fps}, expected 1 to 240")
        if not 16 <= self.size <= MAX_SIDE:
            raise InputError(f"size is {self.size}, expected 16 to {MAX_SIDE} pixels")
        IdleSettings.for_output(self.life, picture=True)
        articulation_gains(("jawOpen",), self.articulation)
        if self.shapes not in SHAPE_SETS:
            raise InputError(
                f"shapes is {self.shapes[:40]!r}, expected one of {', '.join(SHAPE_SETS)}"
            )


@dataclass(frozen=True)
class Job:
    """One job. Times in seconds since 1970.

    Args:
        id: 32 hexadecimal digits, the name of its folder.
        name: of the sound, for showing.
        options: what to make.
        created: when its upload was whole.
        status: queued, running, done or failed.
        stage: what the worker does.
        progress: 0 to 1.
        attempts: how often a worker began.
        seconds: of sound.
        finished: when it ended.
        bytes: of the result.
        error: why it failed.
        upload_bytes: of the sound on disk.
        crashes: when the server died while it ran.
    """

    id: str
    name: str
    options: JobOptions
    created: float
    status: Status = "queued"
    stage: str = ""
    progress: float = 0.0
    attempts: int = 0
    seconds: float | None = None
    finished: float | None = None
    bytes: int | None = None
    error: str | None = None
    upload_bytes: int = 0
    crashes: tuple[float, ...] = ()

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


def read_job(folder: Path) -> Job:
    """Read the job of a folder.

    Raises:
        InputError: its file is damaged, or names another folder.
        OSError: its file cannot be read.
    """
    content = (folder / "job.json").read_bytes()
    with reading(folder / "job.json", "a job"):
        values = json.loads(content)
        json.dumps(values, ensure_ascii=False).encode()  # no halves of characters
        job = TypeAdapter(Job).validate_python(values)
    times = (job.created, job.finished or 0, job.seconds or 0, job.progress, *job.crashes)
    if job.id != folder.name or not all(map(math.isfinite, times)):
        raise InputError(f"{folder / 'job.json'} is damaged: it does not describe this job")
    return job


def label(name: str) -> str:
    """Make a client's name fit for showing and for files: no folders, no reserved characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(
        "_" if c in '<>:"|?*\\/;' or unicodedata.category(c)[0] == "C" else c for c in base
    )
    return kept.strip(" .")[:MAX_NAME] or "speech"


class Full(Exception):
    """No room for another job."""


class JobStore:
    """All jobs of one server. Calls may come from any thread.

    Args:
        folder: where they are; only one server at a time may use it.
        most: jobs that may wait.
        keep: seconds for which ended jobs stay.
        most_bytes: of all uploads and results; uploads on their way count as what they may become.

    Raises:
        InputError: another server uses the folder, or it cannot be written.
    """

    def __init__(
        self, folder: Path, most: int = 100, keep: float = 86400.0, most_bytes: int = 20 << 30
    ) -> None:
        self.folder, self.most, self.keep, self.most_bytes = folder, most, keep, most_bytes
        self.changed = threading.Condition()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock")
        except LockHeldError as error:
            raise InputError(
                f"another server uses the jobs in {folder} ({error.holder}): end it, or give"
                " another folder with --jobs"
            ) from None
        except OSError as error:
            raise InputError(
                f"jobs cannot be kept in {folder}: {error.strerror or error}"
            ) from error
        self._jobs: dict[str, Job] = {}
        self._arriving: dict[Path, int] = {}  # folders of uploads -> bytes kept free for them
        with self.changed:
            self._recover()

    def close(self) -> None:
        """Release the folder for another server."""
        self._lock.close()

    def _recover(self) -> None:
        """Put in order what a server that died left behind: half uploads go, jobs start anew."""
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith((NEW, REMOVED)):
                shutil.rmtree(path, ignore_errors=True)
            elif (path / "job.json").is_file():
                try:
                    job = read_job(path)
                except (InputError, OSError) as error:
                    log.warning("left alone: %s", error)
                    continue
                for left in path.glob(".result.*"):
                    left.unlink(missing_ok=True)
                self._jobs[job.id] = job
                self._recover_job(job)
            elif re.fullmatch("[0-9a-f]{32}", path.name):
                # Removed while somebody still had a file of it open.
                shutil.rmtree(path, ignore_errors=True)

    def _recover_job(self, job: Job) -> None:
        if job.status == RUNNING:
            now = time.time()
            recent = [when for when in job.crashes if now - when < CRASH_WINDOW]
            job = replace(job, crashes=(*recent, now))
            if len(job.crashes) >= MAX_CRASHES:
                self._fail(
                    job,
                    f"the server ended {len(job.crashes)} times in {CRASH_WINDOW / 60:.0f} minutes"
                    " while it worked on this: it is not tried again",
                )
                return
        if not job.ended and not (self.path(job) / UPLOAD).is_file():
            self._fail(job, "its sound is gone from the server's folder")
        elif job.status == RUNNING:
            self._put(replace(job, status=QUEUED, stage="to be started again", progress=0.0))
        elif job.status == DONE and not (self.path(job) / job.result).is_file():
            self._fail(job, "its result is gone from the server's folder")
        elif job.ended:
            self._drop_upload(job)

    def _fail(self, job: Job, sentence: str) -> None:
        self._put(
            replace(job, status=FAILED, finished=time.time(), stage="", bytes=None, error=sentence)
        )

    def begin(self, size: int = 0) -> tuple[str, Path]:
        """Make a folder for an upload; ``add`` or ``abandon`` must follow.

        Args:
            size: bytes that the upload may have at most.

        Returns:
            The id of the job to come, and the folder.

        Raises:
            Full: too many wait, or too much is stored.
            OSError: the disk is full.
        """
        identifier = secrets.token_hex(16)
        folder, size = self.folder / f"{NEW}{identifier}", min(size, self.most_bytes)
        with self.changed:
            self._sweep()
            waiting = sum(not job.ended for job in self._jobs.values()) + len(self._arriving)
            stored = sum((job.bytes or 0) + job.upload_bytes for job in self._jobs.values())
            stored += sum(self._arriving.values())
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
        """Remove an upload that came to nothing."""
        with self.changed:
            self._arriving.pop(folder, None)
        shutil.rmtree(folder, ignore_errors=True)

    def add(self, identifier: str, folder: Path, name: str, options: JobOptions) -> Job:
        """Make a job of a whole upload. OSError when the disk is full; it is not a job then."""
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
                        replace(
                            job,
                            status=RUNNING,
                            stage="starting",
                            progress=0.0,
                            attempts=job.attempts + 1,
                        )
                    )
                self.changed.wait(60.0)
                self._sweep()
        return None

    def update(self, identifier: str, keep_on_disk: bool = True, **changes: Any) -> Job | None:
        """A job with changes; progress need not go to disk. None when it is gone."""
        with self.changed:
            job = self._jobs.get(identifier)
            if job is None:
                return None
            if keep_on_disk:
                return self._put(replace(job, **changes))
            self._jobs[identifier] = replace(job, **changes)
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
        """Remove a job and all its files; whether there was one."""
        with self.changed:
            return self._remove(identifier)

    def sweep(self) -> None:
        """Remove ended jobs whose time is over."""
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
        here, gone = self.folder / identifier, self.folder / f"{REMOVED}{identifier}"
        try:
            here.rename(gone)
        except OSError:
            # Windows: somebody is still downloading. Without job.json it does not come back.
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
            self._put(replace(job, upload_bytes=0))

    def _put(self, job: Job) -> Job:
        # The state in memory is what counts while the server runs: a full disk costs at most the
        # memory of it after a restart, when the job is done once more.
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
