"""An audio output for LiveKit Agents that sends the face's motion beside the agent's sound.

    await session.start(agent, room=ctx.room)
    session.output.audio = MotionAudioOutput(
        jambatalk.load(), ctx.room, next_in_chain=session.output.audio
    )

The agent's sound goes on to the output behind it, unchanged and at once; events go to the room as
data packets. They have the times of the segment's own clock: clients keep them until
``motion.started`` says that the segment's sound has begun to play.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from jambatalk.agents.events import started
from jambatalk.agents.speech import Event, SpeechMotion, Work
from jambatalk.errors import InputError, MissingExtraError

try:
    from livekit import rtc
    from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities
except ImportError as missing:
    raise MissingExtraError(
        'agents.livekit needs LiveKit Agents: pip install "jambatalk[agents-livekit]"'
    ) from missing

if TYPE_CHECKING:
    from jambatalk.talker import Talker

LOG = logging.getLogger(__name__)

TOPIC = "jambatalk.motion"


class MotionAudioOutput(AudioOutput):
    """Stands before the output that plays the agent's sound, and publishes motion.

    Args:
        talker: what ``jambatalk.load`` gives; several outputs may share one.
        room: whose local participant publishes, reliably and in order.
        next_in_chain: the output that plays.
        topic: of the data packets; each is an event of ``agents.events`` as JSON.
        options: those of ``SpeechMotion``: ``shapes``, ``viseme_set``, ``fps``, ``life``, …

    Raises:
        InputError: an option is out of range.
    """

    def __init__(
        self,
        talker: Talker,
        room: rtc.Room,
        next_in_chain: AudioOutput,
        topic: str = TOPIC,
        **options: Any,
    ) -> None:
        super().__init__(
            label="jambatalk",
            capabilities=AudioOutputCapabilities(pause=True),
            next_in_chain=next_in_chain,
            sample_rate=next_in_chain.sample_rate,
        )
        self._talker, self._room, self._topic, self._options = talker, room, topic, options
        self._motion = SpeechMotion(talker, **options)
        self._waiting: asyncio.Queue[tuple[int, Work | list[Event]]] = asyncio.Queue()
        self._cuts = 0  # interruptions so far: what was put in the queue before one is dropped
        self._publisher: asyncio.Task[None] | None = None
        self._count = 0
        self._last_item: str | None = None
        self.on("playback_started", lambda _: self._put_started())

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """LiveKit calls this with the agent's sound."""
        await super().capture_frame(frame)
        try:
            self._begin(frame.sample_rate, frame.num_channels)
            self._put(self._motion.pushing(bytes(frame.data)))
        except InputError as error:  # a face that fails must not silence the agent
            LOG.warning("no motion: %s", error)
        await self.next_in_chain.capture_frame(frame)  # type: ignore[union-attr]

    def flush(self) -> None:
        """LiveKit calls this at the end of a segment."""
        super().flush()
        self._put(self._motion.ending())
        self.next_in_chain.flush()  # type: ignore[union-attr]

    def clear_buffer(self) -> None:
        """LiveKit calls this when the user interrupts."""
        self._cuts += 1
        self._put(self._motion.interrupt())
        self.next_in_chain.clear_buffer()  # type: ignore[union-attr]

    async def drain(self) -> None:
        """Wait until all events so far are published."""
        await self._waiting.join()

    async def aclose(self) -> None:
        """Publish nothing more."""
        if self._publisher is not None:
            self._publisher.cancel()
            await asyncio.gather(self._publisher, return_exceptions=True)
            self._publisher = None

    def _begin(self, rate: int, channels: int) -> None:
        """Begin an answer where none is open."""
        if self._motion.item_id is not None:
            return
        if (self._motion.rate, self._motion.channels) != (rate, channels):
            sizes = {"rate": rate, "channels": channels}
            self._motion = SpeechMotion(self._talker, **(self._options | sizes))
        self._count += 1
        self._last_item = f"answer_{self._count}"
        self._motion.begin(self._last_item)

    def _put_started(self) -> None:
        if self._last_item is not None:
            self._put([started(self._last_item)])

    def _put(self, work: Work | list[Event]) -> None:
        if self._publisher is None or self._publisher.done():
            self._publisher = asyncio.create_task(self._publish(), name="jambatalk-motion")
        self._waiting.put_nowait((self._cuts, work))

    async def _publish(self) -> None:
        """Run the network in another thread and publish, in the order of the sound."""
        while True:
            cuts, work = await self._waiting.get()
            try:
                if cuts != self._cuts:
                    continue
                if isinstance(work, list):
                    events = work
                else:
                    events = [e for piece in await asyncio.to_thread(work) for e in piece.events]
                for event in events:
                    if cuts == self._cuts:
                        await self._send(event)
            except Exception:  # a face that fails must not silence the agent
                LOG.exception("an event was not published")
            finally:
                self._waiting.task_done()

    async def _send(self, event: Event) -> None:
        text = json.dumps(event, separators=(",", ":"))
        await self._room.local_participant.publish_data(text, reliable=True, topic=self._topic)
