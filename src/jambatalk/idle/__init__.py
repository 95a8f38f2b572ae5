"""Life over the speech: blinks, gaze, head motion and breath, drawn from a seed and from the
sound's prosody."""

from __future__ import annotations

from jambatalk.idle.idle import AUTO, IdleMotion, IdleSettings, add_idle_motion

__all__ = ["AUTO", "IdleMotion", "IdleSettings", "add_idle_motion"]
