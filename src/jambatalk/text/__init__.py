"""The motion of a text that a voice elsewhere speaks, a browser's for one, which lets nobody hear
its sound.
"""

from __future__ import annotations

from jambatalk.text.timing import SpokenWord, Timeline, timeline

__all__ = ["SpokenWord", "Timeline", "timeline"]
