"""Senders: frames to engines as they come. One file per protocol, and ``open_sender``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.senders.base import Sender, Target, parse_target
from jambatalk.senders.json import UdpJsonSender, WebSocketSender
from jambatalk.senders.live_link import LiveLinkSender
from jambatalk.senders.osc import OscSender
from jambatalk.senders.own_shapes import OwnShapesSender
from jambatalk.senders.vmc import VmcSender

__all__ = ["SENDERS", "Sender", "SenderKind", "open_sender", "senders_table"]


@dataclass(frozen=True)
class SenderKind:
    """One protocol.

    Args:
        open: makes the sender.
        form: what its URLs look like.
        protocol: its name and transport.
        receivers: programs that understand it.
        port: where receivers usually listen; None: the URL must name it.
        options: what may follow ``?`` in the URL.
        path: whether the URL may have one.
    """

    open: Callable[[Target, Sequence[str], float], Sender]
    form: str
    protocol: str
    receivers: str
    port: int | None = None
    options: tuple[str, ...] = ()
    path: bool = False


SENDERS = {
    "livelink": SenderKind(
        LiveLinkSender,
        "livelink://host[:11111]?name=..&device=..",
        "Live Link Face, UDP",
        "Unreal Engine",
        11111,
        ("name", "device"),
    ),
    "vmc": SenderKind(
        VmcSender,
        "vmc://host[:39539]?shapes=arkit|vrm|vrm1|own&case=pascal|camel&bones=1|0",
        "VMC over OSC, UDP",
        "VRM avatars: VSeeFace, Warudo, receivers for Unity",
        39539,
        ("shapes", "case", "bones"),
    ),
    "osc": SenderKind(
        OscSender,
        "osc://host:port[/prefix]?pack=0|1",
        "OSC 1.0, UDP",
        "TouchDesigner, Max, Pure Data, Resolume",
        None,
        ("pack",),
        True,
    ),
    "udp-json": SenderKind(
        UdpJsonSender, "udp-json://host:port", "one JSON object per datagram", "your own script"
    ),
    "ws": SenderKind(
        WebSocketSender,
        "ws://host[:80]/path",
        "the frame messages of live.md, as a WebSocket client",
        "a WebSocket server",
        80,
        (),
        True,
    ),
    "wss": SenderKind(
        WebSocketSender, "wss://host[:443]/path", "the same, encrypted", "the same", 443, (), True
    ),
}
"""URL scheme -> protocol: the only list of them."""


def open_sender(url: str, names: Sequence[str], fps: float, face: Face | None = None) -> Sender:
    """Open the sender that a URL describes.

    Args:
        url: as the forms in ``SENDERS``.
        names: shapes of the frames.
        fps: frames per second.
        face: a character whose own shapes are sent instead, by protocols that take any names.

    Raises:
        InputError: an unknown scheme, host, port or option, or shapes that the protocol lacks.
    """
    # Not urlsplit(url) whole: that fails on a bad address, for which the parser has a sentence.
    scheme = urlsplit(url.partition("://")[0] + "://").scheme if "://" in url else ""
    kind = SENDERS.get(scheme)
    if kind is None:
        known = ", ".join(f"{name}://" for name in SENDERS)
        raise InputError(
            f"{url!r} is not an address that frames can be sent to, expected one that begins"
            f" with {known}"
        )
    target = parse_target(url, kind.port, kind.options, kind.path)
    if face is not None and kind.open is not LiveLinkSender:
        return OwnShapesSender(target, names, fps, face, kind.open)
    return kind.open(target, names, fps)


def senders_table() -> str:
    """The table of docs/how-to/senders.md, in Markdown."""
    rows = ["| `--to` | protocol | for |", "|---|---|---|"]
    for kind in SENDERS.values():
        form = kind.form.replace("|", "\\|")
        rows.append(f"| `{form}` | {kind.protocol} | {kind.receivers} |")
    return "\n".join(rows)
