"""A talker that is ready to work: loaded, and its kernels compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jambatalk.talker import Talker


@dataclass(frozen=True)
class Network:
    """Which network to load and where to; None: the weights in the package, and the face that goes with them."""

    weights: str | None = None
    device: str = "cpu"
    precision: str = "float32"
    face: str | None = None
    style: str | None = None


def ready_talker(network: Network) -> Talker:
    """Load the network and let it hear a moment of silence.

    The first sound compiles kernels (or reads them from numba's cache); done here, it does not blur the times that follow.
    """
    import numpy as np

    import jambatalk

    face = None
    if network.face is not None:
        from jambatalk.face.mesh import load_mesh

        face = load_mesh(network.face)
    talker = jambatalk.load(network.weights, network.device, network.precision, face, network.style)
    talker.animate_blocks([np.zeros(1600, np.float32)])
    return talker


def look_ahead(talker: Talker) -> str:
    """The look-ahead in words."""
    return f"{talker.look_ahead_ms:.0f} ms" if talker.model.config.streaming else "the whole recording"
