"""Sound as it comes over a socket: PCM or Opus packets, with or without indices, to samples."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.blocks import check_samples
from jambatalk.errors import InputError

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
                raise InputError(f"a message of {len(message)} bytes has no room for its index of 8")
            (at,) = INDEX.unpack_from(message)
            message = message[INDEX.size :]
        if self._decoder is not None:
            return self._opus(message), at
        width = 2 if self.encoding == "pcm_s16le" else 4
        if len(message) % width:
            raise InputError(f"a message holds {len(message)} bytes of {self.encoding}, expected a multiple of {width}")
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
