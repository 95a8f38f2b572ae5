"""``jambatalk animate``: outputs, folders, patterns, skipping, JSON."""

from __future__ import annotations

import json
import os
import threading

import av
import numpy as np
import pytest

from jambatalk.cli.batch import MANIFEST
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
    written = Motion.load("deep/er/talk.json")
    np.testing.assert_allclose(written.weights, exact.weights, atol=1e-6)
    sixty = Motion.load("talk.csv")  # as the app records, whatever the network's rate
    assert sixty.fps == 60
    np.testing.assert_allclose(sixty.weights, exact.resampled(60).weights, atol=1e-6)


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


def visible(folder) -> list[str]:
    """Files in and below a folder, without the record of what they were made with."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in found if path.name != MANIFEST)


def test_a_folder_skips_what_is_done(small_weights, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    for name in ("a.wav", "b.WAV"):
        write_wav(folder / name)
    (folder / "notes.txt").write_text("no sound")
    first = animate(small_weights, "voices", "--out-dir", "out", "--format", "npz")
    assert first.status == 0, first.err
    assert "2 done, 0 skipped, 0 failed" in first.err
    assert sorted(os.listdir("out")) == [MANIFEST, "a.npz", "b.npz"]
    second = animate(small_weights, "voices", "--out-dir", "out", "--format", "npz")
    assert "0 done, 2 skipped, 0 failed" in second.err
    later = os.path.getmtime("out/a.npz") + 10_000
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
    assert visible(tmp_path / "all") == ["deep/three.npz", "one.npz", "two.npz"]


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
    assert visible(tmp_path / "out") == ["a.npz", "c.npz"]
    (line,) = [line for line in outcome.err.splitlines() if "missing.wav" in line]
    assert line == "error: missing.wav does not exist"
    assert all(line.count("b.wav") == 1 for line in outcome.err.splitlines() if "b.wav" in line)


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


def test_equal_names_keep_their_folders(small_weights, tmp_path):
    """As corpora name files: alike in every folder."""
    for name in ("c/s1/sentence01.wav", "c/s2/sentence01.wav", "c/s2/deep/x.wav", "d/x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(tmp_path / name, seconds=0.2)
    outcome = animate(small_weights, "c/**/*.wav", "--out-dir", "out", "--format", "csv")
    assert outcome.status == 0, outcome.err
    names = ["s1/sentence01.csv", "s2/deep/x.csv", "s2/sentence01.csv"]
    assert visible(tmp_path / "out") == names
    # As a shell that resolves the pattern itself gives them: folders only where they are needed.
    files = ["c/s1/sentence01.wav", "c/s2/sentence01.wav", "d/x.wav"]
    assert animate(small_weights, *files, "--out-dir", "one", "--format", "csv").status == 0
    assert visible(tmp_path / "one") == ["s1/sentence01.csv", "s2/sentence01.csv", "x.csv"]
    assert animate(small_weights, "c/s1", "c/s2", "--out-dir", "two", "--format", "csv").status == 0
    assert visible(tmp_path / "two") == ["s1/sentence01.csv", "s2/sentence01.csv"]


def test_one_name_with_two_suffixes(small_weights, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    for name in ("talk.wav", "talk.flac", "other.wav"):
        write_wav(folder / name, seconds=0.2)
    outcome = animate(small_weights, "voices", "--out-dir", "out", "--format", "csv")
    assert outcome.status == 0, outcome.err
    assert visible(tmp_path / "out") == ["other.csv", "talk.flac.csv", "talk.wav.csv"]


def test_other_options_are_made_again(small_weights, tmp_path):
    from jambatalk.models.checkpoint import load_weights, save_weights

    folder = tmp_path / "voices"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        write_wav(folder / name, seconds=0.2)
    arguments = ["voices", "--out-dir", "out", "--format", "csv,npz"]

    def counts(*options) -> str:
        outcome = animate(small_weights, *arguments, *options)
        assert outcome.status == 0, outcome.err
        return outcome.err.strip().splitlines()[-1]

    done, skipped = "2 done, 0 skipped, 0 failed", "0 done, 2 skipped, 0 failed"
    assert counts() == done
    assert counts() == skipped
    assert counts("--threads", "1") == skipped  # the result does not depend on it
    for options in (["--fps", "60"], ["--life", "on"], ["--life", "blinks=0.5"]):
        assert counts(*options) == done
        assert counts(*options) == skipped
    assert counts("--format", "csv") == done  # without --life
    assert len(Motion.load("out/a.csv")) == 12  # 60 a second, as the app records
    # Of pictures, also the size; of weights not.
    assert counts("--format", "csv", "--size", "32") == skipped
    assert counts("--format", "mp4", "--size", "32") == done
    assert counts("--format", "mp4", "--size", "48") == done
    # Other weights, and other sound of an old date.
    model, names, notes = load_weights(small_weights)
    model.output_mean += 0.01
    save_weights(tmp_path / "mine.safetensors", model, names, notes)
    assert counts("--format", "csv") == skipped
    again = run(
        "animate", "voices", "--out-dir", "out", "--format", "csv", "--model", "mine.safetensors"
    )
    assert done in again.err
    assert counts("--format", "csv") == done
    write_wav(folder / "a.wav", seconds=0.4)
    os.utime(folder / "a.wav", (1e9, 1e9))
    assert counts("--format", "csv") == "1 done, 1 skipped, 0 failed"
    (tmp_path / "out" / MANIFEST).write_text("damaged")
    assert counts("--format", "csv") == done


def test_other_files_of_the_same_name_are_not_skipped(small_weights, tmp_path):
    for folder in ("s1", "s2"):
        (tmp_path / folder).mkdir()
        write_wav(tmp_path / folder / "a.wav", seconds=0.2)
        outcome = animate(small_weights, folder, "--out-dir", "out", "--format", "npz")
        assert "1 done, 0 skipped" in outcome.err


def test_hidden_files_are_not_speech(small_weights, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    write_wav(folder / "a.wav", seconds=0.2)
    (folder / "._a.wav").write_bytes(b"\0\5\26\7notes of macOS")
    write_wav(folder / ".a.4242-0a1b2c3d.x9y8z7w6.wav", seconds=0.2)  # left over by a killed run
    for names in ("voices", "voices/*.wav"):
        outcome = animate(
            small_weights, names, "--out-dir", "out", "--format", "npz", "--overwrite"
        )
        assert "1 done, 0 skipped, 0 failed" in outcome.err


def test_one_bad_output_fails_alone(small_weights, tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    long = "x" * 251
    for name in ("a.wav", "b.wav", f"{long}.wav"):
        write_wav(folder / name, seconds=0.2)
    (tmp_path / "out" / "b.json").mkdir(parents=True)
    outcome = animate(small_weights, "voices", "--out-dir", "out", "--format", "json")
    assert outcome.status == 2
    assert "1 done, 0 skipped, 2 failed" in outcome.err
    assert "cannot write out/b.json: it is a folder" in outcome.err
    assert f"cannot write out/{long}.json: File name too long" in outcome.err
    assert visible(tmp_path / "out") == ["a.json"]


def test_a_name_that_is_too_long_fails_before_the_work(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    outcome = animate(small_weights, "hello.wav", "-o", f"{'x' * 252}.csv")
    assert "File name too long" in outcome.error  # and no line about the network
    long = "x" * 245
    write_wav(tmp_path / f"{long}.wav", seconds=0.2)
    assert animate(small_weights, f"{long}.wav", "--format", "csv").status == 0
    assert os.listdir("out") == [f"{long}.csv"]


def test_standard_output(small_weights, tmp_path):
    write_wav(tmp_path / "hello.wav")
    outcome = animate(small_weights, "hello.wav", "-o", "-", "--format", "csv")
    assert outcome.status == 0, outcome.err
    assert animate(small_weights, "hello.wav", "-o", "talk.csv").status == 0
    assert outcome.out.encode() == (tmp_path / "talk.csv").read_bytes().replace(b"\r\n", b"\n")
    for arguments, message in (
        ([], "-o - needs one format, such as --format csv"),
        (["--format", "csv,npz"], "-o - needs one format"),
        (["hello.wav", "talk.csv", "--format", "csv"], "but there are several inputs"),
        (["--format", "csv", "--json"], "-o - and --json both write to standard output"),
    ):
        assert message in run("animate", "hello.wav", "-o", "-", *arguments).error


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipes(small_weights, tmp_path):
    sound = write_wav(tmp_path / "hello.wav").read_bytes()
    os.mkfifo(tmp_path / "p.wav")

    def feed() -> None:
        (tmp_path / "p.wav").write_bytes(sound)

    writer = threading.Thread(target=feed)
    writer.start()
    outcome = animate(small_weights, "p.wav", "--format", "npz")
    writer.join()
    assert outcome.status == 0, outcome.err
    animate(small_weights, "hello.wav", "-o", "same.npz")
    assert (tmp_path / "out/p.npz").read_bytes() == (tmp_path / "same.npz").read_bytes()
