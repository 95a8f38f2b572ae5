"""What a person sees while waiting: progress bars and lines, all on standard error."""

from __future__ import annotations

import functools
import math
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jambatalk.errors import BAD_INPUT, EXPECTED, InputError, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress


class ProgressConsole:
    """Progress bars that vanish when done, and lines that stay."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def log(self, text: str) -> None:
        """Print one line as it is, whatever the width of the terminal."""
        self._bars.console.print(text, soft_wrap=True, highlight=False, markup=False)

    @contextmanager
    def progress(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """A bar while the block runs; gives a function to call with (done, total)."""
        task = self._bars.add_task(name, total=None)
        try:
            yield lambda done, total: self._bars.update(task, completed=done, total=total)
        finally:
            self._bars.remove_task(task)


@contextmanager
def progress_console() -> Iterator[ProgressConsole]:
    """The progress bars and lines of one command."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        yield ProgressConsole(bars)


def counted(
    blocks: Iterable[NDArray[np.float32]], total: int, report: Callable[[int, int], None]
) -> Iterator[NDArray[np.float32]]:
    """The blocks unchanged, reporting how many of ``total`` samples have been taken."""
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        report(done, total)


# Errors as a user wants them: one line, a status, no traceback.


def handle_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command: expected errors become ``error: ...`` and status 2.

    Ctrl-C, SIGTERM and SIGHUP end it with 128 and the signal's number as status, and nothing
    half-written is left.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with _signals_interrupt():
                command(*args, **kwargs)
        except BrokenPipeError:
            raise
        except EXPECTED as error:
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt as error:
            if error.args:  # the program ends now: a further signal must not end it half-way
                for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
                    signal.signal(number, signal.SIG_IGN)
            with suppress(OSError):  # after SIGHUP the terminal is gone
                typer.echo("interrupted; nothing half-written", err=True)
            number = error.args[0] if error.args else signal.SIGINT
            raise typer.Exit(128 + int(number)) from None

    return run


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, unless they are ignored
    (``nohup``).

    Further ones do not interrupt the cleaning up.
    """

    def interrupt(number: int, _: object) -> None:
        for taken in before:
            # Not SIG_IGN: Python prints a traceback for one that came at the same time.
            signal.signal(taken, lambda *_: None)
        raise KeyboardInterrupt(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Option values as text, checked.


def _limit_threads(count: int | None) -> int | None:
    from jambatalk.ops.threads import set_thread_limit, thread_limit

    set_thread_limit(count)
    try:
        thread_limit()
    except InputError as error:  # of the environment variable
        raise typer.BadParameter(str(error)) from error
    return count


ArticulationOption = Annotated[
    float,
    typer.Option(
        metavar="FACTOR",
        help="How far the mouth moves: 0.5 (mumbled) to 1.5; closed lips stay closed.",
    ),
]

LifeOption = Annotated[
    str,
    typer.Option(
        metavar="LAYERS",
        help="Blinks, gaze, head motion, breath: on, off, auto (on in videos, off in files of "
        "weights), or such as blinks=0.5,head=0,seed=7.",
    ),
]


def check_shapes(name: str) -> None:
    """InputError unless there are such shapes."""
    from jambatalk.face.shape_sets import SHAPE_SETS

    if name not in SHAPE_SETS:
        raise InputError(f"--shapes is {name[:80]!r}, expected one of {', '.join(SHAPE_SETS)}")


ShapesOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Names of the weights in files that show no face: arkit, oculus (15 visemes), vrm "
        "(5 vowels), microsoft (ids and times).",
    ),
]

ThreadsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=1024,
        callback=_limit_threads,
        help="Threads at most.  [default: the cores that this process may use]",
        show_default=False,
    ),
]
"""``--threads``, which takes effect as it is parsed."""

LARGEST_SIDE = 8192


def parse_size(text: str) -> tuple[int, int]:
    """``512`` or ``512x640`` -> (width, height) in pixels."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×X](\d{1,5}))?", text.strip())
    if match is None:
        raise InputError(
            f"--size is {text!r}, expected one number such as 512, or width x height such as "
            "512x640"
        )
    width = int(match[1])
    height = int(match[2] or width)
    if not (16 <= width <= LARGEST_SIDE and 16 <= height <= LARGEST_SIDE):
        raise InputError(f"--size is {text!r}, expected 16 to {LARGEST_SIDE} pixels each way")
    return width, height


def parse_fps(text: str | None) -> float | None:
    """``25`` or ``29.97`` -> frames per second; None stays None (the network's own rate)."""
    if text is None:
        return None
    try:
        fps = float(text)
    except ValueError:
        fps = math.nan
    if not 1 <= fps <= 240:
        raise InputError(f"--fps is {text!r}, expected a number from 1 to 240")
    return fps


def check_identity(name: str | None) -> None:
    """InputError, naming the choices, unless the default head has this identity."""
    if name is not None:
        from jambatalk.face.head import default_head

        default_head(name)
