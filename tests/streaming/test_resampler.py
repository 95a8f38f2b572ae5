"""Sound to the network's rate in pieces: exact in time, clean, and the same however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from jambatalk.streaming.resampler import Resampler
from small_network import speechlike

RATES = [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000]


def tone(hz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
def test_tones_keep_time_and_level(rate: int) -> None:
    made = Resampler(rate, 16000)(tone(1000.0, rate), last=True)
    assert len(made) == 16000
    np.testing.assert_allclose(made[200:-200], tone(1000.0, 16000)[200:-200], atol=2e-3)


@pytest.mark.parametrize("rate", [32000, 44100, 48000, 96000])
def test_tones_above_the_new_range_are_gone(rate: int) -> None:
    made = Resampler(rate, 16000)(tone(10500.0, rate), last=True)
    assert np.abs(made[200:-200]).max() < 2e-3  # -54 dB


@pytest.mark.parametrize("rate", RATES)
def test_speech_is_as_the_file_reader_makes_it(rate: int) -> None:
    # Sound that both rates can hold: what lies between a filter's edge and the limit may differ.
    narrow = round(0.8 * min(rate, 15000))
    sound = soxr.resample(soxr.resample(speechlike(2.0), 16000, narrow), narrow, rate).astype(
        np.float32
    )
    made, read = Resampler(rate, 16000)(sound, last=True), soxr.resample(sound, rate, 16000)
    count = min(len(made), len(read))
    error = (made[:count] - read[:count])[300:-300]
    assert np.sqrt((error**2).mean()) < 0.02 * np.sqrt((read**2).mean())


@settings(max_examples=30, deadline=None)
@given(rate=st.sampled_from([*RATES, 12345]), cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_any_cut_and_a_stored_state_give_the_same_bits(rate: int, cuts: list[int]) -> None:
    sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    whole = Resampler(rate, 16000)(sound, last=True)
    resampler, parts = Resampler(rate, 16000), []
    for piece in np.split(sound, sorted(cuts)):
        parts.append(resampler(piece))
        fresh = Resampler(rate, 16000)
        fresh.load_state(resampler.state())
        resampler = fresh
    parts.append(resampler(np.zeros(0, np.float32), last=True))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", RATES)
def test_it_holds_back_what_it_says(rate: int) -> None:
    resampler = Resampler(rate, 16000)
    heard = rate // 2
    made = len(resampler(np.zeros(heard, np.float32)))
    assert 0 <= heard / rate - made / 16000 <= resampler.delay + 1.5 / 16000
    assert resampler.delay < 0.0021
