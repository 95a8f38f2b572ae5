"""Connections of the live server that take the place of others: those that ask for nothing, that
read nothing, and too many.

A system gives a process so many open connections, a thousand often. uvicorn waits without end for
the rest of a request's head and for a reader, so a thousand silent connections would shut everybody
else out.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jambatalk.server.websocket import ABORT


@dataclass(frozen=True)
class ConnectionLimits:
    """request: seconds until the head of a request must be whole, of a new connection and of one
    that has had its reply.

    idle: connections without a request; beyond, the one that has waited longest goes. unread:
    seconds for which a reader may take nothing of a reply. sockets: WebSockets, open or on their
    way out. total: of any kind; beyond, requests are answered with 503.
    """

    request: float = 10.0
    idle: int = 256
    unread: float = 30.0
    sockets: int = 160
    total: int = 768


def abort(transport: Any) -> None:
    """End a connection at once, with whatever has not been taken: the system would go on offering
    that for a long time."""
    with suppress(
        OSError, ValueError, AttributeError
    ):  # it may have ended: asyncio and uvloop say so in different ways
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    transport.abort()


def abortable_ws_protocol(name: str = "websockets-sansio") -> Any:
    """uvicorn's WebSocket protocol of this name ("websockets-sansio", "wsproto"), whose connections
    can be aborted.

    ASGI knows only closing in good order, for which the last bytes must have been taken. The
    extension ``ABORT`` of the scope is a function that drops the connection with whatever has not
    been taken, and may be called at any time, also after it has ended.
    """
    from uvicorn.config import WS_PROTOCOLS
    from uvicorn.importer import import_from_string

    base: Any = import_from_string(WS_PROTOCOLS[name])

    class AbortableProtocol(base):  # type: ignore[misc]
        async def run_asgi(self) -> None:
            self.scope["extensions"][ABORT] = lambda: abort(self.transport)
            await super().run_asgi()

    return AbortableProtocol


def limited_http_protocol(limits: ConnectionLimits) -> Any:
    """uvicorn's HTTP protocol within limits that all connections of one server share."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    waiting: dict[
        Any, asyncio.TimerHandle
    ] = {}  # connections without a request, the longest waiting first

    class LimitedProtocol(H11Protocol):
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._asked():
                self._stop_waiting()

        def on_response_complete(self) -> None:
            # Another request may have been there already; it has begun when this returns.
            super().on_response_complete()
            if not self._asked() and not self.transport.is_closing():
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self.resume_writing()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._unread is None:
                self._unread = self.loop.call_later(limits.unread, abort, self.transport)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def handle_websocket_upgrade(self, event: Any) -> None:
            if (
                sum(not isinstance(one, LimitedProtocol) for one in self.connections)
                < limits.sockets
            ):
                super().handle_websocket_upgrade(event)
                return
            body = json.dumps({"error": "too many connections: try again later"}).encode()
            head = (
                "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

        def _asked(self) -> bool:
            """Whether a request waits for its reply, or a WebSocket has taken over."""
            asked = self.cycle is not None and not self.cycle.response_complete
            return asked or self.transport.get_protocol() is not self

        def _wait(self) -> None:
            self._stop_waiting()
            waiting[self] = self.loop.call_later(limits.request, abort, self.transport)
            if len(waiting) > limits.idle:
                oldest = next(iter(waiting))
                oldest._stop_waiting()
                abort(oldest.transport)

        def _stop_waiting(self) -> None:
            timer = waiting.pop(self, None)
            if timer is not None:
                timer.cancel()

    return LimitedProtocol


def raise_file_limit(count: int) -> None:
    """Ask the system for room for so many, as far as it lets us."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256  # files and pipes of ours
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE,
                (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
            )
