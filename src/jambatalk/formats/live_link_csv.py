"""Motion as the CSV that Epic's Live Link Face app records: what Unreal, Blender and Maya importers
read.

Checked against recordings of the app: columns ``Timecode, BlendShapeCount``, the 52 ARKit shapes
with a capital first letter, then nine angles in radians; ten decimals; ``HH:MM:SS:FF.fff`` where FF
counts frames within the second. In those recordings a positive pitch looks down and a positive yaw
turns to the face's own right, so yaw is our yaw negated.
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, reading, reason, shown
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.face.shape_sets import SHAPE_SETS
from jambatalk.formats.common import check_names, finite_float32, read_motion, weights_of
from jambatalk.motion import Motion

HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
EYES = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
ANGLES = HEAD + EYES
SHAPES = tuple(name[0].upper() + name[1:] for name in ARKIT_NAMES)
COLUMNS = ("Timecode", "BlendShapeCount", *SHAPES, *ANGLES)
BLEND_SHAPE_COUNT = len(SHAPES) + len(ANGLES)
NUMBERS = ",%.10f" * BLEND_SHAPE_COUNT

EYE_RADIANS = 0.6
"""How far an eye turns at weight 1 of a look shape; recordings of the app lie between 0.46 (up) and
0.72 (out).
"""

_LOOK = {name: i for i, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook")}

SHORT_FPS = 60.0
"""Frame rate of a file shorter than a second, whose time codes do not show it: the app's own."""

HIGHEST_FPS = 1000.0
LONGEST_GAP = 60.0
"""Most seconds of lost rows that are filled in between two rows."""

DROPPED = {30: 2, 60: 4}
"""Frame numbers that drop-frame time code leaves out each minute but every tenth (SMPTE 12M)."""

TIMECODE = re.compile(r"(\d{1,9}):(\d{1,9}):(\d{1,9})([:;.])(\d{1,9}(?:[.,]\d{1,9})?)")
DAY = 24 * 3600


def save(motion: Motion, path: Path) -> None:
    """Write all 52 shapes (0 for those that the motion does not have) and the angles.

    Visemes (``face.shape_sets``), which a recording cannot hold, become a plain table: the time in
    seconds and a column for each.

    Raises:
        InputError: vertex offsets, or shapes of no known set.
    """
    weights = weights_of(motion, ".csv")
    if motion.names in {one.names for one in SHAPE_SETS.values() if one.names}:
        _save_table(motion, weights, path)
        return
    check_names(motion.names, f"cannot write {path}")
    table = np.zeros((len(motion), len(SHAPES)), np.float64)
    table[:, [ARKIT_NAMES.index(name) for name in motion.names]] = weights
    angles = head_and_eyes(table, motion.head_pose)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\r\n")
        for t in range(len(motion)):
            numbers = NUMBERS % (*table[t], *angles[t])
            file.write(f"{timecode(t, motion.fps)},{BLEND_SHAPE_COUNT}{numbers}\r\n")


def _save_table(motion: Motion, weights: NDArray[Any], path: Path) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(("time", *motion.names)) + "\r\n")
        for t, row in enumerate(weights.tolist()):
            numbers = (t / motion.fps, *row)
            file.write(",".join(f"{number:.6f}" for number in numbers) + "\r\n")


def load(path: Path) -> Motion:
    """Read a recording of the app or what ``save`` wrote.

    Gives all shapes that the file has, and the head pose unless it is all zero. The frame rate
    comes from the time codes, which may pass midnight or be drop-frame. Rows that the app lost are
    filled in by linear interpolation; a last row that is cut off is left out. Tables that a
    spreadsheet saved with semicolons and decimal commas are read as well.

    Raises:
        InputError: the file is damaged, holds something else, or lost more than a minute.
    """
    codes, numbers, names = _rows(path)
    seconds, fps = _times(codes, path)
    shapes = [names.index(name) for name in SHAPES if name in names]
    present = [ARKIT_NAMES[SHAPES.index(names[i])] for i in shapes]
    yaw, pitch, roll = (
        numbers[:, names.index(name)] if name in names else np.zeros(len(numbers)) for name in HEAD
    )
    pose = np.stack([pitch, -yaw, roll], axis=1)
    count = round((seconds[-1] - seconds[0]) * fps) + 1
    if count != len(numbers) or np.abs(np.diff(seconds) * fps - 1).max(initial=0.0) > 0.5:
        grid = seconds[0] + np.arange(count) / fps
        numbers = np.stack([np.interp(grid, seconds, column) for column in numbers.T], axis=1)
        pose = np.stack([np.interp(grid, seconds, column) for column in pose.T], axis=1)
    return read_motion(
        str(path),
        fps,
        weights=finite_float32(numbers[:, shapes], str(path)),
        names=tuple(present),
        head_pose=finite_float32(pose, str(path)) if pose.any() else None,
    )


def head_and_eyes(weights: NDArray[Any], pose: NDArray[Any] | None) -> NDArray[Any]:
    """Angles (T, 9) in radians: yaw, pitch and roll of head, left eye and right eye.

    Order and names are those of Unreal's enumeration EARFaceBlendShape from its place 52 on
    (HeadYaw ... RightEyeRoll), the signs those of the Live Link Face app's recordings: a positive
    pitch looks down, a positive yaw turns to the face's own right.

    Args:
        weights: (T, 52) in 0..1, in ``ARKIT_NAMES``' order; an eye turns by ``EYE_RADIANS`` at
            weight 1 of a look shape.
        pose: (T, 3) radians (pitch, yaw, roll), None for a head at rest.
    """
    angles = np.zeros((len(weights), 9))
    if pose is not None:
        pitch, yaw, roll = pose.T
        angles[:, :3] = np.stack([-yaw, pitch, roll], axis=1)
    # Outwards is the left eye's own left (negative yaw) and the right eye's own right.
    for first, side, inwards in ((3, "Left", 1.0), (6, "Right", -1.0)):
        into, out, down, up = (
            weights[:, _LOOK[f"eyeLook{way}{side}"]] for way in ("In", "Out", "Down", "Up")
        )
        angles[:, first], angles[:, first + 1] = (
            EYE_RADIANS * inwards * (into - out),
            EYE_RADIANS * (down - up),
        )
    return angles


def timecode(frame: int, fps: float) -> str:
    """Time code ``HH:MM:SS:FF.fff`` of a frame; FF counts within the second."""
    second = math.floor(frame / fps + 1e-9)
    thousandths = max(0, round((frame - second * fps) * 1000))
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{clock}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"


def _rows(path: Path) -> tuple[list[str], NDArray[Any], list[str]]:
    """(time codes, (T, columns) numbers, column names) of a file, checked."""
    with reading(path, "a CSV file"):
        text = path.read_bytes().decode("utf-8-sig")
        first = text[:200].lstrip()
        delimiter = next((sign for sign in ",;\t" if first.startswith(f"Timecode{sign}")), "")
        if not delimiter:
            raise InputError(
                f"{path} is not a Live Link Face CSV: expected a header that starts with "
                "Timecode,BlendShapeCount"
            )
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [(reader.line_num, row) for row in reader if any(row)]
    # Some versions of the app and some exporters write ARKit's own small first letter.
    words = [column.strip() for column in rows[0][1][1:]]
    header = [name[:1].upper() + name[1:] for name in words]
    check_names(header, str(path), COLUMNS)
    if len(rows) > 1 and not text.endswith(("\n", "\r")):
        last = rows[-1][1]
        if len(last) <= len(header) or last[-1].strip()[-1:] in ("", "-", "."):
            del rows[-1]  # written as the app or the disk ended
    if len(rows) == 1:
        raise InputError(f"{path} holds no frames, only a header")
    for line, row in rows[1:]:
        if len(row) != len(header) + 1:
            raise InputError(f"{path}, line {line}: {len(row)} columns, expected {len(header) + 1}")
    cells = [row[1:] for _, row in rows[1:]]
    if delimiter != ",":  # a spreadsheet's decimal commas
        cells = [[cell.replace(",", ".") for cell in row] for row in cells]
    try:
        numbers = np.array(cells, np.float64)
    except ValueError as error:
        raise InputError(f"{path} holds a value that is not a number ({reason(error)})") from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{path} holds values that are not finite")
    return [row[0] for _, row in rows[1:]], numbers, header


def _times(codes: list[str], path: Path) -> tuple[NDArray[Any], float]:
    """((T,) seconds, frames per second) of codes whose last field counts at an unknown rate."""
    whole, part = np.zeros(len(codes)), np.zeros(len(codes))
    semicolons = False
    for i, code in enumerate(codes):
        match = TIMECODE.fullmatch(code.strip())
        if match is None:
            raise InputError(
                f"{path}, line {i + 2}: time code {shown(code)}, expected HH:MM:SS:FF.fff"
            )
        hours, minutes, seconds = (float(group) for group in match.groups()[:3])
        semicolons |= match[4] == ";"
        part[i] = float(match[5].replace(",", "."))
        whole[i] = 3600 * hours + 60 * minutes + seconds
    # A recording over midnight begins again at 0.
    whole += DAY * np.cumsum(np.diff(whole, prepend=whole[0]) < -DAY / 2)
    within = np.diff(part)[np.diff(whole) == 0]
    step = float(np.median(within)) if len(within) else 1.0
    turns = np.flatnonzero(np.diff(whole) == 1)
    # Across a full second the count falls back by one second's worth of frames, less one step.
    # Lost rows make it fall back by less: the largest falls count.
    falls = part[turns] + step - part[turns + 1]
    per_second = SHORT_FPS * step
    if len(turns):
        whole_falls = falls[np.abs(falls - falls.max()) < 0.5 * step]
        per_second = float(np.median(whole_falls))
    if step <= 0 or per_second <= 0:
        raise InputError(f"{path}: the time codes do not advance")
    if abs(per_second - round(per_second)) < 0.02:
        per_second = float(round(per_second))
    fps = per_second / step
    if abs(fps - round(fps)) < 0.02:
        fps = float(round(fps))
    if fps > HIGHEST_FPS:
        raise InputError(
            f"{path}: the time codes give {fps:,.0f} frames per second, "
            f"expected at most {HIGHEST_FPS:,.0f}"
        )
    times = whole + part / per_second
    dropped = DROPPED.get(round(per_second), 0) if per_second == round(per_second) else 0
    if dropped and (semicolons or _skips_minutes(whole, part, dropped)):
        # Frame numbers of which some are left out, so that the code keeps up with the clock.
        passed = np.floor(whole / 60)
        labels = whole * per_second + part
        frames = labels - dropped * (passed - np.floor(passed / 10))
        fps = fps / 1.001
        times = frames * 1.001 / per_second
    gaps = np.diff(times)
    if (gaps <= 0).any():
        raise InputError(f"{path}, line {int(np.argmax(gaps <= 0)) + 3}: the time code goes back")
    if gaps.max(initial=0.0) > LONGEST_GAP:
        raise InputError(
            f"{path}, line {int(np.argmax(gaps)) + 3}: {gaps.max():,.0f} s are missing before "
            f"this time code, expected at most {LONGEST_GAP:.0f}"
        )
    return times, fps


def _skips_minutes(whole: NDArray[Any], part: NDArray[Any], dropped: int) -> bool:
    """Whether every minute but each tenth begins with the frame number ``dropped``."""
    minutes = whole // 60
    begins = np.flatnonzero((np.diff(minutes) == 1) & (np.diff(whole) == 1)) + 1
    begins = begins[minutes[begins] % 10 != 0]
    return bool(len(begins)) and bool((np.abs(part[begins] - dropped) < 1).all())
