"""Any sound becomes Speech: mono float32 at 16 kHz, whole or block by block."""

from __future__ import annotations

from jambatalk.audio.decode import SAMPLE_RATE, open_blocks
from jambatalk.audio.speech import LONG_SECONDS, Speech

__all__ = ["LONG_SECONDS", "SAMPLE_RATE", "Speech", "open_blocks"]
