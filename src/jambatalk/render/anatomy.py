"""Where a face has its eyes, lips, chin and neck: what framing, head turns and mouth shadows need to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.face.face import Face

Array = NDArray[Any]


@dataclass(frozen=True)
class Anatomy:
    """Measures of a neutral face, all in metres in the face's own axes.

    known: whether the face names eyes and lips; without them everything follows from its bounds.
    """

    known: bool
    centre: tuple[float, float, float]
    top: float
    chin: float
    bottom: float
    width: float
    eyes_to_lips: float


def measure(face: Face) -> Anatomy:
    """Measure a neutral face."""
    points = np.asarray(face.vertices, np.float64)
    low, high = points.min(0), points.max(0)
    eyes, lips = face.regions.get("eyes"), face.regions.get("lips")
    if eyes is None or lips is None or not len(eyes) or not len(lips):
        centre = 0.5 * (low + high)
        third = float(high[1] - low[1]) / 3 or 1e-3
        return Anatomy(
            False, _triple(centre), float(high[1]), float(low[1]), float(low[1]), float(high[0] - low[0]) or 1e-3, third
        )
    eye, lip = points[eyes].mean(0), points[lips].mean(0)
    unit = max(float(eye[1] - lip[1]), 1e-3)
    chin = float(lip[1]) - 0.72 * unit
    head = points[points[:, 1] > chin]
    width = float(np.ptp(head[:, 0]))
    centre = np.array([eye[0], 0.5 * (eye[1] + lip[1]), 0.5 * (eye[2] + lip[2])])
    return Anatomy(True, _triple(centre), float(high[1]), chin, float(low[1]), width, unit)


def _triple(values: Array) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
