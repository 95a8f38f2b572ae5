"""Telephone sound: one byte a sample to int16, by ITU-T G.711."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _mulaw_table() -> NDArray[np.int16]:
    """(256,) int16: table 2a."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _alaw_table() -> NDArray[np.int16]:
    """(256,) int16: table 1a. Even bits are sent inverted, hence 0x55."""
    code = np.arange(256) ^ 0x55
    segment, step = (code >> 4) & 7, (code & 0x0F) << 4
    size = np.where(segment == 0, step + 8, step + 0x108 << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)


MULAW, ALAW = _mulaw_table(), _alaw_table()
