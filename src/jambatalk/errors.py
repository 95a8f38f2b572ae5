"""The errors a user can cause, each one clear sentence: what was seen and what was expected."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from the user (a file, a value, a name). The CLI prints it as one line and exits with 2."""


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message holds the exact ``pip install "jambatalk[x]"`` line."""


BAD_INPUT = 2

EXPECTED = (InputError, MissingExtraError, OSError)
"""What the user or the machine can cause (a full disk is an OSError); everything else is our mistake and keeps its traceback."""


def one_line(error: BaseException) -> str:
    """The message of an error on a single line."""
    if (
        isinstance(error, OSError)
        and not isinstance(error, (InputError, ImportError))
        and error.strerror
    ):
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
