"""The first message of a live connection: what the client wants."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.decode import check_samples
from jambatalk.errors import InputError
from jambatalk.idle import IdleSettings
from jambatalk.idle.idle import STRONGEST
from jambatalk.session import Frame
from jambatalk.version import __version__

# Sound as it comes over a socket: PCM or Opus packets, with or without indices, to samples.


ENCODINGS = ("pcm_s16le", "pcm_f32le", "opus")
OPUS_RATE = 48000
INDEX = struct.Struct("<Q")

Array = NDArray[Any]


class SoundReader:
    """Binary messages -> (samples (n,), index of the first or None).

    encoding: pcm_s16le, pcm_f32le (mono), or opus (one raw packet a message, RFC 6716, mono or stereo, heard at 48 kHz).
    timestamps: each message begins with a little-endian uint64, the index of its first sample.
    """

    def __init__(self, encoding: str, timestamps: bool) -> None:
        if encoding not in ENCODINGS:
            raise InputError(f"encoding is {encoding!r}, expected one of {', '.join(ENCODINGS)}")
        self.encoding, self.timestamps = encoding, timestamps
        self._decoder: Any = _opus_decoder() if encoding == "opus" else None

    def __call__(self, message: bytes) -> tuple[Array, int | None]:
        """InputError for a message that holds no such sound."""
        at = None
        if self.timestamps:
            if len(message) < INDEX.size:
                raise InputError(
                    f"a message of {len(message)} bytes has no room for its index of 8"
                )
            (at,) = INDEX.unpack_from(message)
            message = message[INDEX.size :]
        if self._decoder is not None:
            return self._opus(message), at
        width = 2 if self.encoding == "pcm_s16le" else 4
        if len(message) % width:
            raise InputError(
                f"a message holds {len(message)} bytes of {self.encoding}, expected a multiple of {width}"
            )
        samples = np.frombuffer(message, "<i2" if width == 2 else "<f4")
        if width == 4:
            check_samples(samples, "a message")
        return samples.astype(np.int16 if width == 2 else np.float32), at

    def _opus(self, message: bytes) -> Array:
        import av
        from av.error import FFmpegError

        if not message:
            return np.zeros(0, np.float32)
        try:
            frames = self._decoder.decode(av.Packet(message))
        except (FFmpegError, ValueError) as error:
            raise InputError("a message is no Opus packet") from error
        parts = []
        for frame in frames:
            samples = frame.to_ndarray()
            if frame.format.is_packed:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            scaled = samples / 32768.0 if samples.dtype == np.int16 else samples
            parts.append(scaled.mean(axis=0).astype(np.float32))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _opus_decoder() -> Any:
    import av

    for name in ("libopus", "opus"):
        try:
            decoder = av.CodecContext.create(name, "r")
            decoder.sample_rate = OPUS_RATE
            decoder.layout = "mono"  # type: ignore[attr-defined]
            decoder.open()
            return decoder
        except (av.error.FFmpegError, ValueError):
            continue
    raise InputError("this installation of PyAV cannot decode Opus: send pcm_s16le")


LOWEST_RATE, HIGHEST_RATE = 8000, 192_000
FRAMES = ("json", "binary")
KNOWN = (
    "type",
    "rate",
    "encoding",
    "fps",
    "frames",
    "style",
    "life",
    "timestamps",
    "realtime",
    "token",
)


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


def parse_start(message: Mapping[str, Any]) -> StartMessage:
    """A start message, checked. InputError says in one sentence what is wrong with it."""
    if message.get("type") != "start":
        raise InputError(
            f'the first message has the type {str(message.get("type"))[:40]!r}, expected "start"'
        )
    for name in message:
        if name not in KNOWN:
            raise InputError(
                f"start has an unknown field {str(name)[:40]!r}, expected {', '.join(KNOWN)}"
            )
    encoding = _one_of(message, "encoding", ENCODINGS, "pcm_s16le")
    rate = message.get("rate", OPUS_RATE if encoding == "opus" else 16000)
    if type(rate) is not int or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(
            f"rate is {str(rate)[:40]}, expected a whole number from {LOWEST_RATE} to {HIGHEST_RATE}"
        )
    if encoding == "opus" and rate != OPUS_RATE:
        raise InputError(f"rate is {rate}, but Opus is heard at {OPUS_RATE}")
    fps = message.get("fps")
    if fps is not None and (type(fps) not in (int, float) or not 1 <= fps <= 240):
        raise InputError(f"fps is {str(fps)[:40]}, expected null or a number from 1 to 240")
    style = message.get("style")
    if style is not None and not isinstance(style, str):
        raise InputError(f"style is {str(style)[:40]}, expected null or a name")
    timestamps, realtime = _flag(message, "timestamps"), _flag(message, "realtime")
    if realtime and not timestamps:
        raise InputError("realtime needs timestamps: true, so that late sound is known from new")
    return StartMessage(
        rate,
        encoding,
        fps,
        _one_of(message, "frames", FRAMES, "json"),
        style,
        _life(message),
        timestamps,
        realtime,
    )


def _one_of(message: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = message.get(name, default)
    if value not in choices:
        raise InputError(f"{name} is {str(value)[:40]!r}, expected one of {', '.join(choices)}")
    return str(value)


def _life(message: Mapping[str, Any]) -> IdleSettings | None:
    value = message.get("life")
    if value is None or value is False:
        return None
    if value is True:
        return IdleSettings()
    if not isinstance(value, dict):
        raise InputError(
            f'life is {str(value)[:40]!r}, expected true, false, or an object such as {{"blinks": 0.5}}'
        )
    settings = IdleSettings.from_dict(value)
    return None if settings.off else settings


def _flag(message: Mapping[str, Any], name: str) -> bool:
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} is {str(value)[:40]}, expected true or false")
    return value


# One frame as a message: JSON text, or the binary form of docs/how-to/live.md.


MAGIC = b"JTF1"
HEADER = struct.Struct("<4sBBHIId")
"""Magic, flags (1: a pose follows), zero, count of weights, turn, index, time in seconds."""

POSE = 1


def frame_json(frame: Frame) -> str:
    """{"type": "frame", "turn", "index", "time", "weights", "pose"}; weights with four decimals."""
    pose: Any = (
        None if frame.head_pose is None else [round(float(angle), 5) for angle in frame.head_pose]
    )
    return json.dumps(
        {
            "type": "frame",
            "turn": frame.turn,
            "index": frame.index,
            "time": round(frame.time, 6),
            "weights": [round(weight, 4) for weight in frame.weights.tolist()],
            "pose": pose,
        },
        separators=(",", ":"),
    )


def frame_bytes(frame: Frame) -> bytes:
    """Header, pose (3 float32) where there is one, then a uint16 (weight * 65535) per shape; all little-endian."""
    pose = b"" if frame.head_pose is None else np.asarray(frame.head_pose, "<f4").tobytes()
    weights = np.rint(np.clip(frame.weights, 0.0, 1.0) * 65535.0).astype("<u2").tobytes()
    flags = POSE if pose else 0
    return (
        HEADER.pack(MAGIC, flags, 0, len(frame.weights), frame.turn, frame.index, frame.time)
        + pose
        + weights
    )


def read_frame(message: bytes | str, names: tuple[str, ...]) -> Frame:
    """The frame that ``frame_json`` or ``frame_bytes`` made a message of. InputError for anything else."""
    try:
        if isinstance(message, str):
            found = json.loads(message)
            pose = found["pose"]
            weights = np.asarray(found["weights"], np.float32)
            frame = Frame(
                float(found["time"]),
                weights,
                names,
                None if pose is None else np.asarray(pose, np.float32),
                int(found["turn"]),
                int(found["index"]),
            )
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


# The live protocol as an AsyncAPI 3.0 document, for tools that make clients.


ERRORS = {
    "bad_message": "what came is not what the protocol expects",
    "bad_token": "the token is missing or wrong",
    "idle": "nothing came for long",
    "too_long": "the session is over its limit",
    "too_large": "a message is over its limit",
    "overloaded": "too many sessions, or the network is behind",
    "too_slow": "the client did not read, or sent no start message",
}
"""Codes of errors and what they mean."""

NUMBER, TEXT, COUNT, TRUTH = (
    {"type": "number"},
    {"type": "string"},
    {"type": "integer", "minimum": 0},
    {"type": "boolean"},
)


def _message(
    kind: str, needed: dict[str, Any], optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON schema of a text message."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", *needed],
        "properties": {"type": {"const": kind}} | needed | (optional or {}),
    }


def messages() -> dict[str, dict[str, Any]]:
    """JSON schemas of all text messages by name."""
    strength = {"type": "number", "minimum": 0, "maximum": STRONGEST}
    life = {
        "oneOf": [
            {"type": ["boolean", "null"]},
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    one.name: COUNT if one.name == "seed" else strength
                    for one in fields(IdleSettings)
                },
            },
        ]
    }
    start = {
        "rate": {"type": "integer", "minimum": LOWEST_RATE, "maximum": HIGHEST_RATE},
        "encoding": {"enum": list(ENCODINGS)},
        "fps": {"type": ["number", "null"], "minimum": 1, "maximum": 240},
        "frames": {"enum": list(FRAMES)},
        "style": {"type": ["string", "null"]},
        "life": life,
        "timestamps": TRUTH,
        "realtime": TRUTH,
        "token": {"type": ["string", "null"]},
    }
    ready = {
        "version": {"const": 1},
        "session": TEXT,
        "names": {"type": "array", "items": TEXT},
        "fps": NUMBER,
        "look_ahead_ms": NUMBER,
        "hop_ms": NUMBER,
        "encoding": TEXT,
        "rate": COUNT,
        "style": {"type": ["string", "null"]},
    }
    pose = {"type": ["array", "null"], "items": NUMBER, "minItems": 3, "maxItems": 3}
    weights = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}
    frame = {"turn": COUNT, "index": COUNT, "time": NUMBER, "weights": weights, "pose": pose}
    over = {"turn": COUNT, "frames": COUNT}
    return {
        "start": _message("start", {}, start),
        "end": _message("end", {}),
        "interrupt": _message("interrupt", {}),
        "ping": _message("ping", {}, {"id": {}}),
        "stats": _message("stats", {}),
        "ready": _message("ready", ready),
        "frame": _message("frame", frame),
        "ended": _message("ended", over),
        "interrupted": _message("interrupted", over),
        "pong": _message("pong", {"id": {}}),
        "error": _message("error", {"code": {"enum": list(ERRORS)}, "message": TEXT}),
    }


SENT = ("start", "end", "interrupt", "ping", "stats")
"""Text messages of the client; the others are the server's."""


def document() -> dict[str, Any]:
    """The AsyncAPI document of ``/v1/stream``."""
    known: dict[str, Any] = {
        name: {"contentType": "application/json", "payload": schema}
        for name, schema in messages().items()
    }
    known["statsAnswer"] = {
        "contentType": "application/json",
        "payload": {"type": "object", "required": ["type"]},
    }
    known["sound"] = {
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "summary": "Mono sound as start says; with timestamps, behind a little-endian uint64: the index of its first sample",
    }
    known["binaryFrame"] = {
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "summary": "JTF1, uint8 flags (1: pose), uint8 0, uint16 K, uint32 turn, uint32 index, float64 time; 3 float32 if "
        "flagged; K uint16 weights times 65535; little-endian",
    }
    sent = (*SENT, "sound")

    def refer(names: Any) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]

    channel = {"$ref": "#/channels/stream"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "jambatalk live",
            "version": __version__,
            "description": "Speech in, frames of a talking face out.",
        },
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in known},
            }
        },
        "operations": {
            "hear": {"action": "receive", "channel": channel, "messages": refer(sent)},
            "answer": {
                "action": "send",
                "channel": channel,
                "messages": refer(name for name in known if name not in sent),
            },
        },
        "components": {"messages": known},
    }
