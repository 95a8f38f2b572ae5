"""Connections that ask for nothing, read nothing or are too many do not take the place of others;
over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from jambatalk.server import connections, text_to_motion
from jambatalk.server.connections import (
    ConnectionLimits,
    abortable_ws_protocol,
    limited_http_protocol,
    raise_file_limit,
)
from jambatalk.server.jobs import routes
from jambatalk.server.settings import ServerSettings

LIMITS = ConnectionLimits(request=0.6, idle=20, unread=0.6, sockets=3, total=200)
SOON = 10.0
BIG = 16 << 20


async def app(scope: Any, receive: Any, send: Any) -> None:
    """/: ok; /slow: ok after a second; /big: more than a system keeps for a reader; any WebSocket:
    open until it is closed."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    body = bytes(BIG) if scope["path"] == "/big" else b"ok"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for i in range(0, len(body), 65536):
        await send({"type": "http.response.body", "body": body[i : i + 65536], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving(
    application: Any, limits: ConnectionLimits, loop: Any = "asyncio"
) -> Iterator[tuple[int, uvicorn.Server]]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        log_level="critical",
        lifespan="off",
        http=limited_http_protocol(limits),
        ws=abortable_ws_protocol(),
        limit_concurrency=limits.total,
        ws_ping_interval=None,
        timeout_graceful_shutdown=1,
        loop=loop,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(params=["asyncio", "uvloop"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    with serving(app, LIMITS, request.param) as (number, _):
        yield number


def opened(port: int, sent: bytes = b"") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=SOON)
    one.sendall(sent)
    return one


def over(one: socket.socket) -> bool:
    """Whether the other side has ended it, waiting no longer than SOON."""
    try:
        return not one.recv(1)
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_silent_connections_go_and_others_are_answered(port: int) -> None:
    silent = [
        opened(port, b"GET / HTTP/1.1\r\nHost: x\r\nA: " if k % 2 else b"") for k in range(60)
    ]
    began = time.monotonic()
    assert httpx.get(f"http://127.0.0.1:{port}/", timeout=SOON).text == "ok"
    # Those beyond the limit went to make room, the first ones first; the others when their time was
    # over.
    assert all(over(one) for one in silent[:39])
    first = time.monotonic() - began
    assert all(over(one) for one in silent)
    assert time.monotonic() - began > first
    for one in silent:
        one.close()


def test_a_request_that_never_ends_is_not_waited_for(port: int) -> None:
    def tell(one: socket.socket) -> None:
        until = time.monotonic() + SOON
        while time.monotonic() < until:
            one.sendall(b"A: b\r\n")
            time.sleep(0.05)

    with opened(port, b"GET / HTTP/1.1\r\n") as one, pytest.raises(ConnectionError):
        tell(one)


def test_work_may_take_longer_than_asking(port: int) -> None:
    assert (
        httpx.get(f"http://127.0.0.1:{port}/slow", timeout=SOON).text == "ok"
    )  # 1 s, while a head has 0.6 s


def test_connections_are_used_again_but_not_kept_for_ever(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as web:
        for path in ("/", "/", "/slow", "/"):
            assert web.get(path, timeout=SOON).text == "ok"
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with opened(port, 3 * request) as one:  # at once, before any reply
        heard = b""
        while heard.count(b"ok") < 3:
            heard += one.recv(1000)
        one.sendall(b"G")  # the fourth never comes: this one byte held the connection before
        assert over(one)


def test_a_reply_that_is_not_read_is_dropped(port: int) -> None:
    with opened(port) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        with httpx.stream("GET", f"http://127.0.0.1:{port}/big", timeout=SOON) as reply:
            assert sum(map(len, reply.iter_raw())) == BIG  # who reads gets all of it, meanwhile
        time.sleep(2.0)
        heard = 0
        with suppress(ConnectionError):
            while piece := lazy.recv(1 << 20):
                heard += len(piece)
        assert heard < BIG


def test_websockets_beyond_the_limit_are_told(port: int) -> None:
    address = f"ws://127.0.0.1:{port}/"
    with ExitStack() as held:
        first, *_ = [held.enter_context(connect(address)) for _ in range(LIMITS.sockets)]
        with pytest.raises(InvalidStatus) as refused, connect(address):
            pass
        assert refused.value.response.status_code == 503
        assert json.loads(refused.value.response.body or b"") == {
            "error": "too many connections: try again later"
        }
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=SOON).text == "ok"
        time.sleep(2 * LIMITS.request)
        first.send("still there")  # a WebSocket is not a request that never ends
    until = time.monotonic() + SOON
    while True:
        try:
            with connect(address):
                break
        except InvalidStatus:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_no_more_requests_than_the_limit() -> None:
    with serving(app, ConnectionLimits(total=4)) as (port, _):
        held = [opened(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3)]
        time.sleep(0.3)
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=SOON).status_code == 503
        assert all(one.recv(15).startswith(b"HTTP/1.1 200") for one in held)
        for one in held:
            one.close()


def test_a_text_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_motion, "BODY_TIMEOUT", 0.5)
    application = FastAPI()
    application.state.settings = ServerSettings()
    application.include_router(text_to_motion.router)
    with serving(application, ConnectionLimits()) as (port, _):
        head = b"POST /v1/speak HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        with opened(port, head + b'{"text"') as one:
            assert one.recv(12) == b"HTTP/1.1 408"


class Trickle:
    """A request whose body comes a little at a time."""

    def __init__(self, piece: bytes, count: int, pause: float) -> None:
        self.piece, self.count, self.pause = piece, count, pause

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            await asyncio.sleep(self.pause)
            yield self.piece


@pytest.mark.parametrize(
    ("trickle", "longest", "says"),
    [
        (Trickle(b"x", 1, 5.0), 60.0, "nothing came for 0 s"),
        (Trickle(b"x", 500, 0.05), 60.0, "slower than 4,096 bytes a second"),
        (Trickle(bytes(100_000), 500, 0.05), 1.0, "took longer than 1 s"),
    ],
)
def test_uploads_that_do_not_get_on(
    trickle: Trickle, longest: float, says: str, tmp_path: Path
) -> None:
    limits = ServerSettings(upload_timeout=0.4, longest_upload=longest)
    with pytest.raises(HTTPException, match=says) as refused:
        asyncio.run(routes._write(routes._pieces(trickle, limits), tmp_path / "upload"))  # type: ignore[arg-type]
    assert refused.value.status_code == 408


def test_a_slow_upload_that_gets_on_arrives(tmp_path: Path) -> None:
    limits = ServerSettings(upload_timeout=0.4)
    slow: Any = Trickle(bytes(1000), 20, 0.05)
    asyncio.run(routes._write(routes._pieces(slow, limits), tmp_path / "upload"))
    assert (tmp_path / "upload").stat().st_size == 20_000


def test_room_is_asked_for_and_never_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    for found, wanted in (
        ((1024, 4096), (1256, 4096)),
        ((256, 512), (512, 512)),
        ((20_000, 20_000), None),
    ):
        asked.clear()
        monkeypatch.setattr(resource, "getrlimit", lambda kind, found=found: found)
        raise_file_limit(1000)
        assert asked == ([] if wanted is None else [wanted])
    monkeypatch.setattr(connections.sys, "platform", "win32")
    asked.clear()
    raise_file_limit(10**6)
    assert not asked
