"""Packets of sound with indices, out of order, late, lost or twice -> one stream without holes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

Array = NDArray[np.float32]

MAX_GAP = 60.0
"""Seconds that a packet may lie ahead of the last one; more is a broken clock, or a new turn whose
beginning was not announced."""

MAX_WAITING = 256
"""Packets that wait for one before them: with patience of a second, packets of 4 ms."""

MIN_PERIOD, MAX_PERIOD = 0.0025, 0.015
"""Seconds of a voice's period (400 down to 66 Hz), as in ITU-T G.711 Appendix I."""

HOLD_SECONDS, FADE_SECONDS = 0.010, 0.060
"""The last period is repeated at full level for so long, and is silent after so long."""

HISTORY_SECONDS = 3 * MAX_PERIOD
"""Sound before a gap that is needed to fill it."""


@dataclass
class PacketStats:
    """What happened to the sound so far, in samples at the sender's rate.

    Args:
        lost: never came, or too late: concealed.
        late: came after it had been concealed: dropped.
        repeated: came twice.
    """

    lost: int = 0
    late: int = 0
    repeated: int = 0


@dataclass
class JitterBuffer:
    """Puts packets into order, and conceals what does not come within ``patience``.

    Args:
        rate: samples per second of the sender's clock.
        patience: seconds of later sound that may wait for a missing packet.
        stats: what was lost so far.
    """

    rate: int
    patience: float
    stats: PacketStats = field(default_factory=PacketStats)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new turn: the next packet is the first one. ``stats`` continue."""
        self.next: int | None = None  # index of the sample that is due
        self._waiting: dict[int, Array] = {}  # packets ahead of it, by their first index
        self._history = np.zeros(0, np.float32)  # the last sound that really came
        self._gap = 0  # samples concealed since
        self._holes: list[tuple[int, int]] = []  # concealed ranges that a packet may still fill

    def push(self, samples: Array, at: int | None) -> list[tuple[Array, bool]]:
        """Add a packet.

        Args:
            samples: (n,) float32.
            at: index of its first sample; None: right after the last.

        Returns:
            Pieces (samples, whether concealed) that are in order now.

        Raises:
            InputError: an index that no packet of this stream can have.
        """
        if at is None:
            at = self.next if self.next is not None else 0
            if self._waiting:
                # Sound without an index follows the newest packet.
                at = max(index + len(packet) for index, packet in self._waiting.items())
        if self.next is None:
            self.next = at
        ahead = at - self.next
        if ahead > MAX_GAP * self.rate:
            raise InputError(
                f"a packet begins {ahead / self.rate:.1f} s after the sound before it,"
                f" expected at most {MAX_GAP:.0f} s"
            )
        if ahead < 0:
            known = min(-ahead, len(samples))
            late = sum(max(min(end, at + known) - max(start, at), 0) for start, end in self._holes)
            self.stats.late += late
            self.stats.repeated += known - late
            samples, at = samples[known:], at + known
        if not len(samples):
            return []
        there = self._waiting.get(at)
        if there is not None:
            self.stats.repeated += min(len(there), len(samples))
        if there is None or len(there) < len(samples):
            self._waiting[at] = samples
        return self._ready(len(self._waiting) > MAX_WAITING)

    def advance(self, at: int) -> list[tuple[Array, bool]]:
        """Conceal what is missing before index ``at``: it should have come by now."""
        if self.next is None or at <= self.next:
            return []
        if at - self.next > MAX_GAP * self.rate:
            raise InputError(
                f"asked to conceal {(at - self.next) / self.rate:.1f} s,"
                f" expected at most {MAX_GAP:.0f} s"
            )
        pieces = self._ready(False)
        while self.next < at:
            following = min((index for index in self._waiting if index > self.next), default=at)
            pieces += self._conceal(min(following, at) - self.next) + self._ready(False)
        return pieces

    def end(self) -> list[tuple[Array, bool]]:
        """End the turn: give everything that waits, with its holes filled."""
        return self._ready(True)

    def _ready(self, give_up: bool) -> list[tuple[Array, bool]]:
        pieces = []
        while self._waiting:
            assert self.next is not None
            first = min(self._waiting)
            if first > self.next:
                newest = max(index + len(packet) for index, packet in self._waiting.items())
                if not give_up and newest - self.next <= self.patience * self.rate:
                    break
                pieces += self._conceal(first - self.next)
                continue
            packet = self._waiting.pop(first)
            known = self.next - first
            self.stats.repeated += min(known, len(packet))
            if known < len(packet):
                pieces.append((packet[known:], False))
                self._received(packet[known:])
        return pieces

    def _received(self, samples: Array) -> None:
        assert self.next is not None
        self.next += len(samples)
        self._gap = 0
        history = np.concatenate([self._history, samples])
        self._history = history[-round(HISTORY_SECONDS * self.rate) :]

    def _conceal(self, count: int) -> list[tuple[Array, bool]]:
        assert self.next is not None
        samples = concealed(self._history, self._gap, count, self.rate)
        self._holes = [*self._holes[-63:], (self.next, self.next + count)]
        self.next, self._gap = self.next + count, self._gap + count
        self.stats.lost += count
        return [(samples, True)]

    def state(self) -> dict[str, Any]:
        """All that it remembers: JSON values and arrays."""
        return {
            "next": self.next,
            "gap": self._gap,
            "history": self._history.copy(),
            "holes": [list(hole) for hole in self._holes],
            "waiting": {str(index): packet.copy() for index, packet in self._waiting.items()},
            "losses": vars(self.stats).copy(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.next = None if state["next"] is None else int(state["next"])
        self._gap = int(state["gap"])
        self._history = _row(state.get("history", []))
        self._holes = [(int(start), int(end)) for start, end in state["holes"]]
        waiting = state.get("waiting", {})
        self._waiting = {int(index): _row(packet) for index, packet in waiting.items()}
        self.stats = PacketStats(**{name: int(n) for name, n in state["losses"].items()})


def concealed(history: Array, start: int, count: int, rate: int) -> Array:
    """Packet-loss concealment, after ITU-T G.711 Appendix I.

    The last pitch period repeats, fading out within 60 ms, and silence follows (the standard holds
    10 ms and then fades to the same end). In a longer gap the face comes to rest.

    Args:
        history: (n,) the sound before the gap.
        start: samples of the gap that were concealed before.
        count: samples to give.
        rate: samples per second.

    Returns:
        (count,) float32.
    """
    out = np.zeros(count, np.float32)
    sounding = min(count, max(round(FADE_SECONDS * rate) - start, 0))
    period = _period(history, rate)
    if not sounding or period is None:
        return out
    index = np.arange(start, start + sounding)
    level = np.clip(1.0 - (index / rate - HOLD_SECONDS) / (FADE_SECONDS - HOLD_SECONDS), 0.0, 1.0)
    out[:sounding] = history[len(history) - period + index % period] * level
    return out


def _period(history: Array, rate: int) -> int | None:
    """The lag at which the end of the sound repeats itself best; None without enough sound."""
    least, most = max(round(MIN_PERIOD * rate), 1), round(MAX_PERIOD * rate)
    if len(history) < 3 * most:
        return None
    tail = history[len(history) - 3 * most :].astype(np.float64)
    # Compare in about 8 kHz, where a period is found as well at a fraction of the cost.
    step = max(rate // 8000, 1)
    tail = tail[::-1][::step][::-1]
    least, most = max(least // step, 1), most // step
    end = tail[-most:]
    windows = np.lib.stride_tricks.sliding_window_view(tail, len(end))
    shortest = len(tail) - len(end) - least
    before = windows[len(tail) - len(end) - most : shortest + 1][::-1]  # lags least ... most
    power = np.sqrt((before * before).sum(axis=1) * (end @ end))
    if not power.any():
        return None
    match = before @ end / np.maximum(power, 1e-12)
    return int(least + np.argmax(match)) * step


def _row(values: Any) -> Array:
    row = np.asarray(values, np.float32)
    if row.ndim != 1:
        raise ValueError(f"samples have shape {row.shape}, expected (n,)")
    return row
