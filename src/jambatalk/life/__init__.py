"""Life over the speech: blinks, gaze, head motion and breath, drawn from a seed and from the sound's prosody."""

from jambatalk.life.life import Life
from jambatalk.life.offline import enliven
from jambatalk.life.settings import LifeSettings

__all__ = ["Life", "LifeSettings", "enliven"]
