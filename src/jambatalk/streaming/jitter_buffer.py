"""Packets of sound with indices, out of order, late, lost or twice -> one stream without holes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError

# Sound in place of sound that never came.


Array = NDArray[np.float32]

# A voice's period lies between these, in seconds (400 down to 66 Hz), as in the standard below.
SHORTEST_PERIOD, LONGEST_PERIOD = 0.0025, 0.015
# The last period is repeated at full level for so long, and is gone after so long.
HELD, GONE = 0.010, 0.060
HISTORY = 3 * LONGEST_PERIOD
"""Seconds of sound before a gap that are needed to fill it."""


def concealed(history: Array, start: int, count: int, rate: int) -> Array:
    """``count`` samples to stand for those from ``start`` samples into a gap on; history (n,) is the sound before the gap.

    The last pitch period goes on, fading out within 60 ms, and silence follows (after ITU-T G.711 Appendix I, which
    holds 10 ms and then fades to the same end). A longer gap is silence, in which the network brings the face to rest.
    """
    out = np.zeros(count, np.float32)
    sounding = min(count, max(round(GONE * rate) - start, 0))
    period = _period(history, rate)
    if not sounding or period is None:
        return out
    index = np.arange(start, start + sounding)
    level = np.clip(1.0 - (index / rate - HELD) / (GONE - HELD), 0.0, 1.0)
    out[:sounding] = history[len(history) - period + index % period] * level
    return out


def _period(history: Array, rate: int) -> int | None:
    """The lag at which the end of the sound repeats itself best; None without enough sound."""
    least, most = max(round(SHORTEST_PERIOD * rate), 1), round(LONGEST_PERIOD * rate)
    if len(history) < 3 * most:
        return None
    tail = history[len(history) - 3 * most :].astype(np.float64)
    # Compare in about 8 kHz, where a period is found as well at a fraction of the cost.
    step = max(rate // 8000, 1)
    tail = tail[::-1][::step][::-1]
    least, most = max(least // step, 1), most // step
    end = tail[-most:]
    windows = np.lib.stride_tricks.sliding_window_view(tail, len(end))
    before = windows[len(tail) - len(end) - most : len(tail) - len(end) - least + 1][
        ::-1
    ]  # lags least ... most
    power = np.sqrt((before * before).sum(axis=1) * (end @ end))
    if not power.any():
        return None
    match = before @ end / np.maximum(power, 1e-12)
    return int(least + np.argmax(match)) * step


LONGEST_GAP = 60.0
"""Seconds that a packet may lie ahead of the last one; more is a broken clock, or a new turn that was not said to begin."""

# Packets that wait for one before them: with patience of a second, packets of 4 ms.
MOST_WAITING = 256


@dataclass
class PacketStats:
    """What happened to the sound so far, in samples at the sender's rate."""

    lost: int = 0  # never came, or too late: filled in
    late: int = 0  # came after it had been filled in: thrown away
    repeated: int = 0  # came twice


@dataclass
class JitterBuffer:
    """Puts packets into order; what does not come within ``patience`` is concealed.

    rate: samples a second of the sender's clock. patience: seconds of later sound that may wait for a missing packet.
    """

    rate: int
    patience: float
    losses: PacketStats = field(default_factory=PacketStats)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new turn: the next packet is the first one. Losses go on being counted."""
        self.next: int | None = None  # index of the sample that is to come next
        self._waiting: dict[int, Array] = {}  # packets ahead of it, by their first index
        self._history = np.zeros(0, np.float32)  # the last sound that really came
        self._gap = 0  # samples concealed since
        self._holes: list[
            tuple[int, int]
        ] = []  # concealed ranges that a late packet may still name

    def push(self, samples: Array, at: int | None) -> list[tuple[Array, bool]]:
        """A packet whose first sample has index ``at`` (None: right after the last) -> pieces (samples, whether concealed).

        InputError for an index that no packet of this stream can have.
        """
        if at is None:
            at = self.next if self.next is not None else 0
            if self._waiting:
                # Sound without an index follows the newest packet.
                at = max(index + len(packet) for index, packet in self._waiting.items())
        if self.next is None:
            self.next = at
        ahead = at - self.next
        if ahead > LONGEST_GAP * self.rate:
            raise InputError(
                f"a packet begins {ahead / self.rate:.1f} s after the sound before it, expected at most {LONGEST_GAP:.0f} s"
            )
        if ahead < 0:
            known = min(-ahead, len(samples))
            late = sum(max(min(end, at + known) - max(start, at), 0) for start, end in self._holes)
            self.losses.late += late
            self.losses.repeated += known - late
            samples, at = samples[known:], at + known
        if not len(samples):
            return []
        there = self._waiting.get(at)
        if there is not None:
            self.losses.repeated += min(len(there), len(samples))
        if there is None or len(there) < len(samples):
            self._waiting[at] = samples
        return self._ready(len(self._waiting) > MOST_WAITING)

    def advance(self, at: int) -> list[tuple[Array, bool]]:
        """All sound before index ``at`` should have come by now: what is missing is concealed."""
        if self.next is None or at <= self.next:
            return []
        if at - self.next > LONGEST_GAP * self.rate:
            raise InputError(
                f"asked to conceal {(at - self.next) / self.rate:.1f} s, expected at most {LONGEST_GAP:.0f} s"
            )
        pieces = self._ready(False)
        while self.next < at:
            following = min((index for index in self._waiting if index > self.next), default=at)
            pieces += self._conceal(min(following, at) - self.next) + self._ready(False)
        return pieces

    def end(self) -> list[tuple[Array, bool]]:
        """The speech is over: everything that waits, with its holes filled."""
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
            self.losses.repeated += min(known, len(packet))
            if known < len(packet):
                pieces.append((packet[known:], False))
                self._came(packet[known:])
        return pieces

    def _came(self, samples: Array) -> None:
        assert self.next is not None
        self.next += len(samples)
        self._gap = 0
        self._history = np.concatenate([self._history, samples])[-round(HISTORY * self.rate) :]

    def _conceal(self, count: int) -> list[tuple[Array, bool]]:
        assert self.next is not None
        samples = concealed(self._history, self._gap, count, self.rate)
        self._holes = [*self._holes[-63:], (self.next, self.next + count)]
        self.next, self._gap = self.next + count, self._gap + count
        self.losses.lost += count
        return [(samples, True)]

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        return {
            "next": self.next,
            "gap": self._gap,
            "history": self._history.copy(),
            "holes": [list(hole) for hole in self._holes],
            "waiting": {str(index): packet.copy() for index, packet in self._waiting.items()},
            "losses": vars(self.losses).copy(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self.next, self._gap = state["next"], int(state["gap"])
        self._history = np.asarray(state.get("history", np.zeros(0)), np.float32)
        self._holes = [(int(start), int(end)) for start, end in state["holes"]]
        self._waiting = {
            int(index): np.asarray(packet, np.float32)
            for index, packet in state.get("waiting", {}).items()
        }
        self.losses = PacketStats(**state["losses"])
