"""The motion of a text that a voice elsewhere speaks, such as a browser's, whose sound is not
known.
"""

from __future__ import annotations

from jambatalk.text.timing import SpokenWord, Timeline, timeline

__all__ = ["SpokenWord", "Timeline", "timeline"]
