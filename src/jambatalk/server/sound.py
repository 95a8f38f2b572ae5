"""Sound as it comes over a socket: PCM, G.711, Opus packets or a WebM stream to samples."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.decode import check_samples
from jambatalk.audio.g711 import MULAW
from jambatalk.errors import InputError

DEFAULT_RATES = {
    "pcm_s16le": 16000,
    "pcm_f32le": 16000,
    "mulaw": 8000,
    "opus": 48000,
    "webm": 48000,
}
"""Encodings, and the rate of each where the client names none."""

ENCODINGS = tuple(DEFAULT_RATES)
OPUS_ENCODINGS = ("opus", "webm")
OPUS_RATE = 48000
INDEX = struct.Struct("<Q")

Array = NDArray[Any]


class SoundReader:
    """Turns binary messages into samples.

    Args:
        encoding: pcm_s16le, pcm_f32le or mulaw (G.711), mono; opus (one raw packet a message, RFC
            6716, mono or stereo); webm (what a browser's MediaRecorder gives, in any pieces).
        timestamps: each message begins with a little-endian uint64, the index of its first sample.

    Raises:
        InputError: an unknown encoding, WebM with timestamps, or no decoder.
    """

    def __init__(self, encoding: str, timestamps: bool) -> None:
        if encoding not in ENCODINGS:
            raise InputError(f"encoding is {encoding!r}, expected one of {', '.join(ENCODINGS)}")
        if encoding == "webm" and timestamps:
            raise InputError("a WebM stream has no packets with indices: leave timestamps out")
        self.encoding, self.timestamps = encoding, timestamps
        self._decoder: Any = _opus_decoder() if encoding in OPUS_ENCODINGS else None
        self._webm = WebmOpus() if encoding == "webm" else None
        self._rest = b""  # the beginning of a sample that is split over two messages

    def end_turn(self) -> None:
        """Drop half a sample that has no other half."""
        self._rest = b""

    def __call__(self, message: bytes) -> tuple[Array, int | None]:
        """Decode a message.

        Returns:
            Samples (n,), and the index of the first or None.

        Raises:
            InputError: it holds no such sound.
        """
        at = None
        if self.timestamps:
            if len(message) < INDEX.size:
                raise InputError(
                    f"a message of {len(message)} bytes has no room for its index of 8"
                )
            (at,) = INDEX.unpack_from(message)
            message = message[INDEX.size :]
        if self._webm is not None:
            parts = [self._opus(packet) for packet in self._webm(message)]
            return np.concatenate([np.zeros(0, np.float32), *parts]), at
        if self._decoder is not None:
            return self._opus(message), at
        return self._pcm(message), at

    def _pcm(self, message: bytes) -> Array:
        if self.encoding == "mulaw":
            return MULAW[np.frombuffer(message, np.uint8)]
        width = 2 if self.encoding == "pcm_s16le" else 4
        if self.timestamps and len(message) % width:
            raise InputError(
                f"a message holds {len(message)} bytes of {self.encoding},"
                f" expected a multiple of {width}"
            )
        message = self._rest + message
        whole = len(message) // width * width
        self._rest, message = message[whole:], message[:whole]
        if width == 2:
            return np.frombuffer(message, "<i2").astype(np.int16)
        samples = np.frombuffer(message, "<f4").astype(np.float32)
        check_samples(samples, "a message")
        return samples

    def _opus(self, packet: bytes) -> Array:
        import av
        from av.error import FFmpegError

        if not packet:
            return np.zeros(0, np.float32)
        try:
            frames = self._decoder.decode(av.Packet(packet))
        except (FFmpegError, ValueError) as error:
            raise InputError("a message is not an Opus packet") from error
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


# Elements of WebM (RFC 9559): those that hold others, and those that are read.
EBML, TRACK_NUMBER, CODEC, SIMPLE_BLOCK, BLOCK = 0x1A45DFA3, 0xD7, 0x86, 0xA3, 0xA1
PARENTS = (0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0xA0)
"""Segment, Tracks, TrackEntry, Cluster, BlockGroup: their sizes may be unknown in a stream."""

MAX_ELEMENT = 1 << 16
"""Bytes of an element that is read: an Opus packet has at most 61,298."""


class WebmOpus:
    """Takes the Opus packets out of a WebM stream that comes in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0  # bytes of an element that is not read
        self._begun = False
        self._number = 1
        self._track: int | None = None  # the number of the Opus track

    def __call__(self, data: bytes) -> list[bytes]:
        """Add bytes, and give the packets that are whole.

        Raises:
            InputError: it is not WebM, or has no Opus track.
        """
        self._buffer += data
        packets: list[bytes] = []
        while self._next(packets):
            pass
        return packets

    def _next(self, packets: list[bytes]) -> bool:
        """Read one element; False when more bytes are needed."""
        skipped = min(self._skip, len(self._buffer))
        del self._buffer[:skipped]
        self._skip -= skipped
        name, body = self._number_at(0, 4, keep_marker=True)
        size, start = self._number_at(body, 8, keep_marker=False)
        if not self._begun and name is not None and name != EBML:
            raise InputError("the stream does not begin as WebM does")
        if name is None or size is None or self._skip:
            return False
        self._begun = True
        if name in PARENTS:
            del self._buffer[:start]
            return True
        if name not in (TRACK_NUMBER, CODEC, SIMPLE_BLOCK, BLOCK):
            self._skip = start + size
            return True
        if size > MAX_ELEMENT:
            raise InputError(f"a WebM element has {size:,} bytes, expected at most {MAX_ELEMENT:,}")
        if len(self._buffer) < start + size:
            return False
        content = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        if name == TRACK_NUMBER:
            self._number = int.from_bytes(content, "big")
        elif name == CODEC and content.rstrip(b"\0") == b"A_OPUS":
            self._track = self._number
        elif name in (SIMPLE_BLOCK, BLOCK):
            self._block(content, packets)
        return True

    def _block(self, content: bytes, packets: list[bytes]) -> None:
        """A block: track number, int16 time, flags, and the packet."""
        if self._track is None:
            raise InputError("the WebM stream has no Opus track")
        if len(content) < 4 or not content[0] & 0x80 or content[3] & 0x06:
            raise InputError("a WebM block is damaged, or holds several packets")
        if content[0] & 0x7F == self._track:
            packets.append(content[4:])

    def _number_at(self, at: int, longest: int, keep_marker: bool) -> tuple[int | None, int]:
        """A number of variable length (RFC 8794, 4) and where it ends; None if it is not whole."""
        if at >= len(self._buffer):
            return None, at
        first = self._buffer[at]
        length = 9 - first.bit_length()
        if length > longest:
            raise InputError("the WebM stream is damaged")
        if at + length > len(self._buffer):
            return None, at
        value = int.from_bytes(self._buffer[at : at + length], "big")
        return (value if keep_marker else value & ((1 << 7 * length) - 1)), at + length
