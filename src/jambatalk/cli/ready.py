"""A talker that is ready to work: loaded, and its kernels compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jambatalk.talker import Talker


def ready_talker(weights: str | None, device: str) -> Talker:
    """Load the network and let it hear a moment of silence.

    The first sound compiles kernels (or reads them from numba's cache); done here, it does not blur the times that follow.
    """
    import numpy as np

    import jambatalk

    talker = jambatalk.load(weights, device=device)
    talker.animate_blocks([np.zeros(1600, np.float32)])
    return talker
