"""The live protocol as an AsyncAPI 3.0 document, for tools that make clients."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from jambatalk.life import LifeSettings
from jambatalk.life.settings import STRONGEST
from jambatalk.live.greeting import FRAMES, HIGHEST_RATE, LOWEST_RATE
from jambatalk.live.sound import ENCODINGS
from jambatalk.version import __version__

ERRORS = {
    "bad_message": "what came is not what the protocol expects", "bad_token": "the token is missing or wrong",
    "idle": "nothing came for long", "too_long": "the session is over its limit", "too_large": "a message is over its limit",
    "overloaded": "too many sessions, or the network is behind", "too_slow": "the client did not read, or sent no start message",
}  # fmt: skip
"""Codes of errors and what they mean."""

NUMBER, TEXT, COUNT, TRUTH = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}


def _message(kind: str, needed: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON schema of a text message."""
    return {
        "type": "object", "additionalProperties": False, "required": ["type", *needed],
        "properties": {"type": {"const": kind}} | needed | (optional or {}),
    }  # fmt: skip


def messages() -> dict[str, dict[str, Any]]:
    """JSON schemas of all text messages by name."""
    strength = {"type": "number", "minimum": 0, "maximum": STRONGEST}
    life = {
        "oneOf": [
            {"type": ["boolean", "null"]},
            {
                "type": "object", "additionalProperties": False,
                "properties": {one.name: COUNT if one.name == "seed" else strength for one in fields(LifeSettings)},
            },
        ]
    }  # fmt: skip
    start = {
        "rate": {"type": "integer", "minimum": LOWEST_RATE, "maximum": HIGHEST_RATE}, "encoding": {"enum": list(ENCODINGS)},
        "fps": {"type": ["number", "null"], "minimum": 1, "maximum": 240}, "frames": {"enum": list(FRAMES)},
        "style": {"type": ["string", "null"]}, "life": life, "timestamps": TRUTH, "realtime": TRUTH,
        "token": {"type": ["string", "null"]},
    }  # fmt: skip
    ready = {
        "version": {"const": 1}, "session": TEXT, "names": {"type": "array", "items": TEXT}, "fps": NUMBER,
        "look_ahead_ms": NUMBER, "hop_ms": NUMBER, "encoding": TEXT, "rate": COUNT, "style": {"type": ["string", "null"]},
    }  # fmt: skip
    pose = {"type": ["array", "null"], "items": NUMBER, "minItems": 3, "maxItems": 3}
    weights = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}
    frame = {"turn": COUNT, "index": COUNT, "time": NUMBER, "weights": weights, "pose": pose}
    over = {"turn": COUNT, "frames": COUNT}
    return {
        "start": _message("start", {}, start), "end": _message("end", {}), "interrupt": _message("interrupt", {}),
        "ping": _message("ping", {}, {"id": {}}), "stats": _message("stats", {}),
        "ready": _message("ready", ready), "frame": _message("frame", frame),
        "ended": _message("ended", over), "interrupted": _message("interrupted", over), "pong": _message("pong", {"id": {}}),
        "error": _message("error", {"code": {"enum": list(ERRORS)}, "message": TEXT}),
    }  # fmt: skip


SENT = ("start", "end", "interrupt", "ping", "stats")
"""Text messages of the client; the others are the server's."""


def document() -> dict[str, Any]:
    """The AsyncAPI document of ``/v1/stream``."""
    known: dict[str, Any] = {name: {"contentType": "application/json", "payload": schema} for name, schema in messages().items()}
    known["statsAnswer"] = {"contentType": "application/json", "payload": {"type": "object", "required": ["type"]}}
    known["sound"] = {
        "contentType": "application/octet-stream", "payload": {"type": "string", "format": "binary"},
        "summary": "Mono sound as start says; with timestamps, behind a little-endian uint64: the index of its first sample",
    }  # fmt: skip
    known["binaryFrame"] = {
        "contentType": "application/octet-stream", "payload": {"type": "string", "format": "binary"},
        "summary": "JTF1, uint8 flags (1: pose), uint8 0, uint16 K, uint32 turn, uint32 index, float64 time; 3 float32 if "
        "flagged; K uint16 weights times 65535; little-endian",
    }  # fmt: skip
    sent = (*SENT, "sound")

    def refer(names: Any) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]

    channel = {"$ref": "#/channels/stream"}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "jambatalk live", "version": __version__, "description": "Speech in, frames of a talking face out."},
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in known},
            }
        },
        "operations": {
            "hear": {"action": "receive", "channel": channel, "messages": refer(sent)},
            "answer": {"action": "send", "channel": channel, "messages": refer(name for name in known if name not in sent)},
        },
        "components": {"messages": known},
    }
