"""Option values as text, checked."""

from __future__ import annotations

import math
import re

from jambatalk.errors import InputError

LARGEST_SIDE = 8192


def parse_size(text: str) -> tuple[int, int]:
    """``512`` or ``512x640`` -> (width, height) in pixels."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×X](\d{1,5}))?", text.strip())
    if match is None:
        raise InputError(f"--size is {text!r}, expected one number such as 512, or width x height such as 512x640")
    width = int(match[1])
    height = int(match[2] or width)
    if not (16 <= width <= LARGEST_SIDE and 16 <= height <= LARGEST_SIDE):
        raise InputError(f"--size is {text!r}, expected 16 to {LARGEST_SIDE} pixels each way")
    return width, height


def parse_fps(text: str | None) -> float | None:
    """``25`` or ``29.97`` -> frames per second; None stays None (the network's own rate)."""
    if text is None:
        return None
    try:
        fps = float(text)
    except ValueError:
        fps = math.nan
    if not 1 <= fps <= 240:
        raise InputError(f"--fps is {text!r}, expected a number from 1 to 240")
    return fps


def check_identity(name: str | None) -> None:
    """InputError, naming the choices, unless the default head has this identity."""
    if name is not None:
        from jambatalk.face.head import default_head

        default_head(name)
