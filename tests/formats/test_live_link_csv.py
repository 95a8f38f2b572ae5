"""The CSV has the app's columns, and both its own files and the app's are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.formats.live_link_csv import COLUMNS, timecode
from jambatalk.motion import Motion

RNG = np.random.default_rng(5)
# The header line of a recording by the app itself.
HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,EyeWideRight,"
    "JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,MouthSmileLeft,"
    "MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,MouthStretchRight,"
    "MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,MouthLowerDownLeft,"
    "MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,BrowOuterUpLeft,"
    "BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,TongueOut,HeadYaw,HeadPitch,"
    "HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


def full(frames: int, fps: float = 25.0) -> Motion:
    pose = (0.3 * RNG.standard_normal((frames, 3))).astype(np.float32)
    return Motion(
        fps, weights=RNG.random((frames, 52), np.float32), names=ARKIT_NAMES, head_pose=pose
    )


def test_columns_are_the_apps():
    assert ",".join(COLUMNS) == HEADER


def test_rows(tmp_path):
    motion = Motion(25.0, weights=np.full((30, 1), 0.25, np.float32), names=("jawOpen",))
    motion.save(tmp_path / "m.csv")
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert len(lines) == 31
    row = dict(zip(HEADER.split(","), lines[27].split(",")))
    assert row["Timecode"] == "00:00:01:01.000"
    assert row["BlendShapeCount"] == "61"
    assert row["JawOpen"] == "0.2500000000"
    assert row["MouthClose"] == row["HeadYaw"] == "0.0000000000"


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60, 120, 29.97, 23.976])
def test_round_trip(fps, tmp_path):
    motion = full(int(fps * 2.5), fps)
    motion.save(tmp_path / "m.csv")
    back = Motion.load(tmp_path / "m.csv")
    assert back.fps == pytest.approx(fps, rel=1e-3)
    assert back.names == ARKIT_NAMES
    assert len(back) == len(motion)
    np.testing.assert_allclose(back.weights, motion.weights, atol=1e-3 if fps % 1 else 1e-9)
    np.testing.assert_allclose(back.head_pose, motion.head_pose, atol=1e-3 if fps % 1 else 1e-7)


def test_directions_are_the_apps(tmp_path):
    """Bowing is a positive pitch; turning to the own left, and looking there with both eyes, is a negative yaw."""
    motion = Motion(
        30.0,
        weights=np.array([[1.0, 1.0, 0.0]], np.float32),
        names=("eyeLookOutLeft", "eyeLookInRight", "eyeLookUpLeft"),
        head_pose=np.array([[0.1, 0.2, 0.3]], np.float32),
    )
    motion.save(tmp_path / "m.csv")
    row = dict(zip(COLUMNS, (tmp_path / "m.csv").read_text().splitlines()[1].split(",")))
    assert float(row["HeadPitch"]) == pytest.approx(0.1)
    assert float(row["HeadYaw"]) == pytest.approx(-0.2)
    assert float(row["HeadRoll"]) == pytest.approx(0.3)
    assert float(row["LeftEyeYaw"]) < 0
    assert float(row["RightEyeYaw"]) < 0


def test_a_recording_with_a_60_fps_counter_and_dropped_rows(tmp_path):
    """The app counts at 60 while it records every other frame, starts at the time of day, and drops rows."""
    kept = [t for t in range(90) if t not in (17, 40, 41)]
    lines = [HEADER.replace("EyeBlinkLeft", "eyeBlinkLeft")]
    for t in kept:
        count = 6.595 + 2 * t
        second, frame = 21 + int(count // 60), count % 60
        values = ["0.0"] * 61
        values[17] = f"{t / 90:.10f}"
        lines.append(
            f"12:{59 + second // 60}:{second % 60:02d}:{frame:06.3f},61,{','.join(values)}"
        )
    (tmp_path / "m.csv").write_text("\n".join(lines))
    motion = Motion.load(tmp_path / "m.csv")
    assert motion.fps == 30.0
    assert len(motion) == 90
    np.testing.assert_allclose(motion.column("jawOpen"), np.arange(90) / 90, atol=1e-4)
    assert motion.head_pose is None


@settings(max_examples=200, deadline=None)
@given(
    frame=st.integers(0, 500_000),
    fps=st.sampled_from([23.976, 24.0, 25.0, 29.97, 30.0, 59.94, 60.0]),
)
def test_time_codes_tell_the_time(frame, fps):
    hours, minutes, seconds, part = timecode(frame, fps).split(":")
    assert int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(
        part
    ) / fps == pytest.approx(frame / fps, abs=1e-4)
    assert float(part) < fps


def test_what_the_format_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="vertex offsets"):
        Motion(25.0, offsets=np.zeros((2, 3, 3), np.float32)).save(tmp_path / "m.csv")
    with pytest.raises(InputError, match="unknown shape name 'jawOpne', did you mean 'jawOpen'"):
        Motion(25.0, weights=np.zeros((2, 1), np.float32), names=("jawOpne",)).save(
            tmp_path / "m.csv"
        )
    assert list(tmp_path.iterdir()) == []


ROW = "00:00:00:00.000,61," + ",".join(["0.0"] * 61)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no Live Link Face CSV"),
        ("hello\nworld", "no Live Link Face CSV"),
        (HEADER, "holds no frames"),
        (
            HEADER.replace("JawOpen", "JawOpne") + "\n" + ROW,
            "unknown shape name 'JawOpne', did you mean 'JawOpen'",
        ),
        (HEADER.replace("JawOpen", "MouthClose") + "\n" + ROW, "appears twice"),
        (f"{HEADER}\n{ROW},0", "line 2: 64 columns, expected 63"),
        (f"{HEADER}\n{ROW[:-3]}abc", "no number"),
        (f"{HEADER}\n{ROW[:-3]}nan", "not finite"),
        (f"{HEADER}\n{ROW.replace('00:00:00:00.000', 'noon')}", "time code 'noon'"),
        (f"{HEADER}\n{ROW}\n{ROW}", "do not advance"),
    ],
)
def test_what_is_no_recording(content, message, tmp_path):
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(InputError) as caught:
        Motion.load(tmp_path / "m.csv")
    assert message in str(caught.value)


def test_not_even_text(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(InputError, match="damaged or no CSV"):
        Motion.load(tmp_path / "m.csv")
