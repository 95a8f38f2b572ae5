"""The live server: what it tells, whom it refuses, and the real process from start to end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.server.engine import Engine
from jambatalk.server.settings import ServerSettings
from jambatalk.talker import Talker
from small_network import speechlike

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")
pytest.importorskip("websockets")
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from jambatalk.client import LiveClient, LiveError, TurnEnd
from jambatalk.server.app import create_app

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


@pytest.fixture(scope="module")
def client(talker: Talker) -> Iterator[TestClient]:
    with Engine(talker) as engine:
        app = create_app(engine, ServerSettings(hosts=("testserver",)))
        with TestClient(app) as found:
            yield found


def test_what_the_server_tells(client: TestClient, talker: Talker) -> None:
    assert client.get("/healthz").json() == {"ok": True, "sessions": 0, "behind_ms": 0.0}
    info = client.get("/v1/info").json()
    assert info["names"] == list(talker.names)
    assert (info["fps"], info["look_ahead_ms"], info["token_required"]) == (
        25.0,
        talker.look_ahead_ms,
        False,
    )
    assert info["weights_sha256"] == talker.weights_sha256
    assert "mei" in info["identities"]
    spec = client.get("/openapi.json").json()
    assert set(spec["paths"]) == {
        "/healthz",
        "/metrics",
        "/v1/info",
        "/v1/faces/{name}.glb",
        "/v1/faces/{name}/shade",
        "/v1/character",
        "/v1/demo.flac",
        "/asyncapi.json",
        "/v1/speak",
    }


def test_the_faces_have_their_shapes_and_a_head_joint(client: TestClient) -> None:
    answer = client.get("/v1/faces/mei.glb")
    assert answer.headers["content-type"] == "model/gltf-binary"
    magic, version, length = struct.unpack_from("<4sII", answer.content)
    assert (magic, version, length) == (b"glTF", 2, len(answer.content))
    size = struct.unpack_from("<I", answer.content, 12)[0]
    document = json.loads(answer.content[20 : 20 + size])
    assert "jawOpen" in document["meshes"][0]["extras"]["targetNames"]
    assert {"body", "head"} <= {node.get("name") for node in document["nodes"]}
    assert answer.content != client.get("/v1/faces/default.glb").content


@pytest.mark.parametrize(
    "name", ["..%2f..%2fsecret", "%2e%2e", "nobody", "default%00", "a" * 5000, "ä"]
)
def test_paths_lead_nowhere(client: TestClient, name: str) -> None:
    answer = client.get(f"/v1/faces/{name}.glb")
    assert answer.status_code in (404, 422)
    assert set(answer.json()) == {"error"}


def test_other_sites_and_names_are_refused(client: TestClient) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "["},
    ):
        answer = client.get("/v1/info", headers=headers)
        assert answer.status_code == 403, headers
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/v1/stream", headers=headers),
        ):
            pass
    assert client.get("/v1/info", headers={"Origin": "http://testserver"}).status_code == 200


def test_tokens(talker: Talker) -> None:
    with (
        Engine(talker) as engine,
        TestClient(create_app(engine, ServerSettings(token=TOKEN))) as client,
    ):
        for given in (
            None,
            "",
            TOKEN,
            "Bearer",
            "Bearer ",
            "Bearer " + TOKEN[:-1],
            "Basic " + TOKEN,
            b"Bearer \xe4\xf6",
        ):
            headers = {} if given is None else {"Authorization": given}
            for path in ("/v1/info", "/metrics", "/v1/faces/default.glb"):
                answer = client.get(path, headers=headers)  # type: ignore[arg-type]
                assert (answer.status_code, set(answer.json())) == (401, {"error"}), given
        assert client.get("/v1/info", headers={"Authorization": f"Bearer {TOKEN}"}).json()[
            "token_required"
        ]
        assert client.get("/healthz").status_code == 200
    for bad in ("short", "with blank inside", "ümlaut-token", "x" * 201):
        with pytest.raises(InputError, match="token"):
            ServerSettings(token=bad)


def test_metrics_count(client: TestClient) -> None:
    def value(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return sum(
            s.value
            for f in families
            for s in f.samples
            if s.name == name and labels.items() <= s.labels.items()
        )

    before, failed = (
        value("jambatalk_frames_total"),
        value("jambatalk_sessions_total", reason="bad_message"),
    )
    with client.websocket_connect("/v1/stream") as socket_:
        socket_.send_text('{"type":"start"}')
        socket_.receive_json()
        assert value("jambatalk_sessions_open") == 1
        socket_.send_bytes(bytes(2 * 16000))
        socket_.send_text('{"type":"end"}')
        while socket_.receive_json()["type"] == "frame":
            pass
    assert value("jambatalk_frames_total") == before + 25
    assert value("jambatalk_frame_latency_seconds_count") >= 25
    with client.websocket_connect("/v1/stream") as socket_:
        socket_.send_text("{}")
        socket_.receive_json()
    assert value("jambatalk_sessions_total", reason="bad_message") == failed + 1
    assert value("jambatalk_sessions_open") == 0


class Server:
    """``jambatalk serve`` as a process of its own."""

    def __init__(self, weights: Path, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "jambatalk",
            "serve",
            "--port",
            "0",
            "--model",
            str(weights),
            *options,
        ]
        # Not to be stopped by a Ctrl-C of whoever runs the tests, but to hear the one that a test
        # sends.
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.said = ""
        while "ws://" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.url = next(word for word in self.said.split() if word.startswith("ws://")).rstrip(",")
        self.port = int(self.url.split(":")[2].split("/")[0])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *unused: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


async def spoken(url: str, sound: np.ndarray, **options: object) -> list[np.ndarray]:
    """The weights of one turn."""
    async with LiveClient(url, **options) as live:  # type: ignore[arg-type]
        for i in range(0, len(sound), 1000):
            await live.send(sound[i : i + 1000])
        await live.end()
        rows = []
        async for frame in live:
            if isinstance(frame, TurnEnd):
                assert frame.frames == len(rows)
                break
            rows.append(frame.weights)
    return rows


async def everything(connection: Any) -> None:
    """Read until the other side closes."""
    while True:
        await asyncio.wait_for(connection.recv(), 20)


async def flooded(connection: Any) -> None:
    """Send a message that is larger than one may be, and read until the other side closes."""
    await connection.send(bytes(1 << 21))
    await everything(connection)


def test_the_real_server_serves_many_survives_the_hostile_and_ends_in_order(
    small_weights: Path, talker: Talker
) -> None:
    sounds = [speechlike(1.0 + 0.2 * i, seed=i) for i in range(6)]
    with Server(small_weights, "--max-sessions", "8") as server:

        async def all_of_them() -> None:
            # Those that mean no good, at the same time.
            dead = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
            for _, writer in dead[:10]:
                writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 100_000)
            for _, writer in dead[10:]:
                writer.write(bytes(range(256)) * 100)
            async with connect(server.url, max_size=None) as flood:
                await flood.send('{"type":"start"}')
                with pytest.raises(
                    (ConnectionClosed, OSError)
                ):  # as far as it got before the server hung up
                    await flooded(flood)
            sudden = [await connect(server.url) for _ in range(2)]
            for one in sudden:
                await one.send('{"type":"start"}')
                await one.send(bytes(64000))
                one.transport.abort()
            results = await asyncio.gather(*(spoken(server.url, sound) for sound in sounds))
            for rows, sound in zip(results, sounds, strict=True):
                heard = np.rint(sound * 32767).astype(np.float32) / 32768
                np.testing.assert_allclose(rows, talker.animate(Speech(heard)).weights, atol=2e-4)
            for _, writer in dead:
                writer.close()
            # Open at the end: it is told that the server goes.
            async with connect(server.url) as last:
                await last.send('{"type":"start"}')
                await last.recv()
                server.process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as ended:
                    await everything(last)
                assert ended.value.rcvd is None or ended.value.rcvd.code in (1001, 1012)

        asyncio.run(all_of_them())
        assert server.process.wait(30) is not None
        assert "Traceback" not in server.process.communicate()[1]


def test_a_token_and_a_wrong_address(small_weights: Path) -> None:
    with Server(small_weights, "--token", TOKEN) as server:
        assert f"token: {TOKEN}" in server.said + (
            server.process.stderr.readline() if TOKEN not in server.said else ""
        )  # type: ignore[union-attr]
        with pytest.raises(LiveError, match="token"):
            asyncio.run(spoken(server.url, speechlike(0.1), token="wrong-token"))
        assert len(asyncio.run(spoken(server.url, speechlike(0.5), token=TOKEN))) == 13
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"ws://127.0.0.1:{free.getsockname()[1]}/v1/stream"
        with pytest.raises(ConnectionError):
            asyncio.run(spoken(nobody, speechlike(0.1)))


@pytest.mark.parametrize(
    "options",
    [
        ["--token", "x"],
        ["--port", "99999"],
        ["--host", "no.host.invalid"],
        ["--style", "sad"],
        ["--max-sessions", "0"],
    ],
)
def test_bad_options_are_one_sentence_and_status_2(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jambatalk", "serve", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
