"""The server's descriptions of itself hold: OpenAPI against whatever it allows, AsyncAPI against
real messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import jambatalk
from jambatalk.idle import IdleSettings
from jambatalk.idle.idle import STRONGEST
from jambatalk.server import websocket as socket_module
from jambatalk.server.engine import Engine
from jambatalk.server.jobs import JobStore, Runner
from jambatalk.server.protocol import (
    ERRORS,
    FRAME_FORMATS,
    MAX_RATE,
    MIN_RATE,
    START_FIELDS,
    asyncapi_document,
)
from jambatalk.server.settings import ServerSettings
from jambatalk.server.sound import ENCODINGS
from jambatalk.talker import Talker
from jambatalk.version import __version__
from small_network import speechlike

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")
import jsonschema_rs  # schemathesis stands on it
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from jambatalk.server.app import create_app


@pytest.fixture(scope="module")
def app(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    talker: Talker = jambatalk.load(small_weights)
    # The workers are not started: what is asked here is whether uploads are answered as described.
    runner = Runner(JobStore(tmp_path_factory.mktemp("state"), most=10_000), talker.path)
    with Engine(talker) as engine:
        yield create_app(engine, ServerSettings(upload_bytes=100_000), runner)
    runner.close()


def test_rest_answers_as_it_says(app: Any) -> None:
    api = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in api.get_all_operations()]
    assert {"POST /v1/jobs", "GET /v1/jobs/{identifier}/result"} <= {
        operation.label for operation in operations
    }
    for operation in operations:

        @settings(
            max_examples=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            # Which identities and styles there are, /v1/info says: the description allows any text,
            # and 422 answers.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        call()


def test_every_text_message_is_described(app: Any) -> None:
    described = schemas()
    sent = [
        {"type": "start", "life": {"seed": 4}, "fps": 30},
        {"type": "ping", "id": [1]},
        {"type": "end"},
    ]
    seen = set()
    with TestClient(app) as client, client.websocket_connect("/v1/stream") as stream:
        for message in sent:
            jsonschema_rs.validate(described[message["type"]], message)
            stream.send_text(json.dumps(message))
            if message["type"] == "ping":
                stream.send_bytes((speechlike(1.0) * 32767).astype("<i2").tobytes())
        while "error" not in seen:
            answer = json.loads(stream.receive_text())
            if answer["type"] == "ended":
                stream.send_text('{"type": "interrupt"}')
            if answer["type"] == "interrupted":
                stream.send_text("[]")
            jsonschema_rs.validate(described[answer["type"]], answer)
            seen.add(answer["type"])
    assert seen == {"ready", "pong", "frame", "ended", "interrupted", "error"}


def test_the_description_follows_the_code(app: Any) -> None:
    described = schemas()
    start = described["start"]["properties"]
    assert list(start) == list(START_FIELDS)
    assert start["encoding"]["enum"] == list(ENCODINGS)
    assert start["frames"]["enum"] == list(FRAME_FORMATS)
    assert (start["rate"]["minimum"], start["rate"]["maximum"]) == (MIN_RATE, MAX_RATE)
    life = start["life"]["oneOf"][1]["properties"]
    assert list(life) == [one.name for one in fields(IdleSettings)]
    assert {life[name]["maximum"] for name in life if name != "seed"} == {STRONGEST}
    assert described["error"]["properties"]["code"]["enum"] == list(ERRORS)
    source = Path(socket_module.__file__).read_text("utf-8")
    assert set(re.findall(r'Refused\(\s*\w+,\s*"(\w+)"', source)) == set(ERRORS)
    with TestClient(app) as client:
        served = client.get("/asyncapi.json").json()
    assert served == json.loads(json.dumps(asyncapi_document()))
    assert (served["asyncapi"], served["info"]["version"]) == ("3.0.0", __version__)
    known = served["components"]["messages"]
    named: list[str] = []
    for operation in served["operations"].values():
        named += [one["$ref"].rsplit("/", 1)[1] for one in operation["messages"]]
    assert sorted(named) == sorted(known) == sorted(served["channels"]["stream"]["messages"])


def schemas() -> dict[str, Any]:
    """JSON schemas of the messages by name."""
    known = asyncapi_document()["components"]["messages"]
    return {name: message["payload"] for name, message in known.items()}
