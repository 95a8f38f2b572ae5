"""A client for agents and programs: speech in, frames out, over a server's WebSocket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.server.protocol import read_frame
from jambatalk.server.sound import INDEX
from jambatalk.session import Frame


class LiveError(InputError):
    """The server refused something; ``code`` says what (``overloaded``, ``bad_token``, ...)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TurnEnd:
    """Comes after the last frame of a turn. how: ended or interrupted."""

    def __init__(self, how: str, turn: int, frames: int) -> None:
        self.how, self.turn, self.frames = how, turn, frames


class LiveClient:
    """``async with LiveClient("ws://127.0.0.1:8000/v1/stream", rate=24000) as live``: a session on
    a server.

    ``await live.send(pcm)`` takes samples (n,) int16 or float32 in -1..1 (or bytes of int16), any
    sizes; iterate over it for frames (``Frame``, in order, with ``time`` in seconds of the turn's
    sound) and ``TurnEnd``. ``end`` says that the speech is over, ``interrupt`` that it is broken
    off. Further options are those of the start message (docs/how-to/live.md). LiveError when the
    server refuses, ConnectionError when it cannot be reached.
    """

    def __init__(
        self, url: str, rate: int = 16000, token: str | None = None, **options: Any
    ) -> None:
        self.url = url
        self._start = {
            "type": "start",
            "encoding": "pcm_s16le",
            "frames": "binary",
            "rate": rate,
            "token": token,
        } | options
        self._timestamps = bool(options.get("timestamps"))
        self._socket: Any = None
        self.names: tuple[str, ...] = ()
        self.fps = self.look_ahead_ms = 0.0

    async def __aenter__(self) -> LiveClient:
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import WebSocketException
        except ImportError as error:
            raise MissingExtraError(
                'the live client needs websockets: pip install "jambatalk[live]"'
            ) from error
        try:
            self._socket = await connect(self.url, max_size=1 << 20, compression=None)
            await self._socket.send(
                json.dumps({k: v for k, v in self._start.items() if v is not None})
            )
            ready = self._checked(json.loads(await self._socket.recv()))
        except WebSocketException as error:
            await self.close()
            raise ConnectionError(f"cannot speak with {self.url}: {error}") from error
        except BaseException:
            await self.close()
            raise
        self.names, self.fps, self.look_ahead_ms = (
            tuple(ready["names"]),
            ready["fps"],
            ready["look_ahead_ms"],
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()

    async def send(self, samples: NDArray[Any] | bytes, at: int | None = None) -> None:
        """Sound; ``at`` is the index of its first sample, with ``timestamps=True`` only."""
        if isinstance(samples, bytes):
            data = samples
        else:
            array = np.asarray(samples)
            if array.dtype != np.int16:
                array = np.rint(np.clip(array, -1.0, 1.0) * 32767.0)
            data = array.astype("<i2").tobytes()
        if self._timestamps != (at is not None):
            raise InputError(
                "each piece of sound has an index where timestamps=True, and none otherwise"
            )
        await self._socket.send(data if at is None else INDEX.pack(at) + data)

    async def end(self) -> None:
        """The speech is over; its last frames and a ``TurnEnd`` follow."""
        await self._socket.send('{"type":"end"}')

    async def interrupt(self) -> None:
        """The speech is broken off; frames that bring the face to rest and a ``TurnEnd`` follow."""
        await self._socket.send('{"type":"interrupt"}')

    async def __aiter__(self) -> AsyncIterator[Frame | TurnEnd]:
        from websockets.exceptions import ConnectionClosed

        try:
            async for message in self._socket:
                if isinstance(message, bytes):
                    yield read_frame(message, self.names)
                    continue
                found = self._checked(json.loads(message))
                if found["type"] == "frame":
                    yield read_frame(message, self.names)
                elif found["type"] in ("ended", "interrupted"):
                    yield TurnEnd(found["type"], found["turn"], found["frames"])
        except ConnectionClosed as error:
            raise ConnectionError(f"{self.url} closed the connection: {error}") from error

    @staticmethod
    def _checked(message: dict[str, Any]) -> dict[str, Any]:
        if message.get("type") == "error":
            raise LiveError(message["code"], message["message"])
        return message
