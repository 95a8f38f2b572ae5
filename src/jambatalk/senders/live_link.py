"""The packet that Epic's Live Link Face app sends and Unreal's Live Link receives, version 6.

Layout, everything big-endian: u8 version, i32 length and text of the device's id, i32 length and
text of the subject's name, i32 frame, f32 part of a frame, i32 / i32 frames per second as a
fraction, u8 number of values, that many f32. The values come without names in the order of Unreal's
enumeration EARFaceBlendShape, which has left before right where the app's CSV (and ARKIT_NAMES) has
right before left: jaw and mouth.
"""

from __future__ import annotations

import math
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from jambatalk.errors import InputError
from jambatalk.face.head import ARKIT_NAMES
from jambatalk.formats.common import check_names
from jambatalk.formats.live_link_csv import BLEND_SHAPE_COUNT, SHAPES, head_and_eyes
from jambatalk.senders.base import DatagramSender, Target, safe_pose, safe_weights

if TYPE_CHECKING:
    from jambatalk.session import Frame

VERSION = 6
MAX_NAME = 255
DEVICE_LENGTH = 36
DAY = 24 * 3600
LARGEST_PART = 1 - 2.0**-24


def packet_order() -> tuple[str, ...]:
    """Give the 52 shapes, capital first letter, as the packet has them."""
    order = list(SHAPES)
    for right, left in (("JawRight", "JawLeft"), ("MouthRight", "MouthLeft")):
        i, j = order.index(right), order.index(left)
        order[i], order[j] = left, right
    return tuple(order)


PACKET_SHAPES = packet_order()
_TO_PACKET = [SHAPES.index(name) for name in PACKET_SHAPES]


def time_of_day() -> float:
    """Give seconds since local midnight, as the app's time codes count."""
    now = time.time()
    local = time.localtime(now)
    return local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec + now % 1


class LiveLinkSender(DatagramSender):
    """``livelink://host[:11111]?name=jambatalk&device=...``; shapes that the frames lack are 0."""

    def __init__(
        self,
        target: Target,
        names: Sequence[str],
        fps: float,
        clock: Callable[[], float] = time_of_day,
    ) -> None:
        check_names(names, f"cannot send to {target.url}")
        self.name = target.options.get("name", "jambatalk")
        length = len(self.name.encode("utf-8"))
        if not 1 <= length <= MAX_NAME:
            raise InputError(
                f"{target.scheme}: the subject's name has {length} bytes, expected 1 to {MAX_NAME}"
            )
        if not self.name.isprintable():
            raise InputError(
                f"{target.scheme}: the subject's name {self.name!r} holds a control character"
            )
        self.device = device_id(target.options.get("device") or f"jambatalk:{self.name}")
        self._rate, self._clock = frame_rate(fps), clock
        self._columns = [ARKIT_NAMES.index(name) for name in names]
        self._turn: int | None = None
        self._begin = 0.0  # time of day of the turn's media time 0
        super().__init__(target, names, fps)

    def packets(self, frame: Frame) -> list[bytes]:
        """One packet, whatever the frame."""
        turn = getattr(frame, "turn", 0)
        if self._turn != turn:
            self._turn, self._begin = turn, self._clock() - frame.time
        weights = np.zeros(len(SHAPES))
        weights[self._columns] = safe_weights(frame)
        pose = safe_pose(frame)
        angles = head_and_eyes(weights[None], None if pose is None else pose[None])[0]
        values = (*weights[_TO_PACKET], *angles)
        return [encode(self.device, self.name, self._begin + frame.time, self._rate, values)]


def frame_rate(fps: float) -> Fraction:
    """25 -> 25/1, 29.97 -> 30000/1001: television's rates as the fractions that Unreal knows."""
    whole = round(fps)
    if abs(fps - whole) < 1e-6:
        return Fraction(whole)
    television = Fraction(math.ceil(fps) * 1000, 1001)
    return television if abs(fps - television) < 0.005 else Fraction(fps).limit_denominator(1001)


def device_id(text: str) -> str:
    """Give 36 characters: ``text`` if it has as many in ASCII, else an id made from it.

    Several receivers count on the length that the app's ids have.
    """
    if len(text) == DEVICE_LENGTH and text.isascii():
        return text
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text)).upper()


def encode(
    device: str, name: str, seconds: float, rate: Fraction, values: Sequence[float]
) -> bytes:
    """Make one packet. seconds: the frame's time of day; values: 61, in the packet's order."""
    whole, part = divmod(Fraction(seconds % DAY).limit_denominator(10**6) * rate, 1)
    # Just below 1 a float32 would round up to a whole frame, which the receiver's type forbids.
    part_of_frame = min(float(part), LARGEST_PART)
    device_bytes, name_bytes = device.encode("utf-8"), name.encode("utf-8")
    return b"".join(
        (
            struct.pack(">Bi", VERSION, len(device_bytes)),
            device_bytes,
            struct.pack(">i", len(name_bytes)),
            name_bytes,
            struct.pack(">ifii", int(whole), part_of_frame, rate.numerator, rate.denominator),
            struct.pack(f">B{BLEND_SHAPE_COUNT}f", BLEND_SHAPE_COUNT, *values),
        )
    )
