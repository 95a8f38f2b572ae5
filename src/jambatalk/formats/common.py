"""Checks that several formats share."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.motion import Motion


def check_names(
    names: Sequence[str], where: str, known: Sequence[str] | None = ARKIT_NAMES
) -> None:
    """InputError for the first shape name that is unknown (with the closest known one) or that appears twice.

    known: None admits any name; the face that is to wear the motion then decides.
    """
    seen = set()
    for name in names:
        if known is not None and name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.6)
            hint = (
                f", did you mean {close[0]!r}?"
                if close
                else ", expected ARKit names such as 'jawOpen'"
            )
            raise InputError(f"{where}: unknown shape name {name!r}{hint}")
        if name in seen:
            raise InputError(f"{where}: shape name {name!r} appears twice")
        seen.add(name)


def weights_of(motion: Motion, kind: str) -> NDArray[Any]:
    """(T, K) weights; InputError for a motion of vertex offsets, which ``kind`` cannot hold."""
    if motion.weights is None:
        raise InputError(
            f"{kind} holds shape weights, but this motion has vertex offsets: save it as .npz"
        )
    return motion.weights
