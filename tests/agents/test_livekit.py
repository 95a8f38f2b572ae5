"""The audio output among LiveKit Agents' own classes; no LiveKit server takes part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit.agents", reason='needs pip install "jambatalk[agents-livekit]"')

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.avatar import AudioSegmentEnd, QueueAudioOutput

import jambatalk
from agent_sound import frames_of, hum
from jambatalk.agents.livekit import TOPIC, MotionAudioOutput

PREFIX = "response.output_audio."


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> jambatalk.Talker:
    return jambatalk.load(small_weights)


class Room:
    """A room that keeps what its local participant publishes."""

    def __init__(self) -> None:
        self.local_participant = self
        self.events: list[dict[str, Any]] = []

    async def publish_data(self, payload: str, *, reliable: bool, topic: str) -> None:
        assert reliable
        assert topic == TOPIC
        assert len(payload.encode()) < 15000
        self.events.append(json.loads(payload))


def audio(samples: np.ndarray, rate: int, size: int) -> list[rtc.AudioFrame]:
    return [
        rtc.AudioFrame(part.tobytes(), rate, 1, len(part))
        for part in np.split(samples, range(size, len(samples), size))
    ]


def whole(talker: jambatalk.Talker, samples: np.ndarray, rate: int) -> np.ndarray:
    session = talker.stream(rate)
    return np.concatenate([session.push_array(samples)[1], session.flush_array()[1]])


async def received(queue: QueueAudioOutput) -> bytes:
    """The sound of a segment as the output behind gets it."""
    parts = []
    async for frame in queue:
        if isinstance(frame, AudioSegmentEnd):
            break
        parts.append(bytes(frame.data))
    return b"".join(parts)


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
@pytest.mark.parametrize("size", [321, 10**6])
def test_segments(talker: jambatalk.Talker, rate: int, size: int) -> None:
    samples, room = hum(0.9, rate), Room()

    async def speak() -> None:
        queue = QueueAudioOutput()
        output = MotionAudioOutput(talker, room, queue)  # type: ignore[arg-type]
        for _ in range(2):
            for frame in audio(samples, rate, size):
                await output.capture_frame(frame)
            output.flush()
            assert await received(queue) == samples.tobytes()
            queue.notify_playback_finished(0.9, interrupted=False)
            await output.wait_for_playout()
        await output.drain()
        await output.aclose()

    asyncio.run(speak())
    expected = whole(talker, samples, rate)
    for item in ("answer_1", "answer_2"):
        of = [e for e in room.events if e["item_id"] == item]
        times, weights = frames_of(of)
        assert np.abs(weights[: len(expected)] - expected).max() <= 6e-4
        assert np.allclose(times[: len(expected)], 40.0 * np.arange(len(expected)), atol=1e-3)
        assert of[-1]["type"] == PREFIX + "motion.done"
        assert PREFIX + "motion.started" in {e["type"] for e in of}


def test_nothing_stale_after_an_interruption(talker: jambatalk.Talker) -> None:
    room, old, new = Room(), hum(10.0, 24000), hum(0.5, 24000)

    async def speak() -> int:
        queue = QueueAudioOutput()
        output = MotionAudioOutput(talker, room, queue)  # type: ignore[arg-type]
        for frame in audio(old, 24000, 480):
            await output.capture_frame(frame)
        await asyncio.sleep(0.05)
        output.flush()
        output.clear_buffer()
        queue.notify_playback_finished(0.1, interrupted=True)
        await output.drain()
        cut = len(room.events)
        for frame in audio(new, 24000, 480):
            await output.capture_frame(frame)
        output.flush()
        await output.drain()
        await output.aclose()
        return cut

    cut = asyncio.run(speak())
    assert room.events[cut - 1] == {"type": PREFIX + "motion.interrupted", "item_id": "answer_1"}
    assert {e["item_id"] for e in room.events[cut:]} == {"answer_2"}
    expected = whole(talker, new, 24000)
    assert np.abs(frames_of(room.events[cut:])[1][: len(expected)] - expected).max() <= 6e-4


def test_a_room_that_fails_does_not_silence_the_agent(talker: jambatalk.Talker) -> None:
    samples = hum(0.5, 24000)

    class Broken(Room):
        async def publish_data(self, payload: str, **_: Any) -> None:
            raise ConnectionError("gone")

    async def speak() -> bytes:
        queue = QueueAudioOutput()
        output = MotionAudioOutput(talker, Broken(), queue)  # type: ignore[arg-type]
        for frame in audio(samples, 24000, 480):
            await output.capture_frame(frame)
        output.flush()
        await output.drain()
        await output.aclose()
        return await received(queue)

    assert asyncio.run(speak()) == samples.tobytes()


def test_segments_of_other_rates(talker: jambatalk.Talker) -> None:
    """A rate that has no motion leaves the sound alone, and each segment has its own name."""
    room, got = Room(), []

    async def speak() -> None:
        queue = QueueAudioOutput()
        output = MotionAudioOutput(talker, room, queue)  # type: ignore[arg-type]
        for rate in (16000, 96000, 24000):
            for frame in audio(hum(0.3, rate), rate, 960):
                await output.capture_frame(frame)
            output.flush()
            got.append(await received(queue) == hum(0.3, rate).tobytes())
        await output.drain()
        await output.aclose()

    asyncio.run(speak())
    assert got == [True, True, True]
    ends = [e["item_id"] for e in room.events if e["type"] == PREFIX + "motion.done"]
    assert ends == ["answer_1", "answer_2"]


def test_in_an_agent_session(talker: jambatalk.Talker) -> None:
    """LiveKit's own session says a sentence through the output."""
    room, samples = Room(), hum(0.8, 24000)

    async def sound() -> AsyncIterator[rtc.AudioFrame]:
        for frame in audio(samples, 24000, 480):
            yield frame

    async def speak() -> bytes:
        queue = QueueAudioOutput()
        session: AgentSession[None] = AgentSession()
        session.output.audio = MotionAudioOutput(talker, room, queue)  # type: ignore[arg-type]
        await session.start(Agent(instructions="none"))
        handle = session.say("Hello", audio=sound())
        data = await asyncio.wait_for(received(queue), 20)
        queue.notify_playback_finished(0.8, interrupted=False)
        await asyncio.wait_for(handle.wait_for_playout(), 20)
        output = session.output.audio
        while not isinstance(output, MotionAudioOutput):  # the session wraps it
            assert output is not None
            output = output.next_in_chain
        await output.drain()
        await session.aclose()
        return data

    assert asyncio.run(speak()) == samples.tobytes()
    expected = whole(talker, samples, 24000)
    times, weights = frames_of(room.events)
    assert np.abs(weights[: len(expected)] - expected).max() <= 6e-4
    assert times[0] == 0
