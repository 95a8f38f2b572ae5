"""Motion in an event stream like that of OpenAI's Realtime API.

Server events go in one by one; out come the same, with ``response.output_audio.blendshapes`` and
``.visemes`` before the sound that they belong to. Names of the API's first version
(``response.audio.delta``, ``output_audio_format``) are read as well.
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from typing import TYPE_CHECKING, Any

from jambatalk.agents.speech import Event, Piece, SpeechMotion
from jambatalk.errors import InputError, shown

if TYPE_CHECKING:
    from jambatalk.talker import Talker

DELTAS = ("response.output_audio.delta", "response.audio.delta")
ENDS = ("response.output_audio.done", "response.audio.done")
FORMATS = {
    "audio/pcm": ("pcm16", 24000),
    "audio/pcmu": ("mulaw", 8000),
    "audio/pcma": ("alaw", 8000),
    "pcm16": ("pcm16", 24000),
    "g711_ulaw": ("mulaw", 8000),
    "g711_alaw": ("alaw", 8000),
}
"""Name of a format -> encoding and rate."""


class RealtimeMotion:
    """Adds motion to server events. One object per connection.

    Deltas wait until the motion of their sound is known (the look-ahead, once per item), and come
    out unchanged. When the user begins to speak, or an item is cancelled or truncated, what waits
    is dropped, ``response.output_audio.motion.interrupted`` comes, and later deltas of the item are
    dropped, too. The format is read from ``session.created`` and ``session.updated``.

    Args:
        talker: what ``jambatalk.load`` gives.
        options: those of ``SpeechMotion``: ``shapes``, ``viseme_set``, ``fps``, ``life``, …

    Raises:
        InputError: an option is out of range.
    """

    def __init__(self, talker: Talker, **options: Any) -> None:
        self._talker, self._options = talker, options
        self._motion = SpeechMotion(talker, **options)
        self._waiting: deque[tuple[Event, int]] = deque()  # deltas, and where their sound ends
        self._received = self._released = 0  # bytes of the item's sound
        self._cut: deque[str] = deque(maxlen=64)  # items that were broken off
        self._barge_in = True

    def feed(self, event: Event) -> list[Event]:
        """Add one server event.

        Returns:
            What to send on, in order.

        Raises:
            InputError: not such an event, its sound is damaged, or its format is unknown.
        """
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise InputError(f"an event is {shown(event)}, expected an object with a type")
        kind = event["type"]
        if kind in DELTAS:
            return self._delta(event)
        if kind in ENDS:
            same = event.get("item_id") in (None, self._motion.item_id)
            return [*(self._finish() if same else []), event]
        if kind in ("session.created", "session.updated"):
            return [*self._read_session(event), event]
        if self._interrupts(event):
            return [*self.interrupt(), event]
        return [event]

    def interrupt(self) -> list[Event]:
        """Break off what is spoken: for a program that finds barge-in itself."""
        if self._motion.item_id is not None:
            self._cut.append(self._motion.item_id)
        self._waiting.clear()
        return self._motion.interrupt()

    def settle(self) -> list[Event]:
        """Give what waits, as if silence followed: where deltas have stopped coming for a while."""
        return self._send(self._motion.settle())

    def _delta(self, event: Event) -> list[Event]:
        item_id = event.get("item_id")
        if not isinstance(item_id, str) or not item_id:
            raise InputError(f"a delta has item_id {shown(item_id)}, expected a text")
        if item_id in self._cut:
            return []
        try:
            data = base64.b64decode(event["delta"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise InputError("a delta's sound is not base64") from error
        before = []
        if self._motion.item_id != item_id:
            before = self._finish()
            self._motion.begin(item_id)
            self._received = self._released = 0
        self._received += len(data)
        self._waiting.append((event, self._received))
        return before + self._send(self._motion.push(data))

    def _send(self, pieces: list[Piece]) -> list[Event]:
        """Events, and each delta once all of its sound may be sent."""
        out: list[Event] = []
        for piece in pieces:
            out += piece.events
            self._released += len(piece.sound)
            while self._waiting and self._waiting[0][1] <= self._released:
                out.append(self._waiting.popleft()[0])
        return out

    def _finish(self) -> list[Event]:
        settled = self._send(self._motion.settle())
        # A delta that ends within a sample waits for a byte that does not come.
        rest = [event for event, _ in self._waiting]
        self._waiting.clear()
        return settled + rest + self._send(self._motion.end())

    def _interrupts(self, event: Event) -> bool:
        kind = event["type"]
        if kind == "input_audio_buffer.speech_started":
            return self._barge_in
        if kind == "response.done":
            response = event.get("response")
            status = response.get("status") if isinstance(response, dict) else None
            return status in ("cancelled", "failed")
        return kind in ("conversation.item.truncated", "output_audio_buffer.cleared")

    def _read_session(self, event: Event) -> list[Event]:
        session = _object(event.get("session"))
        audio = _object(session.get("audio"))
        detection = _object(audio.get("input")).get("turn_detection")
        detection = _object(detection or session.get("turn_detection"))
        self._barge_in = detection.get("interrupt_response") is not False
        chosen = _object(audio.get("output")).get("format") or session.get("output_audio_format")
        if chosen is None:
            return []
        name = chosen.get("type") if isinstance(chosen, dict) else chosen
        if not isinstance(name, str) or name not in FORMATS:
            raise InputError(f"no format {shown(name)}: expected {', '.join(FORMATS)}")
        encoding, rate = FORMATS[name]
        if isinstance(chosen, dict):
            rate = chosen.get("rate", rate)
        if (encoding, rate) == (self._motion.encoding, self._motion.rate):
            return []
        rest = self._finish()
        options = self._options | {"rate": rate, "encoding": encoding}
        self._motion = SpeechMotion(self._talker, **options)
        return rest


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
