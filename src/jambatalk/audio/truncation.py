"""Whether a file ends where it promises to: a download that broke off plays fine up to the break, and players say nothing."""

from __future__ import annotations

import os
import struct
from typing import IO, Any

from jambatalk.audio.source import Source
from jambatalk.errors import InputError

TOLERANCE = {"flac": 0.1, "aiff": 0.1, "mov,mp4,m4a,3gp,3g2,mj2": 0.5}
"""Formats whose header states the exact length, and the seconds that encoder delay and edit lists may take off it."""

UNKNOWN_SIZE = 0x7FFF0000
"""Programs that write wav to a pipe put sizes from here upwards in the header, meaning "until the end"."""

LONGEST_MP3_FRAME = 1441
"""Bytes; encoders disagree about counting the header's own frame."""

MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
MP3_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MP3_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class EndWatch:
    """Follows the decoding of one stream and tells at its end whether something is missing."""

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
        # Time stamps count pauses between packets, which a plain count of samples would report as missing.
        self.end = (
            self.end + seconds
            if frame.pts is None
            else float(frame.pts * frame.time_base) + seconds - self.start
        )

    def check(self) -> None:
        """InputError if the file ends too early."""
        if self.format == "wav":
            missing = _wav_missing(self.source.file)
        elif self.format == "mp3":
            missing = self._mp3_missing()
        elif self.tolerance is not None and self.promised - self.end > self.tolerance:
            missing = f"it promises {self.promised:.1f} s and holds {self.end:.1f} s"
        else:
            return
        if missing:
            raise InputError(f"{self.source.name} is cut off: {missing}")

    def _mp3_missing(self) -> str:
        frames, size, held = mp3_promise(self.source.file)
        if size - held > LONGEST_MP3_FRAME:
            return f"it promises {size} bytes of sound and holds {held}"
        # Without a byte count a few frames may be missing: damage in the middle costs frames too, and is played over.
        if not size and self.packets < 0.98 * frames - 1:
            return f"it promises {frames} frames and holds {self.packets}"
        if len(self.last_packet) < mp3_frame_bytes(self.last_packet):
            return "it ends in the middle of a frame"
        return ""


def mp3_frame_bytes(header: bytes) -> int:
    """Length in bytes of the MPEG layer III frame whose header this is, 0 if it is none or leaves its length open."""
    if (
        len(header) < 4
        or header[0] != 0xFF
        or header[1] & 0xE0 != 0xE0
        or (header[1] >> 1) & 3 != 1
    ):
        return 0
    version, kbps, rate = (header[1] >> 3) & 3, header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or kbps in (0, 15) or rate == 3:
        return 0
    bits = (MP3_KBPS_1 if version == 3 else MP3_KBPS_2)[kbps] * 1000
    return (144 if version == 3 else 72) * bits // MP3_RATES[version][rate] + (header[2] >> 1 & 1)


def mp3_promise(file: IO[bytes]) -> tuple[int, int, int]:
    """(frames, bytes, bytes held) of an mp3: the promise of its Xing or Info header (0 where it is silent), and what is there."""
    here = file.tell()
    try:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(10)
        start = 0
        if (
            len(head) == 10 and head[:3] == b"ID3"
        ):  # the size of an ID3v2 tag is four times seven bits
            start = 10 + sum(
                (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0))
            )
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


def _wav_missing(file: IO[bytes]) -> str:
    """What is missing of a wav file's data chunk, in words, or nothing."""
    here = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(4) != b"RIFF":
            return ""
        file.seek(12)
        bytes_per_second = 0
        while len(head := file.read(8)) == 8:
            name, length = head[:4], int(struct.unpack("<I", head[4:])[0])
            if name == b"fmt ":
                body = file.read(length + length % 2)
                if len(body) >= 12:
                    bytes_per_second = int(struct.unpack("<I", body[8:12])[0])
            elif name == b"data":
                held = size - file.tell()
                if (
                    bytes_per_second > 0
                    and length < UNKNOWN_SIZE
                    and length - held > 0.1 * bytes_per_second
                ):
                    return f"it promises {length / bytes_per_second:.1f} s and holds {held / bytes_per_second:.1f} s"
                return ""
            else:
                file.seek(length + length % 2, os.SEEK_CUR)
        return ""
    finally:
        file.seek(here)
