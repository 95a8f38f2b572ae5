"""One frame as a message: JSON text, or the binary form of docs/live.md."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from jambatalk.errors import InputError
from jambatalk.session import Frame

MAGIC = b"JTF1"
HEADER = struct.Struct("<4sBBHIId")
"""Magic, flags (1: a pose follows), zero, count of weights, turn, index, time in seconds."""

POSE = 1


def frame_json(frame: Frame) -> str:
    """{"type": "frame", "turn", "index", "time", "weights", "pose"}; weights with four decimals."""
    pose: Any = None if frame.head_pose is None else [round(float(angle), 5) for angle in frame.head_pose]
    return json.dumps(
        {
            "type": "frame", "turn": frame.turn, "index": frame.index, "time": round(frame.time, 6),
            "weights": [round(weight, 4) for weight in frame.weights.tolist()], "pose": pose,
        },
        separators=(",", ":"),
    )  # fmt: skip


def frame_bytes(frame: Frame) -> bytes:
    """Header, pose (3 float32) where there is one, then a uint16 (weight * 65535) per shape; all little-endian."""
    pose = b"" if frame.head_pose is None else np.asarray(frame.head_pose, "<f4").tobytes()
    weights = np.rint(np.clip(frame.weights, 0.0, 1.0) * 65535.0).astype("<u2").tobytes()
    flags = POSE if pose else 0
    return HEADER.pack(MAGIC, flags, 0, len(frame.weights), frame.turn, frame.index, frame.time) + pose + weights


def read_frame(message: bytes | str, names: tuple[str, ...]) -> Frame:
    """The frame that ``frame_json`` or ``frame_bytes`` made a message of. InputError for anything else."""
    try:
        if isinstance(message, str):
            found = json.loads(message)
            pose = found["pose"]
            weights = np.asarray(found["weights"], np.float32)
            frame = Frame(
                float(found["time"]), weights, names, None if pose is None else np.asarray(pose, np.float32),
                int(found["turn"]), int(found["index"]),
            )  # fmt: skip
        else:
            magic, flags, _, count, turn, index, seconds = HEADER.unpack_from(message)
            if magic != MAGIC:
                raise ValueError(f"it begins with {magic!r}")
            at = HEADER.size
            head = np.frombuffer(message, "<f4", 3, at).astype(np.float32) if flags & POSE else None
            at += 12 if flags & POSE else 0
            weights = np.frombuffer(message, "<u2", count, at).astype(np.float32) / 65535.0
            frame = Frame(seconds, weights, names, head, turn, index)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise InputError(f"a message is no frame ({error})") from error
    if len(frame.weights) != len(names):
        raise InputError(f"a frame has {len(frame.weights)} weights, expected {len(names)}")
    return frame
