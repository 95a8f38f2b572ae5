"""Any sound becomes Speech: mono float32 at 16 kHz, whole or block by block."""

from __future__ import annotations

from jambatalk.audio.blocks import open_blocks
from jambatalk.audio.speech import LONG_SECONDS, RATE, Speech

__all__ = ["LONG_SECONDS", "RATE", "Speech", "open_blocks"]
