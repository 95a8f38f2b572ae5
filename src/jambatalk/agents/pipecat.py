"""A processor for Pipecat that sends the face's motion beside the bot's sound.

    pipeline = Pipeline([..., tts, MotionProcessor(jambatalk.load()), transport.output(), ...])

It stands between the text-to-speech service and the transport. Motion leaves as transport messages
in the same queue as the sound, just before the sound that it belongs to, so the transport sends
both in step and drops both when the user interrupts.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from jambatalk.agents.speech import MAX_RATE, MIN_RATE, Event, Piece, SpeechMotion, Work
from jambatalk.errors import InputError, MissingExtraError

try:
    from pipecat.frames.frames import (
        CancelFrame,
        EndFrame,
        Frame,
        InterruptionFrame,
        OutputTransportMessageFrame,
        OutputTransportMessageUrgentFrame,
        TTSAudioRawFrame,
        TTSStoppedFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
except ImportError as missing:
    raise MissingExtraError(
        'agents.pipecat needs Pipecat: pip install "jambatalk[agents-pipecat]"'
    ) from missing

if TYPE_CHECKING:
    from jambatalk.talker import Talker

PATIENCE = 0.3
"""Seconds without new sound after which what waits for its motion goes out."""


class MotionProcessor(FrameProcessor):
    """Adds motion to the sound of a text-to-speech service.

    Every context (``context_id``) is an answer with a clock of its own. The network runs in
    another thread, so the pipeline goes on meanwhile. Sound of 8 to 48 kHz; mono or stereo.

    Args:
        talker: what ``jambatalk.load`` gives; several processors may share one.
        rtvi: wrap events as RTVI server messages, which Pipecat's client SDKs hand to
            ``onServerMessage``; False sends the bare events.
        options: those of ``SpeechMotion``: ``shapes``, ``viseme_set``, ``fps``, ``life``, …

    Raises:
        InputError: an option is out of range.
    """

    def __init__(self, talker: Talker, rtvi: bool = True, **options: Any) -> None:
        super().__init__(name="jambatalk")
        self._talker, self._rtvi, self._options = talker, rtvi, options
        self._motion = SpeechMotion(talker, **options)
        self._kind: TTSAudioRawFrame | None = None  # the answer's last sound: what pieces are like
        self._count = 0
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pipecat calls this with each frame."""
        await super().process_frame(frame, direction)
        if direction != FrameDirection.DOWNSTREAM:
            await self.push_frame(frame, direction)
        elif isinstance(frame, TTSAudioRawFrame):
            try:
                await self._sound(frame)
            except InputError as error:  # a face that fails must not silence the bot
                await self.push_error(error_msg=str(error), exception=error)
                await self.push_frame(frame, direction)
        else:
            if isinstance(frame, (InterruptionFrame, CancelFrame)):
                await self._interrupt()
            elif isinstance(frame, (TTSStoppedFrame, EndFrame)):
                await self._end()
            await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Pipecat calls this at the end."""
        await self._stop_timer()
        await super().cleanup()

    async def _sound(self, frame: TTSAudioRawFrame) -> None:
        if not MIN_RATE <= frame.sample_rate <= MAX_RATE:
            raise InputError(f"sound has {frame.sample_rate} Hz, expected {MIN_RATE} to {MAX_RATE}")
        await self._stop_timer()
        if self._kind is not None and _differs(self._kind, frame):
            await self._end()
        if self._motion.item_id is None:
            shape = (frame.sample_rate, frame.num_channels)
            if (self._motion.rate, self._motion.channels) != shape:
                sizes = {"rate": frame.sample_rate, "channels": frame.num_channels}
                self._motion = SpeechMotion(self._talker, **(self._options | sizes))
            self._motion.begin(self._new_item(frame.context_id))
        self._kind = frame
        await self._run(self._motion.pushing(frame.audio))
        if self._motion.waiting_seconds:
            self._timer = self.create_task(self._settle_later(), "settle")

    def _new_item(self, context_id: str | None) -> str:
        """A name of its own, also where a context goes on after its end."""
        self._count += 1
        return f"{context_id or 'answer'}:{self._count}"

    async def _end(self) -> None:
        await self._stop_timer()
        await self._run(self._motion.ending())
        self._kind = None

    async def _interrupt(self) -> None:
        if self._kind is not None and not self._kind.interruptible:
            return  # Pipecat goes on to play it
        await self._stop_timer()
        self._kind = None
        for event in self._motion.interrupt():
            await self.push_frame(OutputTransportMessageUrgentFrame(self._message(event)))

    async def _settle_later(self) -> None:
        await asyncio.sleep(PATIENCE)
        self._timer = None  # from here on it is not stopped: its sound would be lost
        await self._run(self._motion.settling())

    async def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            await self.cancel_task(timer)

    async def _run(self, work: Work) -> None:
        """Run the network, and push what comes out, unless an interruption comes first."""
        kind = self._kind
        if kind is None:
            return
        async with self._one_at_a_time:
            for piece in await asyncio.to_thread(work):
                if self._kind is kind:
                    await self._push_piece(kind, piece)

    async def _push_piece(self, kind: TTSAudioRawFrame, piece: Piece) -> None:
        """Push events and sound with the marks of the sound that came."""
        for event in piece.events:
            await self._push_like(kind, OutputTransportMessageFrame(self._message(event)))
        if piece.sound:
            sound = TTSAudioRawFrame(
                audio=piece.sound,
                sample_rate=kind.sample_rate,
                num_channels=kind.num_channels,
                context_id=kind.context_id,
            )
            await self._push_like(kind, sound)

    async def _push_like(self, kind: TTSAudioRawFrame, frame: Frame) -> None:
        frame.transport_destination = kind.transport_destination
        frame.interruptible = kind.interruptible
        frame.metadata = dict(kind.metadata)
        await self.push_frame(frame)

    def _message(self, event: Event) -> Event:
        if not self._rtvi:
            return event
        return {
            "label": "rtvi-ai",
            "type": "server-message",
            "id": uuid.uuid4().hex[:8],
            "data": event,
        }


def _differs(a: TTSAudioRawFrame, b: TTSAudioRawFrame) -> bool:
    """Whether the two belong to different answers."""
    return (a.context_id, a.sample_rate, a.num_channels) != (
        b.context_id,
        b.sample_rate,
        b.num_channels,
    )
