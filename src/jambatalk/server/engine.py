"""Many live sessions through one network: what is ready goes through it together.

One thread owns the network and all sessions. It takes one hop of every session that has one, runs
them as one batch, and emits the frames. A batch of twenty costs little more than one hop alone, so
no session waits for the others, and one that brings a minute of sound at once does not hold up
those that are live.

    Engine         the thread: waits for work, makes batches, runs them
    SessionHandle  one session: commands go in from any thread, events come out of the engine's
    StatePool      the network's states of all sessions in one set of tensors
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
from jambatalk.session import Session
from jambatalk.streaming.core import Frames
from jambatalk.streaming.serialize import tensors_of
from jambatalk.talker import Talker

MAX_BATCH = 64
"""Sessions that go through the network at once."""

HOPS_ALONE = 8
"""Hops at once of a session that is alone."""

BATCH_WINDOW, MAX_BATCH_WINDOW = 0.0002, 0.008
"""Seconds between the beginnings of two batches: so many for each open session, and at most.

Hops that come at odd moments share a batch. A few sessions have hardly any hops to share, and
waiting only delays their frames; the more there are, the more one wait brings together.
``benchmarks/speed/live_latency.py --batch-window 0 0.1 0.2 0.4`` compares: what a wait costs few
sessions is plain, while with many the values differ by little more than chance."""

FASTER_SECONDS = 1.0
"""Seconds of sound beyond real time from which on a session is taken for a recording. While
somebody speaks elsewhere, recordings get half of the engine's time at most."""

RECENT_SECONDS = 1.0
"""Seconds without sound after which nobody speaks in a session."""

MAX_QUEUE_DELAY = 0.25
"""Seconds that a hop waits for the network beyond which new sessions are turned away."""

MAX_UNREAD = 512
"""Frames that a client may leave unread before its session is not run any further."""


class Overloaded(Exception):
    """No session can be opened now; the message says why."""


@dataclass(frozen=True)
class FramesReady:
    """Frames of a session; arrived: for each, when the last sound that it needed was pushed."""

    frames: Frames
    arrived: tuple[float, ...] = ()


@dataclass(frozen=True)
class TurnEnded:
    """A turn is over; how: ended or interrupted; frames: how many it had."""

    how: str
    turn: int
    frames: int


@dataclass(frozen=True)
class SessionFailed:
    """The session cannot continue; reason: one sentence."""

    reason: str


Event = FramesReady | TurnEnded | SessionFailed


class Metrics(Protocol):
    """Counts the engine's work, in its thread."""

    def frames(self, count: int) -> None:
        """Frames came out."""

    def batch(self, size: int, seconds: float) -> None:
        """A batch went through the network."""


class Engine:
    """Runs the sessions of one talker. Open it as a context, or ``close`` it.

    Args:
        talker: the network and its names.
        max_sessions: sessions at the same time.
        batch_window: seconds between the beginnings of two batches at least, for each open
            session, up to MAX_BATCH_WINDOW in all.
        max_batch: sessions that go through the network together.

    Raises:
        InputError: the network cannot follow a stream.
    """

    def __init__(
        self,
        talker: Talker,
        max_sessions: int = 64,
        batch_window: float = BATCH_WINDOW,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.talker, self.max_sessions, self.batch_window = talker, max_sessions, batch_window
        self.metrics: Metrics | None = None
        self.changed = threading.Condition()
        self.sessions: set[SessionHandle] = set()
        self._closing = False
        self._max_batch = max_batch if _states_stack(talker.model) else 1
        self._pool = StatePool(talker.stream().state)
        self._thread = threading.Thread(target=self._work, name="jambatalk-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; open sessions get no more events."""
        with self.changed:
            self._closing = True
            self.changed.notify()
        self._thread.join()

    @property
    def open_sessions(self) -> int:
        """Sessions that are open."""
        return len(self.sessions)

    @property
    def queue_delay(self) -> float:
        """Seconds that the longest waiting hop has waited for the network.

        Sessions under back-pressure do not count, nor does sound that was sent ahead of time: it
        waits for itself, not for the engine.
        """
        now, oldest = time.perf_counter(), []
        with self.changed:
            for handle in self.sessions:
                queued = handle.arrived and handle.core.pending_hops <= 2
                if queued and not handle.backpressured:
                    oldest.append(handle.arrived[0])
        return now - min(oldest) if oldest else 0.0

    def open(self, listen: Callable[[Event], None], **options: Any) -> SessionHandle:
        """Open a session.

        Args:
            listen: called with each event, in the engine's thread.
            options: those of ``Talker.stream``.

        Raises:
            Overloaded: there are too many sessions, or the network is behind.
            InputError: an option is not valid.
        """
        if len(self.sessions) >= self.max_sessions:
            raise Overloaded(self._no_place())
        if (delay := self.queue_delay) > MAX_QUEUE_DELAY:
            raise Overloaded(
                f"the network is {1000 * delay:.0f} ms behind the sound of its sessions:"
                " try again later"
            )
        handle = SessionHandle(self, self.talker.stream(**options), listen)
        with self.changed:
            if self._closing:
                raise Overloaded("the server is ending")
            if len(self.sessions) >= self.max_sessions:
                raise Overloaded(self._no_place())
            self.sessions.add(handle)
        return handle

    def _no_place(self) -> str:
        return f"all {self.max_sessions} sessions are taken: try again later"

    # The engine's thread.

    def _work(self) -> None:
        began = recordings_from = 0.0
        while self._wait_for_work(recordings_from):
            window = min(self.batch_window * len(self.sessions), MAX_BATCH_WINDOW)
            if (wait := began + window - time.perf_counter()) > 0:
                time.sleep(wait)
            began = time.perf_counter()
            with self.changed:
                busy = [handle for handle in self.sessions if handle.has_work()]
            ready = [
                handle
                for handle in busy
                if self._guard(handle, handle.process_commands) and handle.core.pending_hops
            ]
            for batch in self._batches(ready):
                try:
                    self._run(batch)
                except Exception as error:
                    self._run_one_by_one(batch, error)
            for handle in busy:
                core = handle.core
                if not handle.closed and core.turn_ended and not core.pending_hops:
                    self._guard(handle, handle.finish_turn)
            recordings_from = self._pause(ready, began)

    def _wait_for_work(self, recordings_from: float) -> bool:
        """Wait; False when the engine closes. Until ``recordings_from`` only live sessions run."""

        def live_work() -> bool:
            return self._closing or any(s.has_work() and s.live for s in self.sessions)

        with self.changed:
            self.changed.wait_for(
                lambda: self._closing or any(handle.has_work() for handle in self.sessions)
            )
            if (pause := recordings_from - time.perf_counter()) > 0:
                self.changed.wait_for(live_work, pause)
            return not self._closing

    def _pause(self, ran: list[SessionHandle], began: float) -> float:
        """Until when recordings wait after a round: as long as it took, if somebody speaks."""
        with self.changed:
            only_recordings = bool(ran) and all(handle.faster_than_realtime for handle in ran)
            if not (only_recordings and any(handle.live for handle in self.sessions)):
                return 0.0
        now = time.perf_counter()
        return now + (now - began)

    def _batches(self, ready: list[SessionHandle]) -> list[list[SessionHandle]]:
        """Group sessions: those with a style of their own, and those with the talker's."""
        own = [handle for handle in ready if handle.session.style_index is not None]
        common = [handle for handle in ready if handle.session.style_index is None]
        size = self._max_batch
        return [part[i : i + size] for part in (common, own) for i in range(0, len(part), size)]

    def _run(self, batch: list[SessionHandle]) -> None:
        """Run one hop of each session through the network; of one that is alone, some."""
        began = time.perf_counter()
        hops = HOPS_ALONE if len(batch) == 1 else 1
        chunks = [handle.core.next_chunk(hops) for handle in batch]
        styles = [handle.session.style_index for handle in batch]
        style = {} if styles[0] is None else {"style": torch.tensor(styles)}
        states = [handle.session.state for handle in batch]
        alone = len(batch) == 1 and not isinstance(states[0], PooledState)
        with torch.inference_mode():
            samples = torch.from_numpy(np.stack(chunks)).to(self.talker.device)
            before, pooled = (states[0], []) if alone else self._pool.join(states)
            y, after = self.talker.model(samples, before, **style)
            if not alone:
                self._pool.store(pooled, after)
            values = y.float().cpu().numpy()
        if self.metrics is not None:
            self.metrics.batch(len(batch), time.perf_counter() - began)
        new_states = [after] if alone else pooled
        for handle, rows, state in zip(batch, values, new_states, strict=True):
            self._guard(handle, handle.accept, rows, state)

    def _run_one_by_one(self, batch: list[SessionHandle], error: Exception) -> None:
        """After a batch that failed, run each session alone, so that only the cause ends.

        The states of the sessions had not changed.
        """
        if len(batch) == 1:
            self._fail(batch[0], error)
            return
        for handle in batch:
            self._guard(handle, self._run, [handle])

    def _guard(self, handle: SessionHandle, action: Callable[..., None], *arguments: Any) -> bool:
        """Whether the action went well; an error ends this session only."""
        try:
            action(*arguments)
            return not handle.closed
        except Exception as error:
            self._fail(handle, error)
        return False

    def _fail(self, handle: SessionHandle, error: Exception) -> None:
        if isinstance(error, InputError):
            handle.emit(SessionFailed(str(error)))
        else:
            logging.getLogger("jambatalk").error("a session failed", exc_info=error)
            handle.emit(SessionFailed(f"the session failed ({type(error).__name__})"))
        handle.close()


@dataclass(frozen=True)
class _Command:
    """kind: sound, advance, end or interrupt; when: it was given (``time.perf_counter``)."""

    kind: str
    samples: Any
    at: int | None
    when: float

    @property
    def count(self) -> int:
        return 0 if self.samples is None else len(self.samples)


class SessionHandle:
    """One session in an engine. Commands come from any thread and are queued.

    Args:
        engine: where it runs.
        session: its bookkeeping and settings; the engine drives ``session.core``.
        listen: called with each event, in the engine's thread.
    """

    def __init__(self, engine: Engine, session: Session, listen: Callable[[Event], None]) -> None:
        self.engine, self.session, self.core, self.listen = engine, session, session.core, listen
        self.closed = False
        self.arrived: deque[float] = deque()
        """When each hop that waits for the network became whole."""
        self._commands: deque[_Command] = deque()
        self._queued = 0  # samples in commands
        self._frames = 0  # of this turn
        self._unread = 0
        self._excess = 0.0  # seconds of sound beyond real time, when the last sound came
        self._last_sound = -RECENT_SECONDS

    def push(self, samples: NDArray[Any], at: int | None = None) -> None:
        """As ``Session.push``; frames come to ``listen``."""
        self._command("sound", samples, at)

    def advance(self, at: int) -> None:
        """As ``Session.advance``."""
        self._command("advance", None, at)

    def end(self) -> None:
        """As ``Session.flush``; after the frames comes ``TurnEnded``."""
        self._command("end")

    def interrupt(self) -> None:
        """As ``Session.interrupt``, at once: sound that waits is dropped."""
        self._command("interrupt")

    def read(self, frames: int) -> None:
        """Report that the client has read so many frames."""
        with self.engine.changed:
            self._unread -= frames
            self.engine.changed.notify()

    def close(self) -> None:
        """End the session without further events."""
        with self.engine.changed:
            self.closed = True
            self._commands.clear()
            self.engine.sessions.discard(self)
            self.engine.changed.notify()

    @property
    def pending_seconds(self) -> float:
        """Seconds of sound that wait for the network."""
        return self.session.pending_seconds + self._queued / self.session.rate

    @property
    def faster_than_realtime(self) -> bool:
        """Whether sound comes faster than it is spoken: a recording, which nobody waits for."""
        return self._excess - (time.perf_counter() - self._last_sound) > FASTER_SECONDS

    @property
    def live(self) -> bool:
        """Whether somebody speaks there now."""
        recent = time.perf_counter() - self._last_sound < RECENT_SECONDS
        return recent and not self.faster_than_realtime

    @property
    def backpressured(self) -> bool:
        """Whether it waits until its client has read."""
        return self._unread >= MAX_UNREAD

    def _command(self, kind: str, samples: Any = None, at: int | None = None) -> None:
        command = _Command(kind, samples, at, time.perf_counter())
        with self.engine.changed:
            if self.closed:
                return
            if kind == "interrupt":
                # Sound from before the interruption is dropped; ends of turns still count.
                self._commands = deque(c for c in self._commands if c.kind == "end")
                self._queued = 0
            self._commands.append(command)
            if samples is not None:
                self._queued += command.count
                rest = max(self._excess - (command.when - self._last_sound), 0.0)
                self._excess = rest + command.count / self.session.rate
                self._last_sound = command.when
            self.engine.changed.notify()

    # In the engine's thread.

    def has_work(self) -> bool:
        """Whether there is anything to do for it."""
        core = self.core
        waiting = bool(self._commands) or core.pending_hops > 0 or core.turn_ended
        return waiting and not self.backpressured

    def process_commands(self) -> None:
        """Do what is queued, up to the end of a turn whose hops have not all run."""
        while self._commands and (
            not self.core.turn_ended or self._commands[0].kind == "interrupt"
        ):
            with self.engine.changed:
                if not self._commands:
                    return
                command = self._commands.popleft()
                self._queued -= command.count
            before = self.core.pending_hops
            if command.kind == "sound":
                self.core.feed(command.samples, command.at)
            elif command.kind == "advance":
                self.core.conceal(command.at)  # type: ignore[arg-type]
            elif command.kind == "end":
                self.core.end_turn()
            else:
                frames = self.core.interrupt()
                self.arrived.clear()
                self.emit(FramesReady(frames, (command.when,) * len(frames)))
                self._end_turn("interrupted", frames.turn)
                continue
            self.arrived.extend([command.when] * (self.core.pending_hops - before))

    def accept(self, y: NDArray[np.float32], state: Any) -> None:
        """Take what the network gave for the next hops."""
        frames = self.core.accept(y, state)
        arrived = [self.arrived.popleft() for _ in range(len(y))][-1]
        self.emit(FramesReady(frames, (arrived,) * len(frames)))

    def finish_turn(self) -> None:
        """End the turn, once all its hops have run."""
        frames = self.core.finish_turn()
        self.emit(FramesReady(frames, (time.perf_counter(),) * len(frames)))
        self._end_turn("ended", frames.turn)

    def emit(self, event: Event) -> None:
        """Hand an event to the client."""
        if isinstance(event, FramesReady):
            count = len(event.frames)
            if not count:
                return
            self._frames += count
            with self.engine.changed:
                self._unread += count
            if self.engine.metrics is not None:
                self.engine.metrics.frames(count)
        if not self.closed:
            self.listen(event)

    def _end_turn(self, how: str, turn: int) -> None:
        self.emit(TurnEnded(how, turn, self._frames))
        self._frames = 0


class PooledState:
    """A stream's state in a row of a pool; the row is free again when this object is gone."""

    def __init__(self, pool: StatePool, row: int) -> None:
        self.pool, self.row = pool, row

    @property
    def tensors(self) -> dict[str, Tensor]:
        """A copy of the state's tensors by name (for ``streaming.serialize.tensors_of``)."""
        return {
            name: tensor[self.row : self.row + 1].clone()
            for name, tensor in zip(self.pool.names, self.pool.tensors)
        }

    def __del__(self) -> None:
        self.pool.free.append(self.row)


class StatePool:
    """The network's states of many streams in one set of tensors, a row for each.

    Joining states and parting them again, tensor by tensor, took half as long as the network itself
    for twenty sessions. The pool grows by doubling and does not shrink. Not for several threads.

    Args:
        like: a state of one stream, whose tensors have the batch in their first axis.
        rows: room to begin with.
    """

    def __init__(self, like: Any, rows: int = 8) -> None:
        self._like = like
        own = tensors_of(like)
        self.names = tuple(own)
        self.tensors = [tensor.new_empty(rows, *tensor.shape[1:]) for tensor in own.values()]
        self.free: deque[int] = deque(range(rows))

    def join(self, states: list[Any]) -> tuple[Any, list[PooledState]]:
        """Make a batch.

        Args:
            states: of single streams, ``PooledState`` or as the network gives them.

        Returns:
            Their state as a batch, and where each one is kept from now on.
        """
        pooled = [state if isinstance(state, PooledState) else self._add(state) for state in states]
        rows = [state.row for state in pooled]
        first, end = rows[0], rows[0] + len(rows)
        if rows == list(range(first, end)):
            batch = [tensor[first:end] for tensor in self.tensors]
        else:
            index = self._index(rows)
            batch = [tensor.index_select(0, index) for tensor in self.tensors]
        return rebuilt_state(self._like, batch), pooled

    def store(self, pooled: list[PooledState], state: Any) -> None:
        """Overwrite the states of these streams with those of the batch, in this order."""
        index = self._index([one.row for one in pooled])
        for tensor, new in zip(self.tensors, tensors_of(state).values(), strict=True):
            tensor.index_copy_(0, index, new)

    def _add(self, state: Any) -> PooledState:
        if not self.free:
            count = len(self.tensors[0])
            self.tensors = [torch.cat([old, torch.empty_like(old)]) for old in self.tensors]
            self.free.extend(range(count, 2 * count))
        pooled = PooledState(self, self.free.popleft())
        for tensor, own in zip(self.tensors, tensors_of(state).values(), strict=True):
            tensor[pooled.row].copy_(own[0])
        return pooled

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.tensors[0].device)


def _states_stack(model: Any) -> bool:
    """Whether states of several streams fit into one batch.

    An exported network takes as many streams as it was exported for, and states that grow with the
    sound have the same size only by chance.
    """
    return getattr(model, "fixed_state", False)
