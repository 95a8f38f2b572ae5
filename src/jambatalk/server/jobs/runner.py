"""The workers of a server."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.file_lock import FileLock
from jambatalk.server.jobs.store import DONE, FAILED, QUEUED, UPLOAD, Job, JobStore

LOG = "worker.log"

log = logging.getLogger("jambatalk.jobs")


class Runner:
    """Runs a store's jobs, each in a process of its own, ``workers`` at a time; a context manager.

    weights: the network's file, None for the one in the package. longest: seconds of sound a job may have. patience: seconds
    without progress after which a worker is given up. metrics: see ``server.metrics``; None counts nothing.
    """

    def __init__(
        self,
        store: JobStore,
        weights: Path | None = None,
        workers: int = 1,
        longest: float = 7200.0,
        metrics: Any = None,
        patience: float = 1800.0,
    ) -> None:
        self.store, self.weights, self.longest, self.metrics, self.patience = (
            store,
            weights,
            longest,
            metrics,
            patience,
        )
        self._closing = False
        self._processes: dict[str, subprocess.Popen[str]] = {}
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
            with suppress(subprocess.TimeoutExpired):
                process.wait(10.0)  # no file may appear in a folder that is being removed
        return self.store.remove(identifier)

    def _run(self) -> None:
        while (job := self.store.take(lambda: self._closing)) is not None:
            try:
                self._work(job)
            except Exception as error:
                log.exception("job %s could not be run", job.id)
                self._failed(job, f"the job could not be run ({type(error).__name__})")

    def _work(self, job: Job) -> None:
        process = self._start(job)
        if process is None:
            return
        end: dict[str, Any] = {}
        given_up = False
        try:
            end, given_up = self._listen(job, process)
        finally:
            _kill(process)
            code = process.wait()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()
            with self.store.changed:
                cancelled = self._processes.pop(job.id, None) is None
                if not cancelled and self._closing and not end:
                    self._give_back(job)
        with self.store.changed:
            if cancelled or self.store.get(job.id) is None or (self._closing and not end):
                return
        if "result" in end:
            size = (self.store.path(job) / job.result).stat().st_size
            self._ended(job, DONE, end["seconds"], progress=1.0, seconds=end["seconds"], bytes=size)
        elif given_up:
            self._failed(
                job, f"the worker made no progress for {self.patience:.0f} s and was given up"
            )
        else:
            if "error" not in end:
                log.warning(
                    "job %s: the worker's last words: %s", job.id, _tail(self.store.path(job) / LOG)
                )
            self._failed(
                job, end.get("error") or f"the worker ended without a word (exit status {code})"
            )

    def _start(self, job: Job) -> subprocess.Popen[str] | None:
        """A worker; None when the job is gone or the server is ending."""
        folder = self.store.path(job)
        one = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [
            sys.executable,
            "-m",
            "jambatalk.server.jobs.runner",
            str(folder),
            str(self.weights or ""),
            str(self.longest),
        ]
        with self.store.changed:
            if self.store.get(job.id) is None:
                return None
            if self._closing:
                self._give_back(job)
                return None
            with (folder / LOG).open("wb") as errors:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    encoding="utf-8",
                    env=os.environ | one,
                    start_new_session=os.name == "posix",
                )
            self._processes[job.id] = process
        return process

    def _listen(self, job: Job, process: subprocess.Popen[str]) -> tuple[dict[str, Any], bool]:
        """What the worker said last, and whether it had to be given up."""
        end: dict[str, Any] = {}
        heard = threading.Event()
        over = threading.Event()
        given_up = threading.Event()

        def watch() -> None:
            while heard.wait(self.patience):
                heard.clear()
                if over.is_set():
                    return
            given_up.set()
            _kill(process)

        watching = threading.Thread(target=watch, daemon=True, name=f"jobs-watch-{job.id[:8]}")
        watching.start()
        assert process.stdout is not None
        try:
            for line in process.stdout:
                heard.set()
                said = json.loads(line)
                if "progress" in said:
                    self.store.update(
                        job.id, keep_on_disk=False, stage=said["stage"], progress=said["progress"]
                    )
                else:
                    end = said
            process.wait()
        finally:
            over.set()
            heard.set()
            watching.join()
        return end, given_up.is_set()

    def _give_back(self, job: Job) -> None:
        """To the next server; that this one ended is not the job's fault."""
        self.store.update(
            job.id,
            status=QUEUED,
            stage="to be started again",
            progress=0.0,
            attempts=job.attempts - 1,
        )

    def _failed(self, job: Job, sentence: str) -> None:
        self._ended(job, FAILED, 0.0, error=sentence)

    def _ended(self, job: Job, status: str, heard: float, **changes: Any) -> None:
        if (
            self.store.finish(job.id, status=status, **changes) is not None
            and self.metrics is not None
        ):
            self.metrics.job_ended(status, heard)


def _tail(path: Path) -> str:
    """The last line of a worker's errors."""
    try:
        lines = path.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "none"


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return  # its number may be another's by now
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


# One job in a process of its own: ``python -m jambatalk.server.jobs.runner FOLDER WEIGHTS LONGEST``.
#
# Says how it goes in lines of JSON on standard output, and ends when standard input does: its server is gone then, and another
# may begin the job anew.


ANIMATED = 0.2  # share of the progress that is done when a video's motion is there


def main(arguments: list[str]) -> int:
    """0 when there is a result or a sentence that says why not."""
    folder, weights, longest = Path(arguments[0]), arguments[1] or None, float(arguments[2])
    # Whatever a library prints must not come between the lines of JSON.
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    _give_way()

    def say(**what: Any) -> None:
        said.write(json.dumps(what) + "\n")
        said.flush()

    # A worker of a server that died may need a moment to notice.
    try:
        FileLock(folder / "lock", patience=30.0)
    except OSError as error:
        say(error=f"another worker still has this job ({error.strerror or type(error).__name__})")
        return 0
    job = Job.of(json.loads((folder / "job.json").read_text("utf-8")))
    try:
        say(result=True, seconds=work(job, folder, weights, longest, say))
    except InputError as error:
        say(error=" ".join(str(error).replace(str(folder / UPLOAD), job.name).split()))
    except OSError as error:
        say(error=f"the result cannot be written ({error.strerror or type(error).__name__})")
    return 0


def work(job: Job, folder: Path, weights: str | None, longest: float, say: Any) -> float:
    """Make the result; gives the seconds of sound. InputError when it cannot be made."""
    import torch

    torch.set_num_threads(1)
    import jambatalk
    from jambatalk.audio import SAMPLE_RATE, Speech
    from jambatalk.audio.decode import open_blocks
    from jambatalk.audio.speech import gather
    from jambatalk.idle import IdleSettings, add_idle_motion

    options = job.options

    def report(stage: str, start: float, share: float) -> Any:
        last = [-1.0]

        def progress(done: float, total: float) -> None:
            value = round(start + share * min(done / total, 1.0) if total else start, 3)
            if value >= last[0] + 0.01:
                last[0] = value
                say(stage=stage, progress=value)

        return progress

    say(stage="reading", progress=0.0)
    speech = Speech(gather(_limited(open_blocks(str(folder / UPLOAD)), longest, SAMPLE_RATE)))
    talker = jambatalk.load(weights, style=options.style)
    share = ANIMATED if options.format == "mp4" else 0.9
    heard, count = 0, report("animating", 0.0, share)

    def blocks() -> Iterator[NDArray[np.float32]]:
        nonlocal heard
        for block in speech.blocks():
            yield block
            heard += len(block)
            count(heard, len(speech.samples))

    motion = talker.animate_blocks(blocks(), speech)
    if options.fps is not None:
        motion = motion.resampled(options.fps)
    motion = add_idle_motion(motion, IdleSettings.parse(options.life))
    identity = None if options.identity == "default" else options.identity
    progress = report("writing", share, 1 - share)
    motion.save(
        folder / job.result, size=(options.size, options.size), identity=identity, progress=progress
    )
    return speech.seconds


def _limited(
    blocks: Iterator[NDArray[np.float32]], longest: float, rate: int
) -> Iterator[NDArray[np.float32]]:
    """A small file may hold days of silence: no further than the limit."""
    heard = 0
    for block in blocks:
        heard += len(block)
        if heard > longest * rate:
            raise InputError(
                f"the sound is longer than {longest:.0f} s, which is the most that this server takes"
            )
        yield block


def _give_way() -> None:
    """Live sessions come first: this process gets what they leave."""
    with suppress(OSError, AttributeError):
        os.nice(10)
    with suppress(OSError, AttributeError):
        # Linux: a session that wakes up takes the core at once, where niceness alone lets a worker end its turn.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError, AttributeError):
        # Where Linux groups processes by their sessions, niceness counts within a group alone: this one's own group is lowered.
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text("19")


def _end_with_the_server() -> None:
    while sys.stdin.buffer.read(1):
        pass
    # The renderer's own processes go with it; nothing needs to be put in order, since results appear by renaming.
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
