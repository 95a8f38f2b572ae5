"""The microphone: pieces of sound with the index of their first sample, and the places where some
are missing.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError, MissingExtraError

BLOCK_SECONDS = 0.02
QUEUE_SECONDS = 2.0
"""Sound that may wait for the network; more is thrown away, and the gap is known from the next
piece's index.
"""

SILENT_SECONDS = 5.0
"""Time without any sound, not even silence, after which the device counts as gone.

Not every system reports it.
"""


@dataclass(frozen=True)
class Piece:
    """samples (n,) float32 in -1..1; at: index of the first one since the microphone was opened,
    gaps counted.

    arrived: when the sound system gave them, on the monotonic clock.
    """

    samples: NDArray[np.float32]
    at: int
    arrived: float = 0.0


@dataclass(frozen=True)
class Device:
    """One input of the machine. rate: samples per second that it prefers."""

    index: int
    name: str
    rate: int
    default: bool


def require_sounddevice() -> Any:
    """The module sounddevice; MissingExtraError without it, InputError without the PortAudio
    library that it needs.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError(
            'the microphone needs sounddevice: pip install "jambatalk[mic]"'
        ) from error
    except OSError as error:
        raise InputError(
            "the PortAudio library is missing: install libportaudio2 with your system's packages"
        ) from error
    return sounddevice


def devices() -> list[Device]:
    """The machine's inputs."""
    sounddevice = require_sounddevice()
    try:
        found, default = sounddevice.query_devices(), sounddevice.default.device[0]
    except sounddevice.PortAudioError as error:
        raise InputError(f"the sound devices cannot be listed ({error})") from error
    return [
        Device(index, str(entry["name"]), round(entry["default_samplerate"]), index == default)
        for index, entry in enumerate(found)
        if entry["max_input_channels"] > 0
    ]


def choose(wanted: str | None) -> Device:
    """The input with this index, or the only one whose name holds this text; None: the default,
    else the first one.
    """
    inputs = devices()
    if not inputs:
        raise InputError("this machine has no microphone: expected at least one sound input")
    if wanted is None:
        return next((device for device in inputs if device.default), inputs[0])
    listed = "; ".join(f"{device.index}: {device.name}" for device in inputs)
    exact = [device for device in inputs if wanted in (str(device.index), device.name)]
    fitting = exact or [device for device in inputs if wanted.lower() in device.name.lower()]
    if wanted.isdecimal() and not exact:
        fitting = []
    if len(fitting) != 1:
        raise InputError(
            f"--device-name is {wanted!r}, which {len(fitting)} inputs fit, expected one of "
            f"{listed}"
        )
    return fitting[0]


class Microphone:
    """Open with ``with``; then ``read`` returns the sound in order.

    overflows: times that the sound system lost sound; dropped: samples thrown away here because
    nobody read them.
    """

    def __init__(self, wanted: str | None = None) -> None:
        self._sounddevice = require_sounddevice()
        self.device = choose(wanted)
        self.rate = self.device.rate
        self.overflows = self.dropped = 0
        self._next = 0
        self._begin: float | None = None  # the sound card's time of sample 0
        self._pieces: queue.Queue[Piece] = queue.Queue(round(QUEUE_SECONDS / BLOCK_SECONDS))
        self._stream: Any = None
        self._ended = False
        self._latest = 0.0  # when the sound system gave something, on the monotonic clock

    def __enter__(self) -> Microphone:
        """InputError when the device cannot be opened (it is busy, or not allowed)."""
        try:
            self._stream = self._sounddevice.InputStream(
                samplerate=self.rate,
                device=self.device.index,
                channels=1,
                dtype="float32",
                blocksize=round(BLOCK_SECONDS * self.rate),
                callback=self._received,
                finished_callback=self._finished,
            )
            self._latest = time.monotonic()
            self._stream.start()
        except self._sounddevice.PortAudioError as error:
            raise InputError(
                f"the microphone {self.device.name!r} cannot be opened ({error})"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def read(self, timeout: float) -> Piece | None:
        """The next piece, or None when none came within ``timeout`` seconds. InputError once the
        device is gone.
        """
        try:
            return self._pieces.get(timeout=timeout)
        except queue.Empty:
            if self._ended or time.monotonic() - self._latest > SILENT_SECONDS:
                raise InputError(
                    f"the microphone {self.device.name!r} delivers no more sound: it was unplugged "
                    "or "
                    "taken away"
                ) from None
            return None

    def _finished(self) -> None:
        """Called by the sound system when the stream has ended, whatever the reason."""
        self._ended = True

    def _received(self, data: NDArray[np.float32], count: int, when: Any, status: Any) -> None:
        """Called by the sound system in its own thread; must not wait."""
        begin = float(when.inputBufferAdcTime)
        if self._begin is None:
            self._begin = begin
        if status.input_overflow:
            self.overflows += 1
            # How much is missing, only the sound card's time knows. It is used only here: at other
            # times it trembles.
            self._next = max(self._next, round((begin - self._begin) * self.rate))
        self._latest = time.monotonic()
        samples = np.nan_to_num(data[:, 0], nan=0.0, posinf=1.0, neginf=-1.0).astype(np.float32)
        piece, self._next = Piece(samples, self._next, self._latest), self._next + count
        try:
            self._pieces.put_nowait(piece)
        except queue.Full:
            self.dropped += count
