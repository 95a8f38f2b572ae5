"""One JSON datagram per frame: what a few lines of any script can read."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jambatalk.errors import MissingExtraError
from jambatalk.senders.base import DatagramLink, Sender, Target, safe_pose, safe_weights

if TYPE_CHECKING:
    from jambatalk.session import Frame

# Frames as the JSON of the server's WebSocket, for receivers that read text.


DECIMALS = 5


def frame_text(frame: Frame) -> str:
    """``{"type": "frame", "turn", "index", "time", "weights": [...], "pose": [pitch, yaw, roll] or null}``."""
    pose = safe_pose(frame)
    return json.dumps(
        {
            "type": "frame",
            "turn": getattr(frame, "turn", 0),
            "index": getattr(frame, "index", None),
            "time": round(frame.time, 6),
            "weights": [round(float(value), DECIMALS) for value in safe_weights(frame)],
            "pose": None if pose is None else [round(float(angle), DECIMALS) for angle in pose],
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def ready_text(names: Sequence[str], fps: float) -> str:
    """``{"type": "ready", "version": 1, "names": [...], "fps"}``: what the numbers of the frames mean."""
    return json.dumps(
        {"type": "ready", "version": 1, "names": list(names), "fps": fps}, separators=(",", ":")
    )


READY_EVERY = 2.0
"""Seconds after which the names are sent again: a receiver may start late, or miss them."""


class UdpJson(DatagramLink):
    """``udp-json://host:port``: a datagram of type "ready" now and then, and one of type "frame" for every frame."""

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


# A WebSocket client that sends frames to an engine that listens.


WAITING_SECONDS = 0.5
"""Frames that may wait for a slow receiver; older ones are thrown away, an old face is of no use."""

RETRY_SECONDS = 1.0


class WebSocket(Sender):
    """``ws://host:port/path``: a message of type "ready" after connecting, then one of type "frame" for every frame.

    A thread connects and sends, and connects again when the receiver has gone. MissingExtraError without websockets.
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
        """Hand one frame to the thread; the oldest that waits makes room."""
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
                self.trouble("the receiver is not there or too slow")

    def close(self) -> None:
        """Send what waits if the receiver takes it, then hang up."""
        self._closing.set()
        self._thread.join(timeout=2 * RETRY_SECONDS)

    def _run(self) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        while True:
            try:
                with connect(
                    self.target.url, open_timeout=RETRY_SECONDS, close_timeout=RETRY_SECONDS
                ) as connection:
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
                self.trouble(error)
            if self._closing.wait(RETRY_SECONDS):
                return
