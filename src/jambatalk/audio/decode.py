"""Any source of sound as a row of 16 kHz mono blocks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from jambatalk.audio.source import Source, open_source
from jambatalk.audio.truncation import EndWatch
from jambatalk.errors import InputError

# Arrays of samples as mono float32 blocks.


MOST_CHANNELS = 64
STEP = 160_000


def is_array(source: Any) -> bool:
    """Whether ``source`` is an array of samples: numpy, a torch tensor on the CPU, or a plain list of numbers."""
    return isinstance(source, (list, tuple)) or (
        hasattr(source, "__array__") and not hasattr(source, "read")
    )


def array_blocks(source: Any, rate: int | None) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Give (mono block, rate) of an array: (n,), (n, channels) or (channels, n).

    Of a two-dimensional array the longer side is time. Integers are divided by their full scale (unsigned ones are centred
    first); floats are taken as they are. InputError for a missing rate or another shape or type.
    """
    values = np.asarray(source)
    if rate is None:
        raise InputError(
            "an array of samples needs its rate, for example Speech.load(samples, rate=48000)"
        )
    if not isinstance(rate, (int, np.integer)) or not 1 <= rate <= 10_000_000:
        raise InputError(
            f"rate is {rate!r}, expected a whole number of samples per second such as 48000"
        )
    if values.dtype.kind not in "iuf":
        raise InputError(f"samples are {values.dtype}, expected real floats or integers")
    if values.ndim not in (1, 2):
        raise InputError(f"samples have shape {values.shape}, expected (n,) or (n, channels)")
    if values.ndim == 2 and 0 < values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim == 2 and not 1 <= values.shape[1] <= MOST_CHANNELS and len(values):
        raise InputError(
            f"samples have shape {values.shape}, expected at most {MOST_CHANNELS} channels"
        )
    return _array_to_mono(values, int(rate))


def _array_to_mono(values: NDArray[Any], rate: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    for start in range(0, len(values), STEP):
        block = to_float(values[start : start + STEP])
        yield (block if block.ndim == 1 else block.mean(axis=1)), rate


def to_float(block: NDArray[Any]) -> NDArray[np.float32]:
    """Float32 of any real samples; integers are scaled to -1..1, unsigned ones centred on half their range."""
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    half = 2.0 ** (8 * block.dtype.itemsize - 1)
    centre = half if block.dtype.kind == "u" else 0.0
    return ((block.astype(np.float64) - centre) / half).astype(np.float32)


# Decoding audio and video files with PyAV, frame by frame.


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
            container = stack.enter_context(
                av.open(
                    source.file, metadata_errors="ignore", options={"format_whitelist": FORMATS}
                )
            )
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"cannot read {source.name}: it is no audio or video file, or a damaged one ({EXPECTED})"
            ) from error
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
                yield _frame_to_mono(frame), frame.sample_rate
        if damaged and not heard:
            raise InputError(
                f"no sound could be decoded from {source.name}: the file is damaged ({EXPECTED})"
            )
        watch.check()


def _frame_to_mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """(n,) mean of the channels; planar frames come as (c, n), packed ones as (1, n * c)."""
    values = to_float(frame.to_ndarray())
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    return values[0] if len(values) == 1 else values.mean(axis=0)


SAMPLE_RATE = 16000
"""Samples per second of everything inside jambatalk."""

LOUDEST = 32.0
"""Float samples beyond this are not loud (+30 dB over full scale) but on another scale, such as 16-bit integers as floats."""

Native = Iterator[tuple[NDArray[np.float32], int]]


def open_blocks(
    source: Any, rate: int | None = None, seconds: float = 10.0
) -> Iterator[NDArray[np.float32]]:
    """Decode ``source`` block by block.

    source, rate: as in ``Speech.load``.
    seconds: length of a block; the last one is shorter.
    Yields (n,) float32 blocks at 16 kHz in -1..1. Joined they equal ``Speech.load(source).samples`` bit for bit, whatever
    ``seconds`` is. Memory does not grow with the length of a file.
    Raises InputError; what is wrong at the end of a file (cut off, no sound in it) is raised at the end.
    """
    if seconds <= 0:
        raise InputError(f"a block lasts {seconds} seconds, expected a positive number")
    if is_array(source):
        native, name = array_blocks(source, rate), "the array"
    elif rate is not None:
        raise InputError(
            f"a rate ({rate}) was given for something that is not an array: files know their own rate"
        )
    else:
        opened = open_source(source)
        native, name = decode(opened), opened.name
    return _equal(_finished(native, name), max(1, round(seconds * SAMPLE_RATE)))


def check_samples(block: NDArray[np.float32], name: str) -> None:
    """Refuse samples that are not sound: the one rule for files, arrays, streams and sockets.

    Args:
        block: float samples of any shape.
        name: what the samples come from, for the message.

    Raises:
        InputError: a sample is NaN, infinite, or beyond ``LOUDEST``.
    """
    if not len(block):
        return
    peak = np.abs(block).max()  # NaN if any sample is
    if not np.isfinite(peak):
        raise InputError(
            f"{name} holds samples that are not numbers (NaN or infinity), expected values in -1..1"
        )
    if peak > LOUDEST:
        raise InputError(
            f"{name} holds float samples up to {peak:.5g}, expected -1..1: divide them by their full scale"
        )


def _finished(native: Native, name: str) -> Iterator[NDArray[np.float32]]:
    """Checked, resampled and clipped; blocks of any length."""
    count = 0
    for block in _resampled(_checked(native, name)):
        if len(block):
            count += len(block)
            yield np.clip(block, -1.0, 1.0)
    if not count:
        raise InputError(f"{name} holds no sound: its length is zero")


def _checked(native: Native, name: str) -> Native:
    for block, rate in native:
        check_samples(block, name)
        yield block, rate


def _resampled(native: Native) -> Iterator[NDArray[np.float32]]:
    """To 16 kHz. soxr's stream gives the same samples for every way of cutting the input into blocks."""
    stream: soxr.ResampleStream | None = None
    current = 0
    nothing = np.zeros(0, np.float32)
    for block, rate in native:
        if rate != current:  # the first block, or a file that changes its rate on the way
            if stream is not None:
                yield stream.resample_chunk(nothing, last=True)
            current = rate
            stream = (
                None
                if rate == SAMPLE_RATE
                else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            )
        yield block if stream is None else stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(nothing, last=True)


def _equal(blocks: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of ``size``, the last one shorter."""
    waiting: list[NDArray[np.float32]] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(waiting)
            whole = count // size * size
            yield from joined[:whole].reshape(-1, size)
            waiting, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)
