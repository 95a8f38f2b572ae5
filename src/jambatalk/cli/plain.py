"""Errors as a user wants them: one line, a status, no traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from jambatalk.errors import InputError, MissingExtraError

BAD_INPUT = 2
INTERRUPTED = 130

EXPECTED = (InputError, MissingExtraError, OSError)
"""What the user or the machine can cause (a full disk is an OSError); everything else is our mistake and keeps its traceback."""


def one_line(error: BaseException) -> str:
    """The message of an error on a single line."""
    if isinstance(error, OSError) and not isinstance(error, (InputError, ImportError)) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command: expected errors become ``error: ...`` and status 2, Ctrl-C becomes status 130."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            raise
        except EXPECTED as error:
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            typer.echo("interrupted; nothing half-written", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return run
