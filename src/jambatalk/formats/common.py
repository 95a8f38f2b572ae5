"""Checks that several formats share."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jambatalk.errors import InputError, shown
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.motion import Motion


def check_names(
    names: Sequence[str], where: str, known: Sequence[str] | None = ARKIT_NAMES
) -> None:
    """Check the shape names of a file.

    Args:
        names: the names in the file.
        where: the start of the error message, such as the file's name.
        known: the names that exist; None admits any, and the face that the motion moves decides.

    Raises:
        InputError: the first name that is unknown (with the closest known one) or appears twice.
    """
    seen = set()
    for name in names:
        if known is not None and name not in known:
            close = difflib.get_close_matches(name[:100], known, 1, 0.6)
            hint = (
                f", did you mean {close[0]!r}?"
                if close
                else ", expected ARKit names such as 'jawOpen'"
            )
            raise InputError(f"{where}: unknown shape name {shown(name)}{hint}")
        if name in seen:
            raise InputError(f"{where}: shape name {shown(name)} appears twice")
        seen.add(name)


def weights_of(motion: Motion, kind: str) -> NDArray[Any]:
    """(T, K) weights; InputError for a motion of vertex offsets, which ``kind`` cannot hold."""
    if motion.weights is None:
        raise InputError(
            f"{kind} holds shape weights, but this motion has vertex offsets: save it as .npz"
        )
    return motion.weights


def finite_float32(values: ArrayLike, where: str) -> NDArray[np.float32]:
    """Values as float32. InputError unless they are finite, also after the conversion."""
    with np.errstate(over="ignore"):
        made = np.asarray(values).astype(np.float32, copy=False)
    if not np.isfinite(made).all():
        raise InputError(f"{where} holds values that are not finite")
    return made


def read_motion(where: str, fps: float, **values: Any) -> Motion:
    """A motion of a file's values; an InputError of ``Motion`` gets the file's name."""
    try:
        return Motion(fps, **values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
