"""The README's commands and code run as printed."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import trimesh
from scipy.spatial import ConvexHull
from typer.testing import CliRunner

import jambatalk
from jambatalk.cli.main import app
from jambatalk.face.head import default_head
from released_tiny import tiny_checkpoint
from small_network import speechlike
from tiny_grid import write_grid

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASH = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line
]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
# Run by .ci/run itself: a test cannot make the environment that it runs in.
BY_CI = {"make demo", "make test", "make lint", "make types", "python benchmarks/speed/speed.py"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in miniature: what the README's commands expect to find, and a tiny corpus beside it."""
    base = tmp_path_factory.mktemp("readme")
    here = base / "repo"
    (here / "interviews").mkdir(parents=True)
    speech, rate = soundfile.read(Path(jambatalk.__file__).parent / "assets" / "demo.flac")
    soundfile.write(here / "hello.wav", speech[: 2 * rate], rate)
    soundfile.write(here / "interviews" / "one.wav", speech[rate : int(1.6 * rate)], rate)
    torch.save(tiny_checkpoint(vertices=5023), here / "vocaset.pth")
    _write_template(here / "template.ply", 5023)
    clips = (
        ("a1", "s1", "train"),
        ("a2", "s1", "train"),
        ("a3", "s1", "train"),
        ("a4", "s1", "train"),
        ("b1", "s1", "val"),
        ("c1", "s1", "test_seen"),
    )
    write_grid(base / "shared" / "data" / "grid", default_head(), clips)
    (here / "configs").mkdir()
    settings = (ROOT / "configs" / "base-grid.yaml").read_text()
    # The shipped settings, but two steps and two voices instead of many.
    settings = re.sub(r"(?m)^steps: \d+", "steps: 2", settings)
    settings = re.sub(r"(?m)^  variants: \d+", "  variants: 2", settings)
    assert "steps: 2\n" in settings
    (here / "configs" / "base-grid.yaml").write_text(settings)
    return here


def _write_template(path: Path, vertices: int) -> None:
    """A sphere-like mesh with so many vertices, as large as a head."""
    directions = np.random.default_rng(0).standard_normal((vertices, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    trimesh.Trimesh(0.1 * directions, ConvexHull(directions).simplices, process=False).export(path)


def test_every_command_is_run_by_someone() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    for line in BASH:
        assert line.startswith("jambatalk ") or line in BY_CI, f"nobody runs {line!r}"
    for command in BY_CI & set(BASH):
        assert command in ci, f".ci/run does not run {command!r}"


def test_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for line in BASH:
        if line.startswith("jambatalk "):
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"
    for made in (
        "out/hello.mp4",
        "talk.mp4",
        "talk.glb",
        "talk.csv",
        "talk.npz",
        "faces/one.mp4",
        "faces/one.csv",
        "mine.safetensors",
        "step.onnx",
        "live.csv",
        "vocaset.safetensors",
        "vocaset.mp4",
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


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
