"""Open Sound Control 1.0, for everything that can be patched: TouchDesigner, Max, Pure Data,
lights.

Messages with type tags and bundles with time tags, as opensoundcontrol.org/spec-1_0 says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jambatalk.errors import InputError
from jambatalk.senders.base import MAX_DATAGRAM, DatagramSender, Target, safe_pose, safe_weights

if TYPE_CHECKING:
    from jambatalk.session import Frame

IMMEDIATELY = 1
"""The time tag that means: as soon as it is here."""

NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, where OSC's time begins, to 1970."""

_HEADER = len(b"#bundle\0") + 8

NAMES_EVERY = 2.0
"""Seconds after which packed weights come with their names again: a receiver may start late, or
miss them."""


class OscSender(DatagramSender):
    """``osc://host:port[/prefix]?pack=0|1``: /prefix/time, /prefix/pose (pitch, yaw, roll),
    weights.

    pack=0: one message per shape, /prefix/jawOpen. pack=1: /prefix/weights with all, and now and
    then /prefix/names. The pose is in radians.
    """

    def __init__(self, target: Target, names: Sequence[str], fps: float) -> None:
        self.packed = target.option("pack", "0", ("0", "1")) == "1"
        if not target.path.isascii() or any(c in " #*,?[]{}" for c in target.path):
            raise InputError(
                f"{target.url}: the prefix {target.path!r} holds characters that an OSC address"
                " cannot have"
            )
        self._until_names = 0
        super().__init__(target, names, fps)

    def packets(self, frame: Frame) -> list[bytes]:
        """Bundles that together are one frame."""
        prefix, weights = self.target.path, [float(value) for value in safe_weights(frame)]
        messages = [message(f"{prefix}/time", float(frame.time))]
        pose = safe_pose(frame)
        if pose is not None:
            messages.append(message(f"{prefix}/pose", *(float(angle) for angle in pose)))
        if self.packed:
            if self._until_names == 0:
                messages.append(message(f"{prefix}/names", *self.names))
                self._until_names = max(round(NAMES_EVERY * self.fps), 1)
            self._until_names -= 1
            messages.append(message(f"{prefix}/weights", *weights))
        else:
            messages += [
                message(f"{prefix}/{name}", value)
                for name, value in zip(self.names, weights, strict=True)
            ]
        return bundles(messages, MAX_DATAGRAM)


def text(value: str) -> bytes:
    """Encode a string: its bytes, and one to four zeros up to a multiple of four.

    OSC is ASCII; other letters go as UTF-8.
    """
    raw = value.encode("utf-8").replace(b"\0", b"")
    return raw + b"\0" * (4 - len(raw) % 4)


def message(address: str, *arguments: int | float | str) -> bytes:
    """Encode a message; arguments: 32-bit integers and floats, strings, booleans."""
    tags, data = ",", b""
    for value in arguments:
        if isinstance(value, bool):
            tags += "T" if value else "F"
        elif isinstance(value, int):
            tags, data = tags + "i", data + struct.pack(">i", value)
        elif isinstance(value, float):
            tags, data = tags + "f", data + struct.pack(">f", value)
        else:
            tags, data = tags + "s", data + text(value)
    return text(address) + text(tags) + data


def time_tag(seconds: float | None) -> int:
    """Encode seconds since 1970 as 32.32 fixed point since 1900; None is IMMEDIATELY."""
    if seconds is None:
        return IMMEDIATELY
    whole = int(seconds // 1)
    return ((whole + NTP_EPOCH) << 32) + min(round((seconds - whole) * 2**32), 2**32 - 1)


def bundle(elements: Sequence[bytes], seconds: float | None = None) -> bytes:
    """Encode messages or bundles that take effect together, at ``seconds`` or immediately."""
    sized = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", time_tag(seconds)) + sized


def bundles(elements: Iterable[bytes], limit: int) -> list[bytes]:
    """Pack the elements, in order, into as few bundles of at most ``limit`` bytes as possible."""
    groups: list[list[bytes]] = []
    size = 0
    for element in elements:
        size += 4 + len(element)
        if not groups or size > limit:
            groups.append([])
            size = _HEADER + 4 + len(element)
        groups[-1].append(element)
    return [bundle(group) for group in groups]
