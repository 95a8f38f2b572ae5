"""The processor in Pipecat's own pipeline and output transport."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pipecat", reason='needs pip install "jambatalk[agents-pipecat]"')

from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

import jambatalk
from agent_sound import frames_of, hum
from jambatalk.agents.pipecat import MotionProcessor

INTERRUPTED = "response.output_audio.motion.interrupted"
DONE = "response.output_audio.motion.done"


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> jambatalk.Talker:
    talker = jambatalk.load(small_weights)
    talker.stream(16000).push(np.zeros(16000, np.float32))  # compiles kernels before the clock runs
    return talker


def said(data: bytes, size: int, rate: int, context: str, channels: int = 1) -> list[Frame]:
    """What a text-to-speech service pushes."""
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return [
        TTSStartedFrame(context_id=context),
        *(TTSAudioRawFrame(piece, rate, channels, context_id=context) for piece in pieces),
        TTSStoppedFrame(context_id=context),
    ]


def through(processor: MotionProcessor, frames: list[Frame]) -> list[Frame]:
    down, _ = asyncio.run(run_test(processor, frames_to_send=frames, start_timeout=20.0))
    return list(down)


def events(frames: list[Frame]) -> list[dict[str, Any]]:
    kinds = (OutputTransportMessageFrame, OutputTransportMessageUrgentFrame)
    return [frame.message["data"] for frame in frames if isinstance(frame, kinds)]


def whole(talker: jambatalk.Talker, samples: np.ndarray, rate: int) -> np.ndarray:
    session = talker.stream(rate)
    return np.concatenate([session.push_array(samples)[1], session.flush_array()[1]])


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
@pytest.mark.parametrize("size", [641, 10**6])
def test_two_answers(talker: jambatalk.Talker, rate: int, size: int) -> None:
    samples = hum(0.9, rate)
    data = samples.tobytes()
    frames = through(
        MotionProcessor(talker), said(data, size, rate, "a") + said(data, size, rate, "b")
    )
    expected = whole(talker, samples, rate)
    for context in ("a", "b"):
        sound = [f for f in frames if isinstance(f, TTSAudioRawFrame) and f.context_id == context]
        assert b"".join(f.audio for f in sound) == data
        assert {f.sample_rate for f in sound} == {rate}
        of = [e for e in events(frames) if e["item_id"].startswith(context)]
        times, weights = frames_of(of)
        assert np.abs(weights[: len(expected)] - expected).max() <= 6e-4
        assert np.allclose(times, 40.0 * np.arange(len(times)), atol=1e-3)
        assert of[-1] == {"type": DONE, "item_id": of[0]["item_id"], "duration_ms": 900.0}
    played = 0.0
    for frame in frames:  # motion is before its sound
        if isinstance(frame, TTSStartedFrame):
            played = shown = 0.0
        elif isinstance(frame, TTSAudioRawFrame):
            played += len(frame.audio) / 2 / rate
            assert 1000 * played <= shown + 0.1
        elif isinstance(frame, OutputTransportMessageFrame):
            for event in events([frame]):
                if "weights" in event:
                    shown = event["offset_ms"] + 40 * len(event["weights"])
    kinds = [type(f) for f in frames if not isinstance(f, OutputTransportMessageFrame)]
    assert kinds[0] is TTSStartedFrame
    assert kinds[-1] is TTSStoppedFrame


def test_stereo_and_bare_events(talker: jambatalk.Talker) -> None:
    samples = hum(0.5, 16000)
    data = np.repeat(samples[:, None], 2, axis=1).tobytes()
    frames = through(MotionProcessor(talker, rtvi=False), said(data, 777, 16000, "s", 2))
    sound = [f for f in frames if isinstance(f, TTSAudioRawFrame)]
    assert b"".join(f.audio for f in sound) == data
    assert {f.num_channels for f in sound} == {2}
    bare = [f.message for f in frames if isinstance(f, OutputTransportMessageFrame)]
    expected = whole(talker, samples, 16000)
    assert np.abs(frames_of(bare)[1][: len(expected)] - expected).max() <= 6e-4


def test_rtvi_messages_are_what_pipecat_makes_of_them(talker: jambatalk.Talker) -> None:
    from pipecat.processors.frameworks.rtvi.models import ServerMessage

    frames = through(MotionProcessor(talker), said(hum(0.3, 16000).tobytes(), 5000, 16000, "a"))
    for frame in frames:
        if isinstance(frame, OutputTransportMessageFrame):
            read = ServerMessage.model_validate(frame.message)
            assert read.model_dump() == {k: v for k, v in frame.message.items() if k != "id"}


def test_a_face_that_fails_does_not_silence_the_bot(talker: jambatalk.Talker) -> None:
    data = hum(0.3, 96000).tobytes()
    frames = through(MotionProcessor(talker), said(data, 9600, 96000, "a"))
    assert b"".join(f.audio for f in frames if isinstance(f, TTSAudioRawFrame)) == data
    assert events(frames) == []


def test_sound_that_stops_without_an_end(talker: jambatalk.Talker) -> None:
    """A service that sends no end for seconds: what waits goes out, and the clock goes on."""
    data = hum(0.8, 24000).tobytes()
    first, last = data[:20000], data[20000:]
    audio = [TTSAudioRawFrame(part, 24000, 1, context_id="a") for part in (first, last)]
    marker = InterruptionFrame()
    frames = through(
        MotionProcessor(talker),
        [TTSStartedFrame("a"), audio[0], SleepFrame(1.5), audio[1], SleepFrame(1.5), marker],
    )
    before = frames[: frames.index(marker)]
    sound = [f.audio for f in before if isinstance(f, TTSAudioRawFrame)]
    assert b"".join(sound) == data
    times, _ = frames_of(events(before))
    assert (np.diff(times) > 15).all()
    assert times[-1] == pytest.approx(780, abs=21)


@pytest.mark.parametrize("wait", [0.05, 0.3])
def test_nothing_stale_after_an_interruption(talker: jambatalk.Talker, wait: float) -> None:
    old, new = hum(60.0, 24000).tobytes(), hum(0.6, 24000)
    frames = through(
        MotionProcessor(talker),
        [
            *said(old, 96001, 24000, "old")[:-1],
            SleepFrame(wait),
            InterruptionFrame(),
            *said(new.tobytes(), 641, 24000, "new"),
        ],
    )
    cut = next(i for i, f in enumerate(frames) if isinstance(f, InterruptionFrame))
    rest = frames[cut:]
    for frame in rest:
        if isinstance(frame, TTSAudioRawFrame):
            assert frame.context_id == "new"
    assert not [e for e in events(rest) if "weights" in e and e["item_id"].startswith("old")]
    expected = whole(talker, new, 24000)
    of_new = [e for e in events(rest) if e["item_id"].startswith("new")]
    assert np.abs(frames_of(of_new)[1][: len(expected)] - expected).max() <= 6e-4
    if any(e["item_id"].startswith("old") for e in events(frames)):
        assert sum(e["type"] == INTERRUPTED for e in events(frames)) == 1


class Recorder(BaseOutputTransport):
    """Pipecat's own output, which paces sound as a device would; it notes what is sent."""

    def __init__(self) -> None:
        super().__init__(
            TransportParams(
                audio_out_enabled=True, audio_out_sample_rate=24000, audio_out_end_silence_secs=0
            )
        )
        self.sent: list[tuple[str, Any]] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: Any) -> bool:
        self.sent.append(("sound", frame.audio))
        await asyncio.sleep(len(frame.audio) / 48000)
        return True

    async def send_message(self, frame: Any) -> None:
        self.sent.append(("event", frame.message["data"]))


def play(talker: jambatalk.Talker, frames: list[Frame]) -> list[tuple[str, Any]]:
    from pipecat.pipeline.pipeline import Pipeline

    transport = Recorder()
    through(Pipeline([MotionProcessor(talker), transport]), frames)  # type: ignore[arg-type]
    return transport.sent


@pytest.mark.parametrize("size", [641, 10**6])
def test_transport_sends_both_in_step(talker: jambatalk.Talker, size: int) -> None:
    """When a frame is sent, the sound sent so far ends at its time: 0 to 0.24 s before."""
    data = hum(1.0, 24000).tobytes()
    sent = play(talker, [*said(data, size, 24000, "a"), SleepFrame(1.5)])
    played, ahead = 0.0, []
    for kind, what in sent:
        if kind == "sound":
            played += len(what) / 48
        elif "weights" in what and what["offset_ms"] < 1000:
            ahead.append(what["offset_ms"] - played)
    assert played == pytest.approx(1000, abs=40)  # whole chunks
    assert min(ahead) >= -20
    assert max(ahead) <= 60


def test_transport_drops_both(talker: jambatalk.Talker) -> None:
    data = hum(5.0, 24000).tobytes()
    sent = play(
        talker,
        [*said(data, 641, 24000, "old"), SleepFrame(0.8), InterruptionFrame(), SleepFrame(0.3)],
    )
    kinds = [what["type"] if kind == "event" else kind for kind, what in sent]
    cut = kinds.index(INTERRUPTED)
    assert cut > 0
    assert not [what for kind, what in sent[cut:] if kind == "event" and "weights" in what]
    played = sum(len(what) for kind, what in sent if kind == "sound") / 48
    assert played < 3000
    times, _ = frames_of(what for kind, what in sent if kind == "event")
    assert times[-1] <= played + 260
