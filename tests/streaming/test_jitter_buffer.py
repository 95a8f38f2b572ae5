"""Packets that come late, twice, out of order or never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.errors import InputError
from jambatalk.streaming.jitter_buffer import MAX_WAITING, JitterBuffer, concealed
from small_network import speechlike

SIZE = 320  # 20 ms at 16 kHz


def packets(count: int) -> list[tuple[int, np.ndarray]]:
    sound = speechlike(count * SIZE / 16000)
    return [(1000 + i * SIZE, sound[i * SIZE : (i + 1) * SIZE]) for i in range(count)]


def played(
    order: JitterBuffer, sent: list[tuple[int, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    pieces = [piece for at, samples in sent for piece in order.push(samples, at)] + order.end()
    if not pieces:
        return np.zeros(0, np.float32), np.zeros(0, bool)
    return np.concatenate([p for p, _ in pieces]), np.concatenate(
        [np.full(len(p), missing) for p, missing in pieces]
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_shuffled_within_the_patience_nothing_is_lost(seed: int) -> None:
    sent = packets(50)
    # The first stays first: it says where the turn begins.
    keys = np.arange(50) + np.random.default_rng(seed).uniform(0, 2.0, 50) * (np.arange(50) > 2)
    order = JitterBuffer(16000, 0.1)
    sound, missing = played(order, [sent[i] for i in np.argsort(keys)])
    np.testing.assert_array_equal(sound, np.concatenate([samples for _, samples in sent]))
    assert not missing.any()
    assert (order.stats.lost, order.stats.late) == (0, 0)


def test_lost_packets_are_concealed_and_time_goes_on() -> None:
    sent = packets(40)
    gone = {7, 20, 21, 22}
    order = JitterBuffer(16000, 0.06)
    sound, missing = played(order, [p for i, p in enumerate(sent) if i not in gone])
    whole = np.concatenate([samples for _, samples in sent])
    assert len(sound) == len(whole)
    wanted = np.zeros(len(whole), bool)
    for i in gone:
        wanted[i * SIZE : (i + 1) * SIZE] = True
    np.testing.assert_array_equal(missing, wanted)
    np.testing.assert_array_equal(sound[~wanted], whole[~wanted])
    assert order.stats.lost == 4 * SIZE
    assert order.stats.late == 0


def test_too_late_is_counted_and_dropped() -> None:
    sent = packets(20)
    order = JitterBuffer(16000, 0.06)
    sound, missing = played(order, [*sent[:5], *sent[6:15], sent[5], *sent[15:], sent[3]])
    assert len(sound) == 20 * SIZE
    assert missing.sum() == SIZE
    assert (order.stats.lost, order.stats.late, order.stats.repeated) == (SIZE, SIZE, SIZE)


def test_overlapping_packets_are_cut() -> None:
    sent = packets(10)
    whole = np.concatenate([samples for _, samples in sent])
    order = JitterBuffer(16000, 0.06)
    overlapping = [(1000 + at, whole[at : at + 500]) for at in range(0, len(whole), 400)]
    sound, missing = played(order, overlapping)
    np.testing.assert_array_equal(sound, whole)
    assert not missing.any()


def test_time_is_advanced_without_packets() -> None:
    sent = packets(4)
    order = JitterBuffer(16000, 0.06)
    for at, samples in sent[:2]:
        order.push(samples, at)
    pieces = order.advance(1000 + 5 * SIZE)
    assert sum(len(p) for p, _ in pieces) == 3 * SIZE
    assert all(missing for _, missing in pieces)
    assert order.push(sent[2][1], sent[2][0]) == []
    assert order.stats.late == SIZE


def test_waiting_is_bounded() -> None:
    order = JitterBuffer(16000, 2.0)
    order.push(np.ones(1, np.float32), 0)
    for i in range(3 * MAX_WAITING):
        order.push(np.ones(1, np.float32), 10 + 2 * i)
        assert len(order.state()["waiting"]) <= MAX_WAITING + 1


def test_an_impossible_index_is_named() -> None:
    order = JitterBuffer(16000, 0.06)
    order.push(np.zeros(10, np.float32), 5)
    with pytest.raises(InputError, match=r"62\.5 s after"):
        order.push(np.zeros(10, np.float32), 15 + 1_000_000)
    assert len(order.push(np.zeros(10, np.float32), 15)) == 1


def test_a_voice_goes_on_and_fades() -> None:
    rate, hz = 16000, 125.0  # a period of 128 samples
    wave = np.sin(2 * np.pi * hz * np.arange(4000) / rate).astype(np.float32)
    made = concealed(wave, 0, 2000, rate)
    wanted = np.sin(2 * np.pi * hz * (4000 + np.arange(2000)) / rate)
    np.testing.assert_allclose(made[:160], wanted[:160], atol=0.02)  # 10 ms at full level, in phase
    assert not made[960:].any()  # gone after 60 ms
    np.testing.assert_array_equal(
        np.concatenate([concealed(wave, 0, 300, rate), concealed(wave, 300, 1700, rate)]), made
    )
    assert not concealed(np.zeros(4000, np.float32), 0, 500, rate).any()
    assert not concealed(np.zeros(0, np.float32), 0, 500, rate).any()
