"""Read archives of numpy arrays from strangers: no pickles, bounded memory."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, reading, shown

FREE_BYTES = 2**28
"""An archive may unpack to this size, whatever its own."""

LARGEST_RATIO = 200
"""A larger one to this many times its own size: motion packs to a third, a bomb to a thousandth."""


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz archive by name.

    The shape that each member states is compared with its size before anything is allocated.

    Raises:
        InputError: the file is missing, damaged, no .npz archive, or unpacks to far more than its
            size.
    """
    source = Path(path)
    with reading(source, "an .npz archive of plain arrays"), zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > max(FREE_BYTES, LARGEST_RATIO * source.stat().st_size):
            raise InputError(
                f"{source} would unpack to {unpacked / 1e9:,.1f} GB, "
                f"more than {LARGEST_RATIO} times its size"
            )
        return {
            member.filename.removesuffix(".npy"): _read_member(archive, member, source)
            for member in members
        }


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: Path) -> NDArray[Any]:
    name = shown(member.filename)
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if header is None:
            raise InputError(f"{source}: {name} has version {version} of the .npy format")
        shape, _, dtype = header(file)
        if dtype.hasobject:
            raise InputError(f"{source}: {name} holds Python objects, expected numbers or text")
        # Python's integers: a product of 64 bits could come round to the size that is there.
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size < 0 or size != member.file_size - file.tell():
            raise InputError(
                f"{source}: {name} is said to have the shape {shown(shape)}, "
                f"but its data has another size"
            )
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        # Reading on to the end makes zipfile compare the checksum.
        file.read(1)
    return array
