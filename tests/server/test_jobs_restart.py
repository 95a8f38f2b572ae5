"""A server that is killed in the middle of jobs, and started again."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import soundfile

from small_network import speechlike

pytest.importorskip("fastapi")


def serve_command(folder: Path, weights: Path) -> list[str]:
    options = ["--port", "0", "--jobs", str(folder), "--model", str(weights)]
    return [sys.executable, "-m", "jambatalk", "serve", *options]


def start(folder: Path, weights: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        serve_command(folder, weights),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if match := re.search(r"ws://(127\.0\.0\.1:\d+)/", line):
            return process, f"http://{match[1]}"
    raise AssertionError(said)


def ask(url: str, data: bytes | None = None) -> Any:
    request = urllib.request.Request(
        url, data=data, headers={"Content-Type": "application/octet-stream"}
    )
    for _ in range(100):  # the socket listens before the server does
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                content = answer.read()
                return json.loads(content) if "json" in answer.headers["content-type"] else content
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}")


def until(url: str, identifier: str, wanted: Any, seconds: float = 120) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job: dict[str, Any] = ask(f"{url}/v1/jobs/{identifier}")
        if wanted(job):
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def workers(folder: Path) -> list[int]:
    """Processes that work in this folder (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "jambatalk.server.jobs.worker" in command and any(
            part.startswith(str(folder)) for part in command
        ):
            found.append(int(path.parent.name))
    return found


def upload(url: str, seconds: float, query: str) -> str:
    file = io.BytesIO()
    soundfile.write(file, speechlike(seconds), 16000, format="WAV")
    return str(ask(f"{url}/v1/jobs?{query}", file.getvalue())["id"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_give_running_jobs_back(tmp_path: Path, small_weights: Path, number: str) -> None:
    folder = tmp_path / "jobs"
    server, url = start(folder, small_weights)
    try:
        running = upload(url, 30.0, "format=mp4&size=128")
        until(url, running, lambda job: job["status"] == "running")
    finally:
        server.send_signal(getattr(signal, number))
        assert server.wait(60) == 0
    stored = json.loads((folder / running / "job.json").read_text())
    assert (stored["status"], stored["attempts"], stored["crashes"]) == ("queued", 0, [])
    assert (folder / running / "upload").exists()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_kill_9_loses_nothing(tmp_path: Path, small_weights: Path) -> None:
    folder = tmp_path / "jobs"

    server, url = start(folder, small_weights)
    try:
        done = upload(url, 1.0, "format=csv")
        before = until(url, done, lambda job: job["status"] == "done")
        content = ask(f"{url}{before['result']}")
        running = upload(url, 30.0, "format=mp4&size=128")
        queued = upload(url, 1.0, "format=json")
        until(url, running, lambda job: job["stage"] == "writing" and job["progress"] > 0.2)
        assert len(workers(folder)) == 1
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert not (folder / running / "result.mp4").exists()
    end = time.monotonic() + 30
    while workers(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert workers(folder) == []  # it has noticed by itself

    server, url = start(folder, small_weights)
    try:
        jobs = {job["id"]: job for job in ask(f"{url}/v1/jobs")["jobs"]}
        assert set(jobs) == {done, running, queued}
        assert jobs[done] == before
        assert ask(f"{url}{before['result']}") == content
        assert until(url, running, lambda job: job["status"] == "done")["attempts"] == 2
        assert until(url, queued, lambda job: job["status"] == "done")["attempts"] == 1
        assert ask(f"{url}/v1/jobs/{running}/result")[4:8] == b"ftyp"
        command = serve_command(folder, small_weights)
        second = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert second.returncode == 2
        assert "another server uses the jobs" in second.stderr
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    assert workers(folder) == []
    assert not [path for path in folder.rglob(".*") if path.is_file()]
