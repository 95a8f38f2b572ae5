"""Links over UDP: each frame becomes one or a few datagrams, sent without waiting."""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jambatalk.errors import InputError
from jambatalk.live.links.link import Link
from jambatalk.live.links.target import Target, resolve

if TYPE_CHECKING:
    from jambatalk.session import Frame

LARGEST = 1400
"""Bytes in a datagram: with its headers within an Ethernet frame, so that it is never cut into pieces on the way."""


class DatagramLink(Link):
    """Sends what ``packets`` makes of a frame."""

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        super().__init__(target, names, fps)
        family, address = resolve(target)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            # A connected socket hears that nobody listens; it sends nothing yet.
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise InputError(f"{target.url} cannot be sent to: {error.strerror or error}") from error

    @abstractmethod
    def packets(self, frame: Frame) -> list[bytes]:
        """The datagrams of one frame, in order."""

    def send(self, frame: Frame) -> None:
        """Send one frame now."""
        try:
            for packet in self.packets(frame):
                self._send(packet)
        except ConnectionRefusedError:
            self.trouble("nobody listens there")
        except OSError as error:
            self.trouble(error.strerror or error)
        else:
            self.sent += 1

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)
        except ConnectionRefusedError:
            # That was said of an earlier packet, and this one was not sent: a receiver may have come since.
            self._socket.send(packet)
            raise

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
