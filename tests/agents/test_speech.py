"""An agent's sound in pieces, and the events beside it."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soxr

import jambatalk
from agent_sound import frames_of, hum
from jambatalk.agents import Piece, SpeechMotion
from jambatalk.agents.events import BLENDSHAPES, DONE, INTERRUPTED, VISEMES, VisemeChanges
from jambatalk.audio.g711 import ALAW, MULAW
from jambatalk.errors import InputError
from jambatalk.face.shape_sets import SHAPE_SETS, viseme_events


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> jambatalk.Talker:
    return jambatalk.load(small_weights)


def pcm(seconds: float, rate: int, channels: int = 1) -> bytes:
    return np.repeat(hum(seconds, rate)[:, None], channels, axis=1).tobytes()


def answer(motion: SpeechMotion, data: bytes, size: int) -> list[Piece]:
    motion.begin("item")
    pieces = []
    for start in range(0, len(data), size):
        pieces += motion.push(data[start : start + size])
    return pieces + motion.end()


def events(pieces: list[Piece], kind: str) -> list[dict[str, Any]]:
    return [e for piece in pieces for e in piece.events if e["type"] == kind]


def frames(pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray]:
    return frames_of([e for piece in pieces for e in piece.events])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("size", [641, 4800, 10**7])
def test_any_pieces_give_the_motion_of_the_whole(
    talker: jambatalk.Talker, rate: int, size: int
) -> None:
    data = pcm(1.3, rate)
    pieces = answer(SpeechMotion(talker, rate), data, size)
    assert b"".join(piece.sound for piece in pieces) == data
    session = talker.stream(rate)
    samples = np.frombuffer(data, "<i2")
    whole = np.concatenate([session.push_array(samples)[1], session.flush_array()[1]])
    times, weights = frames(pieces)
    assert np.allclose(times, 1000 * np.arange(len(times)) / 25, atol=1e-3)
    assert len(weights) == len(whole) + 4
    assert np.abs(weights[: len(whole)] - whole).max() <= 6e-4  # three decimals
    assert not weights[-1].any()


@pytest.mark.parametrize("rate", [8000, 22050, 24000, 48000])
def test_the_mouth_keeps_time_at_every_rate(rate: int) -> None:
    """The jaw of the shipped weights lies within 20 ms of where it is at 16 kHz."""
    talker = jambatalk.load("light")
    speech = jambatalk.Speech.load(files("jambatalk") / "assets" / "demo.flac").samples
    expected = talker.animate(jambatalk.Speech(speech, 16000))
    jaw = talker.names.index("jawOpen")
    data = (soxr.resample(speech, 16000, rate) * 32767).astype("<i2").tobytes()
    times, weights = frames(answer(SpeechMotion(talker, rate), data, 641))
    grid = np.arange(0.5, 8.5, 0.001)
    own = np.interp(grid, np.arange(len(expected)) / 25, expected.weights[:, jaw])
    lags = np.arange(-100, 101)
    moved = [np.interp(grid + lag / 1000, times / 1000, weights[:, jaw]) for lag in lags]
    assert abs(lags[np.argmax([np.corrcoef(own, m)[0, 1] for m in moved])]) <= 20


@pytest.mark.parametrize("size", [641, 10**7])
@pytest.mark.parametrize("fps", [None, 60])
def test_motion_comes_before_its_sound(
    talker: jambatalk.Talker, size: int, fps: float | None
) -> None:
    """Once the sound up to t is out, so are all frames before t; and at most 0.2 s ahead."""
    motion, played, shown = SpeechMotion(talker, 24000, fps=fps), 0.0, 0.0
    for piece in answer(motion, pcm(1.31, 24000), size):
        for event in piece.events:
            if event["type"] == BLENDSHAPES:
                assert event["offset_ms"] >= 1000 * played - 1e-3
                shown = event["offset_ms"] + 1000 * len(event["weights"]) / event["fps"]
                assert len(event["weights"]) <= 12
        played += len(piece.sound) / 48000
        assert 1000 * played <= shown + 0.05
        assert shown <= 1000 * played + 20 or played > 1.3
    assert played == pytest.approx(1.31)


def test_mean_of_channels(talker: jambatalk.Talker) -> None:
    mono = answer(SpeechMotion(talker, 16000), pcm(0.7, 16000), 999)
    stereo = answer(SpeechMotion(talker, 16000, channels=2), pcm(0.7, 16000, 2), 999)
    assert np.array_equal(frames(mono)[1], frames(stereo)[1])
    assert sum(len(p.sound) for p in stereo) == 2 * sum(len(p.sound) for p in mono)


@pytest.mark.parametrize(("codec", "encoding"), [("pcm_mulaw", "mulaw"), ("pcm_alaw", "alaw")])
def test_telephone(talker: jambatalk.Talker, codec: str, encoding: str) -> None:
    table = {"mulaw": MULAW, "alaw": ALAW}[encoding]
    data = bytes(range(256))
    buffer = io.BytesIO()
    with av.open(buffer, "w", "wav") as out:
        stream = out.add_stream(codec, rate=8000, layout="mono")
        packet = av.Packet(data)
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        out.mux(packet)
    buffer.seek(0)
    with av.open(buffer) as source:
        decoded = np.concatenate([f.to_ndarray()[0] for f in source.decode(audio=0)])
    assert np.array_equal(table, decoded)
    # nearest code of each sample: the motion is that of the samples that the codes stand for
    wave = np.frombuffer(pcm(0.8, 8000), "<i2").astype(int)
    codes = np.abs(wave[:, None] - table[None]).argmin(axis=1).astype(np.uint8)
    told = answer(SpeechMotion(talker, 8000, encoding), codes.tobytes(), 77)
    plain = answer(SpeechMotion(talker, 8000), table[codes].astype("<i2").tobytes(), 154)
    assert np.array_equal(frames(told)[1], frames(plain)[1])
    assert b"".join(p.sound for p in told) == codes.tobytes()


def test_answers_have_their_own_clock(talker: jambatalk.Talker) -> None:
    motion, data = SpeechMotion(talker, 16000), pcm(0.9, 16000)
    first, second = answer(motion, data, 5000), answer(motion, data, 333)
    assert np.array_equal(frames(first)[0], frames(second)[0])
    assert np.array_equal(frames(first)[1], frames(second)[1])
    (end,) = events(second, DONE)
    assert end == {"type": DONE, "item_id": "item", "duration_ms": 900.0}


def test_an_interruption_leaves_nothing(talker: jambatalk.Talker) -> None:
    motion, data = SpeechMotion(talker, 16000), pcm(1.0, 16000)
    clean = frames(answer(SpeechMotion(talker, 16000), data, 4000))
    motion.begin("old")
    motion.push(data[:20001])
    late = motion.pushing(data[20001:])  # as in a thread that has not begun
    assert motion.interrupt() == [{"type": INTERRUPTED, "item_id": "old"}]
    assert motion.interrupt() == []
    motion.begin("new")
    assert late() == []
    motion.interrupt()
    again = frames(answer(motion, data, 4000))
    assert np.array_equal(again[1], clean[1])
    assert motion.interrupt() == [{"type": INTERRUPTED, "item_id": "item"}]  # still being played


def test_interrupted_while_it_ends(talker: jambatalk.Talker) -> None:
    motion, data = SpeechMotion(talker, 16000), pcm(0.6, 16000)
    motion.push(data)
    end = motion.ending()
    motion.interrupt()
    motion.begin("next")
    end()
    assert motion.item_id == "next"
    clean = answer(SpeechMotion(talker, 16000), data, 10**6)
    assert np.array_equal(frames(motion.push(data) + motion.end())[1], frames(clean)[1])


def test_settled_sound_goes_on_in_the_same_clock(talker: jambatalk.Talker) -> None:
    motion, data = SpeechMotion(talker, 16000), pcm(1.0, 16000)
    pieces = motion.push(data[:16000])
    assert motion.waiting_seconds > 0.05
    pieces += motion.settle()
    assert motion.waiting_seconds == 0.0
    assert motion.settle() == []
    assert b"".join(p.sound for p in pieces) == data[:16000]
    pieces += motion.push(data[16000:]) + motion.end()
    assert b"".join(p.sound for p in pieces) == data
    times, _ = frames(pieces)
    assert (np.diff(times) > 15).all()
    assert (np.diff(times) <= 40.001).all()
    assert times[-1] == pytest.approx(1000 + 120, abs=20)


def test_viseme_changes_are_those_of_the_whole(talker: jambatalk.Talker) -> None:
    rows = np.random.default_rng(3).random((200, 15)).astype(np.float32)
    rows[:, :3] += np.repeat(np.random.default_rng(4).random((50, 3)), 4, axis=0)
    names = SHAPE_SETS["oculus"].names
    motion = jambatalk.Motion(25.0, weights=rows, names=names)
    expected = [(round(1000 * t), name) for t, name in viseme_events(motion, "oculus")]
    changes, found = VisemeChanges(names, 25.0), []
    for start in range(0, 200, 7):
        found += changes.push(40.0 * start, rows[start : start + 7])
    assert [(round(t), name) for t, name in found] == expected
    assert len(expected) > 10


def test_shapes_and_visemes(talker: jambatalk.Talker) -> None:
    motion = SpeechMotion(talker, 16000, shapes="oculus", viseme_set="microsoft")
    pieces = answer(motion, pcm(1.0, 16000), 641)
    first, *rest = events(pieces, BLENDSHAPES)
    assert tuple(first["names"]) == SHAPE_SETS["oculus"].names
    assert not any("names" in event for event in rest)
    assert {len(row) for row in first["weights"]} == {15}
    changes = [v for event in events(pieces, VISEMES) for v in event["visemes"]]
    assert changes[0]["offset_ms"] == 0
    assert {c["viseme"] for c in changes} <= set(SHAPE_SETS["microsoft"].names)
    played = 0.0
    for piece in pieces:  # a change is known before the sound at which it is
        for event in piece.events:
            for change in event.get("visemes", []):
                assert change["offset_ms"] >= 1000 * played - 0.1
        played += len(piece.sound) / 32000
    only = answer(
        SpeechMotion(talker, 16000, shapes=None, viseme_set="oculus"), pcm(0.5, 16000), 99
    )
    assert not events(only, BLENDSHAPES)
    assert events(only, VISEMES)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": 7999}, "rate is 7999, expected 8000 to 48000 Hz"),
        ({"rate": "24000"}, "rate is '24000'"),
        ({"encoding": "mp3"}, "no encoding 'mp3': choose from pcm16, mulaw, alaw"),
        ({"channels": 0}, "channels is 0, expected 1 to 8"),
        ({"shapes": "sims"}, "no shapes 'sims': choose from arkit"),
        ({"shapes": None}, "neither weights nor visemes"),
    ],
)
def test_errors(talker: jambatalk.Talker, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SpeechMotion(talker, **options)


def test_errors_of_sound(talker: jambatalk.Talker) -> None:
    motion = SpeechMotion(talker)
    with pytest.raises(InputError, match="sound is str, expected bytes"):
        motion.push("abc")  # type: ignore[arg-type]
    motion.begin("a")
    with pytest.raises(InputError, match="answer 'a' is open"):
        motion.begin("b")
