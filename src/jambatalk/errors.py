"""The errors a user can cause, each one clear sentence: what was seen and what was expected."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class InputError(ValueError):
    """Bad input from the user (a file, a value, a name).

    The CLI prints it as one line and exits with 2.
    """


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message has the ``pip install "jambatalk[x]"`` line."""


BAD_INPUT = 2

EXPECTED = (InputError, MissingExtraError, OSError)
"""What the user or the machine can cause (a full disk is an OSError).

Everything else is our mistake and keeps its traceback.
"""

LONGEST_VALUE = 80
"""Characters of a value, or of a parser's message, that an error shows."""


@contextmanager
def reading(path: str | os.PathLike[str], what: str = "") -> Iterator[None]:
    """Turn whatever a parser raises inside the block into one InputError that names the file.

    The one boundary for all readers: parsers of damaged files raise ValueError, KeyError,
    RecursionError, MemoryError, OverflowError, zlib.error, struct.error, UnicodeDecodeError and
    many more, and no list of them is ever complete.

    Args:
        path: the file, or another name for what is read.
        what: what it should be, for the message, such as "a pickle of plain data".

    Raises:
        InputError: the file cannot be opened or read. InputError and MissingExtraError from inside
            pass as they are.
    """
    try:
        yield
    except (InputError, MissingExtraError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        state = f"damaged, cut off or not {what}" if what else "damaged or cut off"
        raise InputError(f"{path} is {state} ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """What a parser's exception says, in at most ``LONGEST_VALUE`` characters of one line."""
    if isinstance(error, KeyError) and error.args:
        return f"{shown(error.args[0])} is missing"
    try:
        text = " ".join(str(error).split())
    except Exception:  # one that cannot print its value, such as an integer of 5,000 digits
        text = ""
    return shortened(text) or type(error).__name__


def shown(value: Any) -> str:
    """``repr(value)`` in at most ``LONGEST_VALUE`` characters, however large or deep it is."""
    try:
        text = _REPR.repr(value)
    except Exception:  # RecursionError, or the digits of an integer beyond Python's limit
        text = f"a {type(value).__name__}"
    return shortened(text)


def shortened(text: str) -> str:
    """At most ``LONGEST_VALUE`` characters of a text in one line; the middle goes first.

    Line ends and what steers a terminal are shown as Python escapes them.
    """
    if len(text) > LONGEST_VALUE:
        half = (LONGEST_VALUE - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxother = LONGEST_VALUE


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
