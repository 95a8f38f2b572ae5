"""The first message of a live connection: what the client wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jambatalk.errors import InputError
from jambatalk.life import LifeSettings
from jambatalk.live.sound import ENCODINGS, OPUS_RATE

LOWEST_RATE, HIGHEST_RATE = 8000, 192_000
FRAMES = ("json", "binary")
KNOWN = ("type", "rate", "encoding", "fps", "frames", "style", "life", "timestamps", "realtime", "token")


@dataclass(frozen=True)
class Greeting:
    """What a client asks for; see docs/live.md."""

    rate: int = 16000
    encoding: str = "pcm_s16le"
    fps: float | None = None
    frames: str = "json"
    style: str | None = None
    life: LifeSettings | None = None
    timestamps: bool = False
    realtime: bool = False


def read_greeting(message: Mapping[str, Any]) -> Greeting:
    """A start message, checked. InputError says in one sentence what is wrong with it."""
    if message.get("type") != "start":
        raise InputError(f'the first message has the type {str(message.get("type"))[:40]!r}, expected "start"')
    for name in message:
        if name not in KNOWN:
            raise InputError(f"start has an unknown field {str(name)[:40]!r}, expected {', '.join(KNOWN)}")
    encoding = _one_of(message, "encoding", ENCODINGS, "pcm_s16le")
    rate = message.get("rate", OPUS_RATE if encoding == "opus" else 16000)
    if type(rate) is not int or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"rate is {str(rate)[:40]}, expected a whole number from {LOWEST_RATE} to {HIGHEST_RATE}")
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
    return Greeting(rate, encoding, fps, _one_of(message, "frames", FRAMES, "json"), style, _life(message), timestamps, realtime)


def _one_of(message: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = message.get(name, default)
    if value not in choices:
        raise InputError(f"{name} is {str(value)[:40]!r}, expected one of {', '.join(choices)}")
    return str(value)


def _life(message: Mapping[str, Any]) -> LifeSettings | None:
    value = message.get("life")
    if value is None or value is False:
        return None
    if value is True:
        return LifeSettings()
    if not isinstance(value, dict):
        raise InputError(f'life is {str(value)[:40]!r}, expected true, false, or an object such as {{"blinks": 0.5}}')
    settings = LifeSettings.from_dict(value)
    return None if settings.off else settings


def _flag(message: Mapping[str, Any], name: str) -> bool:
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} is {str(value)[:40]}, expected true or false")
    return value
