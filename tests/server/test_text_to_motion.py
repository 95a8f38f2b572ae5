"""POST /v1/speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from jambatalk.face.head import default_head
from jambatalk.server.engine import Engine
from jambatalk.server.settings import ServerSettings

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from starlette.testclient import TestClient

from jambatalk.server.app import create_app

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def client(small_weights: Path) -> Iterator[TestClient]:
    with Engine(jambatalk.load(small_weights)) as engine:
        app = create_app(engine, ServerSettings(token=TOKEN, hosts=("testserver",)))
        with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as found:
            yield found


def test_a_text_becomes_motion(client: TestClient) -> None:
    assert client.get("/v1/info").json()["speak"] is True
    answer = client.post("/v1/speak", json={"text": "Hello, my baby!", "rate": 1.0})
    assert answer.status_code == 200
    found = answer.json()
    assert [word["text"] for word in found["words"]] == ["Hello", "my", "baby"]
    assert found["words"][1]["char"] == 7
    weights = np.array(found["weights"])
    assert weights.shape == (int(np.ceil(found["seconds"] * found["fps"])) + 1, len(found["names"]))
    assert (weights >= 0).all()
    assert (weights <= 1).all()
    face = default_head()
    whole = np.zeros((len(weights), len(face.names)), np.float32)
    whole[:, [face.names.index(name) for name in found["names"]]] = weights
    gap = face.lip_gap(whole) * 1e3

    def inside(word: dict[str, Any]) -> Any:
        return gap[round(word["start"] * 50) : round(word["end"] * 50)]

    assert inside(found["words"][2]).min() < 1.0  # the b
    assert inside(found["words"][0]).max() > 4.0
    assert (
        client.post("/v1/speak", json={"text": "Hello, my baby!", "rate": 1.0}).content
        == answer.content
    )
    fast = client.post("/v1/speak", json={"text": "Hello, my baby!", "rate": 2.0}).json()
    assert fast["seconds"] == pytest.approx(found["seconds"] / 2, abs=0.01)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, "JSON"),
        (b"{", 422, "JSON"),
        (b"[]", 422, "object"),
        (b'{"text": 3}', 422, "text"),
        (b'{"text": ""}', 422, "text"),
        (b'{"text": "a", "rate": 100}', 422, "rate"),
        (b'{"text": "a", "rate": NaN}', 422, "rate"),
        (b'{"text": "a", "voice": "x"}', 422, "voice"),
        (json.dumps({"text": "..."}).encode(), 422, "no English word"),
        (json.dumps({"text": "a " * 501}).encode(), 422, "1000"),
        (b'{"text": "' + b"a" * 20_000 + b'"}', 413, "16,384"),
        (b'{"text": "\xff"}', 422, ""),
        (b"[" * 10_000, 422, ""),
    ],
)
def test_refusals(client: TestClient, body: bytes, status: int, says: str) -> None:
    answer = client.post("/v1/speak", content=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]
    assert len(answer.json()["error"]) < 300


def test_the_token_is_asked_for_first(client: TestClient) -> None:
    assert (
        client.post(
            "/v1/speak", content=b"x" * 100_000, headers={"Authorization": "Bearer wrong"}
        ).status_code
        == 401
    )


def test_the_longest_text_is_answered(client: TestClient) -> None:
    found = client.post("/v1/speak", json={"text": "a " * 500, "rate": 0.5}).json()
    assert len(found["words"]) == 500
    assert found["weights"][-1] == pytest.approx(found["weights"][0], abs=0.02)  # at rest again
