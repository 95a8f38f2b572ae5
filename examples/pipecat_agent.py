"""A Pipecat pipeline whose bot has a face (extra ``agents-pipecat``).

The bot's voice is the demo's sound, pushed as a text-to-speech service pushes its own: faster than
real time, in pieces of 641 bytes. The transport is Pipecat's own pacing around a list. In a bot,
the service and the transport are those that you use:

    Pipeline([transport.input(), stt, user, llm, tts, MotionProcessor(talker), transport.output()])
"""

from __future__ import annotations

import asyncio
import sys
from importlib.resources import files
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

import jambatalk
from jambatalk.agents.pipecat import MotionProcessor

RATE, PIECE = 16000, 641


class DemoVoice(FrameProcessor):
    """In place of a text-to-speech service."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, TTSSpeakFrame):
            await self.push_frame(frame, direction)
            return
        speech = jambatalk.Speech.load(files("jambatalk") / "assets" / "demo.flac")
        sound = (speech.samples[: 3 * RATE] * 32767).astype("<i2").tobytes()
        await self.push_frame(TTSStartedFrame(context_id=frame.text))
        for start in range(0, len(sound), PIECE):
            piece = sound[start : start + PIECE]
            await self.push_frame(TTSAudioRawFrame(piece, RATE, 1, context_id=frame.text))
        await self.push_frame(TTSStoppedFrame(context_id=frame.text))


class Output(BaseOutputTransport):
    """In place of a transport to a client: notes how far motion is ahead of its sound."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_sample_rate=RATE))
        self.played = 0.0  # ms of the present answer
        self.frames: dict[str, int] = {}
        self.ahead: list[float] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: Any) -> bool:
        milliseconds = len(frame.audio) / 2 / RATE * 1000
        self.played += milliseconds
        await asyncio.sleep(milliseconds / 1000)
        return True

    async def send_message(self, frame: Any) -> None:
        if frame.message["type"] != "server-message":
            return  # Pipecat's own: the bot started to speak, and the like
        event = frame.message["data"]
        item = event["item_id"]
        if "weights" in event:
            if item not in self.frames:
                self.played = 0.0
            self.frames[item] = self.frames.get(item, 0) + len(event["weights"])
            self.ahead.append(event["offset_ms"] - self.played)
        else:
            print(f"{item} {event['type'].rpartition('.')[2]}: {self.frames.get(item, 0)} frames")


async def talk() -> None:
    motion, output = MotionProcessor(jambatalk.load()), Output()
    worker = PipelineWorker(Pipeline([DemoVoice(), motion, output]))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)

    async def user() -> None:
        await worker.queue_frame(TTSSpeakFrame("first"))
        await asyncio.sleep(7.0)
        await worker.queue_frame(TTSSpeakFrame("second"))
        await asyncio.sleep(2.0)
        await worker.queue_frame(InterruptionFrame())  # the user begins to speak
        await asyncio.sleep(0.5)
        await worker.queue_frame(EndFrame())

    await asyncio.gather(runner.run(), user())
    print(f"motion left {min(output.ahead):.0f} to {max(output.ahead):.0f} ms before its sound")


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    asyncio.run(talk())
