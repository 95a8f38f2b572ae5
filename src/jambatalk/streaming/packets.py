"""Packets of sound with indices, out of order, late, lost or twice -> one stream without holes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.streaming.concealment import HISTORY, concealed

Array = NDArray[np.float32]

LONGEST_GAP = 60.0
"""Seconds that a packet may lie ahead of the last one; more is a broken clock, or a new turn that was not said to begin."""

# Packets that wait for one before them: with patience of a second, packets of 4 ms.
MOST_WAITING = 256


@dataclass
class Losses:
    """What happened to the sound so far, in samples at the sender's rate."""

    lost: int = 0  # never came, or too late: filled in
    late: int = 0  # came after it had been filled in: thrown away
    repeated: int = 0  # came twice


@dataclass
class PacketOrder:
    """Puts packets into order; what does not come within ``patience`` is concealed.

    rate: samples a second of the sender's clock. patience: seconds of later sound that may wait for a missing packet.
    """

    rate: int
    patience: float
    losses: Losses = field(default_factory=Losses)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new turn: the next packet is the first one. Losses go on being counted."""
        self.next: int | None = None  # index of the sample that is to come next
        self._waiting: dict[int, Array] = {}  # packets ahead of it, by their first index
        self._history = np.zeros(0, np.float32)  # the last sound that really came
        self._gap = 0  # samples concealed since
        self._holes: list[tuple[int, int]] = []  # concealed ranges that a late packet may still name

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
            raise InputError(f"asked to conceal {(at - self.next) / self.rate:.1f} s, expected at most {LONGEST_GAP:.0f} s")
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
            "next": self.next, "gap": self._gap, "history": self._history.copy(), "holes": [list(hole) for hole in self._holes],
            "waiting": {str(index): packet.copy() for index, packet in self._waiting.items()},
            "losses": vars(self.losses).copy(),
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self.next, self._gap = state["next"], int(state["gap"])
        self._history = np.asarray(state.get("history", np.zeros(0)), np.float32)
        self._holes = [(int(start), int(end)) for start, end in state["holes"]]
        self._waiting = {int(index): np.asarray(packet, np.float32) for index, packet in state.get("waiting", {}).items()}
        self.losses = Losses(**state["losses"])
