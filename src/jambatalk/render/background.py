"""The backdrop: a soft glow behind the head that falls off into the corners."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.render.tone import to_linear

Array = NDArray[Any]

GLOW = (0.545, 0.600, 0.650)  # sRGB behind the head
CORNER = (0.165, 0.190, 0.225)  # sRGB in the corners


def backdrop(width: int, height: int) -> Array:
    """(H, W, 3) float32 linear light."""
    x = (np.arange(width) + 0.5 - 0.5 * width) / max(width, height)
    y = (np.arange(height) + 0.5 - 0.42 * height) / max(width, height)
    distance = np.sqrt((1.05 * x[None, :]) ** 2 + y[:, None] ** 2)
    fall = np.clip(distance / 0.78, 0, 1)
    fall = fall * fall * (3 - 2 * fall)
    glow, corner = to_linear(np.array(GLOW)), to_linear(np.array(CORNER))
    # Mixed by ratio, not by sum: equal steps to the eye.
    return (glow * (corner / glow) ** fall[:, :, None]).astype(np.float32)
