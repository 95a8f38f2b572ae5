"""Many live sessions through one network: what is ready goes through it together.

One thread owns the network and all sessions. It takes one hop of every session that has one, runs them as one batch, and hands
the frames on. A batch of twenty costs little more than one hop alone, so no session waits for the others to have their turns,
and one that brings a minute of sound at once does not hold up those that are live.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jambatalk.errors import InputError
from jambatalk.models.state import rebuilt_state
from jambatalk.session import Frames, Session
from jambatalk.streaming.serialize import tensors_of
from jambatalk.talker import Talker

# Network states of many streams in one set of tensors, a row for each: no stream's state is copied but within the rows.
#
# Joining states and parting them again, tensor by tensor, took half as long as the network itself for twenty sessions.


class PooledState:
    """A stream's state that lies in a pool's row; the row is free again once nobody has this object."""

    def __init__(self, pool: StatePool, row: int) -> None:
        self.pool, self.row = pool, row

    @property
    def tensors(self) -> dict[str, Tensor]:
        """A copy of the state's tensors by name (``streaming.saving.tensors_of``)."""
        return {
            name: tensor[self.row : self.row + 1].clone()
            for name, tensor in zip(self.pool.names, self.pool.tensors)
        }

    def __del__(self) -> None:
        self.pool.free.append(self.row)


class StatePool:
    """Room for as many states as come; it grows by doubling and does not shrink.

    like: a state of one stream, whose tensors have the batch in their first axis. Not for several threads at once.
    """

    def __init__(self, like: Any, rows: int = 8) -> None:
        self._like = like
        own = tensors_of(like)
        self.names = tuple(own)
        self.tensors = [tensor.new_empty(rows, *tensor.shape[1:]) for tensor in own.values()]
        self.free: deque[int] = deque(range(rows))

    def join(self, states: list[Any]) -> tuple[Any, list[PooledState]]:
        """States of single streams, ``PooledState`` or as the network makes them -> (their state as a batch, where each is held)."""
        held = [state if isinstance(state, PooledState) else self._hold(state) for state in states]
        rows = [one.row for one in held]
        first = rows[0]
        if rows == list(range(first, first + len(rows))):
            batch = [tensor[first : first + len(rows)] for tensor in self.tensors]
        else:
            index = self._index(rows)
            batch = [tensor.index_select(0, index) for tensor in self.tensors]
        return rebuilt_state(self._like, batch), held

    def keep(self, held: list[PooledState], state: Any) -> None:
        """The states of these streams are now those of the batch ``state``, in this order."""
        index = self._index([one.row for one in held])
        for tensor, new in zip(self.tensors, tensors_of(state).values(), strict=True):
            tensor.index_copy_(0, index, new)

    def _hold(self, state: Any) -> PooledState:
        if not self.free:
            count = len(self.tensors[0])
            self.tensors = [
                torch.cat([tensor, torch.empty_like(tensor)]) for tensor in self.tensors
            ]
            self.free.extend(range(count, 2 * count))
        held = PooledState(self, self.free.popleft())
        for tensor, own in zip(self.tensors, tensors_of(state).values(), strict=True):
            tensor[held.row].copy_(own[0])
        return held

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.tensors[0].device)


# Sessions that go through the network at once at most, and hops of one that is alone.
LARGEST_BATCH, HOPS_ALONE = 64, 8
# Seconds, for each open session, from one batch's beginning to the next one's at least, and the most that they add up to: hops
# that come at odd moments share a batch. A few sessions have hardly any hops to share, and waiting only delays their frames; the
# more there are, the more one wait brings together. ``benchmarks/speed/live_latency.py --gather 0 0.1 0.2 0.4`` compares: what a wait
# costs few sessions is plain, while with many the values differ by little more than chance.
GATHER, LONGEST_GATHER = 0.0002, 0.008
# Seconds of sound beyond real time from which on a session counts as one that brings a recording, and seconds without sound after
# which nobody speaks in a session. While somebody speaks elsewhere, recordings get half of the engine's time at most.
AHEAD, RECENT = 1.0, 1.0
# Seconds that a hop waits for the network beyond which new sessions are turned away.
BEHIND = 0.25
# Frames that a listener may leave unread before its session stands still.
UNREAD = 512


class Overloaded(Exception):
    """No session can be opened now; the message says why."""


class Metrics(Protocol):
    """What counts the engine's work; all calls come from its thread or from the one that opens sessions."""

    def frames(self, count: int) -> None:
        """Frames that came out."""

    def batch(self, size: int, seconds: float) -> None:
        """A batch went through the network."""


@dataclass(frozen=True)
class FramesReady:
    """Frames of a session; arrived: when the last sound that they needed was pushed (``time.perf_counter``), of each."""

    frames: Frames
    arrived: tuple[float, ...] = ()


@dataclass(frozen=True)
class TurnEnded:
    """A turn is over: how, which, and how many frames it had."""

    how: str  # ended or interrupted
    turn: int
    frames: int


@dataclass(frozen=True)
class SessionFailed:
    """The session cannot go on: one sentence."""

    reason: str


Event = FramesReady | TurnEnded | SessionFailed


class SessionHandle:
    """One session in an engine. Sound and wishes go in from any thread; ``listen`` is called with events in the engine's."""

    def __init__(self, engine: Engine, session: Session, listen: Callable[[Event], None]) -> None:
        self.engine, self.session, self.listen = engine, session, listen
        self._wishes: deque[tuple[str, Any, int | None, float]] = deque()
        self._arrived: deque[float] = (
            deque()
        )  # when the hops that wait for the network became whole
        self._frames = 0  # of this turn
        self._waiting = 0  # samples in wishes
        self._unread = 0
        self._brought, self._last = (
            0.0,
            -RECENT,
        )  # seconds of sound beyond real time, and when the last of it came
        self.closed = False

    def push(self, samples: NDArray[Any], at: int | None = None) -> None:
        """As ``Session.push``; frames come to ``listen``."""
        self._wish("sound", samples, at)

    def advance(self, at: int) -> None:
        """As ``Session.advance``."""
        self._wish("advance", None, at)

    def end(self) -> None:
        """As ``Session.flush``; after the frames comes ``TurnEnded``."""
        self._wish("end")

    def interrupt(self) -> None:
        """As ``Session.interrupt``, at once: sound that waits is dropped."""
        self._wish("interrupt")

    def read(self, frames: int) -> None:
        """So many frames were taken by whoever listens."""
        with self.engine.changed:
            self._unread -= frames
            self.engine.changed.notify()

    def close(self) -> None:
        """Gone; nothing more is heard of it."""
        with self.engine.changed:
            self.closed = True
            self._wishes.clear()
            self.engine.lines.discard(self)
            self.engine.changed.notify()

    @property
    def pending_seconds(self) -> float:
        """Sound that waits to be heard by the network."""
        return self.session.pending_seconds + self._waiting / self.session.rate

    @property
    def ahead(self) -> bool:
        """Whether its sound comes faster than it is spoken: a recording, whose frames nobody waits for yet."""
        return self._brought - (time.perf_counter() - self._last) > AHEAD

    @property
    def live(self) -> bool:
        """Whether somebody speaks there now."""
        return time.perf_counter() - self._last < RECENT and not self.ahead

    @property
    def stands_still(self) -> bool:
        """Whether it waits for its listener to read."""
        return self._unread >= UNREAD

    def _wish(self, what: str, samples: Any = None, at: int | None = None) -> None:
        now = time.perf_counter()
        with self.engine.changed:
            if self.closed:
                return
            if what == "interrupt":
                # What was said before the interruption is not to be heard any more; ends of turns still count.
                kept = [wish for wish in self._wishes if wish[0] == "end"]
                self._wishes = deque(kept)
                self._waiting = 0
            self._wishes.append((what, samples, at, now))
            if samples is not None:
                self._waiting += len(samples)
                self._brought = (
                    max(self._brought - (now - self._last), 0.0) + len(samples) / self.session.rate
                )
                self._last = now
            self.engine.changed.notify()

    # In the engine's thread from here on.

    def has_work(self) -> bool:
        return not self.stands_still and (
            bool(self._wishes) or self.session.ready > 0 or self.session.ended
        )

    def obey(self) -> None:
        """Do what was wished, up to the end of a turn that the network has not run to its end."""
        while self._wishes and (not self.session.ended or self._wishes[0][0] == "interrupt"):
            with self.engine.changed:
                if not self._wishes:
                    return
                what, samples, at, when = self._wishes.popleft()
                self._waiting -= 0 if samples is None else len(samples)
            before = self.session.ready
            if what == "sound":
                self.session.take(samples, at)
            elif what == "advance":
                self.session.conceal(at)  # type: ignore[arg-type]
            elif what == "end":
                self.session.end()
            else:
                frames = self.session.break_off()
                self._arrived.clear()
                self.tell(FramesReady(frames, (when,) * len(frames)))
                self._over("interrupted", frames.turn)
                continue
            self._arrived.extend([when] * (self.session.ready - before))

    def give(self, y: NDArray[np.float32], state: Any) -> None:
        """What the network made of the next hops."""
        if not np.isfinite(y).all():
            raise InputError(
                "the network gave values that are not numbers: this session's state is damaged"
            )
        when = [self._arrived.popleft() for _ in range(len(y))][-1]
        frames = self.session.give(y, state)
        self.tell(FramesReady(frames, (when,) * len(frames)))

    def finish_turn(self) -> None:
        """The turn's end, once all its hops have run."""
        frames = self.session.finish()
        self.tell(FramesReady(frames, (time.perf_counter(),) * len(frames)))
        self._over("ended", frames.turn)

    def tell(self, event: Event) -> None:
        if isinstance(event, FramesReady):
            if not len(event.frames):
                return
            self._frames += len(event.frames)
            with self.engine.changed:
                self._unread += len(event.frames)
            if self.engine.metrics is not None:
                self.engine.metrics.frames(len(event.frames))
        if not self.closed:
            self.listen(event)

    def _over(self, how: str, turn: int) -> None:
        self.tell(TurnEnded(how, turn, self._frames))
        self._frames = 0


class Engine:
    """Runs the sessions of one talker. Open it as a context, or ``close`` it.

    most: sessions at the same time. gather: seconds between the beginnings of two batches at least, for each open session, up to
    LONGEST_GATHER in all. largest: sessions that go through the network together.
    """

    def __init__(
        self, talker: Talker, most: int = 64, gather: float = GATHER, largest: int = LARGEST_BATCH
    ) -> None:
        self.talker, self.most, self.gather = talker, most, gather
        self.metrics: Metrics | None = None
        self.changed = threading.Condition()
        self.lines: set[SessionHandle] = set()
        self._closing = False
        # A network of steps (an ONNX file) takes as many streams at once as it was exported for, and states that grow with what
        # was heard fit together only by chance.
        self._largest = (
            largest
            if hasattr(talker.model, "decoder")
            and talker.model.config.decoder.attention == "sliding"
            else 1
        )
        # InputError here when the network cannot follow a stream.
        self._pool = StatePool(talker.stream().state)
        self._thread = threading.Thread(target=self._work, name="jambatalk-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; sessions that are open hear nothing more."""
        with self.changed:
            self._closing = True
            self.changed.notify()
        self._thread.join()

    @property
    def open_sessions(self) -> int:
        """Sessions that are open."""
        return len(self.lines)

    @property
    def behind(self) -> float:
        """Seconds that the longest waiting hop has waited for the network. Sessions that stand still do not count."""
        now, first = time.perf_counter(), []
        with self.changed:
            for line in self.lines:
                # Sound that was brought ahead of time waits for itself, not for the engine.
                if line._arrived and not line.stands_still and line.session.ready <= 2:
                    first.append(line._arrived[0])
        return now - min(first) if first else 0.0

    def open(self, listen: Callable[[Event], None], **options: Any) -> SessionHandle:
        """A new session with ``Talker.stream``'s options. Overloaded when there are too many or the network is behind."""
        if len(self.lines) >= self.most:
            raise Overloaded(f"all {self.most} sessions are taken: try again later")
        if (behind := self.behind) > BEHIND:
            raise Overloaded(
                f"the network is {1000 * behind:.0f} ms behind the sound of its sessions: try again later"
            )
        line = SessionHandle(self, self.talker.stream(**options), listen)
        with self.changed:
            if self._closing:
                raise Overloaded("the server is ending")
            if len(self.lines) >= self.most:
                raise Overloaded(f"all {self.most} sessions are taken: try again later")
            self.lines.add(line)
        return line

    def _work(self) -> None:
        began = free = 0.0
        while True:
            with self.changed:
                self.changed.wait_for(
                    lambda: self._closing or any(line.has_work() for line in self.lines)
                )
                if (pause := free - time.perf_counter()) > 0:
                    self.changed.wait_for(
                        lambda: (
                            self._closing
                            or any(line.has_work() and line.live for line in self.lines)
                        ),
                        pause,
                    )
                if self._closing:
                    return
            wait = began + min(self.gather * len(self.lines), LONGEST_GATHER) - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            began = time.perf_counter()
            with self.changed:
                busy = [line for line in self.lines if line.has_work()]
            ready = []
            for line in busy:
                if self._safely(line, line.obey) and line.session.ready:
                    ready.append(line)
            for lines in self._batches(ready):
                try:
                    self._run(lines)
                except Exception as error:
                    self._run_alone(lines, error)
            for line in busy:
                if not line.closed and line.session.ended and not line.session.ready:
                    self._safely(line, line.finish_turn)
            free = self._pause(ready, began)

    def _pause(self, ran: list[SessionHandle], began: float) -> float:
        """Until when recordings wait, after a round of these sessions that began then: as long as it took, if somebody speaks."""
        with self.changed:
            if not (
                ran and all(line.ahead for line in ran) and any(line.live for line in self.lines)
            ):
                return 0.0
        now = time.perf_counter()
        return now + (now - began)

    def _batches(self, ready: list[SessionHandle]) -> list[list[SessionHandle]]:
        """Sessions that go through together: with a style of their own, or with the talker's."""
        own = [line for line in ready if line.session.style_index() is not None]
        common = [line for line in ready if line.session.style_index() is None]
        return [
            part[i : i + self._largest]
            for part in (common, own)
            for i in range(0, len(part), self._largest)
        ]

    def _run(self, lines: list[SessionHandle]) -> None:
        """One hop of each through the network; of one that is alone, some."""
        began = time.perf_counter()
        sounds = [line.session.hops(HOPS_ALONE if len(lines) == 1 else 1) for line in lines]
        styles = [line.session.style_index() for line in lines]
        style = {} if styles[0] is None else {"style": torch.tensor(styles)}
        states = [line.session.state for line in lines]
        alone = len(lines) == 1 and not isinstance(states[0], PooledState)
        device = self.talker.device
        with torch.inference_mode():
            samples = torch.from_numpy(np.stack(sounds)).to(device)
            batch, held = (states[0], []) if alone else self._pool.join(states)
            y, after = self.talker.model(samples, batch, **style)
            if not alone:
                self._pool.keep(held, after)
            values = y.float().cpu().numpy()
        if self.metrics is not None:
            self.metrics.batch(len(lines), time.perf_counter() - began)
        for line, rows, state in zip(lines, values, [after] if alone else held, strict=True):
            self._safely(line, lambda line=line, rows=rows, state=state: line.give(rows, state))  # type: ignore[misc]

    def _run_alone(self, lines: list[SessionHandle], error: Exception) -> None:
        """After a batch that failed: each session by itself, so that only the cause ends. No session's state had changed."""
        if len(lines) == 1:
            self._failed(lines[0], error)
            return
        for line in lines:
            self._safely(line, lambda line=line: self._run([line]))  # type: ignore[misc]

    def _safely(self, line: SessionHandle, action: Callable[[], None]) -> bool:
        """Whether it went well; a session's failure is its own."""
        try:
            action()
            return not line.closed
        except Exception as error:
            self._failed(line, error)
        return False

    def _failed(self, line: SessionHandle, error: Exception) -> None:
        """The session's end: a mistake of ours in one must not end all the others."""
        if isinstance(error, InputError):
            line.tell(SessionFailed(str(error)))
        else:
            logging.getLogger("jambatalk").error("a session failed", exc_info=error)
            line.tell(SessionFailed(f"the session failed ({type(error).__name__})"))
        line.close()
