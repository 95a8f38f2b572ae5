"""Plain OSC for everything that can be patched: TouchDesigner, Max, Pure Data, lights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jambatalk.errors import InputError
from jambatalk.live.links.datagrams import LARGEST, DatagramLink
from jambatalk.live.links.link import safe_pose, safe_weights
from jambatalk.live.links.osc import bundles, message
from jambatalk.live.links.target import Target

if TYPE_CHECKING:
    from jambatalk.session import Frame

NAMES_EVERY = 2.0
"""Seconds after which packed weights come with their names again: a receiver may start late, or miss them."""


class PlainOsc(DatagramLink):
    """``osc://host:port[/prefix]?pack=0|1``: /prefix/time, /prefix/pose (pitch, yaw, roll in radians), and the weights.

    pack=0: one message per shape, /prefix/jawOpen. pack=1: /prefix/weights with all, and now and then /prefix/names.
    """

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        self.packed = target.option("pack", "0", ("0", "1")) == "1"
        if not target.path.isascii() or any(c in " #*,?[]{}" for c in target.path):
            raise InputError(f"{target.url}: the prefix {target.path!r} holds characters that an OSC address cannot have")
        self._until_names = 0
        super().__init__(target, names, fps)

    def packets(self, frame: Frame) -> list[bytes]:
        """Bundles that together are one frame."""
        prefix, weights = self.target.path, [float(value) for value in safe_weights(frame)]
        messages = [message(f"{prefix}/time", float(frame.time))]
        pose = safe_pose(frame)
        if pose is not None:
            messages.append(message(f"{prefix}/pose", *(float(angle) for angle in pose)))
        if self.packed:
            if self._until_names == 0:
                messages.append(message(f"{prefix}/names", *self.names))
                self._until_names = max(round(NAMES_EVERY * self.fps), 1)
            self._until_names -= 1
            messages.append(message(f"{prefix}/weights", *weights))
        else:
            messages += [message(f"{prefix}/{name}", value) for name, value in zip(self.names, weights, strict=True)]
        return bundles(messages, LARGEST)
