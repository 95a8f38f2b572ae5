"""The bookkeeping of a live session: sound in any pieces in, chunks for the network and timed
frames out.

Nothing here knows what the network is. Whoever runs it (``Session`` for one stream,
``server.engine`` for many at once) repeats

    core.feed(samples)
    while core.pending_hops:
        y, state = network(core.next_chunk(most), core.network_state)
        frames = core.accept(y, state)

and ends a turn with ``end_turn``, the same loop, and ``finish_turn``.

Glossary:
    hop: the samples at 16 kHz that become one frame of the network.
    delay: hops of later sound that a frame needs (the look-ahead).
    turn: what is said until ``finish_turn`` or ``interrupt``; its first sample has time 0.
    pending: received, but not yet run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.audio.decode import check_samples
from jambatalk.errors import InputError
from jambatalk.streaming.jitter_buffer import JitterBuffer, PacketStats
from jambatalk.streaming.overlay import (
    MotionOverlay,
    NeutralFade,
    OverlayClock,
    eased,
    fade_to_neutral,
)
from jambatalk.streaming.resampler import FrameRate, Resampler

Array = NDArray[np.float32]

MIN_RATE, MAX_RATE = 1000, 384_000
MAX_PATIENCE = 2.0
"""Seconds that later sound may wait for a missing packet."""


@dataclass(frozen=True)
class NetworkSpec:
    """What the bookkeeping must know of a network.

    Args:
        hop: samples at 16 kHz per frame.
        delay: hops between the sound of a frame and the step that gives it.
        fps: frames per second.
        outputs: numbers per frame.
        names: shape names of the outputs; none for a network that moves vertices.
    """

    hop: int
    delay: int
    fps: float
    outputs: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Frames:
    """Consecutive frames of one turn.

    Args:
        first: index of the first one in its turn.
        weights: (n, K) float32.
        pose: (n, 3) radians (pitch, yaw, roll), None without head motion.
        turn: number of the turn, from 0 on.
    """

    first: int
    weights: Array
    pose: Array | None
    turn: int

    def __len__(self) -> int:
        return len(self.weights)


@dataclass
class _Turn:
    """Sound on its way through one turn."""

    pending: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    """Samples at 16 kHz that the network has not run."""
    missing: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """Which of them were concealed."""
    received: int = 0
    """Samples at 16 kHz in all."""
    hops_run: int = 0
    ended: bool = False
    delayed: deque[tuple[Array, float]] = field(default_factory=deque)
    """(sound, gain) of the hops whose frame is not out yet."""


class StreamCore:
    """Turns samples into hops, and the network's outputs into frames, in memory that does not grow.

    Args:
        network: sizes and names of the network.
        rate: samples per second that are fed.
        fps: frames per second that come out.
        overlay: motion over the speech, None for none.
        patience: seconds of later sound that may wait for a packet out of order.

    Raises:
        InputError: a value is out of range, or an overlay has no shapes to move.
    """

    def __init__(
        self,
        network: NetworkSpec,
        rate: int = SAMPLE_RATE,
        fps: float | None = None,
        overlay: MotionOverlay | None = None,
        patience: float = 0.06,
        gains: NDArray[np.float32] | None = None,
    ) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise InputError(f"sample rate is {rate}, expected {MIN_RATE} to {MAX_RATE} Hz")
        if fps is not None and not 1 <= fps <= 240:
            raise InputError(f"fps is {fps}, expected 1 to 240 frames a second")
        if not 0 <= patience <= MAX_PATIENCE:
            raise InputError(f"patience is {patience}, expected 0 to {MAX_PATIENCE:.0f} seconds")
        if overlay is not None and not network.names:
            raise InputError(
                "a motion overlay moves shapes such as eyeBlinkLeft, but this network moves"
                " vertices: leave it off"
            )
        self.network, self.rate, self.patience = network, int(rate), patience
        self.gains = gains
        self.fps = float(fps) if fps is not None else network.fps
        self.names = overlay.names if overlay is not None else network.names
        self._jitter_buffer = JitterBuffer(self.rate, patience)
        self._resampler = None if self.rate == SAMPLE_RATE else Resampler(self.rate, SAMPLE_RATE)
        self._frame_rate = FrameRate(network.fps, self.fps)
        self._fade = NeutralFade(network.fps)
        self._overlay = OverlayClock(overlay, self.fps) if overlay is not None else None
        self.reset()

    def reset(self) -> None:
        """Forget everything: as new."""
        self.turn = 0
        self._jitter_buffer.stats = PacketStats()
        if self._overlay is not None:
            self._overlay.reset()
        self._begin_turn()

    def _begin_turn(self) -> None:
        self.network_state: Any = None  # None: the network's initial state
        self._turn = _Turn()
        self._last: Array | None = None  # weights of the last frame, without the overlay
        self._emitted = 0  # frames of this turn
        self._jitter_buffer.reset()
        if self._resampler is not None:
            self._resampler.reset()
        self._frame_rate.reset()
        self._fade.reset()
        if self._overlay is not None:
            self._overlay.begin_turn()

    # What it is waiting for.

    @property
    def delay(self) -> float:
        """Seconds that resampling of sound and frames adds to the network's look-ahead."""
        resampling = self._resampler.delay if self._resampler is not None else 0.0
        return resampling + self._frame_rate.delay

    @property
    def stats(self) -> PacketStats:
        """Samples (at ``rate``) that were lost, late or repeated since the session began."""
        return self._jitter_buffer.stats

    @property
    def pending_hops(self) -> int:
        """Whole hops that the network can run."""
        return len(self._turn.pending) // self.network.hop

    @property
    def pending_seconds(self) -> float:
        """Seconds of sound that the network has not run."""
        return len(self._turn.pending) / SAMPLE_RATE

    @property
    def turn_ended(self) -> bool:
        """Whether ``end_turn`` was called and ``finish_turn`` was not."""
        return self._turn.ended

    # Sound in.

    def feed(self, samples: Any, at: int | None = None) -> None:
        """Add sound.

        Args:
            samples: see ``mono_samples``.
            at: index of the first sample on the sender's clock; None: right after the last.

        Raises:
            InputError: not such samples, an impossible index, or the turn has ended.
        """
        checked = mono_samples(samples)
        if at is not None and not 0 <= at < 1 << 62:
            raise InputError(f"a packet has the index {at}, expected a whole number from 0 on")
        if self._turn.ended:
            raise InputError("the turn has ended: finish it before more sound comes")
        self._add_pieces(self._jitter_buffer.push(checked, at))

    def conceal(self, at: int) -> None:
        """Conceal what is missing before index ``at`` of the sender's clock."""
        self._add_pieces(self._jitter_buffer.advance(at))

    def end_turn(self) -> None:
        """End the speech of this turn: silence follows, as much as its last frames need."""
        if self._turn.ended:
            return
        self._add_pieces(self._jitter_buffer.end())
        if self._resampler is not None:
            self._add(self._resampler(np.zeros(0, np.float32), last=True), False)
        turn, network = self._turn, self.network
        turn.ended = True
        if turn.received:
            frames = -(-turn.received // network.hop)
            silence = (frames + network.delay) * network.hop - turn.received
            turn.pending = np.concatenate([turn.pending, np.zeros(silence, np.float32)])
            turn.missing = np.concatenate([turn.missing, np.zeros(silence, bool)])

    def _add_pieces(self, pieces: list[tuple[Array, bool]]) -> None:
        for samples, missing in pieces:
            self._add(samples if self._resampler is None else self._resampler(samples), missing)

    def _add(self, samples: Array, missing: bool) -> None:
        turn = self._turn
        turn.received += len(samples)
        # Clipped after resampling, as recordings are: a little over full scale sounds the same.
        turn.pending = np.concatenate([turn.pending, np.clip(samples, -1.0, 1.0)])
        turn.missing = np.concatenate([turn.missing, np.full(len(samples), missing)])

    # Through the network.

    def next_chunk(self, most: int) -> Array:
        """The samples (n * hop,) of the next hops, at most ``most``; ``accept`` removes them."""
        return self._turn.pending[: min(self.pending_hops, most) * self.network.hop]

    def accept(self, y: Array, state: Any) -> Frames:
        """Take what the network gave for the next chunk.

        Args:
            y: (n, outputs) of its n hops.
            state: the network's state after them.

        Returns:
            The frames that became ready.

        Raises:
            InputError: ``y`` holds NaN or infinity.
        """
        if not np.isfinite(y).all():
            raise InputError(
                "the network gave values that are not numbers: this session's state is damaged"
            )
        turn, network, count = self._turn, self.network, len(y)
        self.network_state = state
        for hop in range(count):
            part = slice(hop * network.hop, (hop + 1) * network.hop)
            gain = self._fade.step(bool(turn.missing[part].all()))
            turn.delayed.append((turn.pending[part], gain))
        used = count * network.hop
        turn.pending, turn.missing = turn.pending[used:].copy(), turn.missing[used:].copy()
        skip = min(max(network.delay - turn.hops_run, 0), count)  # steps before frame 0
        turn.hops_run += count
        delayed = [turn.delayed.popleft() for _ in range(count - skip)]
        values = y[skip:]
        if network.names:
            values = np.clip(values if self.gains is None else values * self.gains, 0.0, 1.0)
        gains = [gain for _, gain in delayed]
        if gains and min(gains) < 1.0:
            values = values * np.array([eased(gain) for gain in gains], np.float32)[:, None]
        return self._emit(self._frame_rate(values), [sound for sound, _ in delayed])

    # Frames out.

    def finish_turn(self) -> Frames:
        """Give the last frames after ``end_turn``, and begin a new turn.

        Raises:
            RuntimeError: the turn has not ended, or hops are pending.
        """
        if not self._turn.ended or self.pending_hops:
            raise RuntimeError("finish_turn() comes after end_turn(), once all hops have run")
        return self._last_frames(self._frame_rate(self.no_values(), last=True))

    def interrupt(self) -> Frames:
        """Drop what is pending, give the frames that lead to the neutral face, begin a new turn."""
        last = self._last
        return self._last_frames(
            fade_to_neutral(last, self.fps) if last is not None else self.no_values()
        )

    def _last_frames(self, values: Array) -> Frames:
        frames = self._emit(values, [])
        self._begin_turn()
        self.turn += 1
        return frames

    def no_frames(self) -> Frames:
        """Frames of length 0 with the right width."""
        width = len(self.names) or self.network.outputs
        return Frames(self._emitted, np.zeros((0, width), np.float32), None, self.turn)

    def no_values(self) -> Array:
        """(0, outputs)."""
        return np.zeros((0, self.network.outputs), np.float32)

    def _emit(self, values: Array, sounds: list[Array]) -> Frames:
        """Frames at the output rate with the overlay; ``sounds``: the sound at their times."""
        first, pose = self._emitted, None
        self._emitted += len(values)
        if len(values):
            self._last = values[-1]
        if self._overlay is not None:
            values, pose = self._overlay.apply(values, sounds)
        return Frames(first, values, pose, self.turn)

    # Storing.

    def state(self) -> dict[str, Any]:
        """All that it remembers but the network's state: JSON values and arrays."""
        turn, overlay = self._turn, self._overlay
        return {
            "turn": self.turn,
            "made": self._emitted,
            "last": self._last,
            "pending": turn.pending,
            "missing": turn.missing,
            "heard": turn.received,
            "steps": turn.hops_run,
            "ended": turn.ended,
            "delayed": [{"sound": sound, "gain": gain} for sound, gain in turn.delayed],
            "rest": {"gain": self._fade.gain, "missing": self._fade.missing},
            "packets": self._jitter_buffer.state(),
            "frame_rate": self._frame_rate.state(),
            "resampler": None if self._resampler is None else self._resampler.state(),
            "life": None if overlay is None else overlay.overlay.state(),
            "life_frames": 0 if overlay is None else overlay.frames,
            "life_samples": 0 if overlay is None else overlay.samples,
            "life_ahead": 0 if overlay is None else overlay.ahead,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            KeyError, TypeError, ValueError: it is not the state of such a core.
        """
        hop = self.network.hop
        self.turn, self._emitted = _count(state["turn"]), _count(state["made"])
        last = state["last"]
        self._last = None if last is None else _floats(last, (self.network.outputs,))
        self._turn = _Turn(
            _floats(state["pending"], (None,)),
            np.asarray(state["missing"], bool),
            _count(state["heard"]),
            _count(state["steps"]),
            bool(state["ended"]),
            deque((_floats(one["sound"], (hop,)), float(one["gain"])) for one in state["delayed"]),
        )
        if self._turn.missing.shape != self._turn.pending.shape:
            raise ValueError("its marks of missing samples do not fit its samples")
        if len(self._turn.delayed) != min(self._turn.hops_run, self.network.delay):
            raise ValueError(f"{len(self._turn.delayed)} hops are on their way")
        self._fade.gain = float(state["rest"]["gain"])
        self._fade.missing = float(state["rest"]["missing"])
        self._jitter_buffer.load_state(state["packets"])
        self._frame_rate.load_state(state["frame_rate"])
        if self._resampler is not None:
            self._resampler.load_state(state["resampler"])
        if self._overlay is not None:
            self._overlay.overlay.load_state(state["life"])
            self._overlay.frames = _count(state["life_frames"])
            self._overlay.samples = _count(state["life_samples"])
            self._overlay.ahead = _count(state["life_ahead"])


def mono_samples(samples: Any) -> Array:
    """Give one channel of sound as float32 in about -1..1.

    Args:
        samples: (n,), (n, 1) or (1, n): floats in -1..1, or int16, which is scaled; bytes, a
            bytearray or a memoryview of bytes hold little-endian int16.

    Raises:
        InputError: another shape or type, an odd number of bytes, NaN, infinity, or floats on
            another scale.
    """
    if isinstance(samples, (bytes, bytearray)) or (
        isinstance(samples, memoryview) and samples.itemsize == 1
    ):
        if len(samples) % 2:
            raise InputError(
                f"pushed bytes are {len(samples)}, expected whole int16 samples of two bytes"
            )
        samples = np.frombuffer(samples, "<i2")
    array = np.asarray(samples)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise InputError(f"pushed samples have shape {array.shape}, expected one channel (n,)")
    if array.dtype.kind == "i" and array.dtype.itemsize == 2:
        return array.astype(np.float32) / 32768.0
    if array.dtype.kind != "f":
        raise InputError(f"pushed samples are {array.dtype}, expected float32 in -1..1 or int16")
    array = array.astype(np.float32)
    check_samples(array, "the pushed sound")
    return array


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError(f"{str(value)[:40]} is not a count")
    return value


def _floats(value: Any, shape: tuple[int | None, ...]) -> Array:
    array = np.asarray(value, np.float32)
    if array.ndim != len(shape) or any(
        want is not None and have != want for have, want in zip(array.shape, shape)
    ):
        raise ValueError(f"an array has shape {array.shape}, expected {shape}")
    return array
