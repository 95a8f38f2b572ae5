"""Pictures on disk, and several of them on one sheet."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.files import replacing
from jambatalk.render.lettering import draw_text, text_size

Array = NDArray[Any]

PAPER = (24, 27, 32)
INK = (226, 229, 234)


def save_png(image: Array, path: str | PathLike[str]) -> None:
    """Write (H, W, 3) uint8 as a PNG (8-bit sRGB, RFC 2083). InputError for another shape or type."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"the picture has shape {image.shape} and type {image.dtype}, expected (H, W, 3) uint8")
    height, width = image.shape[:2]
    # Each row stored as its difference from the row above (filter 2): smooth pictures then pack well.
    rows = image.reshape(height, -1)
    change = rows.copy()
    change[1:] -= rows[:-1]
    data = np.concatenate([np.full((height, 1), 2, np.uint8), change], axis=1).tobytes()
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"sRGB", b"\0"),
            (b"IDAT", zlib.compress(data, 6)),
            (b"IEND", b""),
        ):
            file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def contact_sheet(images: Sequence[Array], labels: Sequence[str], columns: int) -> Array:
    """Lay pictures out in a grid, row by row, each with its label beneath -> (H, W, 3) uint8.

    images: (h, w, 3) uint8; a smaller one is centred in its cell. labels: one for each, "" for none.
    """
    if not images or len(images) != len(labels) or columns < 1:
        raise InputError(
            f"{len(images)} pictures, {len(labels)} labels and {columns} columns, expected a label for each of 1 or more pictures"
        )
    height, width = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    scale = max(1, round(height / 256))
    gap, line = 4 * scale, text_size("x", scale)[1] + 6 * scale if any(labels) else 0
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    sheet = np.empty((rows * (height + line + gap) + gap, columns * (width + gap) + gap, 3), np.uint8)
    sheet[:] = PAPER
    for n, (image, label) in enumerate(zip(images, labels)):
        top, left = gap + n // columns * (height + line + gap), gap + n % columns * (width + gap)
        y, x = top + (height - image.shape[0]) // 2, left + (width - image.shape[1]) // 2
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        if label:
            wide, _ = text_size(label, scale)
            draw_text(sheet, label, (left + max(0, (width - wide) // 2), top + height + 3 * scale), INK, scale)
    return sheet
