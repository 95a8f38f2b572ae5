"""Any source of sound as a row of 16 kHz mono blocks, in bounded memory.

Files are decoded with PyAV, frame by frame, and put on the file's own clock: gaps in its time
stamps become silence, and so does the time before a track that begins late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from jambatalk.audio.source import Source, open_source
from jambatalk.audio.truncation import EndWatch, parts, wav_header
from jambatalk.errors import InputError, reading

SAMPLE_RATE = 16000
"""Samples per second of everything inside jambatalk."""

MOST_CHANNELS = 64

LOUDEST = 32.0
"""Float samples beyond this are not loud (+30 dB over full scale) but on another scale."""

STEP = 160_000
"""Samples of an array that are converted at a time."""

FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,"
    "nistsphere,nut,ogg,oma,tta,voc,w64,wav,webm,wv,mpc,mpc8"
)
"""Formats that are nothing but media.

Playlists and scripts stay out: they could make a file open other files.
"""

EXPECTED = "expected wav, flac, mp3, ogg, opus, m4a or a video with sound"

STAMPED = ("asf", "avi", "flv", "matroska,webm", "mov,", "mpeg", "nut", "ogg")
"""Formats (by the beginnings of their names) whose time stamps say when a sound begins.

Those of the others are counted from the sound itself.
"""

SAME_CLOCK = 0.03
"""Seconds by which a block may be off the count of samples before it.

Beyond, sound is missing or doubled there.
"""

LONGEST_PAUSE = 3600.0
"""Seconds; a longer hole between two blocks of sound is a damaged time stamp."""

LONGEST_SILENCE = 12 * 3600.0
"""Seconds of all holes of a file together."""

RESTARTED = 10.0
"""Seconds; in broadcast streams, whose clock restarts, a longer hole is no pause."""

DEFAULT = 1
"""The bit by which a container marks its default track (AV_DISPOSITION_DEFAULT)."""

SILENT = 1e-3
"""Peak below which a track counts as silent, -60 dB."""

Native = Iterator[tuple[NDArray[np.float32], int]]


def open_blocks(
    source: Any,
    rate: int | None = None,
    seconds: float = 10.0,
    track: int | None = None,
    notes: list[str] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Decode ``source`` block by block.

    Memory does not grow with the length of a file. Joined, the blocks equal
    ``Speech.load(source).samples`` bit for bit, whatever ``seconds`` is.

    Args:
        source, rate, track: as in ``Speech.load``.
        seconds: length of a block; the last one is shorter.
        notes: a list that gets sentences about the file that its user may want to know.

    Yields:
        (n,) float32 samples at 16 kHz in -1..1.

    Raises:
        InputError: as ``Speech.load``; what is wrong at the end of a file (cut off, no sound in
            it) is raised at the end.
    """
    if seconds <= 0:
        raise InputError(f"a block lasts {seconds} seconds, expected a positive number")
    source, rate = _unpaired(source, rate)
    if is_array(source):
        native, name = array_blocks(source, rate), "the array"
    elif rate is not None:
        raise InputError(
            f"a rate ({rate}) was given for something that is not an array: "
            "files know their own rate"
        )
    else:
        opened = open_source(source)
        native, name = decode(opened, track, notes), opened.name
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
            f"{name} holds float samples up to {peak:.5g}, expected -1..1: "
            "divide them by their full scale"
        )


def decode(source: Source, track: int | None = None, notes: list[str] | None = None) -> Native:
    """Give (mono float32 block, rate) for every audio frame of one sound track.

    A packet that cannot be decoded is skipped, as players do, unless nothing decodes at all. What
    was opened by ``open_source`` is closed at the end.

    Raises:
        InputError: there is nothing to decode, or (at the end) the file is shorter than it
            promises.
    """
    with ExitStack() as stack:
        if source.ours:
            stack.callback(source.file.close)
        for part in parts(source):
            if part.file.read(4) == b"RIFX":
                yield from _decode_rifx(part)
            else:
                part.file.seek(0)
                yield from _decode_part(part, track, notes)


def _decode_rifx(source: Source) -> Native:
    """A wav of big-endian samples, which FFmpeg reads as little-endian ones: noise."""
    import soundfile

    source.file.seek(0)
    header = wav_header(source.file)
    with reading(source.name, "a wav file"), soundfile.SoundFile(source.file) as file:
        for block in file.blocks(STEP, dtype="float32", always_2d=True):
            yield block.mean(axis=1), file.samplerate
    if header is not None and header.missing:
        raise InputError(f"{source.name} is cut off: {header.missing}")


def _decode_part(source: Source, track: int | None, notes: list[str] | None) -> Native:
    with open_container(source.file, source.name) as container:
        stream = choose_track(container, source.name, track, notes)
        watch = EndWatch(source, container.format.name, stream)
        damaged: list[bool] = []
        frames = decoded(container, stream, damaged, watch)
        peak, count = 0.0, 0
        if container.format.name.startswith(STAMPED):
            origin = max(0.0, (container.start_time or 0) / av.time_base)
            restarts = container.format.name.startswith("mpeg")
            blocks = on_the_clock(frames, source.name, stream_start(stream), origin, restarts)
        else:
            blocks = ((mono(frame), frame.sample_rate) for frame in frames)
        for block, rate in blocks:
            count += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            yield block, rate
        if damaged and not count:
            raise InputError(
                f"no sound could be decoded from {source.name}: the file is damaged ({EXPECTED})"
            )
        watch.check()
        others = len(container.streams.audio) - 1
        if notes is not None and peak < SILENT and others:
            notes.append(
                f"{source.name}: this track is silent, speech may be on another: "
                f"choose one of 1 to {others + 1} with --track"
            )


def open_container(file: Any, name: str) -> Any:
    """Open an audio or video file with PyAV; InputError when it is neither."""
    try:
        return av.open(file, metadata_errors="ignore", options={"format_whitelist": FORMATS})
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(
            f"cannot read {name}: it is not an audio or video file, or a damaged one ({EXPECTED})"
        ) from error


def choose_track(
    container: Any, name: str, track: int | None = None, notes: list[str] | None = None
) -> Any:
    """Return the sound track to use: number ``track``, else the file's default, else the first.

    Args:
        container: an open file.
        name: the file's name, for messages.
        track: counted from 1.
        notes: gets a sentence that names the track when there are several.

    Raises:
        InputError: there is no such track.
    """
    streams = container.streams.audio
    if not streams:
        raise InputError(f"{name} has no sound track ({EXPECTED})")
    if track is not None and not 1 <= track <= len(streams):
        raise InputError(f"{name} has no sound track {track}: it has {len(streams)}")
    default = next((s for s in streams if int(getattr(s, "disposition", 0)) & DEFAULT), streams[0])
    stream = default if track is None else streams[track - 1]
    if notes is not None and track is None and len(streams) > 1:
        number = next(k for k, s in enumerate(streams, 1) if s is stream)
        language = stream.metadata.get("language", "und")
        known = "" if language == "und" else f" ({language})"
        notes.append(
            f"{name} has {len(streams)} sound tracks, number {number}{known} is used: "
            "choose another with --track"
        )
    return stream


def stream_start(stream: Any) -> float | None:
    """When the track begins by the file's header, in seconds of the file's clock."""
    return None if stream.start_time is None else float(stream.start_time * stream.time_base)


def on_the_clock(
    frames: Iterable[Any], name: str, start: float | None, origin: float, restarts: bool = False
) -> Native:
    """Give (mono block, rate) of decoded frames, with silence where the clock goes on without.

    Args:
        frames: decoded audio frames in order.
        name: the file's name, for messages.
        start: when the track begins by the file's header; None when it is not known.
        origin: the time of the first sample given.
        restarts: whether the clock may restart, as in broadcasts.

    Raises:
        InputError: a hole is too long to be a pause.
    """
    clock: float | None = None  # the time at which the next frame should begin
    filled = 0.0
    for frame in frames:
        if not frame.samples:
            continue
        block, rate, time = mono(frame), frame.sample_rate, frame.time
        if clock is None:
            time = origin if time is None else time
            # Some decoders stamp what their first block overlaps with: the header knows better.
            begins = time if start is None or abs(time - start) > 0.3 else start
            off = begins - origin
            clock = time
        else:
            off = 0.0 if time is None else time - clock
            if off < -1.0 or (restarts and off > RESTARTED):
                off, clock = 0.0, time  # the clock was set anew
        if off > SAME_CLOCK:
            filled += off
            if off > LONGEST_PAUSE or filled > LONGEST_SILENCE:
                raise InputError(
                    f"{name} has a hole of {off:.0f} s in its sound: its time stamps are damaged"
                )
            count = round(off * rate)
            for begin in range(0, count, STEP):
                yield np.zeros(min(STEP, count - begin), np.float32), rate
            clock = time
        elif off < -SAME_CLOCK:
            block = block[round(-off * rate) :]
        clock += len(block) / rate
        if len(block):
            yield block, rate


def decoded(
    container: Any, stream: Any, damaged: list[bool], watch: EndWatch | None = None
) -> Iterator[Any]:
    """Frames of a track. Packets that cannot be decoded are left out and noted in ``damaged``."""
    packets = container.demux(stream)
    failed = 0
    while failed < 1000:  # a damaged file's demuxer may fail for ever
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            damaged.append(True)
            return
        if packet is None:
            return
        if watch is not None:
            watch.packet(packet)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            damaged.append(True)
            failed += 1
            continue
        for frame in frames:
            if watch is not None:
                watch.frame(frame)
            yield frame


def mono(frame: Any) -> NDArray[np.float32]:
    """(n,) mean of the channels; planar frames come as (c, n), packed ones as (1, n * c)."""
    values = to_float(frame.to_ndarray())
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    return values[0] if len(values) == 1 else values.mean(axis=0)


def to_float(block: NDArray[Any]) -> NDArray[np.float32]:
    """Float32 of any real samples; integers scaled to -1..1, unsigned ones centered first."""
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    half = 2.0 ** (8 * block.dtype.itemsize - 1)
    center = half if block.dtype.kind == "u" else 0.0
    return ((block.astype(np.float64) - center) / half).astype(np.float32)


def is_array(source: Any) -> bool:
    """Whether ``source`` is an array of samples: numpy, a tensor, or a plain list of numbers."""
    return isinstance(source, (list, tuple)) or (
        hasattr(source, "__array__") and not hasattr(source, "read")
    )


def _unpaired(source: Any, rate: int | None) -> tuple[Any, int | None]:
    """Split the pair (rate, samples) of gradio and scipy, or (samples, rate) of librosa."""
    if not isinstance(source, tuple) or len(source) != 2:
        return source, rate
    numbers = [isinstance(part, (int, np.integer)) for part in source]
    arrays = [is_array(part) and np.ndim(part) > 0 for part in source]
    if not (numbers == [True, False] and arrays[1]) and not (
        numbers == [False, True] and arrays[0]
    ):
        return source, rate
    if rate is not None:
        raise InputError(f"a rate ({rate}) was given beside a pair that has its own")
    return (source[1], source[0]) if numbers[0] else source


def array_blocks(source: Any, rate: int | None) -> Native:
    """Give (mono block, rate) of an array: (n,), (n, channels) or (channels, n).

    Of a two-dimensional array the longer side is time. Integers are divided by their full scale
    (unsigned ones are centered first); floats are taken as they are. Tensors may lie on any device,
    be of any real type, and require gradients.

    Raises:
        InputError: the rate is missing, or the shape or type is another.
    """
    with reading("the array", "numbers of one shape"):
        if hasattr(source, "detach"):  # torch: numpy takes neither its gradients nor its bfloat16
            source = source.detach().cpu()
            source = source.float() if "float" in str(source.dtype) else source
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


def _array_to_mono(values: NDArray[Any], rate: int) -> Native:
    for start in range(0, len(values), STEP):
        block = to_float(values[start : start + STEP])
        yield (block if block.ndim == 1 else block.mean(axis=1)), rate


def _finished(native: Native, name: str) -> Iterator[NDArray[np.float32]]:
    """Checked, resampled and clipped; blocks of any length."""
    count = 0
    for block in resampled(_checked(native, name)):
        if len(block):
            count += len(block)
            yield np.clip(block, -1.0, 1.0)
    if not count:
        raise InputError(f"{name} holds no sound: its length is zero")


def _checked(native: Native, name: str) -> Native:
    for block, rate in native:
        check_samples(block, name)
        yield block, rate


def resampled(native: Native) -> Iterator[NDArray[np.float32]]:
    """To 16 kHz. soxr's stream gives the same samples however the input is cut into blocks."""
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
