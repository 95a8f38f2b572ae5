"""Frames as JSON, for receivers that read text: as datagrams, or as a WebSocket client."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jambatalk.errors import MissingExtraError
from jambatalk.senders.base import DatagramSender, Sender, Target, safe_pose, safe_weights

if TYPE_CHECKING:
    from jambatalk.session import Frame

READY_EVERY = 2.0
"""Seconds after which the names are sent again: a receiver may start late, or miss them."""

WAITING_SECONDS = 0.5
"""Frames that may wait for a slow receiver; older ones are dropped: an old face is of no use."""

RETRY_SECONDS = 1.0


class UdpJsonSender(DatagramSender):
    """``udp-json://host:port``: a datagram for every frame, and "ready" now and then."""

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        self._until_ready = 0
        super().__init__(target, names, fps)

    def packets(self, frame: Frame) -> list[bytes]:
        """One or two datagrams."""
        texts = [frame_text(frame)]
        if self._until_ready == 0:
            texts.insert(0, ready_text(self.names, self.fps))
            self._until_ready = max(round(READY_EVERY * self.fps), 1)
        self._until_ready -= 1
        return [text.encode("utf-8") for text in texts]


class WebSocketSender(Sender):
    """``ws://host:port/path``: a message of type "ready", then one of type "frame" per frame.

    A thread connects and sends, and connects again when the receiver has gone.

    Raises:
        MissingExtraError: websockets is not installed.
    """

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        super().__init__(target, names, fps)
        try:
            import websockets.sync.client  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                'ws:// needs websockets: pip install "jambatalk[live]"'
            ) from error
        self._waiting: queue.Queue[str] = queue.Queue(max(round(WAITING_SECONDS * fps), 2))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=target.url, daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """Queue one frame; the oldest that waits makes room."""
        text = frame_text(frame)
        while True:
            try:
                self._waiting.put_nowait(text)
                return
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                except queue.Empty:
                    continue
                self.count_failure("the receiver is not there or too slow")

    def close(self) -> None:
        """Send what waits if the receiver takes it, then disconnect."""
        self._closing.set()
        self._thread.join(timeout=2 * RETRY_SECONDS)

    def _run(self) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        while True:
            try:
                timeouts: Any = {"open_timeout": RETRY_SECONDS, "close_timeout": RETRY_SECONDS}
                with connect(self.target.url, **timeouts) as connection:
                    connection.send(ready_text(self.names, self.fps))
                    while not (self._closing.is_set() and self._waiting.empty()):
                        try:
                            text = self._waiting.get(timeout=0.05)
                        except queue.Empty:
                            continue
                        connection.send(text)
                        self.sent += 1
                return
            except (OSError, WebSocketException) as error:
                self.count_failure(error)
            if self._closing.wait(RETRY_SECONDS):
                return


def frame_text(frame: Frame, decimals: int = 5) -> str:
    """Write a frame as JSON.

    ``{"type": "frame", "turn", "index", "time", "weights": [...], "pose": [pitch, yaw, roll]}``;
    the pose is null where there is none. decimals: of the weights; the pose has five.
    """
    pose = safe_pose(frame)
    return json.dumps(
        {
            "type": "frame",
            "turn": getattr(frame, "turn", 0),
            "index": getattr(frame, "index", None),
            "time": round(frame.time, 6),
            "weights": [round(float(value), decimals) for value in safe_weights(frame)],
            "pose": None if pose is None else [round(float(angle), 5) for angle in pose],
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def ready_text(names: Sequence[str], fps: float) -> str:
    """Say what the numbers of frames mean: ``{"type": "ready", "version": 1, "names", "fps"}``."""
    message = {"type": "ready", "version": 1, "names": list(names), "fps": fps}
    return json.dumps(message, separators=(",", ":"))
