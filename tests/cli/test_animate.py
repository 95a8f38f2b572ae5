"""``jambatalk animate``: outputs, folders, patterns, skipping, JSON."""

from __future__ import annotations

import json
import os

import av
import numpy as np
import pytest

from jambatalk.motion import Motion
from running import run, write_wav


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def animate(small_weights, *arguments, **options):
    return run("animate", "--model", small_weights, "--size", "64", *arguments, **options)


def test_several_outputs_at_once(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    names = ["talk.mp4", "talk.glb", "talk.csv", "talk.npz", "deep/er/talk.json"]
    outcome = animate(
        small_weights, "hello.wav", *[part for name in names for part in ("-o", name)]
    )
    assert outcome.status == 0, outcome.err
    assert outcome.out == ""
    assert "look-ahead 200 ms" in outcome.err
    assert "times real time" in outcome.err
    with av.open("talk.mp4") as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (64, 64)
        assert len(video.streams.audio) == 1
    exact = Motion.load("talk.npz")
    assert len(exact) == 15
    for name in ("talk.csv", "deep/er/talk.json"):
        np.testing.assert_allclose(Motion.load(name).weights, exact.weights, atol=1e-6)


def test_json_result(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav", seconds=1.0)
    outcome = animate(
        small_weights, "hello.wav", "-o", "talk.npz", "-o", "talk.csv", "--json", "--fps", "50"
    )
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["ok"] is True
    assert found["model"]["look_ahead_ms"] == 200
    assert len(found["model"]["sha256"]) == 64
    (result,) = found["results"]
    assert (result["input"], result["outputs"], result["status"]) == (
        "hello.wav",
        ["talk.npz", "talk.csv"],
        "done",
    )
    assert (result["seconds"], result["frames"], result["fps"]) == (1.0, 50, 50.0)
    assert set(result["times"]) == {"read", "load", "animate", "write .npz", "write .csv"}


def test_without_outputs_it_goes_to_out(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    assert animate(small_weights, "hello.wav", "--format", "npz").status == 0
    assert os.listdir("out") == ["hello.npz"]


def test_standard_input(small_weights, tmp_path):
    sound = write_wav(tmp_path / "hello.wav").read_bytes()
    assert (
        animate(small_weights, "-", "--format", "csv,npz", "--out-dir", "there", stdin=sound).status
        == 0
    )
    assert sorted(os.listdir("there")) == ["talk.csv", "talk.npz"]
    animate(small_weights, "hello.wav", "-o", "same.npz")
    assert (tmp_path / "same.npz").read_bytes() == (tmp_path / "there/talk.npz").read_bytes()


def test_a_folder_skips_what_is_done(small_weights, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    for name in ("a.wav", "b.WAV"):
        write_wav(folder / name)
    (folder / "notes.txt").write_text("no sound")
    first = animate(small_weights, "voices", "--out-dir", "out", "--format", "npz")
    assert first.status == 0, first.err
    assert "2 done, 0 skipped, 0 failed" in first.err
    assert sorted(os.listdir("out")) == ["a.npz", "b.npz"]
    second = animate(small_weights, "voices", "--out-dir", "out", "--format", "npz")
    assert "0 done, 2 skipped, 0 failed" in second.err
    later = os.path.getmtime("out/a.npz") + 10
    os.utime(folder / "a.wav", (later, later))
    assert (
        "1 done, 1 skipped, 0 failed"
        in animate(small_weights, "voices", "-o", "out/", "--format", "npz").err
    )
    assert (
        "1 done, 1 skipped" in animate(small_weights, "voices", "-o", "out", "--format", "npz").err
    )  # a is still newer
    assert (
        "2 done, 0 skipped"
        in animate(small_weights, "voices", "-o", "out/", "--format", "npz", "--overwrite").err
    )
    os.remove("out/b.npz")
    found = json.loads(
        animate(small_weights, "voices", "-o", "out/", "--format", "npz", "--json").out
    )
    assert [result["status"] for result in found["results"]] == ["done", "done"]


def test_a_single_file_is_always_made_again(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    for _ in range(2):
        outcome = animate(small_weights, "hello.wav", "-o", "talk.npz")
        assert "-> talk.npz" in outcome.err


def test_patterns(small_weights, tmp_path):
    for name in ("one.wav", "two.wav", "deep/three.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wav(tmp_path / name)
    assert "2 done" in animate(small_weights, "*.wav", "--out-dir", "flat", "--format", "npz").err
    assert "3 done" in animate(small_weights, "**/*.wav", "--out-dir", "all", "--format", "npz").err
    assert sorted(os.listdir("all")) == ["one.npz", "three.npz", "two.npz"]


def test_a_file_whose_name_looks_like_a_pattern(small_weights, tmp_path):
    write_wav(tmp_path / "take [1].wav")
    assert animate(small_weights, "take [1].wav", "-o", "talk.npz").status == 0


def test_one_bad_file_does_not_stop_the_others(small_weights, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    write_wav(folder / "a.wav")
    (folder / "b.wav").write_text("this is text")
    write_wav(folder / "c.wav")
    outcome = animate(
        small_weights, "voices", "missing.wav", "--out-dir", "out", "--format", "npz", "--json"
    )
    assert outcome.status == 2
    found = json.loads(outcome.out)
    assert found["ok"] is False
    assert [r["status"] for r in found["results"]] == ["done", "failed", "done", "failed"]
    assert "not an audio or video file" in found["results"][1]["error"]
    assert "does not exist" in found["results"][3]["error"]
    assert "2 done, 0 skipped, 2 failed" in outcome.err
    assert sorted(os.listdir("out")) == ["a.npz", "c.npz"]


def test_a_saved_motion_is_turned_into_other_formats(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    animate(small_weights, "hello.wav", "-o", "talk.csv")
    outcome = run(
        "animate", "talk.csv", "-o", "again.glb", "-o", "again.mp4", "--size", "64x48", "--json"
    )
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["model"] is None
    with av.open("again.mp4") as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (64, 48)


def test_8_khz_stereo_and_identity(small_weights, tmp_path):
    from jambatalk.face.head import IDENTITIES

    write_wav(tmp_path / "phone.wav", rate=8000, channels=2)
    outcome = animate(small_weights, "phone.wav", "-o", "talk.glb", "--identity", IDENTITIES[0])
    assert outcome.status == 0, outcome.err
    plain = animate(small_weights, "phone.wav", "-o", "plain.glb")
    assert plain.status == 0
    assert (tmp_path / "talk.glb").read_bytes() != (tmp_path / "plain.glb").read_bytes()
