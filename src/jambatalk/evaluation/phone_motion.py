"""How well the phone model moves: against filmed speech, and by what phonetics says of any speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import Clip
from jambatalk.data.phone_motion import PhoneMotion
from jambatalk.data.phones import BILABIALS
from jambatalk.evaluation.lag import lag_ms
from jambatalk.evaluation.opening import correlation
from jambatalk.face.face import Face

Array = NDArray[Any]

SHUT_MM = 1.0
"""Inner-lip gap in millimetres below which lips count as closed."""


def score_phone_motion(model: PhoneMotion, clips: Sequence[Clip], face: Face) -> dict[str, float]:
    """Of clips with phones and filmed motion: mean correlation of the inner-lip gap, lag, bilabials closed (model and film)."""
    made = [model.weights(clip.phones, clip.frames, clip.fps) for clip in clips]
    gaps, true = [face.lip_gap(w) * 1e3 for w in made], [face.lip_gap(clip.weights) * 1e3 for clip in clips]
    phones = [clip.phones for clip in clips]
    return {
        "gap correlation": float(np.mean([correlation(a, b) for a, b in zip(gaps, true)])),
        "lag ms": lag_ms(true, gaps, clips[0].fps),
        "bilabials closed": shut(gaps, phones, clips[0].fps),
        "bilabials closed in the film": shut(true, phones, clips[0].fps),
        "opening at its 95th percentile, mm": float(np.percentile(np.concatenate(gaps), 95)),
        "the same in the film, mm": float(np.percentile(np.concatenate(true), 95)),
    }


def shut(gaps: Sequence[Array], phones: Sequence[Sequence[Any]], fps: float) -> float:
    """Share of the bilabials during which, or a frame before or after, the gap (T,) mm falls below SHUT_MM; nan without any."""
    found = []
    for gap, timed in zip(gaps, phones):
        for phone, start, end in timed:
            if phone in BILABIALS:
                first, last = int(np.floor(start * fps)), int(np.ceil(end * fps))
                found.append(bool((gap[max(first, 0) : last + 1] < SHUT_MM).any()))
    return float(np.mean(found)) if found else float("nan")
