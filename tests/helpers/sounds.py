"""Sounds encoded into every container with PyAV, for the audio tests."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

FORMATS = {
    "wav": ("wav", "pcm_s16le", 44100),
    "wav24": ("wav", "pcm_s24le", 48000),
    "wavfloat": ("wav", "pcm_f32le", 22050),
    "wav8": ("wav", "pcm_u8", 8000),
    "flac": ("flac", "flac", 44100),
    "mp3": ("mp3", "libmp3lame", 44100),
    "ogg": ("ogg", "libopus", 48000),
    "m4a": ("ipod", "aac", 44100),
    "aac": ("adts", "aac", 32000),
    "aiff": ("aiff", "pcm_s16be", 44100),
    "mkv": ("matroska", "aac", 48000),
    "webm": ("webm", "libopus", 48000),
    "mp4": ("mp4", "aac", 48000),
}
"""Name -> (container, codec, rate)."""


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.3) -> np.ndarray:
    """(n,) float32 sine."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def encode(
    name: str,
    samples: np.ndarray,
    channels: int = 1,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """A file of the named format holding ``samples`` at the format's rate in every channel, with a
    picture track if asked.
    """
    container, codec, rate = FORMATS[name]
    layout = "stereo" if channels == 2 else "mono"
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options or {}) as file:
        pictures = None
        if video:
            pictures = file.add_stream("mpeg4", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        sound = file.add_stream(codec, rate=rate)
        sound.layout = layout
        if pictures is not None:
            for _ in range(max(1, round(len(samples) / rate * 10))):
                picture = av.VideoFrame.from_ndarray(
                    np.full((64, 64, 3), 90, np.uint8), format="rgb24"
                )
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(
            np.stack([samples] * channels), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fifo = av.AudioFifo()
        for converted in av.AudioResampler(
            format=sound.format.name, layout=layout, rate=rate
        ).resample(frame):
            fifo.write(converted)
        size = sound.codec_context.frame_size or 1024
        while fifo.samples:
            piece = fifo.read(min(size, fifo.samples))
            file.mux(sound.encode(piece))
        file.mux(sound.encode(None))
    return out.getvalue()


def remuxed(
    data: bytes,
    container: str,
    late: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    packets: int | None = None,
) -> bytes:
    """The same packets in a container of another kind, time stamps kept.

    late: seconds that the sound begins after the pictures. gap: seconds from, to without packets of
    sound, as recorders of calls write silence. packets: of sound that are kept.
    """
    out = io.BytesIO()
    # An ogg page has one time stamp, at its end: a gap is only known where a page begins after it.
    options = {"page_duration": "20000"} if container == "ogg" else {}
    with (
        av.open(io.BytesIO(data)) as given,
        av.open(out, "w", format=container, options=options) as made,
    ):
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        count = 0
        for packet in given.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                count += 1
                at = float(packet.pts * packet.time_base)
                if gap[0] <= at < gap[1] or count > (packets or count):
                    continue
                shift = round(late / packet.time_base)
                packet.pts += shift
                packet.dts += shift
            packet.stream = streams[packet.stream.index]
            made.mux(packet)
    return out.getvalue()


def frequency(samples: np.ndarray, rate: int = 16000) -> float:
    """The loudest frequency in hertz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
