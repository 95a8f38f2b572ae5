"""A client that sends and never reads, over a real socket, is dropped; others do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from jambatalk.server.engine import MAX_UNREAD, Engine
from jambatalk.server.settings import ServerSettings
from small_network import speechlike

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from jambatalk.client import LiveClient, TurnEnd
from jambatalk.server.app import create_app
from jambatalk.server.connections import abortable_ws_protocol

# seconds: far less than what the system or keep-alive pings, which are off here, would take
SOON = 15.0


@pytest.fixture(params=["websockets-sansio", "wsproto"])
def served(
    small_weights: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[str, Engine, Any, uvicorn.Server]]:
    if request.param == "wsproto":
        pytest.importorskip("wsproto", reason="uvicorn's other WebSocket protocol is not installed")
    listening = socket.create_server(("127.0.0.1", 0))
    # Small buffers of the system, so that what is not read backs up to the server soon.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    with Engine(jambatalk.load(small_weights)) as engine:
        app = create_app(engine, ServerSettings(send_timeout=1.0))
        config = uvicorn.Config(
            app,
            log_level="critical",
            lifespan="off",
            ws=abortable_ws_protocol(request.param),
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield (
            f"ws://127.0.0.1:{listening.getsockname()[1]}/v1/stream",
            engine,
            app.state.metrics,
            server,
        )
        server.should_exit = True
        thread.join()


def unread_socket(url: str) -> socket.socket:
    """A connected socket that holds little of what is not read."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((url.split("/")[2].split(":")[0], int(url.split(":")[2].split("/")[0])))
    plain.setblocking(False)
    return plain


async def no_connections(server: uvicorn.Server) -> None:
    while server.server_state.connections:
        await asyncio.sleep(0.05)


def test_a_reader_that_never_reads_is_dropped_and_its_socket_is_gone(
    served: tuple[str, Engine, Any, uvicorn.Server],
) -> None:
    url, engine, metrics, server = served
    sound = (speechlike(2.0) * 32767).astype("<i2")
    most = 0

    async def stubborn() -> None:
        # max_queue: after so many messages the library itself stops reading the socket.
        options: dict[str, Any] = {
            "max_queue": 1,
            "ping_interval": None,
            "close_timeout": 0.1,
            "compression": None,
        }
        async with connect(url, sock=unread_socket(url), **options) as stream:
            await stream.send('{"type": "start", "fps": 240}')
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await stream.send(sound.tobytes())

    async def polite() -> int:
        frames = 0
        async with LiveClient(url) as live:
            for _ in range(20):
                await live.send(sound[:16000])
                await live.end()
                async for frame in live:
                    if isinstance(frame, TurnEnd):
                        break
                    frames += 1
                await asyncio.sleep(0.1)
        return frames

    async def watch() -> None:
        nonlocal most
        while b'reason="too_slow"' not in metrics.text():
            for line in list(engine.sessions):
                most = max(most, line._unread)
            await asyncio.sleep(0.02)

    async def all_together() -> int:
        task = asyncio.create_task(stubborn())
        try:
            frames, _ = await asyncio.wait_for(asyncio.gather(polite(), watch()), 60)
            await asyncio.wait_for(no_connections(server), SOON)
            # Not only let go of: the other side is told, where it waits to send.
            await asyncio.wait_for(asyncio.shield(task), SOON)
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=5)
        return frames

    assert asyncio.run(all_together()) == 20 * 25
    assert 0 < most <= MAX_UNREAD + 300  # what one piece of work may add is on top
    assert b'jambatalk_sessions_total{reason="too_slow"} 1.0' in metrics.text()
    assert np.isfinite(engine.queue_delay)


def test_who_does_not_answer_the_closing_is_cut(
    served: tuple[str, Engine, Any, uvicorn.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, metrics, server = served
    monkeypatch.setattr("jambatalk.server.websocket.CLOSE_TIMEOUT", 0.2)
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        plain.sendall(
            f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        said = plain.recv(4096)  # 101: from here on it is a WebSocket
        plain.sendall(
            b"\x81\x82" + bytes(4) + b"{}"
        )  # a text message, masked with zeros, that is no start message
        with contextlib.suppress(ConnectionResetError):
            while piece := plain.recv(4096):
                said += piece
        assert b"bad_message" in said
    # uvicorn alone would wait for 10 s.
    asyncio.run(asyncio.wait_for(no_connections(server), 5.0))
    assert b'reason="bad_message"' in metrics.text()
