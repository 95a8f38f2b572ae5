"""``jambatalk data``: what it prints, its statuses, and that bad input is one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jambatalk.cli.data import data
from jambatalk.datasets.readers.vocaset import LICENCE
from jambatalk.datasets.readers.vocaset import SPLITS as VOCASET_SPLIT
from running import Outcome
from tiny_corpora import write_facegood, write_vocaset

SUBJECTS = list(VOCASET_SPLIT)


def run(*arguments: object) -> Outcome:
    result = CliRunner().invoke(data, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_vocaset(tmp_path / "raw", (SUBJECTS[0], SUBJECTS[-1]), (1, 21), frames=60)
    return tmp_path / "raw"


def test_prepare_and_check(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run("prepare", "vocaset", raw, out, "--limit", 1)
    assert first.status == 0
    assert "1 clips made, 0 kept, 0 left out" in first.err
    done = run("prepare", "vocaset", raw, out, "-j", 1)
    assert (done.status, done.out) == (0, "")
    assert "3 clips made, 1 kept, 0 left out" in done.err
    assert "by faceformer: 2 train, 1 test" in done.err
    assert "by voca: 2 train, 2 test" in done.err
    checked = run("check", out)
    assert checked.status == 0, checked.out
    assert "vocaset, 4 clips, 0.1 minutes, 30 frames/s, 5 vertices, unit: metres" in checked.out
    assert LICENCE in checked.out
    assert f"{SUBJECTS[0]}: 2 clips, 2.0 s" in checked.out
    assert checked.out.endswith("no problems\n")
    assert json.loads(run("check", out, "--json").out)["ok"] is True


def test_damaged_clips_end_with_status_2_and_the_list(raw: Path, tmp_path: Path) -> None:
    content = (raw / "data_verts.npy").read_bytes()
    header = content[:128].replace(b"(240, 5, 3)", b"(239, 5, 3)")
    (raw / "data_verts.npy").write_bytes(header + content[128:-60])
    name = f"{SUBJECTS[-1]}_sentence21"
    done = run("prepare", "vocaset", raw, tmp_path / "out", "--fps", 60)
    assert done.status == 2
    assert f"{name}: subj_seq_to_idx.pkl names row 239, but data_verts.npy holds 239" in done.err
    assert "3 clips made, 0 kept, 1 left out" in done.err
    again = json.loads(run("prepare", "vocaset", raw, tmp_path / "out", "--fps", 60, "--json").out)
    assert (again["ok"], again["kept"], list(again["failed"])) == (False, 3, [name])
    checked = run("check", tmp_path / "out")
    assert checked.status == 0
    assert f"left out when prepared: {name}" in checked.out


def test_problems_end_with_status_2(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("prepare", "vocaset", raw, out)
    (out / "clips" / f"{SUBJECTS[0]}_sentence01.flac").unlink()
    checked = run("check", out)
    assert checked.status == 2
    assert checked.out.endswith("1 problems\n")
    found = json.loads(run("check", out, "--json").out)
    assert found["problems"][0]["name"] == f"{SUBJECTS[0]}_sentence01"


def test_bad_input_is_one_line(raw: Path, tmp_path: Path) -> None:
    assert (
        "error: no corpus of kind 'x': choose from vocaset"
        in run("prepare", "x", raw, tmp_path / "out").error
    )
    assert (
        "has no wav: the FaceFormer layout is"
        in run("prepare", "biwi6", raw, tmp_path / "out").error
    )
    assert "is not a prepared corpus" in run("check", raw).error
    assert not (tmp_path / "out").exists()
    (raw / "templates.pkl").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    refused = run("prepare", "vocaset", raw, tmp_path / "out").error
    assert (
        "templates.pkl is refused: it asks for os.system, which plain arrays and numbers never need"
        in refused
    )
    assert not (tmp_path / "out").exists()


def test_weights_are_prepared_checked_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="diagrams need the extra plots")
    write_facegood(tmp_path / "raw", {"1_1": 9.0, "1114_3_15": 9.0})
    assert run("prepare", "facegood", tmp_path / "raw", tmp_path / "out").status == 0
    checked = run("check", tmp_path / "out", "--report", tmp_path / "report")
    assert checked.status == 0, checked.out
    assert "facegood, 2 clips, 0.3 minutes, 25 frames/s, 52 shapes" in checked.out
    assert "wrote sheet.png, durations.png" in checked.err
    assert (tmp_path / "report" / "sheet.png").stat().st_size > 10_000


def test_the_missing_extra_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_facegood(tmp_path / "raw", {"1_1": 4.0})
    run("prepare", "facegood", tmp_path / "raw", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused = run("check", tmp_path / "out", "--report", tmp_path / "report")
    assert refused.status != 0
    assert 'pip install "jambatalk[plots]"' in refused.err
    assert not (tmp_path / "report").exists()
    fitted = run("prepare", "tts", tmp_path / "raw", tmp_path / "out2")
    assert "has no clips.jsonl" in fitted.error
