"""How far the mouth of a prepared clip is open, whatever its motion is stored as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.prepared import WEIGHTS, PreparedClip
from jambatalk.data.sync import loudness, movers, openness
from jambatalk.face.face import Face
from jambatalk.face.head import default_head

Array = NDArray[Any]


def head_weights(clip: PreparedClip, head: Face) -> Array:
    """(T, K) float32 weights of a clip on the shapes of ``head``; 0 for those that its corpus does not move."""
    weights = np.zeros((clip.frames, len(head.names)), np.float32)
    place = {name: i for i, name in enumerate(clip.corpus.names)}
    stored = np.asarray(clip.weights, np.float32)
    for i, name in enumerate(head.names):
        if name in place:
            weights[:, i] = stored[:, place[name]]
    return weights


def clip_opening(clip: PreparedClip, samples: Array) -> Array:
    """(T,) the lip gap in metres of the default head that wears the weights; for vertices, how far the most moving ones are
    from where they rest in quiet frames. InputError when the clip is damaged."""
    if clip.corpus.motion == WEIGHTS:
        head = default_head()
        return np.asarray(head.lip_gap(head_weights(clip, head)))
    offsets = np.asarray(clip.offsets, np.float32)
    return openness(movers(offsets), loudness(samples, len(offsets), clip.fps))
