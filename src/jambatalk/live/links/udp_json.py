"""One JSON datagram per frame: what a few lines of any script can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jambatalk.live.links.datagrams import DatagramLink
from jambatalk.live.links.json_text import frame_text, ready_text
from jambatalk.live.links.target import Target

if TYPE_CHECKING:
    from jambatalk.session import Frame

READY_EVERY = 2.0
"""Seconds after which the names are sent again: a receiver may start late, or miss them."""


class UdpJson(DatagramLink):
    """``udp-json://host:port``: a datagram of type "ready" now and then, and one of type "frame" for every frame."""

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        self._until_ready = 0
        super().__init__(target, names, fps)

    def packets(self, frame: Frame) -> list[bytes]:
        """One or two datagrams."""
        texts = [frame_text(frame)]
        if self._until_ready == 0:
            texts.insert(0, ready_text(self.names, self.fps))
            self._until_ready = max(round(READY_EVERY * self.fps), 1)
        self._until_ready -= 1
        return [text.encode("utf-8") for text in texts]
