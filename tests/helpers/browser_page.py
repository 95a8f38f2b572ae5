"""A real browser on the page of a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium is installed", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")
websockets = pytest.importorskip("websockets.sync.client")

TOKEN = "a-token-for-tests"
DEMO = files("jambatalk") / "assets" / "demo.flac"
STEP = 0.02  # seconds of the page's own loudness curve
Array = Any


@contextmanager
def running_server(jobs: Path, *more: str) -> Iterator[str]:
    """HOST:PORT of the real command, for one session at a time."""
    options = ["--port", "0", "--token", TOKEN, "--max-sessions", "1", "--jobs", str(jobs), *more]
    command = [sys.executable, "-m", "jambatalk", "serve", *options]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"ws://([^/\s]+)/v1/stream", line):
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a server without options of its own."""
    with running_server(tmp_path_factory.mktemp("jobs")) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its microphone hears the demo recording once, from the moment it is opened."""
    samples, rate = soundfile.read(str(DEMO), dtype="float32")
    heard = tmp_path_factory.mktemp("microphone") / "demo.wav"
    soundfile.write(heard, soxr.resample(samples, rate, 48000), 48000, "PCM_16")
    arguments = [
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}%noloop",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


class Visit:
    """The page, open, with all that went wrong in it."""

    def __init__(
        self,
        browser: Any,
        server: str,
        token: str = TOKEN,
        permissions: tuple[str, ...] = ("microphone",),
    ) -> None:
        # Few pixels: they are drawn without a GPU here.
        self.context = browser.new_context(
            viewport={"width": 240, "height": 320}, permissions=list(permissions)
        )
        self.page = self.context.new_page()
        self.server, self.wrong, self.hosts = server, [], set()
        self.page.on(
            "console",
            lambda one: self.wrong.append(one.text) if one.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "request",
            lambda request: self.hosts.add(re.sub(r"^\w+:(//)?([^/]*).*", r"\2", request.url)),
        )
        self.sent = bytearray()  # sound
        self.page.on("websocket", self._connected)
        plain = (
            '{"life": false, "echoCancellation": false, "noiseSuppression": false, "curves": false}'
        )
        self.page.add_init_script(f"localStorage.setItem('jambatalk', '{plain}')")
        self.page.goto(f"http://{server}/#token={token}")

    def _connected(self, socket: Any) -> None:
        self.hosts.add(re.sub(r"^\w+://([^/]*).*", r"\1", socket.url))
        socket.on(
            "framesent",
            lambda message: self.sent.extend(message) if isinstance(message, bytes) else None,
        )

    def until(self, condition: str, seconds: float = 60.0) -> Any:
        # Asked again and again: the page's Content-Security-Policy forbids what wait_for_function
        # does.
        for _ in range(int(seconds / 0.05)):
            found = self.page.evaluate(condition)
            if found:
                return found
            self.page.wait_for_timeout(50)
        raise AssertionError(
            f"never came true: {condition}; {self.wrong}; the page says "
            f"{self.page.inner_text('body')!r}"
        )

    def ready(self) -> Visit:
        self.until("document.documentElement.dataset.ready !== undefined")
        return self

    def shown(self, name: str) -> Array:
        """(n,) what was on the screen while nothing but the take was."""
        return np.array(
            self.page.evaluate(
                f"jambatalk.telemetry.filter((row) => row.share === 1).map((row) => row.{name})"
            )
        )

    def trouble(self) -> str:
        self.until("!document.getElementById('error').hidden")
        return str(self.page.inner_text("#error-text"))

    def leave(self) -> None:
        """All was well: nothing was said on the console, nobody else was asked for anything."""
        assert self.wrong == []
        assert self.hosts == {self.server}
        self.context.close()
