"""The WebSocket of a live session: sound in, frames out. The protocol is docs/how-to/live.md."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from jambatalk.errors import InputError
from jambatalk.server.engine import (
    Engine,
    Event,
    FramesReady,
    Overloaded,
    SessionFailed,
    SessionHandle,
    TurnEnded,
)
from jambatalk.server.protocol import StartMessage, frame_bytes, frame_json, parse_start
from jambatalk.server.settings import ServerSettings
from jambatalk.server.sound import SoundReader

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

# Close codes (RFC 6455, 7.4; 4000 and above are ours).
BAD_DATA, POLICY, TOO_LARGE, TRY_AGAIN, TOO_SLOW = 1003, 1008, 1009, 1013, 4000

MAX_PENDING = 10.0
"""Seconds of sound that may wait for the network before no more is read: the sender is slowed down,
as by a full pipe."""

REALTIME_SLACK, REALTIME_END = 0.2, 2.0
"""Seconds without sound from which on it is concealed, where it should come in real time, and after
which the face is at rest."""

ABORT = "jambatalk.abort"
"""The extension of the ASGI scope that drops a connection (``connections.abortable_ws_protocol``);
other servers do not have it."""

SEND_TIMEOUT = 1.0
"""Seconds that a connection's last message, and then its closing, may take."""

CLOSE_TIMEOUT = 10.0
"""Seconds after which a connection that is over is dropped: closing in good order waits for the
other side, which may not answer."""


class Refused(Exception):
    """The connection ends.

    Args:
        close: close code.
        code: of the error message, one of ``protocol.ERRORS``.
        reason: one sentence.
    """

    def __init__(self, close: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.close, self.code = close, code


class Latencies:
    """Latencies of a connection's last 256 frames, in seconds."""

    def __init__(self) -> None:
        self.frames, self._seconds = 0, [0.0] * 256

    def add(self, seconds: float) -> None:
        """A frame is on the wire so long after the last sound that it needed."""
        self._seconds[self.frames % len(self._seconds)] = seconds
        self.frames += 1

    def percentile(self, share: float) -> float:
        """The latency that this share of the frames does not exceed."""
        known = sorted(self._seconds[: min(self.frames, len(self._seconds))])
        return known[min(int(share * len(known)), len(known) - 1)] if known else 0.0


async def serve_stream(
    websocket: WebSocket, engine: Engine, settings: ServerSettings, metrics: Any = None
) -> None:
    """Serve one connection from its start message to its end.

    Args:
        websocket: not accepted yet.
        engine: runs the session.
        settings: limits and the token.
        metrics: see ``server.metrics``; None counts nothing.
    """
    from starlette.websockets import WebSocketDisconnect

    await websocket.accept()
    reason = "closed"
    abort = websocket.scope.get("extensions", {}).get(ABORT, lambda: None)
    try:
        await _Connection(websocket, engine, settings, metrics).run()
    except Refused as refused:
        reason = refused.code
        error = json.dumps({"type": "error", "code": refused.code, "message": str(refused)})
        try:
            await asyncio.wait_for(websocket.send_text(error), SEND_TIMEOUT)
            await asyncio.wait_for(websocket.close(refused.close, refused.code), SEND_TIMEOUT)
        except asyncio.TimeoutError:
            abort()  # nothing is read there
        except Exception:
            pass  # it has ended by itself
    except (WebSocketDisconnect, RuntimeError, OSError):
        reason = "gone"
    finally:
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, abort)
        if metrics is not None:
            metrics.session_closed(reason)


class _Connection:
    def __init__(
        self, websocket: WebSocket, engine: Engine, settings: ServerSettings, metrics: Any
    ) -> None:
        self.websocket, self.engine, self.settings = websocket, engine, settings
        self.metrics = metrics
        self.latencies = Latencies()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.progress = asyncio.Event()  # the engine has run some sound
        self.last_sound = time.monotonic()
        self.next_index: int | None = None
        self.receiving_since: float | None = None
        self.sending_since: deque[float] = deque()  # of each message that is not yet taken

    async def run(self) -> None:
        """Serve until somebody hangs up. InputErrors become refusals."""
        start = await self._receive_start()
        loop = asyncio.get_running_loop()

        def listen(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._add_event, event)

        try:
            reader = SoundReader(start.encoding, start.timestamps)
            options = {"rate": start.rate, "fps": start.fps, "style": start.style}
            options["articulation"] = start.articulation
            options["shapes"] = start.shapes
            handle = await asyncio.to_thread(self.engine.open, listen, **options, life=start.life)
        except InputError as error:
            _refuse(str(error), error)
        except Overloaded as error:
            raise Refused(TRY_AGAIN, "overloaded", str(error)) from error
        if self.metrics is not None:
            self.metrics.session_opened()
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._send(self._ready_message(handle, start))
            works = [self._receive(handle, reader), self._deliver(handle, start), self._watch()]
            if start.realtime:
                works.append(self._keep_time(handle, start))
            tasks = [asyncio.create_task(work) for work in works]
            longest = self.settings.longest_session
            done, _ = await asyncio.wait(
                tasks, timeout=longest, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise Refused(
                    POLICY, "too_long", f"a session lasts at most {longest:.0f} s: connect again"
                )
            for task in done:
                task.result()
        finally:
            handle.close()
            if self.metrics is not None:
                self.metrics.losses(handle.session.losses, handle.session.rate)
                self.metrics.session_ended()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # looked at: the first one's has been raised

    def _add_event(self, event: Event) -> None:
        self.events.put_nowait(event)
        self.progress.set()

    async def _receive_start(self) -> StartMessage:
        timeout, secret = self.settings.start_timeout, self.settings.token
        try:
            message = await asyncio.wait_for(self.websocket.receive(), timeout)
        except asyncio.TimeoutError:
            raise Refused(POLICY, "too_slow", f"no start message within {timeout:.0f} s") from None
        self._check_connected(message)
        found = self._json_object(message)
        if secret is not None:
            token = found.get("token")
            given = token.encode("utf-8", "replace") if isinstance(token, str) else b""
            if not hmac.compare_digest(given, secret.encode()):
                raise Refused(
                    POLICY, "bad_token", "this server needs its token in the start message"
                )
        try:
            return parse_start(found)
        except InputError as error:
            _refuse(str(error), error)

    def _ready_message(self, handle: SessionHandle, start: StartMessage) -> dict[str, Any]:
        session, talker = handle.session, self.engine.talker
        return {
            "type": "ready",
            "version": 1,
            "session": secrets.token_hex(8),
            "names": list(session.names),
            "fps": session.fps,
            "look_ahead_ms": round(session.look_ahead_ms, 3),
            "hop_ms": 1000.0 / talker.fps,
            "encoding": start.encoding,
            "rate": start.rate,
            "style": start.style or next(iter(talker.styles), None),
        }

    def _json_object(self, message: Mapping[str, Any]) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            _refuse('the first message is binary, expected the text {"type": "start", ...}')
        self._check_size(len(text))
        try:
            found = json.loads(text)
            json.dumps(found, allow_nan=False)  # Python reads NaN and 1e999, JSON has neither
        except (ValueError, RecursionError):
            _refuse("a text message is not JSON")
        if not isinstance(found, dict):
            _refuse("a text message is JSON, but not an object")
        return found

    def _check_size(self, size: int) -> None:
        most = self.settings.message_bytes
        if size > most:
            raise Refused(
                TOO_LARGE, "too_large", f"a message has {size:,} bytes, expected at most {most:,}"
            )

    def _check_connected(self, message: Mapping[str, Any]) -> None:
        from starlette.websockets import WebSocketDisconnect

        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))

    async def _receive(self, handle: SessionHandle, reader: SoundReader) -> None:
        while True:
            self.receiving_since = time.monotonic()
            message = await self.websocket.receive()
            self.receiving_since = None
            self._check_connected(message)
            sound = message.get("bytes")
            if sound is None:
                await self._process(handle, reader, self._json_object(message))
                continue
            self._check_size(len(sound))
            try:
                samples, at = reader(sound)
            except InputError as error:
                _refuse(str(error), error)
            if len(samples):
                handle.push(samples, at)
            self.last_sound = time.monotonic()
            self.next_index = None if at is None else at + len(samples)
            while handle.pending_seconds > MAX_PENDING:
                self.progress.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.progress.wait(), 0.25)

    async def _process(
        self, handle: SessionHandle, reader: SoundReader, message: dict[str, Any]
    ) -> None:
        """Do what a text message asks for."""
        kind = message.get("type")
        if kind in ("end", "interrupt"):
            if kind == "end":
                handle.end()
            else:
                handle.interrupt()
            reader.end_turn()
            self.next_index = None
        elif kind == "ping":
            await self._send({"type": "pong", "id": message.get("id")})
        elif kind == "stats":
            await self._send(self._stats(handle))
        else:
            _refuse(
                f"a message has the type {str(kind)[:40]!r},"
                " expected end, interrupt, ping, stats, or binary sound"
            )

    def _stats(self, handle: SessionHandle) -> dict[str, Any]:
        losses, ms = handle.session.losses, 1000 / handle.session.rate
        shares = (50, 95, 99)
        return {
            "type": "stats",
            "frames": self.latencies.frames,
            "lost_ms": losses.lost * ms,
            "late_ms": losses.late * ms,
            "repeated_ms": losses.repeated * ms,
            "pending_ms": 1000 * handle.pending_seconds,
            "latency_ms": {f"p{p}": 1000 * self.latencies.percentile(p / 100) for p in shares},
        }

    async def _deliver(self, handle: SessionHandle, start: StartMessage) -> None:
        """Send frames and ends of turns as the engine emits them."""
        binary = start.frames == "binary"
        write = self.websocket.send_bytes if binary else self.websocket.send_text
        encode: Any = frame_bytes if binary else frame_json
        while True:
            event = await self.events.get()
            if isinstance(event, SessionFailed):
                _refuse(event.reason)
            if isinstance(event, TurnEnded):
                await self._send({"type": event.how, "turn": event.turn, "frames": event.frames})
                continue
            assert isinstance(event, FramesReady)
            frames = handle.session.to_frames(event.frames)
            for frame, arrived in zip(frames, event.arrived, strict=True):
                await self._timed(write(encode(frame)))
                seconds = time.perf_counter() - arrived
                self.latencies.add(seconds)
                if self.metrics is not None:
                    self.metrics.latency(seconds)
            handle.read(len(event.frames))

    async def _keep_time(self, handle: SessionHandle, start: StartMessage) -> None:
        """Conceal sound that should come in real time and does not, until the face is at rest."""
        while True:
            await asyncio.sleep(0.04)
            missing = time.monotonic() - self.last_sound
            if self.next_index is not None and REALTIME_SLACK < missing < REALTIME_END:
                handle.advance(self.next_index + int((missing - REALTIME_SLACK) * start.rate))

    async def _send(self, message: dict[str, Any]) -> None:
        await self._timed(self.websocket.send_text(json.dumps(message)))

    async def _timed(self, sending: Any) -> None:
        began = time.monotonic()
        self.sending_since.append(began)
        await sending
        self.sending_since.remove(began)

    async def _watch(self) -> None:
        """End the connection when nothing comes or nothing is read.

        One look now and then: a timer for each message costs more than the message.
        """
        idle, unread = self.settings.idle_timeout, self.settings.send_timeout
        while True:
            await asyncio.sleep(min(idle, unread) / 8)
            now = time.monotonic()
            if self.receiving_since is not None and now - self.receiving_since > idle:
                raise Refused(POLICY, "idle", f"nothing came for {idle:.0f} s")
            if self.sending_since and now - self.sending_since[0] > unread:
                raise Refused(
                    TOO_SLOW,
                    "too_slow",
                    f"nothing was read for {unread:.0f} s, expected a client that keeps up",
                )


def _refuse(reason: str, cause: Exception | None = None) -> NoReturn:
    """End the connection because of a message that the protocol does not expect."""
    raise Refused(BAD_DATA, "bad_message", reason) from cause
