"""Motion for voice agents, beside their sound.

    speech    the sound of answers in, pieces of sound and events out; what all others use
    events    what the events look like
    realtime  events of OpenAI's Realtime API in, the same and those of motion out
    pipecat   a processor for Pipecat (extra ``agents-pipecat``)
    livekit   an audio output for LiveKit Agents (extra ``agents-livekit``)

``pipecat`` and ``livekit`` are imported by their own names, as they need those programs.
"""

from __future__ import annotations

from jambatalk.agents.realtime import RealtimeMotion
from jambatalk.agents.speech import Piece, SpeechMotion

__all__ = ["Piece", "RealtimeMotion", "SpeechMotion"]
