"""What a person sees while waiting: progress bars and lines, all on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Screen:
    """Progress bars that vanish when done, and lines that stay."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def line(self, text: str) -> None:
        """Print one line as it is, whatever the width of the terminal."""
        self._bars.console.print(text, soft_wrap=True, highlight=False, markup=False)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """A bar while the block runs; gives a function to call with (done, in all)."""
        task = self._bars.add_task(name, total=None)
        try:
            yield lambda done, total: self._bars.update(task, completed=done, total=total)
        finally:
            self._bars.remove_task(task)


@contextmanager
def screen() -> Iterator[Screen]:
    """The screen of one command."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Screen(bars)


def counted(
    blocks: Iterable[NDArray[np.float32]], total: int, report: Callable[[int, int], None]
) -> Iterator[NDArray[np.float32]]:
    """The blocks unchanged, reporting how many of ``total`` samples have been taken."""
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        report(done, total)
