"""The CSV has the app's columns, and both its own files and the app's are read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jambatalk
from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.formats.live_link_csv import COLUMNS, timecode
from jambatalk.motion import Motion
from running import run

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
    """Bowing is a positive pitch; turning to the own left, and looking there with both eyes, is a
    negative yaw.
    """
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
    """The app counts at 60 while it records every other frame, starts at the time of day, and drops
    rows.
    """
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
        ("", "not a Live Link Face CSV"),
        ("hello\nworld", "not a Live Link Face CSV"),
        (HEADER, "holds no frames"),
        (
            HEADER.replace("JawOpen", "JawOpne") + "\n" + ROW,
            "unknown shape name 'JawOpne', did you mean 'JawOpen'",
        ),
        (HEADER.replace("JawOpen", "MouthClose") + "\n" + ROW, "appears twice"),
        (f"{HEADER}\n{ROW},0", "line 2: 64 columns, expected 63"),
        (f"{HEADER}\n{ROW[:-3]}abc", "not a number"),
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
    with pytest.raises(InputError, match="not a CSV file"):
        Motion.load(tmp_path / "m.csv")


def recording(path, codes, separator=",", end="\n"):
    """A file whose row t has jawOpen t / 1000."""
    rows = [HEADER.replace(",", separator)]
    for t, code in enumerate(codes):
        row = ["0.0"] * 61
        row[COLUMNS.index("JawOpen") - 2] = f"{t / 1000:.4f}"
        rows.append(",".join([code, "61", *row]))
    lines = rows[:1] + [row.replace(",", separator) for row in rows[1:]]
    path.write_text("\n".join(lines) + end)
    return path


def codes_of(frames, fps=30):
    """Time codes of whole frame rates, over midnight as well."""
    for frame in frames:
        second = frame // fps
        clock = f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        yield f"{clock}:{frame % fps:02d}.000"


def drop_frame_codes(frames, fps, sign):
    """SMPTE 12M: the first 2 (or 4) numbers of a minute are left out, but for each tenth."""
    drop = fps // 15
    for frame in frames:
        tens, rest = divmod(frame, 600 * fps - 9 * drop)
        label = frame + 9 * drop * tens + drop * max(0, (rest - drop) // (60 * fps - drop))
        yield next(codes_of([label], fps)).replace(":", sign, 3).replace(sign, ":", 2)


def test_a_recording_over_midnight(tmp_path):
    start = 24 * 3600 * 30 - 45
    back = Motion.load(recording(tmp_path / "m.csv", codes_of(range(start, start + 120))))
    assert (back.fps, len(back)) == (30.0, 120)
    np.testing.assert_allclose(back.column("jawOpen"), np.arange(120) / 1000, atol=1e-6)


@pytest.mark.parametrize("sign", [";", ":"])
@pytest.mark.parametrize("fps", [30, 60])
def test_drop_frame_time_code(fps, sign, tmp_path):
    """Ten minutes and a bit: no row is invented at the numbers that are left out."""
    count = 60 * fps + 3 * fps if sign == ":" else 605 * fps
    codes = list(drop_frame_codes(range(count), fps, sign))
    assert codes[60 * fps].endswith(f"00:01:00{sign}{fps // 15:02d}.000")
    back = Motion.load(recording(tmp_path / "m.csv", codes))
    assert back.fps == pytest.approx(fps / 1.001, rel=1e-9)
    assert len(back) == count
    np.testing.assert_allclose(back.column("jawOpen"), np.arange(count) / 1000, atol=1e-4)


def test_lost_rows_leave_the_clock_as_it_is(tmp_path):
    rng = np.random.default_rng(2)
    frames = np.flatnonzero(rng.random(300) > 0.3)
    frames[[0, -1]] = 0, 299
    path = tmp_path / "m.csv"
    recording(path, codes_of(frames.tolist()))
    back = Motion.load(path)
    assert (back.fps, len(back)) == (30.0, 300)
    wanted = np.interp(np.arange(300), frames, np.arange(len(frames)) / 1000)
    np.testing.assert_allclose(back.column("jawOpen"), wanted, atol=1e-6)


def test_tables_of_a_spreadsheet(tmp_path):
    path = recording(tmp_path / "m.csv", codes_of(range(40)), separator=";")
    comma = path.read_text().replace("0.0", "0,0").replace(".000;", ",000;")
    path.write_text(comma)
    back = Motion.load(path)
    assert (back.fps, len(back)) == (30.0, 40)
    assert back.column("jawOpen")[39] == pytest.approx(0.039)


@pytest.mark.parametrize("cut", [1, 30, 200, 300])
def test_a_last_row_that_is_cut_off_is_left_out(cut, tmp_path):
    path = recording(tmp_path / "m.csv", codes_of(range(50)), end="")
    whole = path.read_text()
    last = whole.rindex("\n")
    path.write_text(whole[: last + 1 + len(whole[last + 1 :]) * cut // 301])
    back = Motion.load(path)
    assert len(back) == 49
    np.testing.assert_allclose(back.column("jawOpen"), np.arange(49) / 1000, atol=1e-6)


def test_hours_that_are_missing_are_said(tmp_path):
    codes = [*codes_of(range(60)), "9999:00:00:00.000"]
    with pytest.raises(InputError, match=r"line 62: 35,996,398 s are missing .* at most 60"):
        Motion.load(recording(tmp_path / "m.csv", codes))
    codes = [f"00:00:00:{part}" for part in ("00.000", "00.001", "00.002", "05.000")]
    with pytest.raises(InputError, match="5,000 frames per second, expected at most 1,000"):
        Motion.load(recording(tmp_path / "m.csv", [*codes, "00:00:01:00.000"]))


def frames_of_a_maya_importer(rows: list[list[str]]) -> list[float]:
    """The rule of a public Maya importer: row after row on a timeline of 60 frames a second."""
    return [number / 60.0 for number in range(len(rows) - 1)]


def frames_of_a_time_code_importer(rows: list[list[str]]) -> list[float]:
    """The rule of another: the time code's frames count at 59.97 a second."""
    times = []
    for row in rows[1:]:
        hours, minutes, seconds, frames = row[0].split(":")
        times.append(int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / 59.97)
    return times


@pytest.mark.parametrize("rule", [frames_of_a_maya_importer, frames_of_a_time_code_importer])
def test_importers_that_assume_sixty_frames_keep_the_time(rule, tmp_path):
    speech = Path(jambatalk.__file__).parent / "assets" / "demo.flac"
    done = run("animate", speech, "--model", "light", "-o", tmp_path / "a.csv")
    assert done.status == 0, done.err
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    times = np.array(rule(rows))
    jaw = np.array([float(row[rows[0].index("JawOpen")]) for row in rows[1:]])
    true = jambatalk.load("light").animate(speech)
    expected = np.interp(times, np.arange(len(true)) / true.fps, true.column("jawOpen"))
    assert np.abs(times[-1] - (true.seconds - 1 / 60)) < 0.03
    np.testing.assert_allclose(jaw, expected, atol=0.03)
    assert run("animate", speech, "--fps", "25", "-o", tmp_path / "b.csv").status == 0
    assert Motion.load(tmp_path / "b.csv").fps == 25
