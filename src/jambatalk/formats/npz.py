"""Motion as a numpy archive: every number exactly as it is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError
from jambatalk.formats.common import check_names
from jambatalk.motion import Motion

VERSION = 1


def save(motion: Motion, path: Path) -> None:
    """Arrays ``version``, ``fps``, ``names`` (K,), ``weights`` (T, K) or ``offsets`` (T, V, 3), ``head_pose`` (T, 3) if known.

    Sound and face are not stored: the file says how a face moves, whoever's face it is.
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
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise InputError(f"{path} is damaged or no .npz archive of plain arrays") from error
    if "fps" not in found or not ("weights" in found or "offsets" in found):
        raise InputError(
            f"{path} holds {', '.join(found) or 'nothing'}, expected fps and weights or offsets of a motion"
        )
    if int(found.get("version", VERSION)) != VERSION:
        raise InputError(
            f"{path} has version {found['version']}, expected {VERSION}: it was written by a newer jambatalk"
        )
    if (
        found["fps"].shape != ()
        or found["fps"].dtype.kind not in "iuf"
        or not np.isfinite(found["fps"])
    ):
        raise InputError(f"{path}: fps is {found['fps']}, expected one number")
    names = found.get("names", np.zeros(0, np.str_))
    if names.ndim != 1 or (names.dtype.kind != "U" and len(names)):
        raise InputError(
            f"{path}: names are {names.dtype} of shape {names.shape}, expected a row of words"
        )
    check_names([str(name) for name in names], str(path), None)
    arrays: dict[str, Any] = {}
    for name in ("weights", "offsets", "head_pose"):
        values = found.get(name)
        if values is None:
            continue
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise InputError(f"{path}: {name} holds {values.dtype} values, expected finite numbers")
        arrays[name] = values.astype(np.float32, copy=False)
    try:
        return Motion(float(found["fps"]), names=tuple(str(name) for name in names), **arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
