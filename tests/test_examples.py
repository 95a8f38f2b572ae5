"""The examples run as they are, in a folder of their own."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from running import write_wav

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(name: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    old, sys.argv = sys.argv, [name, *arguments]
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        sys.argv = old
    return capsys.readouterr().out


def test_animate_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "hello.wav", seconds=1.0)
    out = _run("animate_a_file.py", capsys, "hello.wav", "made")
    assert "25 frames at 25" in out
    assert "25 frames of 52 shapes" in out
    for name in ("talk.mp4", "talk.glb", "talk.csv", "talk.npz"):
        assert (tmp_path / "made" / name).stat().st_size > 1000


def test_live_session(capsys: pytest.CaptureFixture[str]) -> None:
    out = _run("live_session.py", capsys)
    assert "turn 1: 50 frames" in out
    assert "4 frames to rest, jaw 0.00" in out
    assert "gives the same: True" in out


def test_own_metric(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    drift = float(_run("own_metric.py", capsys).split()[2])
    assert 0.05 < drift < 5


def test_train_tiny(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning_fabric")
    out = _run("train_tiny.py", capsys)
    losses = [float(line.split()[-1]) for line in out.splitlines() if line.startswith("step")]
    assert len(losses) == 20
    assert sum(losses[-5:]) < sum(losses[:5])
    assert "makes 234 frames" in out
    assert (tmp_path / "out/example-training/tiny.safetensors").exists()


def test_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    """The cells in order, with what a cell's last line shows in a notebook."""
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "stored without outputs"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    out = capsys.readouterr().out
    assert "look-ahead 240 ms" in out
    difference = float(out.splitlines()[-1].split()[-1])
    assert difference < 1e-5


def test_every_example_is_named_and_tested() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tests = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.[pi]*"):
        assert f"`{path.name}`" in page
        assert path.name in tests


def test_realtime_events(capsys: pytest.CaptureFixture[str]) -> None:
    out = _run("realtime_events.py", capsys)
    assert "238 frames beside 9.33 s of sound" in out
    assert "motion.interrupted item_2" in out
    assert "after it: 0 frames of the old answer" in out


def test_livekit_agent(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("livekit.agents")
    out = _run("livekit_agent.py", capsys)
    assert "79 frames beside 3.00 s of sound" in out
    assert "response.output_audio.motion.done" in out


def test_pipecat_agent(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pipecat")
    out = _run("pipecat_agent.py", capsys)
    assert "first:1 done: 79 frames" in out
    assert "second:2 interrupted" in out
    ahead = re.search(r"motion left (-?\d+) to (-?\d+) ms", out)
    assert ahead is not None
    assert -20 <= int(ahead[1]) <= int(ahead[2]) <= 60
