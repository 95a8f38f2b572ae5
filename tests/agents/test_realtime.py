"""Events of a Realtime API in, with motion between them out."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from agent_sound import frames_of, hum
from jambatalk.agents import RealtimeMotion
from jambatalk.errors import InputError

Event = dict[str, Any]
INTERRUPTED = "response.output_audio.motion.interrupted"


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> jambatalk.Talker:
    return jambatalk.load(small_weights)


def deltas(data: bytes, size: int, item: str = "item_1", beta: bool = False) -> list[Event]:
    kind = "response.audio.delta" if beta else "response.output_audio.delta"
    return [
        {
            "type": kind,
            "event_id": f"event_{item}_{start}",
            "item_id": item,
            "content_index": 0,
            "delta": base64.b64encode(data[start : start + size]).decode(),
        }
        for start in range(0, len(data), size)
    ]


def done(item: str = "item_1", beta: bool = False) -> Event:
    kind = "response.audio.done" if beta else "response.output_audio.done"
    return {"type": kind, "item_id": item, "content_index": 0}


def whole(talker: jambatalk.Talker, samples: np.ndarray, rate: int) -> np.ndarray:
    session = talker.stream(rate)
    return np.concatenate([session.push_array(samples)[1], session.flush_array()[1]])


@pytest.mark.parametrize("size", [641, 4800, 10**6])
@pytest.mark.parametrize("beta", [False, True])
def test_events_pass_in_order_behind_their_motion(
    talker: jambatalk.Talker, size: int, beta: bool
) -> None:
    samples = hum(1.2, 24000)
    stream = [*deltas(samples.tobytes(), size, beta=beta), done(beta=beta)]
    motion = RealtimeMotion(talker)
    out = [e for event in stream for e in motion.feed(event)]
    assert [e for e in out if e in stream] == stream
    times, weights = frames_of(out)
    expected = whole(talker, samples, 24000)
    assert np.abs(weights[: len(expected)] - expected).max() <= 6e-4
    assert np.allclose(times, 40.0 * np.arange(len(times)), atol=1e-3)
    played = shown = 0.0
    for event in out:
        if "weights" in event:
            assert event["item_id"] == "item_1"
            shown = event["offset_ms"] + 40 * len(event["weights"])
        elif "delta" in event:
            played += len(base64.b64decode(event["delta"])) / 48
            assert played <= shown + 0.1
    assert out[-2]["type"] == "response.output_audio.motion.done"
    assert out[-2]["duration_ms"] == 1200


def test_other_events_pass_at_once(talker: jambatalk.Talker) -> None:
    motion = RealtimeMotion(talker)
    motion.feed(deltas(hum(0.1, 24000).tobytes(), 10**6)[0])
    other = {"type": "response.output_audio_transcript.delta", "delta": "Hello", "item_id": "x"}
    assert motion.feed(other) == [other]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "input_audio_buffer.speech_started", "item_id": "user"},
        {"type": "response.done", "response": {"status": "cancelled"}},
        {"type": "conversation.item.truncated", "item_id": "item_1", "audio_end_ms": 300},
    ],
    ids=lambda event: event["type"],
)
def test_an_interruption_cuts_sound_and_motion(talker: jambatalk.Talker, event: Event) -> None:
    motion, samples = RealtimeMotion(talker), hum(1.0, 24000)
    stream = deltas(samples.tobytes(), 641)
    for delta in stream[:40]:
        motion.feed(delta)
    out = motion.feed(event)
    assert out == [{"type": INTERRUPTED, "item_id": "item_1"}, event]
    assert [e for late in stream[40:] for e in motion.feed(late)] == []
    assert motion.feed(done()) == [done()]
    second = [*deltas(samples.tobytes(), 641, "item_2"), done("item_2")]
    after = [e for new in second for e in motion.feed(new)]
    assert {e["item_id"] for e in after} == {"item_2"}
    expected = whole(talker, samples, 24000)
    assert np.abs(frames_of(after)[1][: len(expected)] - expected).max() <= 6e-4


def test_an_answer_that_is_complete_but_still_played(talker: jambatalk.Talker) -> None:
    motion = RealtimeMotion(talker)
    speech = {"type": "input_audio_buffer.speech_started"}
    assert motion.feed(speech) == [speech]  # nothing was said
    for event in [*deltas(hum(0.5, 24000).tobytes(), 5000), done()]:
        motion.feed(event)
    assert motion.feed(speech)[0] == {"type": INTERRUPTED, "item_id": "item_1"}
    assert motion.feed(speech) == [speech]


def test_no_barge_in_where_the_session_says_so(talker: jambatalk.Talker) -> None:
    motion = RealtimeMotion(talker)
    detection = {"type": "server_vad", "interrupt_response": False}
    motion.feed(
        {"type": "session.updated", "session": {"audio": {"input": {"turn_detection": detection}}}}
    )
    motion.feed(deltas(hum(0.5, 24000).tobytes(), 10**6)[0])
    speech = {"type": "input_audio_buffer.speech_started"}
    assert motion.feed(speech) == [speech]


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
        {"output_audio_format": "g711_ulaw"},
    ],
)
def test_telephone_sound(talker: jambatalk.Talker, session: Event) -> None:
    from jambatalk.audio.g711 import MULAW

    motion = RealtimeMotion(talker)
    event = {"type": "session.created", "session": session}
    assert motion.feed(event) == [event]
    codes = np.random.default_rng(1).integers(0, 256, 6000).astype(np.uint8)
    stream = [*deltas(codes.tobytes(), 641), done()]
    out = [e for new in stream for e in motion.feed(new)]
    expected = whole(talker, MULAW[codes], 8000)
    assert np.abs(frames_of(out)[1][: len(expected)] - expected).max() <= 6e-4


def test_sound_that_stops_coming(talker: jambatalk.Talker) -> None:
    motion = RealtimeMotion(talker)
    stream = deltas(hum(0.5, 24000).tobytes(), 641)
    out = [e for event in stream for e in motion.feed(event)]
    assert stream[-1] not in out
    # Its last byte is half a sample, so the last delta waits for the other half.
    rest = motion.settle()
    assert stream[-1] in rest


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ([], "expected an object with a type"),
        ({"type": 3}, "expected an object with a type"),
        ({"type": "response.output_audio.delta", "delta": ""}, "item_id None, expected a text"),
        ({"type": "response.output_audio.delta", "item_id": "a"}, "not base64"),
        ({"type": "response.output_audio.delta", "item_id": "a", "delta": "é"}, "not base64"),
        ({"type": "session.updated", "session": {"output_audio_format": "mp3"}}, "no format 'mp3'"),
        (
            {
                "type": "session.updated",
                "session": {"audio": {"output": {"format": {"type": "audio/pcm", "rate": "x"}}}},
            },
            "rate is 'x'",
        ),
    ],
)
def test_errors(talker: jambatalk.Talker, event: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        RealtimeMotion(talker).feed(event)
