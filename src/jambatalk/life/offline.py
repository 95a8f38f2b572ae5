"""Life over a motion that is there as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from jambatalk.audio.blocks import RATE
from jambatalk.errors import InputError
from jambatalk.life.life import Life
from jambatalk.life.settings import LifeSettings
from jambatalk.motion import Motion


def enliven(motion: Motion, settings: LifeSettings | None = None) -> Motion:
    """The motion with blinks, gaze, head motion and breath, as a stream with the same settings would show it.

    The head follows ``motion.speech``; without one there is silence. A head pose that the motion has is added to life's.
    settings: None for ``LifeSettings()``. InputError for a motion of vertices, which has no shapes to move.
    """
    settings = settings if settings is not None else LifeSettings()
    if settings.off:
        return motion
    if motion.weights is None:
        raise InputError("life moves shapes such as eyeBlinkLeft, but this motion moves vertices")
    life = Life(settings, motion.names, motion.fps)
    weights = np.asarray(motion.weights, np.float32)
    parts, heard, made = [], 0, 0
    for block in motion.speech.blocks() if motion.speech is not None else ():
        life.hear(block)
        heard += len(block)
        # Frames whose own time has been heard.
        ready = min(math.floor(heard / RATE * motion.fps), len(weights))
        parts.append(life.apply(weights[made:ready]))
        made = max(made, ready)
    parts.append(life.apply(weights[made:]))
    poses = [pose for _, pose in parts if pose is not None]
    pose = np.concatenate(poses) if poses else None
    if motion.head_pose is not None:
        own = np.asarray(motion.head_pose, np.float32)
        pose = own if pose is None else own + pose
    return replace(motion, weights=np.concatenate([made for made, _ in parts]), names=life.names, head_pose=pose)
