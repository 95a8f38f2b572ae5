"""Decoding audio and video files with PyAV, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import av
import numpy as np
from numpy.typing import NDArray

from jambatalk.audio.arrays import to_float
from jambatalk.audio.complete import EndWatch
from jambatalk.audio.source import Source
from jambatalk.errors import InputError

FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,nut,ogg,oma,"
    "tta,voc,w64,wav,webm,wv,mpc,mpc8"
)
"""Formats that are nothing but media. Playlists and scripts stay out: they could make a file open other files."""

EXPECTED = "expected wav, flac, mp3, ogg, opus, m4a or a video with sound"


def decode(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Give (mono float32 block, rate) for every audio frame of the first sound track. Closes what is ours at the end.

    A packet that cannot be decoded is skipped, as players do, unless nothing decodes at all. A file that ends before the
    length it promises raises InputError at the end.
    """
    with ExitStack() as stack:
        if source.ours:
            stack.callback(source.file.close)
        try:
            container = stack.enter_context(av.open(source.file, metadata_errors="ignore", options={"format_whitelist": FORMATS}))
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"cannot read {source.name}: it is no audio or video file, or a damaged one ({EXPECTED})") from error
        if not container.streams.audio:
            raise InputError(f"{source.name} has no sound track ({EXPECTED})")
        stream = container.streams.audio[0]
        watch = EndWatch(source, container.format.name, stream)
        heard = damaged = False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                damaged = True
                break
            if packet is None:
                break
            watch.packet(packet)
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged = True
                continue
            for frame in frames:
                heard = heard or frame.samples > 0
                watch.frame(frame)
                yield _mono(frame), frame.sample_rate
        if damaged and not heard:
            raise InputError(f"no sound could be decoded from {source.name}: the file is damaged ({EXPECTED})")
        watch.check()


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """(n,) mean of the channels; planar frames come as (c, n), packed ones as (1, n * c)."""
    values = to_float(frame.to_ndarray())
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    return values[0] if len(values) == 1 else values.mean(axis=0)
