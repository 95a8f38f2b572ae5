"""The WebSocket: frames as offline, turns, packets, formats, and clients that mean no good."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.server.engine import Engine
from jambatalk.server.protocol import frame_bytes, frame_json, parse_start, read_frame
from jambatalk.session import Frame
from jambatalk.talker import Talker
from small_network import speechlike

pytest.importorskip("starlette.testclient")
pytest.importorskip("httpx")
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from jambatalk.server.settings import ServerSettings
from jambatalk.server.sound import INDEX, SoundReader
from jambatalk.server.websocket import serve_stream


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


@pytest.fixture(scope="module")
def client(talker: Talker) -> Iterator[TestClient]:
    with Engine(talker, max_sessions=4) as engine:
        limits = {
            "/": ServerSettings(message_bytes=20_000, start_timeout=0.5),
            "/secret": ServerSettings(token="a-long-token"),
        }

        async def stream(websocket: WebSocket) -> None:
            await serve_stream(websocket, engine, limits[websocket.url.path])

        with TestClient(
            Starlette(routes=[WebSocketRoute(path, stream) for path in limits])
        ) as found:
            yield found


def pcm(samples: np.ndarray) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def start(socket: Any, **options: Any) -> dict[str, Any]:
    socket.send_text(json.dumps({"type": "start"} | options))
    found: dict[str, Any] = socket.receive_json()
    return found


def frames(socket: Any, names: tuple[str, ...]) -> tuple[list[Frame], dict[str, Any]]:
    rows = []
    while True:
        message = socket.receive()
        data = message.get("bytes") or message["text"]
        if isinstance(data, str) and json.loads(data)["type"] != "frame":
            return rows, json.loads(data)
        rows.append(read_frame(data, names))


@pytest.mark.parametrize("form", ["json", "binary"])
def test_frames_are_those_of_the_whole_recording(
    client: TestClient, talker: Talker, form: str
) -> None:
    sound = speechlike(2.0)
    with client.websocket_connect("/") as socket:
        ready = start(socket, frames=form)
        assert ready["type"] == "ready"
        assert (ready["fps"], ready["look_ahead_ms"], ready["hop_ms"]) == (
            25.0,
            talker.look_ahead_ms,
            40.0,
        )
        for turn in range(2):
            data = pcm(sound)
            for at in range(0, len(data), 1998):
                socket.send_bytes(data[at : at + 1998])
            socket.send_text('{"type":"end"}')
            rows, end = frames(socket, tuple(ready["names"]))
            assert end == {"type": "ended", "turn": turn, "frames": 50}
            assert [(f.turn, f.index) for f in rows] == [(turn, i) for i in range(50)]
            wanted = talker.animate(
                Speech(np.rint(sound * 32767).astype(np.float32) / 32768)
            ).weights
            np.testing.assert_allclose([f.weights for f in rows], wanted, atol=2e-4)


def test_other_rates_floats_and_frame_rates(client: TestClient) -> None:
    with client.websocket_connect("/") as socket:
        ready = start(socket, rate=48000, encoding="pcm_f32le", fps=60)
        assert ready["fps"] == 60
        for _ in range(20):
            socket.send_bytes(np.zeros(2400, "<f4").tobytes())
        socket.send_text('{"type":"end"}')
        rows, _ = frames(socket, tuple(ready["names"]))
        assert len(rows) == 60
        assert rows[-1].time == pytest.approx(59 / 60, abs=1e-5)


def test_opus_is_heard(client: TestClient, talker: Talker) -> None:
    import av

    sound = Speech.load(Path(jambatalk.__file__).parent / "assets" / "demo.flac").samples[
        : 2 * 16000
    ]
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (np.repeat(sound, 3)[None] * 32767).astype(np.int16), "s16", "mono"
        )
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container, client.websocket_connect("/") as socket:
        ready = start(socket, encoding="opus", rate=48000)
        assert ready["type"] == "ready"
        for packet in container.demux(audio=0):
            if packet.size:
                socket.send_bytes(bytes(packet))
        socket.send_text('{"type":"end"}')
        rows, _ = frames(socket, tuple(ready["names"]))
    assert 48 <= len(rows) <= 53
    assert np.isfinite([f.weights for f in rows]).all()
    assert np.std([f.weights for f in rows], axis=0).max() > 0.001


def test_packets_with_indices_may_be_lost_and_late(client: TestClient) -> None:
    sound = pcm(speechlike(2.0))
    with client.websocket_connect("/") as socket:
        ready = start(socket, timestamps=True)
        order = [*range(10), 11, 10, *range(12, 40), *range(43, 100), 41]
        for k in order:
            socket.send_bytes(INDEX.pack(5000 + 320 * k) + sound[640 * k : 640 * (k + 1)])
        socket.send_text('{"type":"stats"}')
        socket.send_text('{"type":"end"}')
        rows, stats = frames(socket, tuple(ready["names"]))
        more, end = frames(socket, tuple(ready["names"]))
        assert end["frames"] == len(rows) + len(more) == 50
        socket.send_text('{"type":"stats"}')
        _, stats = frames(socket, tuple(ready["names"]))
        assert (stats["lost_ms"], stats["late_ms"]) == (60.0, 20.0)


def test_realtime_sound_that_stops_is_concealed(client: TestClient) -> None:
    with client.websocket_connect("/") as socket:
        ready = start(socket, timestamps=True, realtime=True)
        socket.send_bytes(INDEX.pack(0) + pcm(speechlike(0.5)))
        rows = [read_frame(socket.receive_text(), tuple(ready["names"])) for _ in range(20)]
        assert [f.index for f in rows] == list(range(20))  # 0.8 s though 0.5 s came


def test_barge_in_and_ping(client: TestClient) -> None:
    with client.websocket_connect("/") as socket:
        ready = start(socket)
        socket.send_bytes(pcm(speechlike(0.6)))
        socket.send_text('{"type":"interrupt"}')
        rows, end = frames(socket, tuple(ready["names"]))
        assert end["type"] == "interrupted"
        assert not rows or not rows[-1].weights.any()
        socket.send_text('{"type":"ping","id":7}')
        assert socket.receive_json() == {"type": "pong", "id": 7}


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("no json", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("[1]", "not an object"),
        ('{"type":"begin"}', 'expected "start"'),
        ('{"type":"start","rate":7}', "rate is 7"),
        ('{"type":"start","rate":1e9}', "rate is"),
        ('{"type":"start","rate":true}', "rate is True"),
        ('{"type":"start","encoding":"mp3"}', "expected one of pcm_s16le"),
        ('{"type":"start","encoding":"opus","rate":16000}', "Opus is decoded at 48000"),
        ('{"type":"start","fps":0}', "fps is 0"),
        ('{"type":"start","fps":NaN}', "not JSON"),
        ('{"type":"start","frames":"xml"}', "frames is"),
        ('{"type":"start","style":"sad"}', "no style"),
        ('{"type":"start","style":5}', "style is 5"),
        ('{"type":"start","timestamps":"yes"}', "timestamps is 'yes'"),
        ('{"type":"start","realtime":true}', "needs timestamps"),
        (
            '{"type":"start","life":{"blinks":3}}',
            "life's blinks is 3, expected a strength from 0 to 2",
        ),
        ('{"type":"start","colour":1}', "unknown field 'colour'"),
    ],
)
def test_a_wrong_start_is_answered_in_one_sentence(
    client: TestClient, first: str, words: str
) -> None:
    with client.websocket_connect("/") as socket:
        socket.send_text(first)
        error = socket.receive_json()
        assert error["type"] == "error"
        assert error["code"] == "bad_message"
        assert words in error["message"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1003


@pytest.mark.parametrize(
    ("options", "message", "code", "close"),
    [
        ({"timestamps": True}, INDEX.pack(0) + b"\0", "bad_message", 1003),
        ({"encoding": "webm"}, b"RIFF", "bad_message", 1003),
        ({"encoding": "pcm_f32le"}, np.array([np.nan], "<f4").tobytes(), "bad_message", 1003),
        ({"timestamps": True}, b"1234", "bad_message", 1003),
        ({"timestamps": True}, INDEX.pack(2**64 - 1) + b"\0\0", "bad_message", 1003),
        ({"encoding": "opus", "rate": 48000}, b"\xff", "bad_message", 1003),
        ({}, bytes(20_002), "too_large", 1009),
        ({}, '{"type":"dance"}', "bad_message", 1003),
        ({}, "{" + " " * 30_000 + "}", "too_large", 1009),
    ],
)
def test_bad_messages_end_only_their_own_session(
    client: TestClient, options: dict[str, Any], message: bytes | str, code: str, close: int
) -> None:
    with client.websocket_connect("/") as other, client.websocket_connect("/") as socket:
        ready = start(other)
        assert start(socket, **options)["type"] == "ready"
        if isinstance(message, str):
            socket.send_text(message)
        else:
            socket.send_bytes(message)
        error = socket.receive_json()
        assert (error["type"], error["code"]) == ("error", code)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == close
        other.send_bytes(pcm(speechlike(0.5)))
        other.send_text('{"type":"end"}')
        assert len(frames(other, tuple(ready["names"]))[0]) == 13


def test_a_binary_first_message_and_silence_are_refused(client: TestClient) -> None:
    with client.websocket_connect("/") as socket:
        socket.send_bytes(b"\0\0")
        assert "is binary" in socket.receive_json()["message"]
    with client.websocket_connect("/") as socket:
        assert socket.receive_json()["code"] == "too_slow"


@pytest.mark.parametrize(
    "token", [None, "", "a-long-tokeN", "a-long-token ", "ä" * 12, 5, ["a-long-token"]]
)
def test_forged_tokens(client: TestClient, token: Any) -> None:
    with client.websocket_connect("/secret") as socket:
        error = start(socket, token=token)
        assert error["code"] == "bad_token"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1008
    with client.websocket_connect("/secret") as socket:
        assert start(socket, token="a-long-token")["type"] == "ready"


def test_overload_is_said_and_places_become_free_again(client: TestClient) -> None:
    sockets = [client.websocket_connect("/") for _ in range(5)]
    opened = [socket.__enter__() for socket in sockets]
    answers = [start(socket) for socket in opened]
    assert [a["type"] for a in answers] == ["ready"] * 4 + ["error"]
    assert answers[-1]["code"] == "overloaded"
    for socket in sockets:
        socket.__exit__(None, None, None)
    with client.websocket_connect("/") as socket:
        assert start(socket)["type"] == "ready"


def test_sudden_death_leaves_nothing(client: TestClient) -> None:
    for _ in range(8):  # twice as many as there are places
        with client.websocket_connect("/") as socket:
            assert start(socket)["type"] == "ready"
            socket.send_bytes(pcm(speechlike(0.3)))


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
def test_a_sample_may_be_split_over_two_messages(client: TestClient, encoding: str) -> None:
    sound = speechlike(1.0)
    data = pcm(sound) if encoding == "pcm_s16le" else sound.astype("<f4").tobytes()
    rows = []
    for size in (640, 641, 9999):
        with client.websocket_connect("/") as socket:
            ready = start(socket, encoding=encoding)
            for at in range(0, len(data), size):
                socket.send_bytes(data[at : at + size])
            socket.send_bytes(b"\1")  # half a sample at the end belongs to no turn
            socket.send_text('{"type":"end"}')
            found, _ = frames(socket, tuple(ready["names"]))
            rows.append([frame.weights for frame in found])
    assert len(rows[0]) == 25
    np.testing.assert_allclose(rows[1], rows[0], atol=2e-4)
    np.testing.assert_allclose(rows[2], rows[0], atol=2e-4)


def test_mulaw_is_decoded_as_ffmpeg_does() -> None:
    import av

    decoder = av.CodecContext.create("pcm_mulaw", "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"  # type: ignore[attr-defined]
    codes = bytes(range(256))
    wanted = decoder.decode(av.Packet(codes))[0].to_ndarray().reshape(-1)
    samples, at = SoundReader("mulaw", False)(codes)
    assert at is None
    np.testing.assert_array_equal(samples, wanted)
    assert parse_start({"type": "start", "encoding": "mulaw"}).rate == 8000


def webm(sound: np.ndarray, **options: str) -> tuple[bytes, list[bytes]]:
    """(a WebM file, its Opus packets)."""
    import av

    file = io.BytesIO()
    packets = []
    with av.open(file, "w", format="webm", options=options) as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.repeat(sound, 3)[None], "flt", "mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            packets.append(bytes(packet))
            container.mux(packet)
    return file.getvalue(), packets


@pytest.mark.parametrize("options", [{}, {"live": "1"}], ids=["file", "live"])
def test_webm_gives_its_opus_packets_in_any_pieces(options: dict[str, str]) -> None:
    data, packets = webm(speechlike(1.0), **options)
    plain = SoundReader("opus", False)
    wanted = np.concatenate([plain(packet)[0] for packet in packets])
    assert len(wanted) >= 48000
    for size in (1, 100, 4096, len(data)):
        reader = SoundReader("webm", False)
        parts = [reader(data[at : at + size])[0] for at in range(0, len(data), size)]
        np.testing.assert_array_equal(np.concatenate(parts), wanted)


def test_damaged_webm_is_refused_or_decoded() -> None:
    data, _ = webm(speechlike(0.3))
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), 3):
            damaged[at] = random.integers(256)
        reader = SoundReader("webm", False)
        with contextlib.suppress(InputError):
            for at in range(0, len(data), 1000):
                assert np.isfinite(reader(bytes(damaged[at : at + 1000]))[0]).all()
    with pytest.raises(InputError, match="timestamps"):
        SoundReader("webm", True)


def test_frames_survive_their_messages() -> None:
    names = tuple("abcde")
    weights = np.array([0.0, 1.0, 0.25, 0.1234567, 1e-6], np.float32)
    for pose in (None, np.array([0.1, -0.2, 0.3], np.float32)):
        frame = Frame(1.48, weights, names, pose, 3, 37)
        for message in (frame_json(frame), frame_bytes(frame)):
            again = read_frame(message, names)
            assert (again.time, again.turn, again.index) == (pytest.approx(1.48), 3, 37)
            np.testing.assert_allclose(again.weights, weights, atol=1e-4)
            if pose is None:
                assert again.head_pose is None
            else:
                np.testing.assert_allclose(again.head_pose, pose, atol=1e-5)
    data = frame_bytes(Frame(2.0, np.array([1.0, 0.5], np.float32), ("a", "b"), None, 1, 50))
    assert data == b"JTF1\0\0\2\0\1\0\0\0\x32\0\0\0" + b"\0\0\0\0\0\0\0@" + b"\xff\xff\0\x80"
    for damaged in (data[:10], data[:-1], b"XXXX" + data[4:], "{}", "[]"):
        with pytest.raises(InputError):
            read_frame(damaged, ("a", "b"))
    with pytest.raises(InputError, match="has 2 weights"):
        read_frame(data, ("a",))
