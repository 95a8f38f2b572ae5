"""Jobs: from upload to result, limits, hostile uploads, cancelling, expiry."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.face.gltf import Gltf
from jambatalk.motion import Motion
from jambatalk.server.engine import Engine
from jambatalk.server.jobs import Full, JobOptions, JobStore, Runner
from jambatalk.server.jobs.store import UPLOAD, label
from jambatalk.server.settings import ServerSettings
from jambatalk.talker import Talker
from small_network import speechlike
from tiny_avatar import make_avatar

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from starlette.testclient import TestClient

from jambatalk.server.app import create_app

TOKEN = "a-token-of-some-length"
SETTINGS = ServerSettings(
    token=TOKEN, hosts=("testserver",), upload_bytes=2_000_000, longest_sound=60.0
)
SECRET = {"Authorization": f"Bearer {TOKEN}"}


def wav(samples: np.ndarray, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format=kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


@pytest.fixture(scope="module")
def client(talker: Talker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    store = JobStore(tmp_path_factory.mktemp("state") / "jobs", most=5)
    runner = Runner(store, talker.path, 1, SETTINGS.longest_sound)
    with (
        Engine(talker) as engine,
        runner,
        TestClient(create_app(engine, SETTINGS, runner), headers=SECRET) as found,
    ):
        found.app.state.store = store  # type: ignore[attr-defined]
        yield found


def ended(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = client.get(f"/v1/jobs/{job['id']}", params={"wait": 20}).json()
        if found["status"] in ("done", "failed"):
            return found
    raise AssertionError(f"the job has not ended: {found}")


def test_speech_becomes_motion(client: TestClient, talker: Talker, tmp_path: Path) -> None:
    sound = speechlike(2.0)
    answer = client.post(
        "/v1/jobs",
        params={"format": "npz", "name": "../../etc/pass\x00wörd.wav", "life": "seed=3"},
        content=wav(sound),
    )
    assert answer.status_code == 202
    job = answer.json()
    assert job["name"] == "pass_wörd.wav"
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    job = ended(client, job)
    assert (job["status"], job["progress"], job["seconds"], job["attempts"]) == (
        "done",
        1.0,
        2.0,
        1,
    )
    result = client.get(job["result"])
    assert len(result.content) == job["bytes"]
    # The first name is for programs that read no other, such as curl -OJ.
    assert result.headers["content-disposition"] == (
        "attachment; filename=\"pass_w_rd.npz\"; filename*=UTF-8''pass_w%C3%B6rd.npz"
    )
    (tmp_path / "a.npz").write_bytes(result.content)
    made = Motion.load(tmp_path / "a.npz")
    whole = talker.animate(Speech.load(io.BytesIO(wav(sound))))
    np.testing.assert_allclose(made.column("jawOpen"), whole.column("jawOpen"), atol=1e-5)
    assert made.head_pose is not None  # life
    part = client.get(job["result"], headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, result.content[2:6])
    assert [one["id"] for one in client.get("/v1/jobs").json()["jobs"]].count(job["id"]) == 1
    counted = client.get("/metrics").text
    assert 'jambatalk_jobs_total{status="done"} 1.0' in counted
    assert 'jambatalk_jobs_held{status="done"} 1.0' in counted
    assert 'jambatalk_jobs_held{status="running"} 0.0' in counted
    folder = client.app.state.store.folder / job["id"]  # type: ignore[attr-defined]
    assert not (folder / UPLOAD).exists()  # people's voices are not kept longer than needed
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get(job["result"]).status_code == 404
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 404


def test_speech_becomes_video(client: TestClient) -> None:
    job = ended(
        client,
        client.post(
            "/v1/jobs", params={"size": 64, "identity": "mei"}, content=wav(speechlike(0.4))
        ).json(),
    )
    assert job["status"] == "done", job
    content = client.get(job["result"]).content
    with av.open(io.BytesIO(content)) as video:
        assert video.streams.video[0].width == 64
        assert len(list(video.decode(video=0))) == 10


def bomb() -> bytes:
    """Ten minutes of silence in a few kilobytes."""
    return wav(np.zeros(600 * 16000, np.int16), "FLAC")


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("silence.wav", bytes(5_000_000))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bomb, "longer than 60 s"),
        (a_zip, "speech"),
        (lambda: b"RIFF\xff\xff\xff\xffWAVE", "speech"),
        (lambda: b"\0" * 1000, "speech"),
        (lambda: wav(np.zeros(0, np.int16)), "length is zero"),
    ],
    ids=["bomb", "zip", "header", "zeros", "empty"],
)
def test_what_cannot_be_heard_fails_in_one_sentence(
    client: TestClient, content: Any, says: str
) -> None:
    sent = content()
    assert len(sent) < 100_000 or says != "longer than 60 s"
    job = ended(client, client.post("/v1/jobs", params={"format": "json"}, content=sent).json())
    assert job["status"] == "failed"
    assert says in job["error"]
    assert "/" not in job["error"].replace(" / ", "")  # no path of the server
    refused = client.get(f"/v1/jobs/{job['id']}/result")
    assert refused.status_code == 409
    assert job["error"] in refused.json()["error"]


def test_refusals(client: TestClient) -> None:
    sound = wav(speechlike(0.2))

    def status(content: bytes = sound, headers: dict[str, str] | None = None, **query: Any) -> int:
        answer = client.post("/v1/jobs", params=query, content=content, headers=headers)
        assert isinstance(answer.json().get("error"), str), answer.text
        return answer.status_code

    assert status(headers={"Authorization": "Bearer wrong"}) == 401
    assert status(headers={"Origin": "http://elsewhere.example"}) == 403
    assert status(b"") == 422
    assert status(b"x" * 2_000_001) == 413
    for query in (
        {"format": "exe"},
        {"fps": 0},
        {"fps": "nan"},
        {"size": 5000},
        {"identity": "../x"},
        {"style": "no"},
        {"life": "wink=1"},
    ):
        assert status(**query) == 422, query

    def lying() -> Iterator[bytes]:  # no content length: counted as it comes
        for _ in range(3):
            yield b"x" * 1_000_000

    assert client.post("/v1/jobs", content=lying()).status_code == 413
    for path in ("..", "%2e%2e%2f%2e%2e%2fetc", "0" * 31, "G" * 32, "0" * 5000):
        assert client.get(f"/v1/jobs/{path}").status_code in (404, 422)
    store = client.app.state.store
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


def test_only_so_many_wait_and_any_can_be_cancelled(client: TestClient) -> None:
    sound = wav(speechlike(50.0))
    jobs = [client.post("/v1/jobs", params={"size": 256}, content=sound) for _ in range(6)]
    assert [job.status_code for job in jobs] == [202] * 5 + [503]
    assert jobs[5].headers["retry-after"] == "60"
    first = jobs[0].json()
    until = time.monotonic() + 60
    while (
        client.get(f"/v1/jobs/{first['id']}").json()["progress"] == 0 and time.monotonic() < until
    ):
        time.sleep(0.1)
    store = client.app.state.store
    for job in jobs[:5]:
        assert client.delete(f"/v1/jobs/{job.json()['id']}").status_code == 204
    assert not {job.json()["id"] for job in jobs[:5]} & {
        path.name.rsplit("-")[-1] for path in store.folder.iterdir()
    }
    # And the worker is free for the next.
    assert (
        ended(
            client,
            client.post("/v1/jobs", params={"format": "csv"}, content=wav(speechlike(0.4))).json(),
        )["status"]
        == "done"
    )


def stored(store: JobStore, **options: Any) -> str:
    identifier, folder = store.begin()
    (folder / UPLOAD).write_bytes(wav(speechlike(0.2)))
    return store.add(identifier, folder, "a.wav", JobOptions(**options)).id


def test_what_a_dead_server_left_is_put_in_order(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    queued, running, often, looping, done = (stored(store) for _ in range(5))
    now = time.time()
    store.update(running, status="running", attempts=1)
    store.update(often, status="running", attempts=9, crashes=[now - 3700 * k for k in range(1, 9)])
    store.update(looping, status="running", attempts=5, crashes=[now - 700 * k for k in range(4)])
    store.update(done, status="done", finished=time.time(), bytes=3)
    (store.folder / done / "result.mp4").write_bytes(b"abc")
    (store.folder / running / ".result.abc.mp4").write_bytes(b"half")
    store.begin()  # an upload that never ended
    (store.folder / "foreign").mkdir()
    with pytest.raises(InputError, match="another server uses the jobs"):
        JobStore(tmp_path / "jobs")
    store.close()
    again = JobStore(tmp_path / "jobs")
    found = {job.id: job for job in again.all()}
    statuses = [found[one].status for one in (queued, running, often, looping, done)]
    assert statuses == ["queued", "queued", "queued", "failed", "done"]
    assert "5 times in 60 minutes" in str(found[looping].error)
    # A crash loop shows in how often the server dies in an hour, not in how often it was started.
    assert (len(found[running].crashes), len(found[often].crashes)) == (1, 1)
    assert (again.folder / done / "result.mp4").read_bytes() == b"abc"
    assert not list((again.folder / running).glob(".*"))
    assert sorted(p.name for p in again.folder.iterdir()) == sorted(
        [queued, running, often, looping, done, "foreign", "lock"]
    )
    again.close()


def test_ended_jobs_are_kept_for_a_while_and_space_is_bounded(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs", keep=10.0, most_bytes=10_000)
    old, young = stored(store), stored(store)
    store.update(old, status="failed", finished=time.time() - 11)
    store.update(young, status="failed", finished=time.time() - 5)
    store.sweep()
    assert [job.id for job in store.all()] == [young]
    assert not (store.folder / old).exists()
    stored(store)
    with pytest.raises(Full, match="full"):
        store.begin()
    store.close()


def test_uploads_on_their_way_count(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs", most=2, most_bytes=10_000)
    _, first = store.begin(6_000)
    with pytest.raises(Full, match="full"):
        store.begin(6_000)
    _, second = store.begin(3_000)
    with pytest.raises(Full, match="2 jobs wait"):
        store.begin(10)
    store.abandon(first)
    store.abandon(second)
    assert store.begin(1 << 50)[
        1
    ].is_dir()  # larger than the room can only be found out as it comes
    store.close()


def test_a_job_whose_files_are_gone_says_so(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    deaf, empty = stored(store), stored(store)
    (store.folder / deaf / UPLOAD).unlink()
    store.update(empty, status="done", finished=time.time(), bytes=3)
    store.close()
    again = JobStore(tmp_path / "jobs")
    assert [(job.status, str(job.error)) for job in again.all()] == [
        ("failed", "its sound is gone from the server's folder"),
        ("failed", "its result is gone from the server's folder"),
    ]
    again.close()


def test_a_folder_that_cannot_be_renamed_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows, while somebody downloads from it."""
    store = JobStore(tmp_path / "jobs")
    job = stored(store)

    def refused(*_: object) -> None:
        raise PermissionError(13, "in use")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refused)
        patched.setattr("shutil.rmtree", lambda *a, **k: None)
        assert store.remove(job)
    assert (store.folder / job).is_dir()
    store.close()
    again = JobStore(tmp_path / "jobs")
    assert again.all() == []
    assert not (again.folder / job).exists()
    again.close()


def test_a_full_disk_does_not_end_the_workers(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(tmp_path / "jobs")
    job = stored(store, format="csv")
    with monkeypatch.context() as patched:

        def full(folder: Path, job: Any) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr("jambatalk.server.jobs.store._write", full)
        with Runner(store, small_weights, 1):
            until = time.monotonic() + 60
            while not store.get(job).ended and time.monotonic() < until:  # type: ignore[union-attr]
                time.sleep(0.05)
            assert store.get(job).status == "done"  # type: ignore[union-attr]


def fake_worker(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Workers that run ``script`` in place of the real thing; the rest of ``Popen`` as it is."""
    real = subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", script, *command[3:]], **options)

    monkeypatch.setattr("jambatalk.supervised_process.subprocess.Popen", popen)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import time; time.sleep(600)", "made no progress"),
        ("print('nonsense', flush=True); import time; time.sleep(600)", "could not be run"),
        (
            "import sys; print('oh no', file=sys.stderr); sys.exit(3)",
            r"without a result \(exit status 3\)",
        ),
    ],
    ids=["stuck", "babbling", "dying"],
)
def test_workers_that_misbehave(
    script: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_worker(monkeypatch, script)
    store = JobStore(tmp_path / "jobs")
    first, second = stored(store), stored(store)
    with Runner(store, None, 1, patience=1.0) as runner:
        until = time.monotonic() + 60
        while not all(job.ended for job in store.all()) and time.monotonic() < until:
            time.sleep(0.05)
        for identifier in (first, second):  # the second shows that the thread went on
            assert re.search(says, str(store.get(identifier).error))  # type: ignore[union-attr]
        assert not runner._processes
    if "exit status" in says:
        assert "oh no" in caplog.text


def test_a_job_taken_while_the_server_ends_is_not_blamed(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    stored(store)
    runner = Runner(store, None, 1)
    job = store.take(lambda: False)
    assert job is not None
    runner._closing = True
    assert runner._start(job) is None
    assert [(one.status, one.attempts) for one in store.all()] == [("queued", 0)]
    store.close()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.wav", "a.wav"),
        ("../../x", "x"),
        ("..", "speech"),
        ("C:\\dir\\b.mp3", "b.mp3"),
        ("", "speech"),
        ("a\r\nb", "a__b"),
        ("\u202egnp.wav", "_gnp.wav"),
        ("x" * 10_000, "x" * 120),
        ("naïve 声.flac", "naïve 声.flac"),
        ('q";filename="y', "q__filename=_y"),
    ],
)
def test_labels(name: str, wanted: str) -> None:
    assert label(name) == wanted


WHOLE = {"id": "0" * 32, "name": "a", "options": {}, "created": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(WHOLE | {"id": "1"}),
        json.dumps(WHOLE | {"options": []}),
        json.dumps(WHOLE | {"options": {"fps": "x"}}),
        json.dumps(WHOLE | {"options": {"life": 5}}),
        json.dumps(WHOLE | {"options": {"format": "exe"}}),
        json.dumps(WHOLE | {"created": "yesterday"}),
        json.dumps(WHOLE | {"created": float("nan")}),
        json.dumps(WHOLE | {"finished": [], "status": "done"}),
        json.dumps(WHOLE | {"status": "asleep"}),
        json.dumps(WHOLE | {"name": "\ud800"}),
        json.dumps(WHOLE | {"crashes": 5}),
        json.dumps(WHOLE)[:-5],
        "[1]",
        "null",
        "[" * 100_000,
        "\x00\xff",
        "",
    ],
)
def test_a_damaged_job_does_not_keep_the_server_from_starting(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "jobs" / ("0" * 32)
    folder.mkdir(parents=True)
    (folder / "job.json").write_bytes(content.encode("latin-1"))
    store = JobStore(tmp_path / "jobs")
    good = stored(store)
    store.sweep()
    assert [job.id for job in store.all()] == [good]
    assert (folder / "job.json").read_bytes() == content.encode("latin-1")
    store.close()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems have niceness alone"
)
def test_workers_give_way_to_sessions() -> None:
    program = (
        "import os; from jambatalk.supervised_process import lower_priority; lower_priority();"
        "path = '/proc/self/autogroup';"
        "group = open(path).read().split()[-1] if os.path.exists(path) else '19';"
        "print(os.sched_getscheduler(0) == os.SCHED_IDLE, os.nice(0) >= 10, group)"
    )
    # As the runner starts them: in a session of their own, whose group is theirs alone.
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )
    assert done.stdout.split() == ["True", "True", "19"], done.stderr


def test_a_job_of_a_server_with_a_character(tmp_path: Path) -> None:
    """With the real weights: the small ones move two shapes that no character has."""
    make_avatar(tmp_path / "me.glb")
    talker = jambatalk.load("light")
    settings = replace(SETTINGS, character=tmp_path / "me.glb")
    store = JobStore(tmp_path / "jobs", most=5)
    runner = Runner(store, talker.path, 1, 60.0, character=settings.character)
    with (
        Engine(talker) as engine,
        runner,
        TestClient(create_app(engine, settings, runner), headers=SECRET) as client,
    ):
        assert client.get("/v1/info").json()["character"] == "me.glb"
        assert client.get("/v1/character").content == (tmp_path / "me.glb").read_bytes()
        sound = wav(speechlike(1.0))
        job = client.post("/v1/jobs", params={"format": "glb"}, content=sound).json()
        job = ended(client, job)
        assert job["status"] == "done", job
        (tmp_path / "talk.glb").write_bytes(client.get(job["result"]).content)
    nodes = [node["name"] for node in Gltf(tmp_path / "talk.glb").list("nodes")]
    assert "HeadMesh" in nodes
    assert Gltf(tmp_path / "talk.glb").document["animations"][-1]["name"] == "speech"


def test_a_server_without_a_character(client: TestClient) -> None:
    assert client.get("/v1/info").json()["character"] is None
    assert client.get("/v1/character").status_code == 404
