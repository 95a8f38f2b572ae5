"""Frames as the JSON of the server's WebSocket, for receivers that read text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jambatalk.live.links.link import safe_pose, safe_weights

if TYPE_CHECKING:
    from jambatalk.session import Frame

DECIMALS = 5


def frame_text(frame: Frame) -> str:
    """``{"type": "frame", "turn", "index", "time", "weights": [...], "pose": [pitch, yaw, roll] or null}``."""
    pose = safe_pose(frame)
    return json.dumps(
        {
            "type": "frame",
            "turn": getattr(frame, "turn", 0),
            "index": getattr(frame, "index", None),
            "time": round(frame.time, 6),
            "weights": [round(float(value), DECIMALS) for value in safe_weights(frame)],
            "pose": None if pose is None else [round(float(angle), DECIMALS) for angle in pose],
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def ready_text(names: Sequence[str], fps: float) -> str:
    """``{"type": "ready", "version": 1, "names": [...], "fps"}``: what the numbers of the frames mean."""
    return json.dumps({"type": "ready", "version": 1, "names": list(names), "fps": fps}, separators=(",", ":"))
