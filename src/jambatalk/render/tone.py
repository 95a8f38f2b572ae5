"""From linear light to the bytes of a picture, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SHOULDER = 0.60  # linear light below this keeps its value, so a face's colours stay what they are
TABLE_SIZE = 4096
TABLE_LIMIT = 8.0  # the brightest linear value the table tells apart from white


def to_linear(srgb: Array) -> Array:
    """sRGB in 0..1 -> linear light in 0..1 (IEC 61966-2-1)."""
    srgb = np.clip(np.asarray(srgb, np.float64), 0, 1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: Array) -> Array:
    """Linear light in 0..1 -> sRGB in 0..1."""
    linear = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def film(linear: Array) -> Array:
    """The filmic curve: straight up to SHOULDER, then an exponential roll-off that reaches white only at infinity."""
    linear = np.maximum(np.asarray(linear, np.float64), 0)
    room = 1.0 - SHOULDER
    return np.where(linear < SHOULDER, linear, SHOULDER + room * (1.0 - np.exp(-(linear - SHOULDER) / room)))


def film_table() -> Array:
    """(TABLE_SIZE + 1,) float32: ``255 * to_srgb(film(x))`` at ``x = TABLE_LIMIT * (i / TABLE_SIZE) ** 2``.

    Spaced by the square root, so the dark end, where the eye and sRGB are finest, has the most entries.
    """
    steps = np.arange(TABLE_SIZE + 1) / TABLE_SIZE
    return (255.0 * to_srgb(film(TABLE_LIMIT * steps**2))).astype(np.float32)
