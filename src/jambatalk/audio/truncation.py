"""What a sound file's own headers promise: where its parts lie, and whether it ends too early.

A download that broke off plays fine up to the break, and players do not report it; decoders read
the first of several files in a row and leave out the rest. Both are found here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import IO, Any

from jambatalk.audio.source import Source
from jambatalk.errors import InputError

TOLERANCE = {"flac": 0.1, "aiff": 0.1, "mov,mp4,m4a,3gp,3g2,mj2": 0.5}
"""Formats whose header states the exact length.

The seconds are what encoder delay and edit lists may take off it.
"""

UNKNOWN_SIZE = 0x7FFF0000
"""Programs that write wav to a pipe put sizes from here upwards in the header."""

PLACEHOLDER = 100_000_000
"""Bytes from which on a round size is a placeholder of a program that writes before it knows."""

LONGEST_MP3_FRAME = 1441
"""Bytes; encoders disagree about counting the header's own frame."""

MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
MP3_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MP3_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class EndWatch:
    """Follows the decoding of one stream and finds at its end whether something is missing."""

    def __init__(self, source: Source, format_name: str, stream: Any) -> None:
        self.source = source
        self.format = format_name
        self.tolerance = TOLERANCE.get(format_name)
        self.promised = float(stream.duration * stream.time_base) if stream.duration else 0.0
        self.start = float((stream.start_time or 0) * stream.time_base)
        self.packets = 0
        self.last_packet = b""
        self.end = 0.0

    def packet(self, packet: Any) -> None:
        """Note a packet before it is decoded."""
        if packet.size:
            self.packets += 1
            if self.format == "mp3":
                self.last_packet = bytes(packet)

    def frame(self, frame: Any) -> None:
        """Note a decoded frame."""
        seconds = frame.samples / frame.sample_rate
        # Time stamps count pauses, which a plain count of samples would report as missing.
        self.end = (
            self.end + seconds
            if frame.pts is None
            else float(frame.pts * frame.time_base) + seconds - self.start
        )

    def check(self) -> None:
        """Raise InputError if the file ends too early."""
        missing = ""
        if self.format == "wav":
            found = wav_header(self.source.file)
            missing = "" if found is None else found.missing
        elif self.format == "w64":
            missing = w64_missing(self.source.file)
        elif self.format == "mp3":
            missing = self._mp3_missing()
        elif self.tolerance is not None and self.promised - self.end > self.tolerance:
            missing = f"it promises {self.promised:.1f} s and holds {self.end:.1f} s"
        if missing:
            raise InputError(f"{self.source.name} is cut off: {missing}")

    def _mp3_missing(self) -> str:
        """What is missing; without a length header (a recorded stream) nothing is known to be."""
        frames, size, held = mp3_promise(self.source.file)
        if size - held > LONGEST_MP3_FRAME:
            return f"it promises {size} bytes of sound and holds {held}"
        # Without a byte count a few frames may be missing: damage costs frames too.
        if not size and self.packets < 0.98 * frames - 1:
            return f"it promises {frames} frames and holds {self.packets}"
        if (frames or size) and len(self.last_packet) < mp3_frame_bytes(self.last_packet):
            return "it ends in the middle of a frame"
        return ""


def parts(source: Source) -> Iterator[Source]:
    """Give the files that lie in a row in one, with headers that the decoder misreads mended.

    Several wav files in a row (what speech synthesis in pieces writes), the chains of an ogg file
    (radio, whose rate may change with each), an ID3 tag before RIFF, and a wav's 24 valid bits in
    32. Anything else is one part, as it is.
    """
    file = source.file
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(10)
    start = id3_bytes(head)
    file.seek(start)
    kind = file.read(4)
    if kind in (b"RIFF", b"RIFX"):
        while start < size:
            found = wav_header(source.part(start, size).file)
            end = size if found is None else min(size, start + found.end)
            file.seek(end)
            following = file.read(12)
            if found is None or (following[:4], following[8:]) != (kind, b"WAVE"):
                end = size
            yield source.part(start, end, None if found is None else found.patches)
            start = end
    elif kind == b"OggS" and not start:
        starts = [*ogg_chains(file, size), size]
        for begin, end in pairwise(starts):
            yield source.part(begin, end)
    else:
        file.seek(0)
        yield source


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that a file begins with: its size is four times seven bits."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))


@dataclass(frozen=True)
class WavHeader:
    """A wav file's chunks up to its data.

    Attributes:
        end: where the data ends by the header, or where the file ends when that is not known.
        missing: what is missing of the data, in words.
        patches: corrections for the decoder, by their places.
    """

    end: int
    missing: str = ""
    patches: Mapping[int, bytes] = field(default_factory=dict)


def wav_header(file: IO[bytes]) -> WavHeader | None:
    """Read a wav's chunks; None without data. Leaves the file's place as it was."""
    here = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        order = {b"RIFF": "<", b"RIFX": ">"}.get(file.read(4))
        if order is None:
            return None
        file.seek(12)
        bytes_per_second = 0
        patches: dict[int, bytes] = {}
        while len(head := file.read(8)) == 8:
            name, length = head[:4], int(struct.unpack(f"{order}I", head[4:])[0])
            at = file.tell()
            if name == b"fmt ":
                body = file.read(min(length, 64))
                if len(body) >= 12:
                    bytes_per_second = int(struct.unpack(f"{order}I", body[8:12])[0])
                patches = _valid_bits(body, order, at)
            elif name == b"data":
                held = size - at
                if _is_placeholder(length):
                    return WavHeader(size, "", patches)
                missing = ""
                if bytes_per_second > 0 and length - held > 0.1 * bytes_per_second:
                    missing = (
                        f"it promises {length / bytes_per_second:.1f} s "
                        f"and holds {held / bytes_per_second:.1f} s"
                    )
                return WavHeader(at + length + length % 2, missing, patches)
            file.seek(at + length + length % 2)
        return None
    finally:
        file.seek(here)


def w64_missing(file: IO[bytes]) -> str:
    """What is missing of a Sony Wave64's data: chunks of a 16-byte name and an 8-byte size."""
    size = file.seek(0, os.SEEK_END)
    place = 40
    while place + 24 <= size:
        file.seek(place)
        name, length = file.read(16), int.from_bytes(file.read(8), "little")
        if name[:4] == b"data" and place + length > size:
            return f"it promises {length - 24} bytes of sound and holds {size - place - 24}"
        if length < 24 or name[:4] == b"data":
            break
        place += -(-length // 8) * 8
    return ""


def _is_placeholder(size: int) -> bool:
    """Whether a program wrote this size before it knew the length: 0, huge, or large and round."""
    near_power = abs(size - (1 << max(0, size.bit_length() - 1))) <= 512 or (
        abs(size - (1 << size.bit_length())) <= 512
    )
    round_size = size % 1_000_000 == 0 or near_power
    return size == 0 or size >= UNKNOWN_SIZE or (size >= PLACEHOLDER and round_size)


def _valid_bits(body: bytes, order: str, at: int) -> dict[int, bytes]:
    """Integers of fewer valid bits than they take (24 in 32) are left-aligned: read all the bits.

    FFmpeg reads them as floats of an old editor.
    """
    if len(body) < 26:
        return {}
    tag, bits = (struct.unpack(f"{order}H", body[k : k + 2])[0] for k in (0, 14))
    valid, kind = (struct.unpack(f"{order}H", body[k : k + 2])[0] for k in (18, 24))
    if tag == 0xFFFE and kind == 1 and bits in (16, 24, 32) and valid < bits:
        return {at + 18: struct.pack(f"{order}H", bits)}
    return {}


def ogg_chains(file: IO[bytes], size: int) -> list[int]:
    """Where the chains of an ogg file begin: at a stream's first page after pages of others."""
    starts, place, was_first = [0], 0, True
    while place + 27 <= size:
        file.seek(place)
        head = file.read(27)
        if head[:4] != b"OggS":
            return starts  # damaged: the decoder finds its way through the rest
        is_first = bool(head[5] & 2)
        if is_first and not was_first:
            starts.append(place)
        was_first = is_first
        place += 27 + head[26] + sum(file.read(head[26]))
    return starts


def mp3_promise(file: IO[bytes]) -> tuple[int, int, int]:
    """(frames, bytes, bytes held) of an mp3.

    The promise of its Xing or Info header, 0 where it is silent, and what is there.
    """
    here = file.tell()
    try:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = id3_bytes(file.read(10))
        file.seek(start)
        window = file.read(8192)
    finally:
        file.seek(here)
    for tag in (b"Xing", b"Info"):
        at = window.find(tag)
        if at >= 0 and len(window) >= at + 16:
            flags, first, second = struct.unpack(">III", window[at + 4 : at + 16])
            frames = first if flags & 1 else 0
            size = (second if flags & 1 else first) if flags & 2 else 0
            return frames, size, end - start
    return 0, 0, end - start


def mp3_frame_bytes(header: bytes) -> int:
    """Length in bytes of the MPEG layer III frame with this header, 0 where it leaves it open."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = (header[1] >> 3) & 3, (header[1] >> 1) & 3
    kbps, rate = header[2] >> 4, (header[2] >> 2) & 3
    if layer != 1 or version == 1 or kbps in (0, 15) or rate == 3:
        return 0
    bits = (MP3_KBPS_1 if version == 3 else MP3_KBPS_2)[kbps] * 1000
    return (144 if version == 3 else 72) * bits // MP3_RATES[version][rate] + (header[2] >> 1 & 1)
