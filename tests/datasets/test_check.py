"""``data check``: a good corpus passes, each damage is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.check import Report, check
from jambatalk.datasets.dataset import open_prepared
from jambatalk.datasets.prepare import prepare
from jambatalk.datasets.readers.vocaset import SPLITS as VOCASET_SPLIT
from jambatalk.datasets.source import PrepareOptions
from jambatalk.errors import InputError
from tiny_corpora import V, voice, write_layout, write_python2, write_vocaset

SUBJECTS = list(VOCASET_SPLIT)
FRAMES = 180
CHANGED = f"{SUBJECTS[0]}_sentence22"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "raw"
    write_vocaset(folder, (*SUBJECTS[:3], SUBJECTS[8], SUBJECTS[-1]), (21, 22), FRAMES)
    return folder


@pytest.fixture
def copy(raw: Path, tmp_path: Path) -> Path:
    return shutil.copytree(raw, tmp_path / "raw")


def reasons(report: Report, name: str) -> list[str]:
    return [problem.reason for problem in report.problems if problem.name == name]


def change(copy: Path, out: Path, clip: int, edit) -> Report:
    """Prepare the corpus with the frames of one clip edited; gives its report."""
    verts = np.load(copy / "data_verts.npy")
    edit(verts[clip * FRAMES : (clip + 1) * FRAMES])
    np.save(copy / "data_verts.npy", verts)
    assert not prepare("vocaset", copy, out).failed
    return check(out)


def test_a_good_corpus(raw: Path, tmp_path: Path) -> None:
    prepare("vocaset", raw, tmp_path / "out")
    report = check(tmp_path / "out", jobs=2)
    assert report.problems == ()
    assert (report.clips, report.seconds, report.fps, report.unit) == (10, 30.0, 30.0, "metres")
    assert report.speakers[SUBJECTS[0]] == {"clips": 2, "seconds": 6.0}
    assert report.splits["voca"]["train"] == {"clips": 6, "seconds": 18.0, "subjects": 3}
    assert report.splits["faceformer"]["test"] == {"clips": 2, "seconds": 6.0, "subjects": 1}
    assert report.lag_ms == pytest.approx(0, abs=25)
    assert report.correlation is not None
    assert report.correlation > 0.6
    assert report.as_dict()["ok"] is True


@pytest.mark.parametrize("shift", [-12, 12])  # frames at 60 a second: 200 ms
def test_motion_that_comes_early_or_late(copy: Path, tmp_path: Path, shift: int) -> None:
    verts = np.load(copy / "data_verts.npy").reshape(-1, FRAMES, V, 3)
    np.save(copy / "data_verts.npy", np.roll(verts, shift, axis=1).reshape(-1, V, 3))
    prepare("vocaset", copy, tmp_path / "out")
    report = check(tmp_path / "out")
    assert report.lag_ms == pytest.approx(shift / 60 * 1000, abs=35)
    (reason,) = reasons(report, "vocaset")
    assert ("ms after the sound" if shift > 0 else "ms before the sound") in reason


def test_one_clip_out_of_step(copy: Path, tmp_path: Path) -> None:
    def late(frames: np.ndarray) -> None:
        frames[:] = np.roll(frames, 15, axis=0)

    report = change(copy, tmp_path / "out", 1, late)
    assert [problem.name for problem in report.problems] == [CHANGED]
    assert "ms after its sound" in report.problems[0].reason


def test_implausible_offsets(copy: Path, tmp_path: Path) -> None:
    def spike(frames: np.ndarray) -> None:
        frames[40, 2, 0] += 0.08

    report = change(copy, tmp_path / "out", 1, spike)
    (reason,) = reasons(report, CHANGED)
    assert reason == "frame 20, vertex 2 is 8.0 cm from the template, expected at most 5 cm"


def test_frozen_motion(copy: Path, tmp_path: Path) -> None:
    def freeze(frames: np.ndarray) -> None:
        frames[:120] = frames[0]

    report = change(copy, tmp_path / "out", 1, freeze)
    assert "frozen: 66% of its frames repeat the one before" in reasons(report, CHANGED)


def test_sound_of_another_length_or_none(copy: Path, tmp_path: Path) -> None:
    index = {
        s: {
            f"sentence{n}": {"audio": voice(3.0, 22000, 2 * i + n - 21), "sample_rate": 22000}
            for n in (21, 22)
        }
        for i, s in enumerate((*SUBJECTS[:3], SUBJECTS[8], SUBJECTS[-1]))
    }
    index[SUBJECTS[0]]["sentence21"]["audio"] = voice(3.6, 22000, 0)
    index[SUBJECTS[0]]["sentence22"]["audio"] = np.zeros(66000, np.int16)
    write_python2(copy / "raw_audio_fixed.pkl", index)
    prepare("vocaset", copy, tmp_path / "out")
    report = check(tmp_path / "out")
    assert reasons(report, f"{SUBJECTS[0]}_sentence21") == [
        "its sound lasts 3.60 s and its motion 3.00 s"
    ]
    assert reasons(report, CHANGED) == ["silent: its sound is empty"]


def test_one_recording_in_two_splits(copy: Path, tmp_path: Path) -> None:
    same = {"audio": voice(3.0, 22000, 99), "sample_rate": 22000}
    index = {
        s: {
            f"sentence{n}": {"audio": voice(3.0, 22000, 2 * i + n - 21), "sample_rate": 22000}
            for n in (21, 22)
        }
        for i, s in enumerate((*SUBJECTS[:3], SUBJECTS[8], SUBJECTS[-1]))
    }
    index[SUBJECTS[-1]]["sentence21"] = same
    index[SUBJECTS[1]]["sentence21"] = same  # twice in train is no leak
    write_python2(copy / "raw_audio_fixed.pkl", index)
    prepare("vocaset", copy, tmp_path / "out")
    said = [p for p in check(tmp_path / "out").problems if "has the same audio" in p.reason]
    assert {p.reason.split(",")[0] for p in said} == {"in train by faceformer", "in train by voca"}
    for problem in said:
        assert f"as {SUBJECTS[-1]}_sentence21 in test" in problem.reason


def test_files_that_changed_after_preparing(raw: Path, tmp_path: Path) -> None:
    prepare("vocaset", raw, tmp_path / "out")
    first, second, third, fourth = open_prepared(tmp_path / "out").clips()[:4]
    offsets = np.array(first.offsets)
    offsets[3, 1, 2] = np.nan
    np.save(first.motion_path, offsets)
    second.audio_path.unlink()
    third.motion_path.write_bytes(third.motion_path.read_bytes()[:-1])
    np.save(fourth.motion_path, np.array(fourth.offsets)[:-1])
    report = check(tmp_path / "out")
    assert reasons(report, first.name) == [
        "its motion is not what was prepared (another checksum)",
        "frame 3, vertex 1 is not finite",
    ]
    assert f"cannot read {second.audio_path}: No such file" in reasons(report, second.name)[0]
    assert "is damaged, cut off or not" in reasons(report, third.name)[0]
    assert "the manifest says floats (90, 5, 3)" in reasons(report, fourth.name)[0]
    assert {p.name for p in report.problems} == {first.name, second.name, third.name, fourth.name}


def test_sound_of_other_clips(tmp_path: Path) -> None:
    """Shuffled sound is told from the clips together, where one alone could not tell."""
    write_layout(tmp_path / "raw", [("Ann", str(n)) for n in range(12)], frames=150)
    wavs = sorted((tmp_path / "raw" / "wav").iterdir())
    contents = [path.read_bytes() for path in wavs]
    for path, content in zip(wavs, contents[5:] + contents[:5]):
        path.write_bytes(content)
    prepare("faceformer-layout", tmp_path / "raw", tmp_path / "out", PrepareOptions(source_fps=25))
    report = check(tmp_path / "out")
    assert report.correlation is not None
    assert report.correlation < 0.25
    assert any(
        problem.name != "faceformer-layout" or "follow" in problem.reason
        for problem in report.problems
    )


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a prepared corpus: it has no manifest\.json"):
        check(tmp_path)
