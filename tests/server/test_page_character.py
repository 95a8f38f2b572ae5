"""A character dropped on the page speaks there, as it does in our files; nothing of it leaves."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from browser_page import DEMO, Visit, browser, running_server, server
from jambatalk.face.deform import AnimatedMesh
from jambatalk.face.face import Face
from jambatalk.face.lips import find_lips
from jambatalk.motion import Motion
from tiny_avatar import SHARED, make_avatar, texture

__all__ = ["browser", "server"]  # fixtures

DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name));
  dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def offline() -> Motion:
    return jambatalk.load().animate(DEMO.read_bytes())


def drop(visit: Visit, path: Path) -> None:
    data = base64.b64encode(path.read_bytes()).decode()
    visit.page.evaluate(DROP, [data, path.name])


def leave(visit: Visit) -> None:
    """As ``Visit.leave``; a character's textures are blobs of the page's own."""
    visit.hosts.discard("http:")
    # Its drivers warn of reading pixels and of what SwiftShader is slow at.
    visit.wrong = [text for text in visit.wrong if "GL Driver" not in text]
    visit.leave()


def openings(face: Face, motion: Motion) -> Any:
    lips, mesh = find_lips(face), AnimatedMesh(replace(motion, face=face))
    assert lips is not None
    seen = [lips.measure(mesh.vertices(t) - face.vertices)[0] for t in range(len(motion))]
    return np.array(seen)


@pytest.mark.parametrize(
    "name",
    ["made", *(pytest.param(one, marks=pytest.mark.shared) for one in ("brunette-t", "vroid"))],
)
@pytest.mark.parametrize("size", [(240, 320), (480, 400)], ids=["phone", "desktop"])
def test_a_dropped_character_speaks(
    browser: Any, server: str, offline: Motion, tmp_path: Path, name: str, size: Any
) -> None:
    path = tmp_path / "me.glb"
    if name == "made":
        make_avatar(path, picture=texture((205, 150, 120)), unit=100.0)
    elif not SHARED.is_dir():
        pytest.skip("no ../shared/data/avatars")
    else:
        path = SHARED / f"{name}.glb"
    visit = Visit(browser, server).ready()
    visit.page.set_viewport_size({"width": size[0], "height": size[1]})
    drop(visit, path)
    visit.until("jambatalk.head.lit || !document.getElementById('error').hidden")
    assert visit.page.is_hidden("#error"), visit.page.inner_text("#error-text")
    assert path.name in visit.page.inner_text("#status")
    visit.page.click("#sample")
    # Software WebGL draws as many pictures as the machine has time for.
    visit.until(
        "jambatalk.telemetry.filter((row) => row.share === 1).length > 7"
        " && jambatalk.telemetry.at(-1).t > 2.5 || jambatalk.source?.over",
        120,
    )
    if folder := os.environ.get("PAGE_PICTURES"):
        visit.page.screenshot(path=str(Path(folder) / f"page-{name}-{size[0]}.png"))
    visit.page.keyboard.press("Escape")
    times, jaw, gap = visit.shown("t"), visit.shown("jawOpen"), visit.shown("gap")
    assert len(times) > 4
    assert offline.weights is not None
    frames = np.arange(len(offline)) / offline.fps
    wanted = np.interp(times, frames, offline.column("jawOpen"))
    assert np.abs(jaw - wanted).max() < 2e-3
    # Its own lips open as they do in the files that we write.
    opened = np.interp(times, frames, openings(Face.load(path), offline))
    assert np.abs(gap - opened).max() < 1.5e-3
    assert np.corrcoef(gap, opened)[0, 1] > 0.98
    leave(visit)


def test_what_is_no_character_is_said_in_words(browser: Any, server: str, tmp_path: Path) -> None:
    visit = Visit(browser, server).ready()
    (tmp_path / "broken.glb").write_bytes(b"glTF nothing")
    drop(visit, tmp_path / "broken.glb")
    assert "broken.glb cannot be read as a character" in visit.trouble()
    make_avatar(tmp_path / "still.glb", shapes=())
    drop(visit, tmp_path / "still.glb")
    visit.until("document.getElementById('error-text').textContent.includes('still.glb')")
    assert "no shapes whose names are known" in visit.trouble()
    # The head is still there, and speaks.
    assert visit.page.evaluate("!jambatalk.head.lit")
    visit.context.close()


def test_a_server_with_a_character_shows_it(browser: Any, tmp_path: Path) -> None:
    make_avatar(tmp_path / "me.glb", picture=texture((205, 150, 120)))
    with running_server(tmp_path / "jobs", "--face", str(tmp_path / "me.glb")) as address:
        visit = Visit(browser, address).ready()
        assert visit.page.evaluate("jambatalk.head.lit && jambatalk.head.name") == "me.glb"
        # Another face can be chosen, and goes back to the default head.
        visit.page.click("#settings-open")
        visit.page.select_option("select[name=identity]", "mei")
        visit.until("!jambatalk.head.lit")
        leave(visit)
