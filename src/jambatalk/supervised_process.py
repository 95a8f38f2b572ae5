"""A worker process that ends with its parent, servers that end in order.

The parent holds the worker's standard input open. When the parent dies, however it dies, the input
ends, and the worker ends itself: nothing is left running. Workers may report on standard output, a
JSON object a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PARENT_GONE = 3
"""Exit status of a worker whose parent is gone."""


class SupervisedProcess:
    """``python -m module arguments`` in a process group of its own, with one supervisor.

    Args:
        module: what runs; it calls ``end_with_parent`` first.
        arguments: its command line.
        log: file for its standard error (and its output, unless it reports).
        threads: for its numerical libraries.
        reports: whether standard output holds messages; else it goes to the log.
        append: whether the log continues.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        log: Path,
        threads: int = 1,
        reports: bool = False,
        append: bool = False,
    ) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        with log.open("ab" if append else "wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if reports else file,
                stderr=file,
                env=os.environ | dict.fromkeys(names, str(threads)),
                start_new_session=os.name == "posix",
            )
        self.timed_out = False

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    def messages(self, timeout: float) -> Iterator[dict[str, Any]]:
        """Give what the worker reports, until it ends.

        It is killed after ``timeout`` seconds without a message; ``timed_out`` is true then.

        Raises:
            ValueError: it printed something else.
        """
        assert self._process.stdout is not None
        alive, over = threading.Event(), threading.Event()

        def watch() -> None:
            while alive.wait(timeout):
                alive.clear()
                if over.is_set():
                    return
            self.timed_out = True
            self.kill()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            for line in self._process.stdout:
                alive.set()
                yield json.loads(line)
            self._process.wait()
        finally:
            over.set()
            alive.set()
            watching.join()

    def kill(self) -> None:
        """End it and all its children at once."""
        if self._process.poll() is not None:
            return  # its number may be another's by now
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most ``timeout`` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def close(self) -> int:
        """Kill it if it still runs, and give the exit status."""
        self.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status


def last_line(log: Path) -> str:
    """The last line of a worker's log that is not empty; "" if there is none."""
    try:
        lines = log.read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


# In the worker.


def end_with_parent() -> None:
    """End this process, and its children, as soon as its parent is gone."""

    def watch() -> None:
        # Below Python's buffers, whose locks a waiting thread would keep at the process's end.
        while os.read(0, 1):
            pass
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(PARENT_GONE)

    threading.Thread(target=watch, daemon=True).start()


def reporter() -> Callable[..., None]:
    """Claim standard output for messages: ``report(stage="reading")`` sends one.

    Whatever libraries print goes to standard error from now on.
    """
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(**message: Any) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    return report


def lower_priority() -> None:
    """Let every other process go first: this one gets the time that they leave."""
    with suppress(OSError, AttributeError):
        os.nice(10)
    with suppress(OSError, AttributeError):
        # Linux: a process that wakes up takes the core at once, where niceness alone lets this one
        # end its turn.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError, AttributeError):
        # Where Linux groups processes by their sessions, niceness counts within a group alone:
        # this one's own group is lowered.
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text("19")


@contextmanager
def serving() -> Iterator[None]:
    """Run a uvicorn server inside; it ends in good order on SIGINT, SIGTERM and SIGHUP.

    uvicorn closes its connections on SIGINT and SIGTERM, and then raises the signal once more: by
    default SIGTERM would end the process there, and running jobs would count as crashed.
    """

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def terminate(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    # A hang-up is left ignored where somebody asked for that (nohup).
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, terminate)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
