"""Motion as JSON: the form that web pages and language-model agents read without a library.

``{"format": "jambatalk-motion", "version": 1, "fps": 25.0, "seconds": 2.0, "names": [...],
"frames": [{"time": 0.0, "weights": [...], "head_pose": [pitch, yaw, roll]}, ...]}``; weights follow
the order of ``names``, ``head_pose`` (radians) is there only when known. Of Microsoft's visemes the
head also holds ``events``: [seconds, id] at each change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, reading
from jambatalk.face.shape_sets import SHAPE_SETS, viseme_events
from jambatalk.formats.common import check_names, finite_float32, read_motion, weights_of
from jambatalk.motion import Motion

FORMAT = "jambatalk-motion"
VERSION = 1


def save(motion: Motion, path: Path) -> None:
    """Write one frame per line: long files stay readable and need little memory."""
    weights = weights_of(motion, ".json")
    head = {
        "format": FORMAT,
        "version": VERSION,
        "fps": motion.fps,
        "seconds": motion.seconds,
        "names": list(motion.names),
    }
    if motion.names == SHAPE_SETS["microsoft"].names:
        events = viseme_events(motion)
        head["events"] = [[round(time, 6), int(name.rpartition("_")[2])] for time, name in events]
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(json.dumps(head)[:-1] + ', "frames": [')
        for t, row in enumerate(weights):
            frame: dict[str, Any] = {"time": round(t / motion.fps, 6), "weights": _rounded(row)}
            if motion.head_pose is not None:
                frame["head_pose"] = _rounded(motion.head_pose[t])
            file.write(("," if t else "") + "\n" + json.dumps(frame))
        file.write("\n]}\n")


def load(path: Path) -> Motion:
    """Read what ``save`` or the page of ``jambatalk serve`` wrote.

    Raises:
        InputError: the file is damaged or holds something else.
    """
    with reading(path, "a JSON file"):
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (
        FORMAT,
        VERSION,
    ):
        raise InputError(
            f'{path} is not a motion: expected "format": "{FORMAT}" and "version": {VERSION}'
        )
    names, frames, fps = found.get("names"), found.get("frames"), found.get("fps")
    if (
        not isinstance(names, list)
        or not isinstance(frames, list)
        or not isinstance(fps, (int, float))
    ):
        raise InputError(f"{path}: expected a list of names, a list of frames and fps as a number")
    words = tuple(str(name) for name in names)
    check_names(words, str(path), None)
    count = len(frames)
    try:
        rate = float(fps)
        rows = np.array([frame["weights"] for frame in frames], np.float64)
        rows = rows.reshape(count, len(words))
        head_pose = None
        if frames and all("head_pose" in frame for frame in frames):
            angles = np.array([frame["head_pose"] for frame in frames], np.float64)
            head_pose = finite_float32(angles.reshape(count, 3), f"{path}: a frame")
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: every frame holds {len(words)} weights "
            "(and 3 angles of head_pose, if any), and fps is a number"
        ) from error
    weights = finite_float32(rows, f"{path}: a frame")
    return read_motion(str(path), rate, weights=weights, names=words, head_pose=head_pose)


def _rounded(row: Any) -> list[float]:
    """Round to six decimals: a thousandth of what an eye could see, and a third of the size."""
    values: list[float] = np.round(row.astype(np.float64), 6).tolist()
    return values
