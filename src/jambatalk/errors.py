"""The errors a user can cause, each one clear sentence: what was seen and what was expected."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from the user (a file, a value, a name). The CLI prints it as one line and exits with 2."""


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message holds the exact ``pip install "jambatalk[x]"`` line."""
