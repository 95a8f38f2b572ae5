"""What is sent of the page, and whether what was built is what the sources say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from fastapi import FastAPI
from starlette.testclient import TestClient

from jambatalk.face.head import default_head
from jambatalk.render.materials import MATERIALS
from jambatalk.server import page_files
from jambatalk.server.page_files import PAGE, baked_shade
from jambatalk.server.settings import ServerSettings

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    app.state.settings = ServerSettings(token="right-token")
    app.include_router(page_files.router)
    with TestClient(app) as found:
        yield found


def test_the_built_page_is_up_to_date_with_its_sources() -> None:
    recorded = json.loads((PAGE / "sources.json").read_text())
    if not WEB.is_dir():
        pytest.skip("the page's sources are not here")
    present = {
        path.relative_to(WEB).as_posix(): hashlib.sha256(
            path.read_bytes().replace(b"\r\n", b"\n")
        ).hexdigest()
        for root in (
            "index.html",
            "package.json",
            "package-lock.json",
            "vite.config.js",
            "plugins",
            "src",
        )
        for path in ([WEB / root] if (WEB / root).is_file() else sorted((WEB / root).rglob("*")))
        if path.is_file()
    }
    assert present == recorded, "run npm ci && npm run build in web/"


def test_a_fresh_build_gives_the_committed_page(tmp_path: Path) -> None:
    vite = WEB / "node_modules" / ".bin" / "vite"
    if shutil.which("node") is None or not vite.exists():
        pytest.skip("needs node, and npm ci in web/")
    command = [str(vite), "build", "--outDir", str(tmp_path / "page"), "--logLevel", "error"]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True)

    def contents(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    built, committed = contents(tmp_path / "page"), contents(PAGE)
    assert set(built) == set(committed)
    stale = [name for name in built if built[name] != committed[name]]
    assert stale == [], "run npm ci && npm run build in web/"


def test_the_page_has_the_numbers_of_python() -> None:
    """Materials, lights and idle motion are written by one script, never by hand."""
    script = WEB.parent / "tools" / "page_data.py"
    if not script.is_file():
        pytest.skip("the page's sources are not here")
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), (
        "run python tools/page_data.py: " + done.stdout
    )
    written = json.loads((WEB / "src" / "generated" / "materials.json").read_text())
    assert written["materials"]["skin"]["wrap"] == [0.25, 0.16, 0.13]
    assert set(written["materials"]) == set(MATERIALS)


def test_every_file_that_the_page_names_is_there_and_nothing_else_is_asked_for(
    client: TestClient,
) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(named) >= 4
    for name in named:
        assert name.startswith("./"), name
        assert client.get(name.removeprefix(".")).status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert answer.headers["permissions-policy"].startswith("microphone=(self)")
    script = client.get("/assets/page.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert len(script.content) < 900_000
    assert b"sourceMappingURL" not in script.content
    assert "MIT" in client.get("/THIRD_PARTY.txt").text
    demo = client.get("/v1/demo.flac")
    assert (demo.headers["content-type"], demo.content[:4]) == ("audio/flac", b"fLaC")


def test_an_unchanged_file_is_not_sent_twice(client: TestClient) -> None:
    first = client.get("/assets/page.js")
    again = client.get("/assets/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


OUTSIDE = (
    "/assets/..%2f..%2fapp.py",
    "/assets/%2e%2e/%2e%2e/app.py",
    "/assets/../../app.py",
    "/assets/..\\..\\app.py",
    "/assets//etc/passwd",
    "/assets/%00",
    "/assets/",
    "/sources.json",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leads_out_of_the_page(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 307)


def test_a_checkout_without_a_built_page_says_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page_files, "PAGE", tmp_path)
    page_files.page_files.cache_clear()
    try:
        answer = client.get("/")
        assert answer.status_code == 404
        assert "npm run build" in answer.text
    finally:
        page_files.page_files.cache_clear()


def test_shade_fits_the_head(client: TestClient) -> None:
    assert client.get("/v1/faces/default/shade").status_code == 401
    right = {"Authorization": "Bearer right-token"}
    assert client.get("/v1/faces/nobody/shade", headers=right).status_code == 404
    found = client.get("/v1/faces/default/shade", headers=right).json()
    assert found == baked_shade("default")
    face = default_head()
    rows = base64.b64decode(found["vertices"])
    assert len(rows) == 4 * len(face.vertices)
    # Teeth lie behind the lips and get little of the room's light while they are closed; the
    # forehead sees the room.
    teeth, forehead = face.regions["teeth"], face.regions["forehead"]
    assert all(rows[4 * v + 2] == 255 for v in teeth)
    assert sum(rows[4 * v] for v in teeth) / len(teeth) < 60
    assert sum(rows[4 * v] for v in forehead) / len(forehead) > 150
