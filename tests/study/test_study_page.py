"""The page in a real browser, on a screen of a phone's size: a killed server, a reload, and no
answer lost.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jambatalk.study.build import build_study
from jambatalk.study.plan import Settings, Study
from study_clips import write_systems

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium is installed", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def _study(folder: Path, **settings: Any) -> Study:
    systems = write_systems(folder, ("ours", "theirs"), 2)
    return build_study(
        systems, folder / "study", Settings(seed=5, tone_seconds=0.1, headphones=1, **settings)
    ).study


class _Server:
    """The real command as a process of its own, always on the same port."""

    def __init__(self, study: Study) -> None:
        self.study = study
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/#token={TOKEN}"

    def start(self) -> None:
        command = [
            "study",
            "serve",
            str(self.study.folder),
            "--port",
            str(self.port),
            "--token",
            TOKEN,
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jambatalk", *command], stderr=subprocess.PIPE, text=True
        )
        for _ in range(600):
            if self.process.poll() is not None:
                raise AssertionError(self.process.communicate()[1])
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/")
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def interrupt(self) -> str:
        self.process.send_signal(signal.SIGINT)
        error = self.process.communicate(timeout=30)[1]
        assert self.process.returncode == 0, error
        return error

    def rows(self, query: str) -> list[Any]:
        with sqlite3.connect(self.study.folder / "answers.sqlite") as db:
            return db.execute(query).fetchall()


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[_Server]:
    running = _Server(_study(tmp_path, **request.param))
    yield running
    if running.process.poll() is None:
        running.kill()


def _consent(page: Any) -> None:
    page.wait_for_selector("#start")
    assert page.locator("#start").is_disabled()
    page.check("#agree")
    page.click("#start")


def _headphones(page: Any, tone: int) -> None:
    page.click("#noise")
    page.click("#volume-done")
    assert page.locator("input[name=tone]").first.is_disabled()
    page.click("#play")
    page.locator(f"input[name=tone][value='{tone}']:enabled").check(force=True)
    page.click("#next")


def _compare(page: Any, answers: list[str]) -> None:
    """One trial by touch: nothing can be answered before both videos were watched."""
    page.wait_for_selector("#play-both:enabled")
    assert page.locator("fieldset:disabled").count() == 2
    assert page.locator("#next").is_disabled()
    page.click("#play-both")
    page.wait_for_selector("fieldset:enabled")
    for question, answer in zip(("q1", "q2"), answers):
        page.locator(f"input[name={question}][value='{answer}']").check(force=True)
    page.click("#next")


def _number(page: Any) -> str:
    return str(page.locator(".lead strong").inner_text())


@pytest.mark.parametrize("server", [{"checks": 2}], indirect=True)
def test_a_killed_server_loses_no_answer_and_a_reload_goes_on(
    browser: Any, server: _Server
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    acknowledged: list[str] = []
    page.on(
        "response",
        lambda got: (
            acknowledged.append(json.loads(got.request.post_data)["trial"])
            if got.url.endswith("/api/answer") and got.ok
            else None
        ),
    )
    given: list[list[str]] = []

    def compare(*answers: str) -> None:
        _compare(page, list(answers))
        given.append(list(answers))

    page.goto(server.link)
    _consent(page)
    _headphones(page, 2)
    compare("A", "B")  # practice
    assert _number(page) == "1 of 4"
    compare("A", "A")
    page.wait_for_selector("#saved[data-waiting='0']")
    server.kill()
    compare("B", "A")  # answered while nobody listens
    assert _number(page) == "3 of 4"
    assert page.locator("#saved").get_attribute("data-waiting") == "1"
    server.start()
    page.wait_for_selector("#saved[data-waiting='0']")
    compare("B", "B")
    server.kill()  # at once: the answer may or may not have come through
    server.start()
    page.reload()
    page.wait_for_selector("#play-both")
    assert _number(page) == "4 of 4"
    page.click("#play-a")  # one by one is as good as together
    page.wait_for_selector("figure.seen-it")
    assert page.locator("fieldset:disabled").count() == 2
    page.click("#play-b")
    page.wait_for_selector("fieldset:enabled")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    given.append(["B", "A"])
    page.wait_for_selector("#end")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []
    assert "1 raters, 6 answers stored" in server.interrupt()

    (trials,) = (json.loads(row[0]) for row in server.rows("SELECT trials FROM raters"))
    stored = server.rows("SELECT trial, answer FROM answers")
    assert len(stored) == len({trial for trial, _ in stored}) == len(trials) == 6
    values = {trial: json.loads(answer) for trial, answer in stored}
    assert values[trials[0]["id"]] == {"tone": 2}
    assert [[values[one["id"]][q] for q in ("q1", "q2")] for one in trials[1:]] == given
    assert set(acknowledged) <= set(values)
    # Nothing personal: the columns are all there is.
    columns = {
        row[1]
        for table in ("raters", "answers")
        for row in server.rows(f"PRAGMA table_info({table})")
    }
    assert columns == {
        "id",
        "number",
        "joined",
        "consent",
        "trials",
        "rater",
        "trial",
        "answer",
        "took_ms",
        "plays",
        "received",
    }


@pytest.mark.parametrize("server", [{"kind": "mos", "checks": 1, "trials": 1}], indirect=True)
def test_opinions_by_keyboard_then_withdrawing(browser: Any, server: _Server) -> None:
    page = browser.new_context(viewport={"width": 1100, "height": 800}).new_page()
    page.goto(server.link)
    _consent(page)
    _headphones(page, 1)
    for _ in range(2):
        page.wait_for_selector("#play-a:enabled")
        page.keyboard.press("5")  # too early: not taken
        assert page.locator("input:checked").count() == 0
        page.keyboard.press(" ")
        page.wait_for_selector("fieldset:enabled")
        page.keyboard.press("4")
        page.keyboard.press("2")
        page.keyboard.press("Enter")
    page.wait_for_selector("text=2 of 2")
    page.wait_for_selector("#saved[data-waiting='0']")
    assert [
        json.loads(row[0])
        for row in server.rows("SELECT answer FROM answers WHERE answer LIKE '%q1%'")
    ] == [{"q1": 4, "q2": 2}, {"q1": 4, "q2": 2}]
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#withdraw")
    page.wait_for_selector("text=Your answers are deleted")
    assert (
        server.rows("SELECT count(*) FROM answers")
        == server.rows("SELECT count(*) FROM raters")
        == [(0,)]
    )


@pytest.mark.parametrize("server", [{"checks": 0}], indirect=True)
def test_without_the_token_the_page_says_so(browser: Any, server: _Server) -> None:
    page = browser.new_page()
    page.goto(server.link.split("#")[0])
    page.wait_for_selector("text=needs the link it was announced with")
