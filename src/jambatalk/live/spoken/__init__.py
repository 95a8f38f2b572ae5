"""The motion of a text that a voice elsewhere speaks, a browser's for one, which lets nobody hear its sound."""

from jambatalk.live.spoken.timing import SpokenWord, Timeline, timeline

__all__ = ["SpokenWord", "Timeline", "timeline"]
