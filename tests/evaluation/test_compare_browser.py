"""The report in a real browser: it opens without a network, shows its numbers, and its controls
work.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from jambatalk.evaluation.dataset import find_regions, load_test_set
from jambatalk.evaluation.report import clips as worst_clips
from jambatalk.evaluation.report.collect import ReportSystem, open_report_system
from jambatalk.evaluation.report.page import write_report
from tiny_talk import write_predictions, write_talk

for extra in ("jinja2", "matplotlib", "scipy"):
    pytest.importorskip(extra)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Opened:
    """The page, and what went on while it was open."""

    def __init__(self, page: Any, systems: list[ReportSystem]) -> None:
        self.page, self.systems = page, systems
        self.console: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("browser")
    truth = write_talk(folder / "talk", test_clips=6)
    good = write_predictions(folder / "good", truth, gain=0.95, noise=0.01)
    late = write_predictions(folder / "late", truth, gain=0.6, late=2)
    test_set = load_test_set(folder / "talk")
    systems = [open_report_system(str(path), test_set) for path in (late, good)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worst_clips, "PANEL", 96)  # small pictures are drawn quickly
        shown = write_report(
            systems, test_set, find_regions(test_set), folder / "report.html", videos=1
        )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
        found = Opened(context.new_page(), shown)
        found.page.goto((folder / "report.html").as_uri())
        yield found
        browser.close()


def test_it_opens_without_a_network_and_without_complaint(opened: Opened) -> None:
    opened.page.wait_for_load_state("load")
    assert opened.console == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1
    sizes = opened.page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert (
        len(sizes) == 4 + 5
    )  # errors of two systems and two sanity rows; motion of these and of the truth
    assert min(sizes) > 0


def test_the_table_shows_what_was_measured(opened: Opened) -> None:
    metrics = opened.page.eval_on_selector_all(
        "th[data-metric]", "all => all.map(one => one.dataset.metric)"
    )
    for system in opened.systems:
        row = opened.page.locator(
            "table.results tbody tr", has=opened.page.locator(f"th >> text=/^{system.name}/")
        )
        for metric, cell in zip(metrics, row.locator("td").all()):
            expected = np.mean([one.totals[metric] for one in system.scored["test"]])
            shown = cell.locator("b").inner_text()
            assert (
                shown == "-"
                if np.isnan(expected)
                else float(shown) == pytest.approx(expected, rel=1e-3)
            ), (system.name, metric)


def test_columns_sort_either_way(opened: Opened) -> None:
    head = opened.page.locator("th[data-metric=LVE_mm]")
    names = "all => all.map(row => row.cells[0].firstChild.textContent)"

    def order() -> list[str]:
        return opened.page.eval_on_selector_all("table.results tbody:first-of-type tr", names)

    head.locator("button").click()
    assert (order(), head.get_attribute("aria-sort")) == (["good", "late"], "ascending")
    head.locator("button").click()
    assert (order(), head.get_attribute("aria-sort")) == (["late", "good"], "descending")
    head.locator("button").press("Enter")  # by keyboard too
    assert order() == ["good", "late"]


def test_the_picker_shows_one_clip_and_the_legend_its_curves(opened: Opened) -> None:
    page = opened.page
    visible = "all => all.filter(one => one.checkVisibility()).map(one => one.dataset.clip)"
    assert page.eval_on_selector_all(".clip", visible) == ["clip2"]
    page.select_option("#clip", "clip5")
    assert page.eval_on_selector_all(".clip", visible) == ["clip5"]
    page.click("#after")
    assert page.eval_on_selector_all(".clip", visible) == ["clip6"]
    page.click("#before")
    assert page.eval_on_selector_all(".clip", visible) == ["clip5"]
    curve = page.locator(".clip.chosen .curve.s0")
    assert curve.is_visible()
    page.get_by_label("late", exact=True).uncheck()
    assert not curve.is_visible()
    assert page.locator(".clip.chosen .curve.truth").is_visible()
    page.get_by_label("late", exact=True).check()
    assert curve.is_visible()


def test_the_video_plays_for_as_long_as_the_clip(opened: Opened) -> None:
    video = opened.page.locator("video")
    assert video.count() == 1
    opened.page.wait_for_function("document.querySelector('video').readyState >= 1")
    assert video.evaluate("one => one.duration") == pytest.approx(1.6, abs=0.1)
    size = video.evaluate("one => [one.videoWidth, one.videoHeight]")
    assert size == [3 * 96, 96 + worst_clips.LINE]
    assert video.evaluate("one => one.error") is None


def test_it_fits_a_phone_and_a_dark_room(opened: Opened) -> None:
    page = opened.page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1200, "height": 900})
