"""The parts of preparing own recordings: even times, head pose, whose face and whose name, quality
in words.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jambatalk.datasets.video.quality import (
    clip_quality,
    clip_warnings,
    file_quality,
    file_warnings,
    jitter,
    overall,
)
from jambatalk.datasets.video.subjects import find_recordings, hold_out
from jambatalk.datasets.video.timeline import (
    LONGEST,
    angles,
    even_times,
    mean_rotation,
    observed,
    register,
    resample,
    spans,
)
from jambatalk.datasets.video.tracking import (
    GEOMETRY,
    MODEL_VARIABLE,
    STABLE,
    Follower,
    find_model,
    read_canonical,
)
from jambatalk.errors import InputError
from jambatalk.face.deform import pose_matrix
from tiny_video import RATE, mouth, voice


def test_resampling_goes_by_time_not_by_number() -> None:
    """A line seen at uneven times comes out as the same line: nothing is early or late."""
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.09, 200))
    wanted = even_times(times[0], times[-1], 25.0)
    out = resample(np.stack([3 * times, -times], 1), times, wanted, 25.0)
    assert np.abs(out - np.stack([3 * wanted, -wanted], 1)).max() < 1e-9
    assert np.diff(wanted) == pytest.approx(0.04)


def test_resampling_keeps_frames_that_fit_and_averages_faster_ones() -> None:
    rng = np.random.default_rng(1)
    times = np.arange(100) * 0.04 + 0.3
    values = rng.normal(size=(100, 2, 3))
    assert (
        np.abs(resample(values, times, even_times(0.3, times[-1], 25.0), 25.0) - values).max()
        < 1e-6
    )
    fast = np.arange(1000) / 100
    noise = resample(rng.normal(size=1000), fast, even_times(0.0, 9.99, 25.0), 25.0)
    assert noise.std() < 0.7  # four pictures make a frame
    tone = resample(np.sin(2 * np.pi * 2 * fast), fast, wanted := even_times(0.0, 9.9, 25.0), 25.0)
    assert np.corrcoef(tone[5:-5], np.sin(2 * np.pi * 2 * wanted)[5:-5])[0, 1] > 0.999


def test_frames_without_a_face() -> None:
    """A hole of 0.2 s is bridged and marked, one of 0.6 s ends the clip, and runs under a second
    are no clips.
    """
    times = np.arange(250) * 0.04
    found = np.ones(250, bool)
    found[50:55] = found[100:115] = found[150:152] = False
    found[200:] = False
    found[210:225] = True
    seen, usable = observed(times, found, times, 25.0)
    assert np.array_equal(seen, found)
    assert usable[50:55].all()
    assert usable[150:152].all()
    assert not usable[100:115].any()
    assert [(s.first, s.last) for s in spans(usable, np.zeros(RATE * 10, np.float32), 25.0)] == [
        (0, 100),
        (115, 200),
    ]


def test_slow_and_uneven_cameras_are_seen() -> None:
    """15 pictures a second are tracked throughout at 25 frames; where ten are dropped, that is no
    longer seen.
    """
    times = np.arange(60) / 15
    wanted = even_times(0.0, times[-1], 25.0)
    assert observed(times, np.ones(60, bool), wanted, 25.0)[0].all()
    dropped = np.delete(times, slice(20, 30))
    seen, usable = observed(dropped, np.ones(50, bool), wanted, 25.0)
    inside = (wanted > times[19] + 0.01) & (wanted < times[30] - 0.01)
    assert not seen[inside].any()
    assert not usable[inside].any()
    assert seen[~inside].mean() > 0.95


def test_long_recordings_are_cut_in_pauses() -> None:
    times = np.arange(25 * 60) / 25
    samples = voice(times, mouth(times), 60.0)
    parts = spans(np.ones(len(times), bool), samples, 25.0)
    assert sum(map(len, parts)) == len(times)
    assert max(map(len, parts)) <= 1.5 * LONGEST * 25
    level = mouth(np.array([part.first / 25 for part in parts[1:]]))
    assert level.max() < 0.2 < mouth(times).max()


def test_head_pose_is_taken_out() -> None:
    """A face that turns, moves and comes closer while its mouth opens: pose found, only the mouth
    is left.
    """
    rng = np.random.default_rng(0)
    reference = rng.uniform(-8, 8, (468, 3))
    count = 60
    t = np.linspace(0, 1, count)
    truth = np.stack([0.2 * np.sin(5 * t), 0.5 * np.cos(4 * t), 0.3 * t], 1)
    turns = np.stack([pose_matrix(pose) for pose in truth])
    face = np.repeat(reference[None], count, 0)
    moving = [i for i in range(468) if i not in STABLE][:40]
    face[:, moving, 1] -= np.abs(np.sin(9 * t))[:, None]
    seen = (face @ np.swapaxes(turns, 1, 2)) * (30 + 0.5 * t)[:, None, None] + np.stack(
        [100 * t, 50 - 9 * t, 0 * t], 1
    )[:, None]
    fixed = register(seen * [1, -1, -1], reference, 25.0)
    assert np.abs(angles(fixed.rotation) - truth).max() < 1e-6
    assert np.abs(fixed.positions - face).max() < 0.02  # of 8: the scale is smoothed in time
    assert fixed.scale == pytest.approx(30 + 0.5 * t, rel=0.01)
    assert angles(mean_rotation(turns)[None])[0] == pytest.approx(truth.mean(0), abs=0.05)


def test_trembling_is_measured_and_its_scale_smoothed() -> None:
    rng = np.random.default_rng(0)
    still = rng.uniform(-8, 8, (468, 3))
    noise = rng.normal(0, 0.02, (200, 468, 3))
    assert jitter(still + noise) == pytest.approx(0.02, rel=0.05)
    assert jitter(still + np.linspace(0, 1, 200)[:, None, None]) < 1e-9


def test_the_followed_face() -> None:
    """The largest near the middle first, then the nearest; a face that jumps in is another's, until
    a second has passed.
    """

    def face(x: float, width: float) -> np.ndarray:
        return np.array([[x - width / 2, 50, 0], [x + width / 2, 50, 0]])

    follower = Follower()
    size = (640, 480)
    assert follower.choose([], size, 0.0) is None
    assert follower.choose([face(600, 80), face(320, 90)], size, 0.0) == 1
    assert follower.choose([face(330, 80), face(500, 200)], size, 0.1) == 0
    assert follower.choose([face(600, 200)], size, 0.2) is None
    assert follower.choose([face(600, 200)], size, 1.05) is None
    assert follower.choose([face(600, 200)], size, 1.3) == 0


def test_subjects_by_name(tmp_path: Path) -> None:
    for name in (
        "anna/a.mp4",
        "anna/x/b.mp4",
        "ben_hello there.MOV",
        "VID_20260102_101500.mp4",
        "IMG_0042.mov",
        "hi.mp4",
        "no.txt",
    ):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(b"")
    (tmp_path / "mine" / ".hidden.mp4").write_bytes(b"")

    def names(rule: str | None) -> set[tuple[str, str]]:
        found, problems = find_recordings(tmp_path / "mine", rule)
        assert not problems
        return {(recording.subject, recording.sentence) for recording in found}

    rest = {("mine", "VID_20260102_101500"), ("mine", "IMG_0042"), ("mine", "hi")}
    assert names(None) == rest | {("anna", "a"), ("anna", "x-b"), ("ben", "hello-there")}
    assert names("me") == {
        ("me", s)
        for s in ("anna-a", "anna-x-b", "ben_hello-there", "VID_20260102_101500", "IMG_0042", "hi")
    }
    assert ("VID_20260102", "101500") in names("prefix")
    assert ("hi", "1") in names("file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no video"):
        find_recordings(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file or folder"):
        find_recordings(tmp_path / "nothing")


def test_held_out_within_every_subject() -> None:
    keys = (
        [("a", f"s{n}") for n in range(100)]
        + [("b", f"s{n}") for n in range(3)]
        + [(who, "x") for who in "cdefg"]
    )
    splits = dict(zip(keys, hold_out(keys)))

    def counts(who: str) -> list[int]:
        own = [split for (subject, _), split in splits.items() if subject == who]
        return [own.count(name) for name in ("train", "val", "test")]

    assert (counts("a"), counts("b")) == ([85, 10, 5], [1, 1, 1])
    assert sorted(splits[who, "x"] for who in "cdefg") == ["test", "train", "train", "train", "val"]
    assert hold_out([("c", "x")]) == ["train"]
    assert hold_out(keys[::-1]) == [splits[key] for key in keys[::-1]]


def test_quality_in_words() -> None:
    """A good clip draws no warning; each fault draws its own."""
    rng = np.random.default_rng(0)
    times = np.arange(750) / 25
    gap = 0.01 * mouth(times)
    positions = np.repeat(rng.uniform(-0.08, 0.08, (1, 468, 3)), 750, 0)
    pose, forward, width = np.zeros((750, 3)), np.ones(750), np.full(750, 300.0)
    samples = voice(times, mouth(times), 30.0)
    good = clip_quality(positions, gap, np.ones(750, bool), pose, forward, width, samples, 25.0)
    assert clip_warnings(good) == []
    assert good.correlation is not None
    assert good.correlation > 0.6
    assert good.lag == pytest.approx(0.0, abs=0.02)
    late = clip_quality(
        positions, np.roll(gap, 4), np.ones(750, bool), pose, forward, width, samples, 25.0
    )
    assert late.lag == pytest.approx(0.16, abs=0.02)
    seen = np.ones(750, bool)
    seen[100:150] = False
    noisy = positions + rng.normal(0, 0.001, positions.shape)
    bad = clip_quality(
        noisy, gap, seen, pose, np.full(750, np.cos(0.6)), np.full(750, 70.0), 0.001 * samples, 25.0
    )
    said = " ".join(clip_warnings(bad))
    for part in (
        "70 pixels wide; expected at least 150",
        "in 93% of",
        "34 degrees",
        "tremble by 1.0",
        "quiet (-8",
    ):
        assert part in said, (part, said)
    assert bad.longest_gap == pytest.approx(2.0)
    curves = [np.eye(21)[14]]
    figures, warned = overall({"a": good}, curves, 25.0)
    assert figures["clips"] == 1
    assert "160 ms after" in warned[0]


def test_quality_of_a_file() -> None:
    times = np.delete(np.arange(300) / 30, slice(100, 130))
    found = np.ones(270, bool)
    found[:10] = False
    quality = file_quality(times, found, found.astype(int), np.array([1920, 1080]), 0, 0.0, 9.0)
    assert quality.fps == pytest.approx(30.0)
    assert quality.dropped == pytest.approx(0.1, abs=0.001)
    assert quality.even
    assert quality.longest_gap == pytest.approx(1.0, abs=0.04)
    assert "10.0% of the pictures were dropped" in file_warnings(quality)[0]
    said = " ".join(
        file_warnings(replace(quality, fps=12.0, clipped=0.02, several_faces=0.5, undecodable=3))
    )
    for part in (
        "12.0 pictures a second",
        "2.00% of the sound is clipped",
        "several faces in 50%",
        "3 damaged pieces",
    ):
        assert part in said


def test_model_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, named by the environment, in RAW, beside RAW; else a sentence says where to get it."""
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(InputError, match=r"https://\S+face_landmarker .* --model"):
        find_model(raw)
    (tmp_path / "face_landmarker.task").write_bytes(b"")
    assert find_model(raw) == tmp_path / "face_landmarker.task"
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"other.* does not exist"):
        find_model(raw)
    assert find_model(raw, tmp_path / "face_landmarker.task") == tmp_path / "face_landmarker.task"


@pytest.mark.parametrize("packed", [False, True])
def test_canonical_face_is_read_from_the_model(tmp_path: Path, packed: bool) -> None:
    vertices = np.random.default_rng(0).normal(size=(468, 5)).astype("<f4")

    def varint(value: int) -> bytes:
        return (
            bytes([value & 0x7F | 0x80, value >> 7])
            if value < 1 << 14
            else bytes([value & 0x7F | 0x80]) + varint(value >> 7)
        )

    raw = vertices.tobytes()
    body = (
        b"\x1a" + varint(len(raw)) + raw
        if packed
        else b"".join(b"\x1d" + raw[i : i + 4] for i in range(0, len(raw), 4))
    )
    mesh = b"\x08\x00\x10\x00" + body + b"\x20\x05"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(
            GEOMETRY,
            b"\x0a" + varint(len(mesh)) + mesh + b"\x12\x05\x08\x04" + struct.pack("<I", 21)[:3],
        )
    (tmp_path / "m.task").write_bytes(out.getvalue())
    assert np.array_equal(read_canonical(tmp_path / "m.task").astype(np.float32), vertices[:, :3])
    (tmp_path / "m.task").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"m\.task is damaged, cut off or not a model"):
        read_canonical(tmp_path / "m.task")
