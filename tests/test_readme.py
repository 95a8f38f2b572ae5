"""The README's commands and code run as printed."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fences import fences
from jambatalk import config
from jambatalk.cli.main import app
from running import run
from small_network import speechlike
from tiny_checkout import write_checkout

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = fences(ROOT / "README.md")
RUN = [fence for fence in FENCES if fence.reason is None]
COMMANDS = [line for fence in RUN if fence.language == "bash" for line in fence.commands]
PYTHON = [fence.code for fence in RUN if fence.language == "python"]
# Run by .ci/run itself: a test cannot make the environment that it runs in.
BY_CI = {"make demo", ". .venv/bin/activate"}
CHAPTERS = (
    "Install",
    "Python",
    "Command line",
    "Live",
    "Train",
    "Map of the repository",
    "Results",
    "Citation",
    "License",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("readme")
    write_checkout(here)
    return here


def test_every_block_is_run_or_says_why_not() -> None:
    assert len(RUN) >= 5
    for fence in FENCES:
        assert fence.language in ("bash", "python"), fence.where
        assert fence.reason is None or len(fence.reason) > 10, fence.where


def test_every_command_is_run_by_a_test_or_by_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for line in COMMANDS:
        assert line.startswith("jambatalk ") or line in BY_CI, f"nothing runs {line!r}"
    for command in BY_CI:
        assert command in COMMANDS
        assert command in ci, f".ci/run does not run {command!r}"


def test_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(config, "CONFIGS", folder / "configs")
    for line in COMMANDS:
        if line.startswith("jambatalk "):
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"
    for made in (
        "out/hello.mp4",
        "talk.mp4",
        "talk.glb",
        "talk.csv",
        "talk.npz",
        "mei.mp4",
        "faces/one.mp4",
        "faces/one.csv",
        "mine.safetensors",
        "results/clips.csv",
        "report.html",
    ):
        assert (folder / made).stat().st_size > 100, made


def test_python_runs(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(folder / "hello.wav", tmp_path)
    monkeypatch.chdir(tmp_path)
    microphone = np.split((speechlike(1.5) * 32767).astype(np.int16), 12)
    scope: dict[str, object] = {"microphone": microphone}
    for code in PYTHON:
        exec(compile(code, "README.md", "exec"), scope)
    assert (tmp_path / "hello.mp4").stat().st_size > 1000
    assert len(capsys.readouterr().out.splitlines()) > 1


def test_the_command_that_the_demo_suggests_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("demo", "-o", "demo.npz")
    suggested = shlex.split(result.out.splitlines()[-1].partition("now try: ")[2])
    start = suggested.index("animate")
    # The program itself exists under the name that was printed.
    assert shutil.which(suggested[0]), suggested
    again = run(*suggested[start:])
    assert again.status == 0, again.err
    assert (tmp_path / suggested[-1]).stat().st_size > 1000


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_map_names_every_folder() -> None:
    rows = re.findall(r"(?m)^\| (?:– )?((?:`[\w/]+`(?:, )?)+) \|", README)
    named = {name for row in rows for name in re.findall(r"`([\w/]+)/`", row)}
    package = ROOT / "src" / "jambatalk"
    folders = {p.name for p in package.iterdir() if (p / "__init__.py").exists()}
    assert folders <= named
    assert {name for name in named if not (ROOT / name).is_dir()} <= folders | {"configs"}


def test_order_and_length() -> None:
    assert tuple(re.findall(r"(?m)^## (.+)$", README)) == CHAPTERS
    words = [word for word in README.split() if re.search(r"\w", word)]
    assert len(words) < 1200
    assert "../shared" not in README
