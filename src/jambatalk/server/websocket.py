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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from jambatalk.server.protocol import (
    SoundReader,
    StartMessage,
    frame_bytes,
    frame_json,
    parse_start,
)

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

# Close codes (RFC 6455, 7.4; 4000 and above are ours).
BAD_DATA, POLICY, TOO_LARGE, GOING_AWAY, TRY_AGAIN, TOO_SLOW = 1003, 1008, 1009, 1001, 1013, 4000
# Sound that may wait for the network before no more is read: the sender is slowed down, as by a full pipe.
MOST_PENDING = 10.0
# The extension of the ASGI scope that cuts a connection (``live.server.cuttable``); other servers do not have it.
CUT = "jambatalk.cut"
# Seconds that a connection's last message, and then its closing, may take.
LAST_WORDS = 1.0
# Seconds after which a connection that is over is cut: closing in good order waits for the other side, which may not answer.
GONE = 10.0


@dataclass(frozen=True)
class SocketLimits:
    """What one connection may do. Seconds, bytes."""

    token: str | None = None
    message_bytes: int = 1 << 20
    start_timeout: float = 10.0  # until the start message
    idle_timeout: float = 300.0  # without any message
    send_timeout: float = 10.0  # for a reader that takes nothing
    longest: float = 4 * 3600.0


class Refused(Exception):
    """The connection ends: (close code, code of the error message, one sentence)."""

    def __init__(self, close: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.close, self.code = close, code


class Counts:
    """What one connection did, for ``stats`` and for the server's metrics; the server passes a subclass."""

    def __init__(self) -> None:
        self.frames, self.latencies = 0, [0.0] * 256

    def latency(self, seconds: float) -> None:
        """A frame is on the wire so long after the last sound that it needed."""
        self.latencies[self.frames % len(self.latencies)] = seconds
        self.frames += 1

    def percentile(self, share: float) -> float:
        """Of the latest latencies."""
        known = sorted(self.latencies[: min(self.frames, len(self.latencies))])
        return known[min(int(share * len(known)), len(known) - 1)] if known else 0.0


async def serve_stream(
    websocket: WebSocket, engine: Engine, limits: SocketLimits, metrics: Any = None
) -> None:
    """One connection from its start message to its end. metrics: see ``server.metrics``; None counts nothing."""
    from starlette.websockets import WebSocketDisconnect

    await websocket.accept()
    reason, cut = "closed", websocket.scope.get("extensions", {}).get(CUT, lambda: None)
    try:
        await _Connection(websocket, engine, limits, metrics).run()
    except Refused as refused:
        reason = refused.code
        error = json.dumps({"type": "error", "code": refused.code, "message": str(refused)})
        try:
            await asyncio.wait_for(websocket.send_text(error), LAST_WORDS)
            await asyncio.wait_for(websocket.close(refused.close, refused.code), LAST_WORDS)
        except asyncio.TimeoutError:
            cut()  # nothing is read there
        except Exception:
            pass  # gone by itself
    except (WebSocketDisconnect, RuntimeError, OSError):
        reason = "gone"
    finally:
        asyncio.get_running_loop().call_later(GONE, cut)
        if metrics is not None:
            metrics.session_closed(reason)


class _Connection:
    def __init__(
        self, websocket: WebSocket, engine: Engine, limits: SocketLimits, metrics: Any
    ) -> None:
        self.websocket, self.engine, self.limits, self.metrics = websocket, engine, limits, metrics
        self.counts = Counts()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.drained = asyncio.Event()
        self.last_sound = time.monotonic()
        self.next_index: int | None = None
        self.listening: float | None = None  # since when nothing has come
        self.sending: deque[float] = (
            deque()
        )  # since when each message that is on its way has not been taken

    async def run(self) -> None:
        """InputErrors become refusals."""
        greeting = await self._greeting()
        loop = asyncio.get_running_loop()

        def listen(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._heard, event)

        try:
            reader = SoundReader(greeting.encoding, greeting.timestamps)
            line = await asyncio.to_thread(
                self.engine.open,
                listen,
                rate=greeting.rate,
                fps=greeting.fps,
                style=greeting.style,
                life=greeting.life,
            )
        except InputError as error:
            raise Refused(BAD_DATA, "bad_message", str(error)) from error
        except Overloaded as error:
            raise Refused(TRY_AGAIN, "overloaded", str(error)) from error
        if self.metrics is not None:
            self.metrics.session_opened()
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._send(
                {
                    "type": "ready",
                    "version": 1,
                    "session": secrets.token_hex(8),
                    "names": list(line.session.names),
                    "fps": line.session.fps,
                    "look_ahead_ms": round(line.session.look_ahead_ms, 3),
                    "hop_ms": 1000.0 / self.engine.talker.fps,
                    "encoding": greeting.encoding,
                    "rate": greeting.rate,
                    "style": greeting.style or next(iter(self.engine.talker.styles), None),
                }
            )
            works = [self._receive(line, reader), self._deliver(line, greeting), self._watch()]
            if greeting.realtime:
                works.append(self._keep_time(line, greeting))
            tasks = [asyncio.create_task(work) for work in works]
            done, _ = await asyncio.wait(
                tasks, timeout=self.limits.longest, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise Refused(
                    POLICY,
                    "too_long",
                    f"a session lasts at most {self.limits.longest:.0f} s: connect again",
                )
            for task in done:
                task.result()
        finally:
            line.close()
            if self.metrics is not None:
                self.metrics.losses(line.session.losses, line.session.rate)
                self.metrics.session_ended()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # looked at: the first one's has been raised

    def _heard(self, event: Event) -> None:
        self.events.put_nowait(event)
        self.drained.set()

    async def _greeting(self) -> StartMessage:
        try:
            message = await asyncio.wait_for(self.websocket.receive(), self.limits.start_timeout)
        except asyncio.TimeoutError:
            raise Refused(
                POLICY, "too_slow", f"no start message within {self.limits.start_timeout:.0f} s"
            ) from None
        self._check_connected(message)
        found = self._object(message)
        token = found.get("token")
        if self.limits.token is not None:
            given = token.encode("utf-8", "replace") if isinstance(token, str) else b""
            if not hmac.compare_digest(given, self.limits.token.encode()):
                raise Refused(
                    POLICY, "bad_token", "this server needs its token in the start message"
                )
        try:
            return parse_start(found)
        except InputError as error:
            raise Refused(BAD_DATA, "bad_message", str(error)) from error

    def _object(self, message: Mapping[str, Any]) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            raise Refused(
                BAD_DATA,
                "bad_message",
                'the first message is binary, expected the text {"type": "start", ...}',
            )
        self._check_size(len(text))
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused(BAD_DATA, "bad_message", "a text message is no JSON") from None
        if not isinstance(found, dict):
            raise Refused(BAD_DATA, "bad_message", "a text message is JSON, but no object")
        return found

    def _check_size(self, size: int) -> None:
        if size > self.limits.message_bytes:
            raise Refused(
                TOO_LARGE,
                "too_large",
                f"a message has {size:,} bytes, expected at most {self.limits.message_bytes:,}",
            )

    def _check_connected(self, message: Mapping[str, Any]) -> None:
        from starlette.websockets import WebSocketDisconnect

        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))

    async def _receive(self, line: SessionHandle, reader: SoundReader) -> None:
        while True:
            self.listening = time.monotonic()
            message = await self.websocket.receive()
            self.listening = None
            self._check_connected(message)
            sound = message.get("bytes")
            if sound is not None:
                self._check_size(len(sound))
                try:
                    samples, at = reader(sound)
                except InputError as error:
                    raise Refused(BAD_DATA, "bad_message", str(error)) from error
                if len(samples):
                    line.push(samples, at)
                self.last_sound = time.monotonic()
                self.next_index = None if at is None else at + len(samples)
                while line.pending_seconds > MOST_PENDING:
                    self.drained.clear()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self.drained.wait(), 0.25)
                continue
            await self._obey(line, self._object(message))

    async def _obey(self, line: SessionHandle, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "end":
            line.end()
            self.next_index = None
        elif kind == "interrupt":
            line.interrupt()
            self.next_index = None
        elif kind == "ping":
            await self._send({"type": "pong", "id": message.get("id")})
        elif kind == "stats":
            losses, rate = line.session.losses, line.session.rate
            await self._send(
                {
                    "type": "stats",
                    "frames": self.counts.frames,
                    "lost_ms": 1000 * losses.lost / rate,
                    "late_ms": 1000 * losses.late / rate,
                    "repeated_ms": 1000 * losses.repeated / rate,
                    "pending_ms": 1000 * line.pending_seconds,
                    "latency_ms": {
                        f"p{p}": 1000 * self.counts.percentile(p / 100) for p in (50, 95, 99)
                    },
                }
            )
        else:
            raise Refused(
                BAD_DATA,
                "bad_message",
                f"a message has the type {str(kind)[:40]!r}, expected end, interrupt, ping, stats, or binary sound",
            )

    async def _deliver(self, line: SessionHandle, greeting: StartMessage) -> None:
        write = (
            self.websocket.send_bytes if greeting.frames == "binary" else self.websocket.send_text
        )
        form: Any = frame_bytes if greeting.frames == "binary" else frame_json
        while True:
            event = await self.events.get()
            if isinstance(event, SessionFailed):
                raise Refused(BAD_DATA, "bad_message", event.reason)
            if isinstance(event, TurnEnded):
                await self._send({"type": event.how, "turn": event.turn, "frames": event.frames})
                continue
            assert isinstance(event, FramesReady)
            for frame, arrived in zip(
                line.session.to_frames(event.frames), event.arrived, strict=True
            ):
                await self._timed(write(form(frame)))
                seconds = time.perf_counter() - arrived
                self.counts.latency(seconds)
                if self.metrics is not None:
                    self.metrics.latency(seconds)
            line.read(len(event.frames))

    async def _keep_time(self, line: SessionHandle, greeting: StartMessage) -> None:
        """Where sound should come in real time and does not, it is concealed, until the face is at rest."""
        while True:
            await asyncio.sleep(0.04)
            missing = time.monotonic() - self.last_sound
            if self.next_index is not None and 0.2 < missing < 2.0:
                line.advance(self.next_index + int((missing - 0.2) * greeting.rate))

    async def _send(self, message: dict[str, Any]) -> None:
        await self._timed(self.websocket.send_text(json.dumps(message)))

    async def _timed(self, sending: Any) -> None:
        began = time.monotonic()
        self.sending.append(began)
        await sending
        self.sending.remove(began)

    async def _watch(self) -> None:
        """Ends the connection when nothing comes or nothing is taken: one look now and then, since a timer for each message costs
        more than the message."""
        limits = self.limits
        while True:
            await asyncio.sleep(min(limits.idle_timeout, limits.send_timeout) / 8)
            now = time.monotonic()
            if self.listening is not None and now - self.listening > limits.idle_timeout:
                raise Refused(POLICY, "idle", f"nothing came for {limits.idle_timeout:.0f} s")
            if self.sending and now - self.sending[0] > limits.send_timeout:
                raise Refused(
                    TOO_SLOW,
                    "too_slow",
                    f"nothing was read for {limits.send_timeout:.0f} s, expected a reader that keeps up",
                )
