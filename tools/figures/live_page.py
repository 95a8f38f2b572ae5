"""Pictures of the page of ``jambatalk serve`` while the sample speaks: desktop and phone, light and
dark.

    python tools/figures/live_page.py [-o docs/images] [--at SECONDS] [--only phone-dark]

Needs Chromium, playwright and pillow. It starts its own server.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
ARGUMENTS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def main() -> None:
    """Starts the server, takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--at", type=float, default=3.0, help="media time of the sample to show")
    parser.add_argument(
        "--gap", type=float, default=0.006, help="metres between the lips, at least"
    )
    parser.add_argument("--zoom", type=int, default=0, help="steps nearer")
    parser.add_argument("--only", default="", help="a part of the names, such as phone or dark")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels per CSS pixel")
    parser.add_argument("--identity", default="default")
    parser.add_argument(
        "--open", default="", help="click this element first, such as #settings-open"
    )
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    jobs = tempfile.TemporaryDirectory()
    server = subprocess.Popen(
        [sys.executable, "-m", "jambatalk", "serve", "--port", "0", "--jobs", jobs.name],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = _address(server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=ARGUMENTS
            )
            for size, (width, height) in SIZES.items():
                for theme in ("light", "dark"):
                    name = f"live-{size}-{theme}"
                    if chosen.only in name:
                        _picture(browser, address, chosen, name, (width, height), theme)
    finally:
        server.terminate()
        server.communicate()
        jobs.cleanup()


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    for line in server.stderr:
        found = re.search(r"(?:ws|http)://([^/\s]+:\d+)", line)
        if found:
            return f"http://{found[1]}/"
    raise SystemExit("the server did not start")


def _picture(
    browser: Any,
    address: str,
    chosen: argparse.Namespace,
    name: str,
    size: tuple[int, int],
    theme: Any,
) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        device_scale_factor=chosen.scale,
        has_touch=size[0] < 500,
        is_mobile=size[0] < 500,
    )
    page = context.new_page()
    page.on("console", lambda message: print(f"{name}: {message.type}: {message.text}"))
    page.on("pageerror", lambda error: print(f"{name}: {error}"))
    page.add_init_script(
        f"localStorage.setItem('jambatalk', JSON.stringify({{identity: {chosen.identity!r}}}))"
    )
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    page.focus("#viewer")
    for _ in range(chosen.zoom):
        page.keyboard.press("+")
    if chosen.open:
        page.click(chosen.open)
    page.click("#sample")
    # Asked again and again: the page's Content-Security-Policy forbids what wait_for_function does.
    while not page.evaluate(
        "([at, open]) => { const row = window.jambatalk.telemetry.at(-1); return row?.t >= at && "
        "row.gap >= open }",
        [chosen.at, chosen.gap],
    ):
        page.wait_for_timeout(20)
    picture = Image.open(io.BytesIO(page.screenshot(timeout=60_000)))
    # Skin and soft shadows: a palette would show grain.
    path = chosen.out / f"{name}.jpg"
    picture.convert("RGB").save(path, quality=88, subsampling=0, optimize=True, progressive=True)
    row = page.evaluate("(({t, jawOpen}) => [t, jawOpen])(window.jambatalk.telemetry.at(-1))")
    rate = page.evaluate(
        "(r => (r.length - 1) / (r.at(-1).at - r[0].at))(window.jambatalk.telemetry)"
    )
    print(
        f"{path}: {path.stat().st_size // 1000} kB, t {row[0]:.2f} s, jawOpen {row[1]:.2f}, "
        f"{rate:.1f} pictures a second"
    )
    context.close()


if __name__ == "__main__":
    main()
