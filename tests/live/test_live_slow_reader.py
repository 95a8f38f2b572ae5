"""A client that sends and never reads, over a real socket: it is dropped, and others do not notice."""

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
from conftest import speechlike
from jambatalk.live.engine import UNREAD, Engine
from jambatalk.live.settings import ServerSettings

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
import uvicorn
from websockets.asyncio.client import connect

from jambatalk.live.app import create_app
from jambatalk.live.client import LiveClient, TurnEnd


@pytest.fixture
def served(small_weights: Path) -> Iterator[tuple[str, Engine, Any]]:
    listening = socket.create_server(("127.0.0.1", 0))
    # Small buffers of the system, so that what is not read backs up to the server soon.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    with Engine(jambatalk.load(small_weights)) as engine:
        app = create_app(engine, ServerSettings(send_timeout=1.0))
        config = uvicorn.Config(
            app, log_level="critical", lifespan="off", ws="websockets-sansio", ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}/v1/stream", engine, app.state.metrics
        server.should_exit = True
        thread.join()


def test_a_reader_that_never_reads_is_dropped(served: tuple[str, Engine, Any]) -> None:
    url, engine, metrics = served
    sound = (speechlike(2.0) * 32767).astype("<i2")
    most = 0

    async def stubborn() -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect((url.split("/")[2].split(":")[0], int(url.split(":")[2].split("/")[0])))
        plain.setblocking(False)
        # max_queue: after so many messages the library itself stops reading the socket.
        async with connect(url, sock=plain, max_queue=1, ping_interval=None, close_timeout=0.1, compression=None) as stream:
            await stream.send('{"type": "start", "fps": 240}')
            with contextlib.suppress(Exception):
                for _ in range(2000):
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
            for line in list(engine.lines):
                most = max(most, line._unread)
            await asyncio.sleep(0.02)

    async def all_together() -> int:
        task = asyncio.create_task(stubborn())
        try:
            frames, _ = await asyncio.wait_for(asyncio.gather(polite(), watch()), 60)
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=5)
        return frames

    assert asyncio.run(all_together()) == 20 * 25
    assert 0 < most <= UNREAD + 300  # what one piece of work may add is on top
    assert b'jambatalk_sessions_total{reason="too_slow"} 1.0' in metrics.text()
    assert np.isfinite(engine.behind)
