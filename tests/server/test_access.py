"""Who may use the server, HEAD, forms, and requests that nobody should send: never 500."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

import jambatalk
from jambatalk.cli.serve import reachable_name
from jambatalk.errors import InputError
from jambatalk.server.engine import Engine
from jambatalk.server.jobs import JobStore, Runner
from jambatalk.server.jobs.store import UPLOAD
from jambatalk.server.settings import ServerSettings
from small_network import speechlike

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from jambatalk.server.app import create_app

ALLOWED = "http://localhost:3000"


@pytest.fixture(scope="module")
def client(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    talker = jambatalk.load(small_weights)
    store = JobStore(tmp_path_factory.mktemp("state") / "jobs", most=10_000)
    runner = Runner(store, talker.path)  # not started: uploads stay as they came
    options: dict[str, Any] = {"hosts": ("testserver",), "origins": ("HTTP://LocalHost:3000/",)}
    with Engine(talker) as engine:
        app = create_app(engine, ServerSettings(upload_bytes=200_000, **options), runner)
        with TestClient(app, raise_server_exceptions=False) as found:
            yield found
    runner.close()


def test_allowed_origins_may_use_it_and_others_may_not(client: TestClient) -> None:
    answer = client.get("/v1/info", headers={"Origin": ALLOWED})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    asked = {"Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type"
    before = client.options("/v1/jobs", headers={"Origin": ALLOWED} | asked)
    assert before.status_code == 200
    assert "authorization" in before.headers["access-control-allow-headers"].lower()
    with client.websocket_connect("/v1/stream", headers={"Origin": ALLOWED}) as stream:
        stream.send_text('{"type":"start"}')
        assert stream.receive_json()["type"] == "ready"
    for origin in ("http://localhost:3001", "https://localhost:3000", "http://evil.example"):
        refused = client.get("/v1/info", headers={"Origin": origin})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/v1/stream", headers={"Origin": origin}),
        ):
            pass


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "://", "http://a b", "\x00", "[" * 99]
)
def test_damaged_origins_are_refused(client: TestClient, origin: str) -> None:
    assert client.get("/v1/info", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("origin", ["*", "localhost:3000", "ftp://a", "http://[", "http://a/b", ""])
def test_options_that_are_not_origins_are_refused(origin: str) -> None:
    with pytest.raises(InputError, match="expected one such as http://localhost:3000"):
        ServerSettings(origins=(origin,))


def test_head_is_answered_where_get_is(client: TestClient) -> None:
    for path in ("/healthz", "/v1/info", "/metrics", "/v1/demo.flac", "/v1/jobs", "/"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, get.status_code) == (200, 200), path
        assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/v1/speak").status_code == 405
    paths = client.get("/openapi.json").json()["paths"]
    assert not any("head" in operations for operations in paths.values())


def wav(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speechlike(seconds), 16000, format="WAV")
    return file.getvalue()


def stored(client: TestClient, identifier: str) -> bytes:
    store = client.app.state.runner.store  # type: ignore[attr-defined]
    return bytes((store.path(store.get(identifier)) / UPLOAD).read_bytes())


def test_the_file_of_a_form_is_taken(client: TestClient) -> None:
    sound = wav(1.0) + b"\r\n--not the boundary\r\n\r\n"
    forms: list[dict[str, Any]] = [
        {"files": {"file": ("hello.wav", sound, "audio/wav")}},
        {"files": {"file": ("hello.wav", sound)}, "data": {"empty": "", "note": "a\r\n\r\nb"}},
    ]
    for form in forms:
        answer = client.post("/v1/jobs?format=csv", **form)
        assert answer.status_code == 202, answer.text
        assert answer.json()["name"] == "hello.wav"
        assert stored(client, answer.json()["id"]) == sound
    named = client.post("/v1/jobs?format=csv&name=mine.wav", **forms[0])
    assert named.json()["name"] == "mine.wav"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no file"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n', "no file"),
        (b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\nsound', "broke off"),
        (b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\n\r\n--x--', "empty"),
        (bytes(100_000), "no file in its first"),
    ],
)
def test_forms_without_a_file_are_refused(client: TestClient, body: bytes, says: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/jobs", content=body, headers=headers)
    assert answer.status_code == 422
    assert says in answer.json()["error"]


def test_a_comma_between_numbers_is_read(client: TestClient) -> None:
    assert client.post("/v1/speak", json={"text": "70,6"}).status_code == 200


def test_an_address_for_all_is_shown_as_one_that_others_can_open() -> None:
    assert reachable_name("127.0.0.1") == "127.0.0.1"
    assert reachable_name("a.example") == "a.example"
    assert reachable_name("0.0.0.0") not in ("", "0.0.0.0")
    assert reachable_name("::") not in ("", "::")
