"""A LiveKit agent that has a face (extra ``agents-livekit``), without a LiveKit server.

The session is LiveKit's own and says the demo's sound; a list takes the room's place. In an agent
it is three lines after ``await session.start(agent, room=ctx.room)``:

    session.output.audio = MotionAudioOutput(
        talker, ctx.room, next_in_chain=session.output.audio
    )
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.resources import files

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.avatar import AudioSegmentEnd, QueueAudioOutput

import jambatalk
from jambatalk.agents.livekit import MotionAudioOutput

RATE, PIECE = 16000, 321


class Room:
    """In place of a connected room: keeps what is published."""

    def __init__(self) -> None:
        self.local_participant, self.events = self, []

    async def publish_data(self, payload: str, reliable: bool, topic: str) -> None:
        self.events.append(json.loads(payload))


async def voice() -> AsyncIterator[rtc.AudioFrame]:
    """In place of a text-to-speech service."""
    speech = jambatalk.Speech.load(files("jambatalk") / "assets" / "demo.flac")
    sound = (speech.samples[: 3 * RATE] * 32767).astype("<i2")
    for start in range(0, len(sound), PIECE):
        piece = sound[start : start + PIECE]
        yield rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece))


async def talk() -> None:
    room, player = Room(), QueueAudioOutput()
    session = AgentSession()
    motion = MotionAudioOutput(jambatalk.load(), room, next_in_chain=player)
    session.output.audio = motion
    await session.start(Agent(instructions="You are friendly."))
    said = session.say("A sentence.", audio=voice())

    seconds = 0.0
    async for frame in player:
        if isinstance(frame, AudioSegmentEnd):
            break
        seconds += frame.duration
    player.notify_playback_finished(seconds, interrupted=False)
    await said.wait_for_playout()
    await motion.drain()
    await session.aclose()

    frames = sum(len(event["weights"]) for event in room.events if "weights" in event)
    size = max(len(json.dumps(event)) for event in room.events)
    print(f"{frames} frames beside {seconds:.2f} s of sound")
    print(f"{len(room.events)} packets, the largest {size} bytes")
    print(*dict.fromkeys(event["type"] for event in room.events), sep="\n")


if __name__ == "__main__":
    asyncio.run(talk())
