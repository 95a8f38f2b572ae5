"""A voice agent's sound, and what comes beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

BLENDSHAPES = "response.output_audio.blendshapes"


def hum(seconds: float, rate: int) -> np.ndarray:
    """(n,) int16: a hum that comes and goes three times a second."""
    t = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 140 * t) * (0.5 - 0.5 * np.cos(2 * np.pi * 3 * t))
    return (wave * 32767).astype("<i2")


def frames_of(events: Iterable[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Times in ms and weights of all frames."""
    times: list[float] = []
    rows: list[list[float]] = []
    for event in events:
        if event["type"] == BLENDSHAPES:
            count = len(event["weights"])
            times += [event["offset_ms"] + 1000 * i / event["fps"] for i in range(count)]
            rows += event["weights"]
    return np.array(times), np.array(rows)
