"""Pictures on disk, and several of them on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from os import PathLike
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError

Array = NDArray[Any]

PAPER = (24, 27, 32)
INK = (226, 229, 234)
WIDTH, HEIGHT, ADVANCE = 5, 7, 6
"""Dots of a letter, and from one to the next."""


def save_png(image: Array, path: str | PathLike[str]) -> None:
    """Write (H, W, 3) uint8 sRGB as a PNG. InputError for another shape or type."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"the picture has shape {image.shape} and type {image.dtype}, expected (H, W, 3) uint8"
        )
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        for packet in (*codec.encode(frame), *codec.encode(None)):
            file.write(bytes(packet))


def contact_sheet(images: Sequence[Array], labels: Sequence[str], columns: int) -> Array:
    """Lay pictures out in a grid, row by row, each with its label beneath -> (H, W, 3) uint8.

    Args:
        images: (h, w, 3) uint8; a smaller one is centred in its cell.
        labels: one for each, "" for none.
        columns: pictures in a row.
    """
    if not images or len(images) != len(labels) or columns < 1:
        raise InputError(
            f"{len(images)} pictures, {len(labels)} labels and {columns} columns, "
            "expected a label for each of 1 or more pictures"
        )
    height, width = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    scale = max(1, round(height / 256))
    gap, line = 4 * scale, text_size("x", scale)[1] + 6 * scale if any(labels) else 0
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    sheet = np.empty(
        (rows * (height + line + gap) + gap, columns * (width + gap) + gap, 3), np.uint8
    )
    sheet[:] = PAPER
    for n, (image, label) in enumerate(zip(images, labels)):
        top, left = gap + n // columns * (height + line + gap), gap + n % columns * (width + gap)
        y, x = top + (height - image.shape[0]) // 2, left + (width - image.shape[1]) // 2
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        if label:
            wide, _ = text_size(label, scale)
            draw_text(
                sheet,
                label,
                (left + max(0, (width - wide) // 2), top + height + 3 * scale),
                INK,
                scale,
            )
    return sheet


def glyph(character: str) -> Array:
    """Dots (7, 5) of a letter; a full block where the typeface has none."""
    rows = ROWS.get(character.upper(), "1f 1f 1f 1f 1f 1f 1f")
    bits = np.array([int(row, 16) for row in rows.split()])
    return (bits[:, None] >> np.arange(WIDTH)[::-1]) & 1 > 0


def text_size(text: str, scale: int) -> tuple[int, int]:
    """(width, height) of a line in pixels."""
    return max(0, len(text) * ADVANCE - 1) * scale, HEIGHT * scale


def draw_text(
    image: Array, text: str, corner: tuple[int, int], colour: tuple[int, int, int], scale: int
) -> None:
    """Write a line into (H, W, 3) uint8, upper left at ``corner`` (x, y), cut at the edges."""
    x, y = corner
    for character in text:
        dots = glyph(character).repeat(scale, 0).repeat(scale, 1)
        place = image[max(y, 0) : y + dots.shape[0], max(x, 0) : x + dots.shape[1]]
        place[dots[: place.shape[0], : place.shape[1]]] = colour
        x += ADVANCE * scale


# The labels' typeface, since no base dependency draws text: capitals, digits and a few signs. Seven
# rows from the top, each five dots as the bits of a number (16 is the leftmost).
ROWS = {
    "A": "0e 11 11 1f 11 11 11",
    "B": "1e 11 11 1e 11 11 1e",
    "C": "0e 11 10 10 10 11 0e",
    "D": "1e 11 11 11 11 11 1e",
    "E": "1f 10 10 1e 10 10 1f",
    "F": "1f 10 10 1e 10 10 10",
    "G": "0e 11 10 17 11 11 0f",
    "H": "11 11 11 1f 11 11 11",
    "I": "0e 04 04 04 04 04 0e",
    "J": "07 02 02 02 02 12 0c",
    "K": "11 12 14 18 14 12 11",
    "L": "10 10 10 10 10 10 1f",
    "M": "11 1b 15 15 11 11 11",
    "N": "11 19 15 13 11 11 11",
    "O": "0e 11 11 11 11 11 0e",
    "P": "1e 11 11 1e 10 10 10",
    "Q": "0e 11 11 11 15 12 0d",
    "R": "1e 11 11 1e 14 12 11",
    "S": "0f 10 10 0e 01 01 1e",
    "T": "1f 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0e",
    "V": "11 11 11 11 11 0a 04",
    "W": "11 11 11 15 15 1b 11",
    "X": "11 11 0a 04 0a 11 11",
    "Y": "11 11 0a 04 04 04 04",
    "Z": "1f 01 02 04 08 10 1f",
    "0": "0e 11 13 15 19 11 0e",
    "1": "04 0c 04 04 04 04 0e",
    "2": "0e 11 01 06 08 10 1f",
    "3": "1e 01 01 0e 01 01 1e",
    "4": "02 06 0a 12 1f 02 02",
    "5": "1f 10 1e 01 01 11 0e",
    "6": "06 08 10 1e 11 11 0e",
    "7": "1f 01 02 04 08 08 08",
    "8": "0e 11 11 0e 11 11 0e",
    "9": "0e 11 11 0f 01 02 0c",
    " ": "00 00 00 00 00 00 00",
    ".": "00 00 00 00 00 0c 0c",
    ",": "00 00 00 00 0c 04 08",
    ":": "00 0c 0c 00 0c 0c 00",
    "-": "00 00 00 1f 00 00 00",
    "_": "00 00 00 00 00 00 1f",
    "+": "00 04 04 1f 04 04 00",
    "=": "00 00 1f 00 1f 00 00",
    "/": "01 01 02 04 08 10 10",
    "(": "02 04 08 08 08 04 02",
    ")": "08 04 02 02 02 04 08",
    "%": "18 19 02 04 08 13 03",
    "'": "04 04 08 00 00 00 00",
    "|": "04 04 04 04 04 04 04",
    "!": "04 04 04 04 04 00 04",
    "?": "0e 11 01 06 04 00 04",
    "*": "00 15 0e 1f 0e 15 00",
    "<": "02 04 08 10 08 04 02",
    ">": "08 04 02 01 02 04 08",
    "#": "0a 0a 1f 0a 1f 0a 0a",
}
