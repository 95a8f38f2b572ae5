"""The messages of a live connection (docs/how-to/live.md): the start message, frames, and their
schema."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from jambatalk.errors import InputError, shown
from jambatalk.face.shape_sets import SHAPE_SETS
from jambatalk.idle import IdleSettings
from jambatalk.senders.json import frame_text
from jambatalk.server.sound import DEFAULT_RATES, ENCODINGS, OPUS_ENCODINGS, OPUS_RATE
from jambatalk.session import Frame, articulation_gains
from jambatalk.version import __version__

MIN_RATE, MAX_RATE = 8000, 192_000
FRAME_FORMATS = ("json", "binary")
START_FIELDS = (
    "type",
    "rate",
    "encoding",
    "fps",
    "frames",
    "style",
    "articulation",
    "shapes",
    "life",
    "timestamps",
    "realtime",
    "token",
)

ERRORS = {
    "bad_message": "a message is not what the protocol expects",
    "bad_token": "the token is missing or wrong",
    "idle": "nothing came for long",
    "too_long": "the session is over its limit",
    "too_large": "a message is over its limit",
    "overloaded": "too many sessions, or the network is behind",
    "too_slow": "the client did not read, or sent no start message",
}
"""Codes of errors and what they mean."""

FRAME_MAGIC = b"JTF1"
FRAME_HEADER = struct.Struct("<4sBBHIId")
"""Magic, flags (1: a pose follows), zero, count of weights, turn, index, time in seconds."""

HAS_POSE = 1


@dataclass(frozen=True)
class StartMessage:
    """What a client asks for; see docs/how-to/live.md."""

    rate: int = 16000
    encoding: str = "pcm_s16le"
    fps: float | None = None
    frames: str = "json"
    style: str | None = None
    life: IdleSettings | None = None
    timestamps: bool = False
    realtime: bool = False
    articulation: float | None = None
    shapes: str = "arkit"


def parse_start(message: Mapping[str, Any]) -> StartMessage:
    """Check a start message.

    Raises:
        InputError: one sentence says what is wrong with it.
    """
    if message.get("type") != "start":
        kind = str(message.get("type"))[:40]
        raise InputError(f'the first message has the type {kind!r}, expected "start"')
    for name in message:
        if name not in START_FIELDS:
            known = ", ".join(START_FIELDS)
            raise InputError(f"start has an unknown field {str(name)[:40]!r}, expected {known}")
    encoding = _one_of(message, "encoding", ENCODINGS, "pcm_s16le")
    rate = message.get("rate", DEFAULT_RATES[encoding])
    if type(rate) is not int or not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(
            f"rate is {shown(rate)}, expected a whole number from {MIN_RATE} to {MAX_RATE}"
        )
    if encoding in OPUS_ENCODINGS and rate != OPUS_RATE:
        raise InputError(f"rate is {rate}, but Opus is decoded at {OPUS_RATE}")
    fps = message.get("fps")
    if fps is not None and (type(fps) not in (int, float) or not 1 <= fps <= 240):
        raise InputError(f"fps is {shown(fps)}, expected null or a number from 1 to 240")
    style = message.get("style")
    if style is not None and not isinstance(style, str):
        raise InputError(f"style is {shown(style)}, expected null or a name")
    articulation = message.get("articulation")
    if articulation is not None:
        articulation_gains(("jawOpen",), articulation)
    timestamps, realtime = _flag(message, "timestamps"), _flag(message, "realtime")
    if realtime and not timestamps:
        raise InputError("realtime needs timestamps: true, so that late sound is known from new")
    frames = _one_of(message, "frames", FRAME_FORMATS, "json")
    life = _idle_settings(message)
    shapes = _one_of(message, "shapes", tuple(SHAPE_SETS), "arkit")
    return StartMessage(
        rate, encoding, fps, frames, style, life, timestamps, realtime, articulation, shapes
    )


def _one_of(message: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = message.get(name, default)
    if value not in choices:
        raise InputError(f"{name} is {shown(value)}, expected one of {', '.join(choices)}")
    return str(value)


def _flag(message: Mapping[str, Any], name: str) -> bool:
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}, expected true or false")
    return value


def _idle_settings(message: Mapping[str, Any]) -> IdleSettings | None:
    value = message.get("life")
    if value is None or value is False:
        return None
    if value is True:
        return IdleSettings()
    if not isinstance(value, dict):
        raise InputError(
            f'life is {shown(value)}, expected true, false, or an object such as {{"blinks": 0.5}}'
        )
    settings = IdleSettings.from_dict(value)
    return None if settings.off else settings


def frame_json(frame: Frame) -> str:
    """A frame as JSON text; weights with four decimals."""
    return frame_text(frame, decimals=4)


def frame_bytes(frame: Frame) -> bytes:
    """A frame as little-endian bytes: FRAME_HEADER, the pose (3 float32) where there is one, and a
    uint16 (weight * 65535) per shape."""
    pose = b"" if frame.head_pose is None else np.asarray(frame.head_pose, "<f4").tobytes()
    weights = np.rint(np.clip(frame.weights, 0.0, 1.0) * 65535.0).astype("<u2").tobytes()
    numbers = (HAS_POSE if pose else 0, 0, len(frame.weights), frame.turn, frame.index, frame.time)
    return FRAME_HEADER.pack(FRAME_MAGIC, *numbers) + pose + weights


def read_frame(message: bytes | str, names: tuple[str, ...]) -> Frame:
    """Read what ``frame_json`` or ``frame_bytes`` wrote.

    Raises:
        InputError: it is not a frame with these shapes.
    """
    try:
        frame = _from_text(message, names) if isinstance(message, str) else _read(message, names)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise InputError(f"a message is not a frame ({error})") from error
    if len(frame.weights) != len(names):
        raise InputError(f"a frame has {len(frame.weights)} weights, expected {len(names)}")
    return frame


def _from_text(message: str, names: tuple[str, ...]) -> Frame:
    found = json.loads(message)
    weights, pose = np.asarray(found["weights"], np.float32), found["pose"]
    head_pose = None if pose is None else np.asarray(pose, np.float32)
    turn, index = int(found["turn"]), int(found["index"])
    return Frame(float(found["time"]), weights, names, head_pose, turn, index)


def _read(message: bytes, names: tuple[str, ...]) -> Frame:
    magic, flags, _, count, turn, index, seconds = FRAME_HEADER.unpack_from(message)
    if magic != FRAME_MAGIC:
        raise ValueError(f"it begins with {magic!r}")
    at, pose = FRAME_HEADER.size, None
    if flags & HAS_POSE:
        pose = np.frombuffer(message, "<f4", 3, at).astype(np.float32)
        at += 12
    weights = np.frombuffer(message, "<u2", count, at).astype(np.float32) / 65535.0
    return Frame(seconds, weights, names, pose, turn, index)


@lru_cache(maxsize=1)
def asyncapi_document() -> dict[str, Any]:
    """The protocol as an AsyncAPI 3.0 document, for tools that make clients."""
    text = (files("jambatalk.server") / "asyncapi.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    found["info"]["version"] = __version__
    return found
