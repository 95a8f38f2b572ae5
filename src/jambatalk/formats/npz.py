"""Motion as a numpy archive: every number exactly as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.arrays import read_arrays
from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, shortened, shown
from jambatalk.formats.common import check_names, finite_float32, read_motion
from jambatalk.motion import Motion

VERSION = 1


def save(motion: Motion, path: Path) -> None:
    """Write ``version``, ``fps``, ``names`` (K,) and the motion's arrays.

    The arrays are ``weights`` (T, K) or ``offsets`` (T, V, 3), and ``head_pose`` (T, 3) if known.
    Sound and face are not stored: the file says how any face moves.
    """
    arrays: dict[str, Any] = {
        "version": np.int64(VERSION),
        "fps": np.float64(motion.fps),
        "names": np.array(motion.names, np.str_),
    }
    for name in ("weights", "offsets", "head_pose"):
        values = getattr(motion, name)
        if values is not None:
            arrays[name] = np.asarray(values, np.float32)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> Motion:
    """Read what ``save`` wrote; nothing in the file is ever executed (no pickles)."""
    found = read_arrays(path)
    if "fps" not in found or not ("weights" in found or "offsets" in found):
        raise InputError(
            f"{path} holds {shortened(', '.join(found)) or 'nothing'}, "
            "expected fps and weights or offsets of a motion"
        )
    version, fps = found.get("version", np.int64(VERSION)), found["fps"]
    if version.shape != () or version.dtype.kind not in "iu" or version != VERSION:
        raise InputError(
            f"{path} has version {shown(version.tolist())}, expected {VERSION}: "
            "it was written by a newer jambatalk"
        )
    if fps.shape != () or fps.dtype.kind not in "iuf" or not np.isfinite(fps):
        raise InputError(f"{path}: fps is {shown(fps.tolist())}, expected one number")
    names = found.get("names", np.zeros(0, np.str_))
    if names.ndim != 1 or (names.dtype.kind != "U" and len(names)):
        raise InputError(
            f"{path}: names are {names.dtype} of shape {names.shape}, expected a row of words"
        )
    words = tuple(str(name) for name in names)
    check_names(words, str(path), None)
    arrays: dict[str, Any] = {}
    for name in ("weights", "offsets", "head_pose"):
        values = found.get(name)
        if values is None:
            continue
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise InputError(f"{path}: {name} holds {values.dtype} values, expected finite numbers")
        arrays[name] = finite_float32(values, f"{path}: {name}")
    return read_motion(str(path), float(fps), names=words, **arrays)
