"""The server's calls: what is stored, what is refused, and that no request leads out of the list of
media.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jambatalk.study.build import build_study
from jambatalk.study.plan import Settings, Study
from jambatalk.study.store import Store
from jambatalk.study.trials import trials_for
from study_clips import error_of, write_systems

pytest.importorskip("starlette")
pytest.importorskip("httpx")
from starlette.testclient import TestClient

from jambatalk.study.server import LARGEST_BODY, study_app

RATER, OTHER = "0" * 31 + "1", "f" * 32
TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    systems = write_systems(folder, ("crimson", "cobalt"), 2)
    return build_study(
        systems,
        folder / "study",
        Settings(seed=987654321, tone_seconds=0.1, headphones=1, checks=1),
    ).study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "answers.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def client(study: Study, store: Store) -> TestClient:
    return TestClient(
        study_app(study, store, token=TOKEN, most=2), headers={"X-Study-Token": TOKEN}
    )


def _join(client: TestClient, rater: str = RATER) -> Any:
    consent = client.get("/api/study").json()["consent_sha256"]
    return client.post("/api/join", json={"rater": rater, "consent": consent})


def _answer(client: TestClient, trial: str, answer: Any, rater: str = RATER, **more: Any) -> Any:
    return client.post(
        "/api/answer",
        json={"rater": rater, "trial": trial, "answer": answer, "took_ms": 5, "plays": 1} | more,
    )


def test_the_key_is_never_served(client: TestClient, study: Study) -> None:
    said = (
        client.get("/api/study").text
        + _join(client).text
        + client.get("/").text
        + client.get("/page.js").text
    )
    for word in ("crimson", "cobalt", "clip0", "expected", "987654321"):
        assert word not in said
    for path in (
        "study.json",
        "answers.sqlite",
        "media/study.json",
        "media/..%2fstudy.json",
        "media/%2e%2e/study.json",
        "media/",
    ):
        assert client.get("/" + path).status_code == 404, path
    assert client.get("/media/" + "0" * 32 + ".mp4").status_code == 404


def test_videos_come_whole_and_in_ranges(client: TestClient, study: Study) -> None:
    name = next(iter(study.media))
    whole = client.get(f"/media/{name}")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    part = client.get(f"/media/{name}", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(whole.content)}"
    assert client.get(f"/media/{name}", headers={"Range": "bytes=99999999-"}).status_code == 416


def test_joining_twice_gives_the_same_trials_and_what_was_answered(
    client: TestClient, store: Store
) -> None:
    first = _join(client).json()
    assert first["answered"] == []
    trial = first["trials"][0]["id"]
    assert _answer(client, trial, {"tone": 1}).json() == {"stored": trial}
    assert _answer(client, trial, {"tone": 3}).json() == {
        "stored": trial
    }  # sent again: the first answer stays
    assert _join(client).json() == {"trials": first["trials"], "answered": [trial]}
    rater = store.rater(RATER)
    assert rater is not None
    assert {one.trial: one.values for one in rater.answers.values()} == {trial: {"tone": 1}}
    assert store.counts() == (1, 1)


def test_a_withdrawn_rater_leaves_nothing_and_frees_the_place(
    client: TestClient, store: Store
) -> None:
    trials = _join(client).json()["trials"]
    _answer(client, trials[0]["id"], {"tone": 1})
    _join(client, OTHER)
    assert _join(client, "a" * 32).status_code == 403  # two are enough
    assert client.post("/api/forget", json={"rater": RATER}).json() == {"deleted": True}
    assert store.counts() == (1, 0)
    assert _answer(client, trials[0]["id"], {"tone": 1}).status_code == 404
    assert (
        _join(client, "a" * 32).json()["trials"] == trials
    )  # the place in the design is taken over


def test_what_is_refused(client: TestClient, store: Store) -> None:
    trials = _join(client).json()["trials"]
    tone, rating = trials[0]["id"], trials[2]["id"]
    good = {"q1": "A", "q2": "B"}
    refused = [
        (_answer(client, tone, {"tone": 4}), 400),
        (_answer(client, tone, {"tone": True}), 400),
        (_answer(client, tone, {"tone": 1.0}), 400),
        (_answer(client, tone, ["tone"]), 400),
        (_answer(client, rating, {"q1": "A"}), 400),
        (_answer(client, rating, good | {"q3": "A"}), 400),
        (_answer(client, rating, {"q1": "A", "q2": "tie"}), 400),
        (_answer(client, rating, {"q1": "A", "q2": {}}), 400),
        (_answer(client, rating, good, took_ms=-1), 400),
        (_answer(client, rating, good, took_ms=10**12), 400),
        (_answer(client, rating, good, plays="1"), 400),
        (_answer(client, "0" * 16, good), 404),
        (_answer(client, rating, good, rater=OTHER), 404),
        (_answer(client, rating, good, rater="1' OR 1=1 --"), 400),
        (client.post("/api/answer", content=b"{}", headers={"Content-Type": "text/plain"}), 415),
        (
            client.post(
                "/api/answer", content=b"[" * 5000, headers={"Content-Type": "application/json"}
            ),
            400,
        ),
        (
            client.post(
                "/api/answer",
                content=b" " * (LARGEST_BODY + 1),
                headers={"Content-Type": "application/json"},
            ),
            413,
        ),
        (client.post("/api/answer", json=[1]), 400),
        (client.get("/api/answer"), 405),
        (client.post("/api/join", json={"rater": OTHER}), 409),
        (client.post("/api/join", json={"rater": OTHER, "consent": 1}), 409),
        (client.get("/api/study", headers={"X-Study-Token": "another"}), 401),
        (client.get("/api/study", headers={"X-Study-Token": "é".encode("latin-1")}), 401),
    ]
    for i, (got, status) in enumerate(refused):
        assert got.status_code == status, (i, got.status_code, got.text)
    assert store.counts() == (1, 0)
    assert _answer(client, rating, good).status_code == 200


def test_answers_are_forced_to_the_disk(tmp_path: Path, store: Store) -> None:
    with store._lock:
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_nothing_personal_is_kept(client: TestClient, tmp_path: Path) -> None:
    trials = _join(client).json()["trials"]
    client.headers["User-Agent"] = "a-telling-browser"
    _answer(client, trials[0]["id"], {"tone": 1})
    content = b"".join(path.read_bytes() for path in tmp_path.glob("answers.sqlite*"))
    assert b"telling" not in content
    assert b"testclient" not in content  # the address of this test's client
    with sqlite3.connect(tmp_path / "answers.sqlite") as db:
        assert json.loads(db.execute("SELECT answer FROM answers").fetchone()[0]) == {"tone": 1}


def test_what_serve_refuses(study: Study, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}" in error_of(
            "study", "serve", study.folder, "--port", port
        )
    assert "expected 0 to 65535" in error_of("study", "serve", study.folder, "--port", 70000)
    assert "8 to 200 letters" in error_of("study", "serve", study.folder, "--token", "a b")
    (study.folder / "answers.sqlite").write_bytes(b"no database" * 999)
    assert "cannot be used as the database" in error_of("study", "serve", study.folder, "--port", 0)
    assert "not a database of answers" in error_of("study", "report", study.folder)


def test_media_need_the_token(client: TestClient, study: Study, store: Store) -> None:
    name = next(iter(study.media))
    stranger = TestClient(study_app(study, store, token=TOKEN))
    assert stranger.get(f"/media/{name}").status_code == 401
    assert stranger.get("/api/study", headers={"X-Study-Token": TOKEN}).status_code == 200
    # A video element sends no header of its own: the cookie of the first call is enough.
    assert stranger.get(f"/media/{name}").status_code == 200
    cookie = client.get("/api/study").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TestClient(study_app(study, store)).get(f"/media/{name}").status_code == 200


def test_names_of_media_do_not_follow_from_the_seed(study: Study, tmp_path: Path) -> None:
    systems = write_systems(tmp_path, ("crimson", "cobalt"), 2)
    again = build_study(systems, tmp_path / "again", study.settings).study
    assert again.settings.seed == study.settings.seed
    assert not again.files & study.files
    shown = [
        [(trial.systems, trial.clip, trial.expected) for trial in trials_for(one, 0)]
        for one in (study, again)
    ]
    assert shown[0] == shown[1]


def test_other_sites_and_names_are_refused(study: Study, store: Store) -> None:
    app = study_app(study, store, hosts=("127.0.0.1", "localhost", "::1", "study.example"))
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    name = next(iter(study.media))
    consent = client.get("/api/study").json()["consent_sha256"]
    for host, status in (
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("Study.example", 200),
        ("rebound.example:8000", 421),
        ("[", 421),
        ("", 421),
    ):
        for path in ("/", "/api/study", f"/media/{name}"):
            assert client.get(path, headers={"Host": host}).status_code == status, (host, path)
    body = {"rater": RATER, "consent": consent}
    for origin, status in (
        ("http://127.0.0.1:8000", 200),
        ("http://127.0.0.1:9000", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ):
        got = client.post("/api/join", json=body, headers={"Origin": origin})
        assert got.status_code == status, origin
        assert client.get(f"/media/{name}", headers={"Origin": origin}).status_code == status
