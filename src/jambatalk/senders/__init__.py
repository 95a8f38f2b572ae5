"""Frames to engines, as they come: one file per protocol, and ``open_link`` that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from jambatalk.errors import InputError
from jambatalk.senders.base import Sender, Target, parse
from jambatalk.senders.json import UdpJson, WebSocket
from jambatalk.senders.live_link import LiveLink
from jambatalk.senders.osc import PlainOsc
from jambatalk.senders.vmc import Vmc

# Which links there are: one line each.


@dataclass(frozen=True)
class Kind:
    """open: makes the link. port: where receivers usually listen, None: must be given. path: whether the URL may have one."""

    open: Callable[[Target, Sequence[str], float], Sender]
    form: str
    receivers: str
    port: int | None = None
    options: tuple[str, ...] = ()
    path: bool = False


KINDS = {
    "livelink": Kind(
        LiveLink,
        "livelink://host[:11111]?name=..&device=..",
        "Unreal Engine",
        11111,
        ("name", "device"),
    ),
    "vmc": Kind(
        Vmc,
        "vmc://host[:39539]?shapes=arkit|vrm|vrm1&case=pascal|camel&bones=1|0",
        "VRM avatars",
        39539,
        ("shapes", "case", "bones"),
    ),
    "osc": Kind(
        PlainOsc,
        "osc://host:port[/prefix]?pack=0|1",
        "TouchDesigner, Max, ...",
        None,
        ("pack",),
        True,
    ),
    "udp-json": Kind(UdpJson, "udp-json://host:port", "your own script"),
    "ws": Kind(WebSocket, "ws://host[:80]/path", "a WebSocket server", 80, (), True),
    "wss": Kind(WebSocket, "wss://host[:443]/path", "the same, encrypted", 443, (), True),
}


def open_link(url: str, names: Sequence[str], fps: float) -> Sender:
    """The link that a URL describes, for frames with these shape ``names`` at ``fps``.

    InputError for an unknown scheme, host, port or option, and for names that the protocol cannot carry.
    """
    # Not urlsplit(url) whole: that fails on a bad address, which parse has the better sentence for.
    scheme = urlsplit(url.partition("://")[0] + "://").scheme if "://" in url else ""
    kind = KINDS.get(scheme)
    if kind is None:
        known = ", ".join(f"{name}://" for name in KINDS)
        raise InputError(
            f"{url!r} is no address that frames can be sent to, expected one that begins with {known}"
        )
    return kind.open(parse(url, kind.port, kind.options, kind.path), names, fps)


__all__ = ["KINDS", "Link", "open_link"]
