"""What a voice agent says, as motion: sound in pieces of any size and faster than real time in,
events with times in the answer's own clock out.

An agent speaks in answers (items, segments, contexts: each program has its own word). Each has a
clock that begins with its first sample. Its sound comes out again unchanged, cut where motion is
ready, and each piece comes behind the events for its time: who sends both in this order never shows
a mouth too late. So sound waits for the network's look-ahead, once per answer; speech that comes
faster than real time makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.agents.events import VisemeChanges, blendshapes, done, interrupted, visemes
from jambatalk.audio.g711 import ALAW, MULAW
from jambatalk.errors import InputError, shown
from jambatalk.streaming.overlay import fade_to_neutral

if TYPE_CHECKING:
    from jambatalk.face.shape_sets import ShapeConverter
    from jambatalk.idle import IdleSettings
    from jambatalk.session import Session
    from jambatalk.streaming.overlay import MotionOverlay
    from jambatalk.talker import Talker

Event = dict[str, Any]
Work = Callable[[], "list[Piece]"]

MIN_RATE, MAX_RATE = 8000, 48000
MAX_CHANNELS = 8

PUSH_SECONDS = 1.0
"""Sound that goes to the network at once: in between, an interruption may come."""

EVENT_SECONDS = 0.2
"""Frames of so much time share an event: of 52 shapes, about 2 kB of JSON."""

MOST_FRAMES = 12
"""Frames of an event at high frame rates: packets of data channels hold about 15 kB."""


def _pcm16(data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(data, "<i2").astype(np.int16)


def _mulaw(data: bytes) -> NDArray[np.int16]:
    return MULAW[np.frombuffer(data, np.uint8)]


def _alaw(data: bytes) -> NDArray[np.int16]:
    return ALAW[np.frombuffer(data, np.uint8)]


ENCODINGS: dict[str, tuple[int, Callable[[bytes], NDArray[np.int16]]]] = {
    "pcm16": (2, _pcm16),
    "mulaw": (1, _mulaw),
    "alaw": (1, _alaw),
}
"""Encoding -> bytes per sample, and bytes to samples."""


@dataclass(frozen=True)
class Piece:
    """Sound, and the events that belong before it.

    Args:
        events: of ``agents.events``, in order.
        sound: whole samples in the encoding in which they came; may be empty.
    """

    events: list[Event]
    sound: bytes = b""


@dataclass
class _Answer:
    """One answer on its way through."""

    item_id: str
    session: Session
    changes: VisemeChanges | None
    rest: bytes = b""  # a sample of which not all bytes are here
    sound: bytearray = field(default_factory=bytearray)  # that is not out
    received: int = 0  # samples
    released: int = 0  # samples that are out
    base: int = 0  # samples before the network's turn: those of before ``settle``
    frames: int = 0  # of the whole answer
    end_ms: float = 0.0  # where the next frame lies
    broken: bool = False
    last: NDArray[np.float32] | None = None


class SpeechMotion:
    """Turns an agent's answers into motion.

    Args:
        talker: what ``jambatalk.load`` gives; it may serve many at once.
        rate: samples per second of the sound, 8000 to 48000.
        encoding: "pcm16" (little-endian), "mulaw" or "alaw" (G.711).
        channels: interleaved channels, 1 to 8; the mouth follows their mean.
        fps: frames per second, None for the network's own.
        shapes: the names that the weights have: "arkit", or another of ``face.shape_sets``; None
            for no weights.
        viseme_set: also give an event at each change of viseme, of this set of
            ``face.shape_sets``; None for none.
        life: idle motion over the speech, as for ``Talker.stream``.
        style: a speaking style.
        articulation: how far the mouth moves.

    Raises:
        InputError: a value is out of range.
    """

    def __init__(
        self,
        talker: Talker,
        rate: int = 24000,
        encoding: str = "pcm16",
        channels: int = 1,
        fps: float | None = None,
        shapes: str | None = "arkit",
        viseme_set: str | None = None,
        life: IdleSettings | MotionOverlay | bool | str | None = None,
        style: str | None = None,
        articulation: float | None = None,
    ) -> None:
        if type(rate) is not int or not MIN_RATE <= rate <= MAX_RATE:
            raise InputError(f"rate is {shown(rate)}, expected {MIN_RATE} to {MAX_RATE} Hz")
        if encoding not in ENCODINGS:
            raise InputError(f"no encoding {shown(encoding)}: choose from {', '.join(ENCODINGS)}")
        if type(channels) is not int or not 1 <= channels <= MAX_CHANNELS:
            raise InputError(f"channels is {shown(channels)}, expected 1 to {MAX_CHANNELS}")
        if shapes is None and viseme_set is None:
            raise InputError("neither weights nor visemes: give shapes, viseme_set or both")
        self.rate, self.encoding, self.channels = rate, encoding, channels
        self.shapes, self.viseme_set = shapes, viseme_set
        self._width, self._samples = ENCODINGS[encoding]
        self._open_session = lambda: talker.stream(rate, fps, life, style, 0.0, articulation)
        self._session: Session | None = self._open_session()
        self.fps = self._session.fps
        names = self._session.names
        if not names:
            raise InputError("an agent's face needs named shapes, but this network moves vertices")
        self._convert = _converter(names, shapes) if shapes not in (None, "arkit") else None
        self._to_visemes = _converter(names, viseme_set) if viseme_set is not None else None
        self.names: tuple[str, ...] = names if self._convert is None else self._convert.names
        """Names of the weights that come out."""
        self._answer: _Answer | None = None
        self._ending: _Answer | None = None
        self._count = 0
        self._last_item: str | None = None  # that may still be played, and was not broken off

    @property
    def item_id(self) -> str | None:
        """The answer that is being spoken; None between answers."""
        return None if self._answer is None else self._answer.item_id

    @property
    def waiting_seconds(self) -> float:
        """Seconds of sound that wait for their motion."""
        answer = self._answer
        return 0.0 if answer is None else (answer.received - answer.released) / self.rate

    def begin(self, item_id: str | None = None) -> None:
        """Begin an answer, at time 0. ``push`` does so, too, where none is open.

        Raises:
            InputError: the one before was neither ended nor interrupted.
        """
        if self._answer is not None:
            raise InputError(
                f"answer {shown(self._answer.item_id)} is open: end or interrupt it first"
            )
        self._count += 1
        session, self._session = self._session or self._open_session(), None
        changes = None
        if self._to_visemes is not None:
            changes = VisemeChanges(self._to_visemes.names, self.fps)
        self._last_item = item_id or f"answer_{self._count}"
        self._answer = _Answer(self._last_item, session, changes)

    def push(self, data: bytes) -> list[Piece]:
        """Add sound: bytes in any pieces, a sample may be split over two.

        Returns:
            What became ready, in order.

        Raises:
            InputError: not bytes.
        """
        return self.pushing(data)()

    def settle(self) -> list[Piece]:
        """Give all that waits, as if silence followed; the answer stays open.

        For sound that has stopped coming and may come again: what is waiting would otherwise be
        missing where it is played.
        """
        return self.settling()()

    def end(self) -> list[Piece]:
        """End the answer: give the rest of its sound and motion, and lead to the neutral face.

        The last frames lie up to 0.16 s after the sound. Half a sample at the end is left out.
        """
        return self.ending()()

    # The same in two steps: choose the answer now, and run the network in another thread, one
    # after the other. An interruption meanwhile cannot lead old sound into a new answer.

    def pushing(self, data: bytes) -> Work:
        """``push`` for another thread."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InputError(f"sound is {type(data).__name__}, expected bytes")
        if self._answer is None:
            self.begin()
        assert self._answer is not None
        return partial(self._push, self._answer, bytes(data))

    def settling(self) -> Work:
        """``settle`` for another thread."""
        return list if self._answer is None else partial(self._settle, self._answer)

    def ending(self) -> Work:
        """``end`` for another thread; the answer is closed at once."""
        answer, self._answer = self._answer, None
        self._ending = answer
        return list if answer is None else partial(self._end, answer)

    def _push(self, answer: _Answer, data: bytes) -> list[Piece]:
        data = answer.rest + data
        step = self._width * self.channels
        whole = len(data) // step * step
        answer.rest = data[whole:]
        pieces: list[Piece] = []
        most = round(PUSH_SECONDS * self.rate) * step
        for start in range(0, whole, most):
            if answer.broken:
                return []
            part = data[start : min(start + most, whole)]
            answer.sound += part
            answer.received += len(part) // step
            samples = self._samples(part)
            if self.channels > 1:
                mean = samples.reshape(-1, self.channels).mean(axis=1)
                samples = np.round(mean).astype(np.int16)
            first, weights = answer.session.push_array(samples)
            pieces += self._pieces(answer, first, weights)
        return pieces

    def _settle(self, answer: _Answer) -> list[Piece]:
        if answer.base == answer.received:
            return []
        first, weights = answer.session.flush_array()
        pieces = self._pieces(answer, first, weights)
        if answer.released < answer.received:
            pieces.append(Piece([], self._sound_until(answer, answer.received)))
        answer.base = answer.received
        return pieces

    def _end(self, answer: _Answer) -> list[Piece]:
        pieces = self._settle(answer)
        duration = answer.received / self.rate * 1000
        if answer.last is not None:
            fade = fade_to_neutral(answer.last, self.fps)
            pieces.append(Piece(self._events(answer, answer.end_ms, fade)))
        pieces.append(Piece([done(answer.item_id, duration)]))
        if not answer.broken and self._session is None:
            self._session = answer.session
        return pieces

    def interrupt(self) -> list[Event]:
        """Break the answer off: all that was not given is dropped, and no frame of it follows.

        Speech comes faster than it is played, so an answer that has ended may be broken off, too.
        May be called while another thread is in ``push``; what that gives is to be thrown away.

        Returns:
            The event that says so; none where no answer was begun since the last interruption.
        """
        for answer in (self._answer, self._ending):
            if answer is not None:
                # Another thread may be using its session, so the next answer gets a new one.
                answer.broken = True
        self._answer = self._ending = None
        item_id, self._last_item = self._last_item, None
        return [] if item_id is None else [interrupted(item_id)]

    def _pieces(self, answer: _Answer, first: int, weights: NDArray[np.float32]) -> list[Piece]:
        """Cut frames into events, and the sound at their ends."""
        pieces, group = [], min(max(round(EVENT_SECONDS * self.fps), 1), MOST_FRAMES)
        base = answer.base / self.rate
        for start in range(0, len(weights), group):
            part = weights[start : start + group]
            events = self._events(answer, 1000 * (base + (first + start) / self.fps), part)
            end = answer.end_ms
            if answer.changes is not None:
                end = min(end, answer.changes.known_until)
            pieces.append(Piece(events, self._sound_until(answer, round(end * self.rate / 1000))))
        return pieces

    def _sound_until(self, answer: _Answer, until: int) -> bytes:
        step = self._width * self.channels
        size = max(min(until, answer.received) - answer.released, 0) * step
        sound = bytes(answer.sound[:size])
        del answer.sound[:size]
        answer.released += size // step
        return sound

    def _events(
        self, answer: _Answer, offset_ms: float, weights: NDArray[np.float32]
    ) -> list[Event]:
        events: list[Event] = []
        if self.shapes is not None:
            values = weights if self._convert is None else self._convert(weights)
            names = self.names if answer.frames == 0 else None
            events.append(blendshapes(answer.item_id, offset_ms, self.fps, values, names))
        if self._to_visemes is not None and answer.changes is not None:
            found = answer.changes.push(offset_ms, self._to_visemes(weights))
            if found:
                events.append(visemes(answer.item_id, found))
        answer.frames += len(weights)
        answer.end_ms = offset_ms + 1000 * len(weights) / self.fps
        answer.last = weights[-1]
        return events


def _converter(names: tuple[str, ...], to: str | None) -> ShapeConverter:
    from jambatalk.face.shape_sets import ShapeConverter

    return ShapeConverter(names, str(to))
