"""A tiny built-in typeface for the labels of contact sheets: capitals, digits and a few signs, 5 by 7 dots."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Seven rows from the top, each five dots as the bits of a number (16 is the leftmost); small letters are drawn as capitals.
ROWS = {
    "A": "0e 11 11 1f 11 11 11", "B": "1e 11 11 1e 11 11 1e", "C": "0e 11 10 10 10 11 0e", "D": "1e 11 11 11 11 11 1e",
    "E": "1f 10 10 1e 10 10 1f", "F": "1f 10 10 1e 10 10 10", "G": "0e 11 10 17 11 11 0f", "H": "11 11 11 1f 11 11 11",
    "I": "0e 04 04 04 04 04 0e", "J": "07 02 02 02 02 12 0c", "K": "11 12 14 18 14 12 11", "L": "10 10 10 10 10 10 1f",
    "M": "11 1b 15 15 11 11 11", "N": "11 19 15 13 11 11 11", "O": "0e 11 11 11 11 11 0e", "P": "1e 11 11 1e 10 10 10",
    "Q": "0e 11 11 11 15 12 0d", "R": "1e 11 11 1e 14 12 11", "S": "0f 10 10 0e 01 01 1e", "T": "1f 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0e", "V": "11 11 11 11 11 0a 04", "W": "11 11 11 15 15 1b 11", "X": "11 11 0a 04 0a 11 11",
    "Y": "11 11 0a 04 04 04 04", "Z": "1f 01 02 04 08 10 1f",
    "0": "0e 11 13 15 19 11 0e", "1": "04 0c 04 04 04 04 0e", "2": "0e 11 01 06 08 10 1f", "3": "1e 01 01 0e 01 01 1e",
    "4": "02 06 0a 12 1f 02 02", "5": "1f 10 1e 01 01 11 0e", "6": "06 08 10 1e 11 11 0e", "7": "1f 01 02 04 08 08 08",
    "8": "0e 11 11 0e 11 11 0e", "9": "0e 11 11 0f 01 02 0c",
    " ": "00 00 00 00 00 00 00", ".": "00 00 00 00 00 0c 0c", ",": "00 00 00 00 0c 04 08", ":": "00 0c 0c 00 0c 0c 00",
    "-": "00 00 00 1f 00 00 00", "_": "00 00 00 00 00 00 1f", "+": "00 04 04 1f 04 04 00", "=": "00 00 1f 00 1f 00 00",
    "/": "01 01 02 04 08 10 10", "(": "02 04 08 08 08 04 02", ")": "08 04 02 02 02 04 08", "%": "18 19 02 04 08 13 03",
    "'": "04 04 08 00 00 00 00", "|": "04 04 04 04 04 04 04", "!": "04 04 04 04 04 00 04", "?": "0e 11 01 06 04 00 04",
    "*": "00 15 0e 1f 0e 15 00", "<": "02 04 08 10 08 04 02", ">": "08 04 02 01 02 04 08", "#": "0a 0a 1f 0a 1f 0a 0a",
}  # fmt: skip
WIDTH, HEIGHT, ADVANCE = 5, 7, 6


def glyph(character: str) -> Array:
    """(7, 5) bool dots; an unknown character is a full block, so that a gap in the typeface is seen."""
    rows = ROWS.get(character.upper(), "1f 1f 1f 1f 1f 1f 1f")
    bits = np.array([int(row, 16) for row in rows.split()])
    return (bits[:, None] >> np.arange(WIDTH)[::-1]) & 1 > 0


def text_size(text: str, scale: int) -> tuple[int, int]:
    """(width, height) of a line in pixels."""
    return max(0, len(text) * ADVANCE - 1) * scale, HEIGHT * scale


def draw_text(image: Array, text: str, corner: tuple[int, int], colour: tuple[int, int, int], scale: int) -> None:
    """Write a line into (H, W, 3) uint8 with its upper left at ``corner`` (x, y); what does not fit is cut off."""
    x, y = corner
    for character in text:
        dots = glyph(character).repeat(scale, 0).repeat(scale, 1)
        place = image[max(y, 0) : y + dots.shape[0], max(x, 0) : x + dots.shape[1]]
        place[dots[: place.shape[0], : place.shape[1]]] = colour
        x += ADVANCE * scale
