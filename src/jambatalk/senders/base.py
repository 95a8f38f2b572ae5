"""What all senders share: the address, safe values, and the pace at which frames go out."""

from __future__ import annotations

import logging
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

if TYPE_CHECKING:
    from jambatalk.session import Frame


LOG = logging.getLogger(__name__)

MAX_DATAGRAM = 1400
"""Bytes: with its headers within an Ethernet frame, so that it is never cut on the way."""


class Sender(ABC):
    """Sends frames to one receiver; ``send`` neither waits for it nor raises because of it.

    Args:
        target: the receiver's address.
        names: shapes of the frames.
        fps: frames per second.

    Attributes:
        sent: frames that left.
        failed: frames, or parts of one, that the receiver's machine refused or that had no room.
    """

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        if not names:
            raise InputError(
                f"{target.url} takes shape weights, but this network moves the vertices of a mesh"
            )
        if not 1 <= fps <= 240:
            raise InputError(f"frames come at {fps} per second, expected 1 to 240")
        self.target, self.names, self.fps = target, tuple(names), float(fps)
        self.sent = self.failed = 0
        self._warned = False

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Send one frame now; a receiver that is not there is counted in ``failed``."""

    @abstractmethod
    def close(self) -> None:
        """Close the socket; may be called twice."""

    def count_failure(self, reason: object) -> None:
        """Count a failure and log the first: a missing receiver fails at every frame."""
        self.failed += 1
        if not self._warned:
            self._warned = True
            LOG.warning(
                "%s: %s; sending continues, in case a receiver comes", self.target.url, reason
            )


class DatagramSender(Sender):
    """A sender over UDP: each frame becomes a few datagrams, sent without waiting."""

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        super().__init__(target, names, fps)
        family, address = resolve(target)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            # A connected socket learns that nobody listens; it sends nothing yet.
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise InputError(
                f"{target.url} cannot be sent to: {error.strerror or error}"
            ) from error

    @abstractmethod
    def packets(self, frame: Frame) -> list[bytes]:
        """The datagrams of one frame, in order."""

    def send(self, frame: Frame) -> None:
        """Send one frame now."""
        try:
            for packet in self.packets(frame):
                self._send(packet)
        except ConnectionRefusedError:
            self.count_failure("nobody listens there")
        except OSError as error:
            self.count_failure(error.strerror or error)
        else:
            self.sent += 1

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)
        except ConnectionRefusedError:
            # That was about an earlier packet, and this one was not sent: a receiver may have come.
            self._socket.send(packet)
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def safe_weights(frame: Frame) -> NDArray[np.float32]:
    """Give (K,) float32 in 0..1: an engine may keep a NaN for ever, so it becomes 0."""
    weights = np.nan_to_num(np.asarray(frame.weights, np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(weights, 0.0, 1.0)


def safe_pose(frame: Frame) -> NDArray[np.float32] | None:
    """Give (3,) radians (pitch, yaw, roll); None without a pose, or for one that is not finite."""
    pose = getattr(frame, "head_pose", None)
    if pose is None or not np.isfinite(pose).all():
        return None
    return np.asarray(pose, np.float32)


@dataclass(frozen=True)
class Target:
    """A receiver's address, taken apart: ``vmc://192.168.1.7?shapes=vrm``.

    Args:
        url: as typed.
        port: 1 to 65535.
        path: with its leading slash, or empty.
        options: what follows ``?``, decoded.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str
    options: dict[str, str]

    def option(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Give an option's value. Raises InputError unless it is one of ``choices``."""
        value = self.options.get(name, default)
        if value not in choices:
            raise InputError(f"{self.url}: {name} is {value!r}, expected {' or '.join(choices)}")
        return value


def parse_target(
    url: str, default_port: int | None, options: tuple[str, ...], path: bool
) -> Target:
    """Take an address apart.

    Args:
        url: as typed.
        default_port: None: the URL must name one.
        options: names of options that may be given.
        path: whether it may have a path.

    Raises:
        InputError: a host, port, path or option is not valid.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(
            f"{url}: the port or the address cannot be read ({error}), expected host:port"
        ) from error
    if not host:
        raise InputError(
            f"{url} names no host, expected {parts.scheme}://host{'' if default_port else ':port'}"
        )
    port = default_port if port is None else port
    if port is None:
        raise InputError(f"{url} names no port, expected {parts.scheme}://{host}:port")
    if port == 0:
        raise InputError(f"{url}: port 0 cannot be sent to, expected 1 to 65535")
    if not path and parts.path not in ("", "/"):
        raise InputError(f"{url} has a path {parts.path!r}, but {parts.scheme} takes none")
    return Target(
        url,
        parts.scheme,
        host,
        port,
        unquote(parts.path).rstrip("/"),
        _options(url, parts, options),
    )


def _options(url: str, parts: SplitResult, known: tuple[str, ...]) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in known:
            raise InputError(
                f"{url}: unknown option {name!r}, expected {', '.join(known) or 'none'}"
            )
    return given


def resolve(target: Target) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """Find the host's address for UDP. Raises InputError when its name is not known."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{target.url}: the host {target.host!r} was not found ({error})"
        ) from error
    # Receivers on "localhost" nearly always listen on IPv4 only.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address


class Pacer:
    """Waits until a media time has come on a clock that only runs forward.

    Every wait is measured from the same origin, so errors do not add up; after a stall nothing
    waits until the frames have caught up.

    Args:
        slack: None for a recording. For a microphone, whose clock is not ours, the seconds by which
            a frame may be early or late before the origin follows; without it the delay would grow
            by the difference of the two clocks.
        clock, sleep: for tests.
    """

    def __init__(
        self,
        slack: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.slack, self.clock, self._sleep = slack, clock, sleep
        self.origin: float | None = None

    def start(self, delay: float = 0.0) -> None:
        """Set media time 0 to ``delay`` seconds from now."""
        self.origin = self.clock() + delay

    def shift(self, seconds: float) -> None:
        """Begin media time anew, ``seconds`` after its last beginning."""
        assert self.origin is not None, "start() comes first"
        self.origin += seconds

    def wait(self, media_time: float, arrived: float | None = None) -> float:
        """Return when ``media_time`` (seconds) has come.

        Without ``start``, the first frame that is waited for is on time.

        Args:
            media_time: of the frame.
            arrived: when the sound that the frame needed came, on the same clock; None is now. The
                slack is measured against it, not against the moment of asking: a caller that waits
                asks later and later, and would never see that the other clock is fast.

        Returns:
            By how many seconds that is too late, 0 or more.
        """
        came = self.clock() if arrived is None else arrived
        if self.origin is None:
            self.origin = came - media_time
        early = self.origin + media_time - came
        if self.slack is not None and abs(early) > self.slack:
            self.origin -= early - self.slack if early > 0 else early + self.slack
        early = self.origin + media_time - self.clock()
        # A sleep may end early on some systems.
        while early > 0:
            self._sleep(early)
            early = self.origin + media_time - self.clock()
        return -early
