"""The live stream and the REST calls with messages and requests drawn at random.

Every answer is one that the protocol has, nothing is answered with 500, and the server goes on: a
polite client is served as before.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jambatalk
from file_mutations import CASES, TALLY, many, mutated
from jambatalk.server.engine import Engine
from jambatalk.server.jobs import JobStore, Runner
from jambatalk.server.settings import ServerSettings
from small_network import speechlike

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from jambatalk.server.app import create_app


@pytest.fixture(scope="module")
def client(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    talker = jambatalk.load(small_weights)
    store = JobStore(tmp_path_factory.mktemp("state") / "jobs", most=10_000)
    runner = Runner(store, talker.path)  # not started: uploads stay as they came
    with Engine(talker) as engine:
        app = create_app(
            engine, ServerSettings(upload_bytes=200_000, hosts=("testserver",)), runner
        )
        with TestClient(app, raise_server_exceptions=False) as found:
            yield found
    runner.close()


PATHS = (
    *("/", "/healthz", "/metrics", "/v1/info", "/v1/speak", "/v1/jobs", "/v1/demo.flac", "//"),
    *("/v1/faces/mei.glb", "/v1/faces/%00/shade", "/assets/..%2f..%2fa", "/asyncapi.json"),
    *("/openapi.json", "/v1/stream", "/%ff", "/v1/jobs/" + "0" * 32),
)
HEADER_NAMES = (
    *(b"origin", b"authorization", b"content-type", b"content-length", b"range", b"accept"),
    *(b"if-none-match", b"if-range", b"access-control-request-method", b"cookie"),
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30).map(
    lambda text: text.encode("latin-1")
)
HEADERS = st.dictionaries(
    st.sampled_from(HEADER_NAMES),
    VALUES | st.sampled_from([b"http://[", b"bytes=9-2", b"multipart/form-data; boundary=x"]),
    max_size=3,
)


@many()
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]),
    path=st.sampled_from(PATHS),
    query=st.text(max_size=20),
    headers=HEADERS,
    body=st.binary(max_size=60),
)
def test_no_request_is_answered_with_500(
    client: TestClient, method: str, path: str, query: str, headers: Any, body: bytes
) -> None:
    headers = {name: value for name, value in headers.items() if name != b"content-length"}
    with TALLY.case():
        answer = client.request(
            method, path, params={"format": query, "fps": query}, headers=headers, content=body
        )
    TALLY.refused += answer.status_code >= 400
    assert answer.status_code < 500, answer.text


@many()
@given(text=st.text(max_size=40) | st.from_regex(r"[-$£€]?[\d.,:/%]{1,12}(st|th)?", fullmatch=True))
def test_no_text_is_answered_with_500(client: TestClient, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    with TALLY.case():
        answer = client.post("/v1/speak", content=body)
    TALLY.refused += answer.status_code >= 400
    assert answer.status_code in (200, 422), (text, answer.text)
    if answer.status_code == 200:
        assert np.isfinite(answer.json()["weights"]).all()


STARTS: tuple[dict[str, Any], ...] = (
    {},
    {"rate": 48000, "encoding": "pcm_f32le", "fps": 60},
    {"rate": 8000, "encoding": "mulaw"},
    {"encoding": "pcm_s16le", "frames": "binary", "life": "on"},
    {"timestamps": True},
    {"style": "x"},
)
CONTROLS = (
    *('{"type":"end"}', '{"type":"interrupt"}', '{"type":"ping","id":NaN}', "{", "[]", "null"),
    *('{"type":"start"}', '{"type":"stats"}', '{"type":"x"}', '{"type":' * 300, "9" * 5000),
    *('{"type":"ping","id":1e999}', '{"type":"ping","id":[{"a":[]}]}', '{"type":"end","turn":-1}'),
)
ANSWERS = ("ready", "frame", "ended", "error", "pong", "stats", "interrupted")
SAMPLES = (1e15, np.inf, np.nan, -3e38, 1e-45)


def message(rng: random.Random) -> str | bytes:
    """Sound of any kind, a control message, or bytes of neither."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(CONTROLS)
    if kind == 1:
        return mutated(rng.choice(CONTROLS).encode(), rng.randrange(1 << 32)).decode("latin-1")
    if kind == 2:
        return rng.randbytes(rng.randrange(2000))
    if kind == 3:
        return np.full(rng.randrange(1, 2000), rng.choice(SAMPLES), "<f4").tobytes()
    sound = speechlike(rng.uniform(0.0, 0.1))
    pcm = (sound * 32767).astype("<i2") if kind == 4 else sound.astype("<f4")
    return pcm.tobytes()[: rng.choice((None, -1))]


def start(rng: random.Random) -> str:
    """A first message: mostly a good one, else one with a value changed or with bytes changed."""
    wanted = {"type": "start"} | rng.choice(STARTS)
    if rng.random() < 0.3:
        key = rng.choice([*wanted, "fps", "rate", "articulation", "patience", "token"])
        wanted[key] = rng.choice([None, -1, 0, 1e308, [], {}, "x" * 99, True, "25", 7])
    text = json.dumps(wanted)
    if rng.random() < 0.2:
        return mutated(text.encode(), rng.randrange(1 << 32)).decode("latin-1")
    return text


def talk(client: TestClient, messages: list[str | bytes]) -> str:
    """Send these and the end of speech; the kind of the last answer."""
    try:
        with client.websocket_connect("/v1/stream") as socket:
            for one in messages:
                socket.send_text(one) if isinstance(one, str) else socket.send_bytes(one)
            socket.send_text('{"type":"end"}')
            while True:
                answer = socket.receive()
                if answer["type"] == "websocket.close":
                    return f"closed {answer.get('code')}"
                text = answer.get("text")
                if text is None:
                    continue
                found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
                assert found["type"] in (
                    "ready",
                    "frame",
                    "ended",
                    "error",
                    "pong",
                    "stats",
                    "interrupted",
                ), found
                if found["type"] in ("ended", "error"):
                    return str(found["type"])
    except WebSocketDisconnect as error:
        return f"closed {error.code}"


def test_no_messages_break_the_stream(client: TestClient) -> None:
    ends: set[str] = set()
    sound = (speechlike(0.2) * 32767).astype("<i2").tobytes()

    @many(CASES)
    @given(seed=st.integers(0, 2**32))
    def run(seed: int) -> None:
        rng = random.Random(seed)
        messages: list[str | bytes] = [start(rng), *(message(rng) for _ in range(rng.randrange(6)))]
        with TALLY.case():
            ends.add(end := talk(client, messages))
        TALLY.refused += end != "ended"

    run()
    assert talk(client, ['{"type":"start"}', sound]) == "ended"
    assert ends >= {"ended", "error"}
    assert "closed 1011" not in ends
