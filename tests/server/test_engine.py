"""Many sessions through one network: the same frames as alone, fair, and each one's trouble its
own."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jambatalk
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.models.state import rebuilt_state
from jambatalk.server.engine import (
    MAX_UNREAD,
    Engine,
    Event,
    FramesReady,
    Overloaded,
    PooledState,
    SessionFailed,
    SessionHandle,
    StatePool,
    TurnEnded,
)
from jambatalk.streaming.serialize import tensors_of
from jambatalk.talker import Talker
from small_network import speechlike


@pytest.fixture(scope="module")
def talker(small_weights: Path) -> Talker:
    return jambatalk.load(small_weights)


class Ear:
    """Gathers a line's events; reads as told."""

    def __init__(self, reads: bool = True) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.line: SessionHandle | None = None
        self.reads = reads

    def __call__(self, event: Event) -> None:
        self.events.put(event)
        if self.reads and isinstance(event, FramesReady) and self.line is not None:
            self.line.read(len(event.frames))

    def until(self, kind: type) -> tuple[np.ndarray, Any]:
        rows: list[np.ndarray] = []
        while True:
            event = self.events.get(timeout=60)
            if isinstance(event, kind) and kind is not FramesReady:
                return np.concatenate(rows) if rows else np.zeros((0, 52)), event
            assert isinstance(event, FramesReady), event
            rows.append(event.frames.weights)
            if kind is FramesReady:
                return rows[0], event


def opened(engine: Engine, reads: bool = True, **options: Any) -> tuple[SessionHandle, Ear]:
    ear = Ear(reads)
    ear.line = engine.open(ear, **options)
    return ear.line, ear


def test_many_sessions_get_the_frames_that_they_get_alone(talker: Talker) -> None:
    sounds = [speechlike(1.0 + 0.3 * i, seed=i) for i in range(9)]
    with Engine(talker) as engine:
        lines = [opened(engine, rate=16000) for _ in sounds]
        for start in range(0, 64000, 500):  # pieces that are no whole hops, in turns
            for (line, _), sound in zip(lines, sounds, strict=True):
                if start < len(sound):
                    line.push(sound[start : start + 500])
        for line, _ in lines:
            line.end()
        for (_, ear), sound in zip(lines, sounds, strict=True):
            rows, end = ear.until(TurnEnded)
            wanted = talker.animate(Speech(sound)).weights
            np.testing.assert_allclose(rows, wanted, atol=1e-4)
            assert (end.how, end.turn, end.frames) == ("ended", 0, len(rows))


def test_turns_follow_each_other_while_the_first_still_runs(talker: Talker) -> None:
    with Engine(talker) as engine:
        line, ear = opened(engine)
        for turn in range(3):
            line.push(speechlike(2.0, seed=turn))
            line.end()
        for turn in range(3):
            rows, end = ear.until(TurnEnded)
            assert (end.turn, len(rows)) == (turn, 50)
            np.testing.assert_allclose(
                rows, talker.animate(Speech(speechlike(2.0, seed=turn))).weights, atol=1e-4
            )


def test_an_interruption_overtakes_the_sound_that_waits(talker: Talker) -> None:
    with Engine(talker) as engine:
        line, ear = opened(engine)
        line.push(speechlike(1.0))
        ear.until(FramesReady)
        for _ in range(20):
            line.push(speechlike(20.0))
        line.interrupt()
        rows, end = ear.until(TurnEnded)
        assert end.how == "interrupted"
        assert end.frames < 20 * 500
        assert not rows[-1].any()
        line.push(speechlike(1.0))
        line.end()
        rows, end = ear.until(TurnEnded)
        assert (end.turn, len(rows)) == (1, 25)


def test_who_does_not_read_stands_still_and_others_go_on(talker: Talker) -> None:
    with Engine(talker) as engine:
        deaf, deaf_ear = opened(engine, reads=False)
        line, ear = opened(engine)
        deaf.push(speechlike(60.0))
        line.push(speechlike(2.0))
        line.end()
        assert len(ear.until(TurnEnded)[0]) == 50
        line.push(speechlike(40.0))
        line.end()
        assert len(ear.until(TurnEnded)[0]) == 1000
        count = sum(
            len(event.frames)
            for event in list(deaf_ear.events.queue)
            if isinstance(event, FramesReady)
        )
        assert count <= MAX_UNREAD + 8
        deaf.read(count)
        deaf_ear.reads = True
        deaf.end()
        rows, _ = deaf_ear.until(TurnEnded)
        assert len(rows) == 1500


def test_one_sessions_trouble_is_its_own(talker: Talker) -> None:
    with Engine(talker) as engine:
        bad, bad_ear = opened(engine)
        good, ear = opened(engine)
        bad.push(np.array([np.nan], np.float32))
        _, failed = bad_ear.until(SessionFailed)
        assert "NaN" in failed.reason
        good.push(speechlike(1.0))
        good.end()
        assert len(ear.until(TurnEnded)[0]) == 25
        assert engine.open_sessions == 1


def test_too_many_are_turned_away(talker: Talker) -> None:
    with Engine(talker, max_sessions=2) as engine:
        first, _ = opened(engine)
        opened(engine)
        with pytest.raises(Overloaded, match="all 2 sessions"):
            opened(engine)
        first.close()
        opened(engine)


def test_styles_share_the_network() -> None:
    talker = jambatalk.load()
    sound = speechlike(1.5)
    with Engine(talker) as engine:
        lines = [
            opened(engine, style=style) for style in (None, *talker.styles, None, *talker.styles)
        ]
        for line, _ in lines:
            line.push(sound)
            line.end()
        for (_, ear), style in zip(lines, (None, *talker.styles) * 2, strict=True):
            wanted = jambatalk.load(style=style).animate(Speech(sound)).weights
            np.testing.assert_allclose(ear.until(TurnEnded)[0], wanted, atol=1e-4)


def test_the_engine_ends(talker: Talker) -> None:
    before = threading.active_count()
    engine = Engine(talker)
    line, _ = opened(engine)
    line.push(speechlike(30.0))
    engine.close()
    assert threading.active_count() == before
    with pytest.raises(Overloaded, match="ending"):
        engine.open(Ear())


def same(found: Any, wanted: Any) -> None:
    assert list(tensors_of(found)) == list(tensors_of(wanted))
    for name, tensor in tensors_of(wanted).items():
        np.testing.assert_array_equal(tensors_of(found)[name].numpy(), tensor.numpy())


def test_states_join_and_part_to_the_bit(talker: Talker) -> None:
    states = []
    for seed in range(5):
        session = talker.stream()
        session.push(speechlike(0.5 + seed, seed=seed))
        states.append(session.state)
    pool = StatePool(states[0], rows=2)  # it grows
    batch, held = pool.join(states[:4])
    for k, name in enumerate(tensors_of(states[0])):
        for row in range(4):
            np.testing.assert_array_equal(
                tensors_of(batch)[name][row], list(tensors_of(states[row]).values())[k][0]
            )
    # Other streams come, in another order; what the network made of them is kept, and the others
    # are left alone.
    batch, moved = pool.join([held[2], states[4], held[0]])
    pool.store(moved, rebuilt_state(batch, [2 * tensor for tensor in tensors_of(batch).values()]))
    assert moved[0] is held[2]
    for one, wanted, factor in zip((*held, moved[1]), states, (2, 1, 2, 1, 2), strict=True):
        same(
            one, rebuilt_state(wanted, [factor * tensor for tensor in tensors_of(wanted).values()])
        )


def test_rows_are_used_again(talker: Talker) -> None:
    state = talker.stream().state
    pool = StatePool(state, rows=2)
    for _ in range(20):
        _, held = pool.join([state, state])
        assert sorted(one.row for one in held) == [0, 1]
        del held
    assert sorted(pool.free) == [0, 1]


def test_a_session_in_the_engine_can_be_saved(talker: Talker) -> None:
    """Its state lies among the others' and comes out whole."""
    sounds = [speechlike(1.2, seed=seed) for seed in range(2)]
    with Engine(talker, batch_window=0.05) as engine:
        lines = [opened(engine) for _ in sounds]
        for part in range(2):
            for (line, _), sound in zip(lines, sounds, strict=True):
                line.push(sound[part * 9600 : (part + 1) * 9600])
            for _, ear in lines:
                wanted, heard = 15 - (0 if part else talker.model.config.delay), 0
                while heard < wanted:
                    heard += len(ear.until(FramesReady)[0])
        assert any(isinstance(line.session.state, PooledState) for line, _ in lines)
        for (line, _), sound in zip(lines, sounds, strict=True):
            again = talker.restore(line.session.save())
            found = [frame.weights for frame in again.push(speechlike(1.0, seed=9))]
            alone = talker.stream()
            alone.push(sound)
            np.testing.assert_allclose(
                found, [frame.weights for frame in alone.push(speechlike(1.0, seed=9))], atol=1e-4
            )


def test_a_batch_that_fails_ends_its_sessions_and_no_others(
    talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(talker) as engine:
        line, ear = opened(engine)
        forward = talker.model.forward

        def broken(*arguments: Any, **options: Any) -> Any:
            raise RuntimeError("no")

        monkeypatch.setattr(talker.model, "forward", broken)
        line.push(speechlike(0.2))
        assert ear.until(SessionFailed)[1].reason == "the session failed (RuntimeError)"
        assert line.closed
        monkeypatch.setattr(talker.model, "forward", forward)
        other, hearing = opened(engine)
        other.push(speechlike(1.0))
        other.end()
        assert len(hearing.until(TurnEnded)[0]) == 25


def test_recordings_are_told_from_speech(talker: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("jambatalk.server.engine.time.perf_counter", lambda: now[0])
    with Engine(talker) as engine:
        speaker, reader = (opened(engine, reads=False)[0] for _ in range(2))
        assert not any(
            (speaker.live, speaker.faster_than_realtime, reader.live, reader.faster_than_realtime)
        )
        for _ in range(100):
            now[0] += 0.02
            speaker.push(np.zeros(320, np.float32))
            assert speaker.live
        reader.push(np.zeros(16000 * 5, np.float32))
        assert (reader.faster_than_realtime, reader.live) == (True, False)
        now[0] += 0.9
        assert (speaker.live, speaker.faster_than_realtime) == (True, False)
        now[0] += 0.2
        assert not speaker.live  # silent for more than a second
        speaker.push(
            np.zeros(8000, np.float32)
        )  # after a pause of the network, all that it held back
        assert speaker.live
        now[0] += 3.0
        assert not reader.faster_than_realtime  # played by now


def test_recordings_leave_half_of_the_time_to_who_speaks(
    talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("jambatalk.server.engine.time.perf_counter", lambda: now[0])
    with Engine(talker) as engine:
        speaker, reader, other = (opened(engine)[0] for _ in range(3))
        for line in (reader, other):
            line.push(np.zeros(16000 * 5, np.float32))
        assert engine._pause([reader, other], 99.99) == 0.0  # among themselves they have all of it
        speaker.push(np.zeros(320, np.float32))
        assert engine._pause([reader, other], 99.99) == pytest.approx(100.01)
        assert engine._pause([reader, speaker], 99.99) == 0.0
        assert engine._pause([], 99.99) == 0.0
        speaker.close()
        assert engine._pause([reader], 99.99) == 0.0


def test_a_recording_beside_a_speaker_comes_whole(talker: Talker) -> None:
    sound = speechlike(6.0)
    with Engine(talker) as engine:
        speaker, _ = opened(engine)
        reader, ear = opened(engine)
        reader.push(sound)
        reader.end()
        for _ in range(50):
            speaker.push(np.zeros(320, np.float32))
            time.sleep(0.002)
        np.testing.assert_allclose(
            ear.until(TurnEnded)[0], talker.animate(Speech(sound)).weights, atol=1e-4
        )


class Poisoned(Exception):
    """Stands for any mistake in the network that one session's sound brings about."""


@pytest.mark.parametrize(
    "error", [Poisoned("no"), ZeroDivisionError("division by zero"), MemoryError(), None]
)
def test_one_poisoned_session_among_twenty_ends_alone(
    talker: Talker, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """The error rises in the batch that all share (None: no error, but values that are not
    numbers)."""
    forward, poison, batches = talker.model.forward, 0.7771, []

    def network(samples: Any, *arguments: Any, **options: Any) -> Any:
        poisoned = (samples == poison).any(dim=1)
        batches.append(len(samples))
        if poisoned.any() and error is not None:
            raise error
        y, after = forward(samples, *arguments, **options)
        return (y.masked_fill(poisoned[:, None, None], float("nan")) if error is None else y), after

    monkeypatch.setattr(talker.model, "forward", network)
    sounds = [speechlike(0.6, seed=seed) for seed in range(19)]
    with Engine(talker, batch_window=0.002) as engine:
        lines = [opened(engine) for _ in sounds]
        bad, bad_ear = opened(engine)
        for start in range(0, 9600, 640):
            for (line, _), sound in zip(lines, sounds, strict=True):
                line.push(sound[start : start + 640])
            bad.push(np.full(640, poison if start == 3200 else 0.1, np.float32))
        for line, _ in lines:
            line.end()
        for (_, ear), sound in zip(lines, sounds, strict=True):
            np.testing.assert_allclose(
                ear.until(TurnEnded)[0], talker.animate(Speech(sound)).weights, atol=1e-4
            )
        _, failed = bad_ear.until(SessionFailed)
        assert bad.closed
        assert engine.open_sessions == 19
        assert ("not numbers" if error is None else type(error).__name__) in failed.reason
    assert max(batches) > 1


@pytest.mark.parametrize("value", [1e15, -1e15, 33.0, 3e38, np.inf, np.nan])
def test_sound_that_cannot_be_is_refused_before_the_network(talker: Talker, value: float) -> None:
    with pytest.raises(InputError, match=r"expected (values in )?-1\.\.1"):
        talker.stream().push(np.full(640, value, np.float32))
    with Engine(talker) as engine:
        line, ear = opened(engine)
        line.push(np.full(640, value, np.float32))
        assert "-1..1" in ear.until(SessionFailed)[1].reason


def test_a_little_over_full_scale_is_the_same_live_and_from_a_file(talker: Talker) -> None:
    sound = 12.0 * speechlike(1.0)
    assert np.abs(sound).max() > 1
    live = talker.stream()
    rows = np.concatenate([live.push_array(sound)[1], live.flush_array()[1]])
    np.testing.assert_array_equal(rows, talker.animate(Speech.load(sound, rate=16000)).weights)
