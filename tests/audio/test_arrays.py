"""Arrays of any type, shape and rate."""

from __future__ import annotations

import numpy as np
import pytest

from jambatalk.audio import Speech
from jambatalk.errors import InputError
from sounds import frequency, tone


@pytest.mark.parametrize(
    "kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "float16", "float32", "float64"]
)
def test_types_are_scaled(kind):
    wave = tone(0.5, 16000).astype(np.float64)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        given, step = wave.astype(dtype), 1e-3
    else:
        half = 2.0 ** (8 * dtype.itemsize - 1)
        given, step = (wave * half + (half if dtype.kind == "u" else 0)).astype(dtype), 1 / half
    np.testing.assert_allclose(Speech.load(given, rate=16000).samples, wave, atol=max(step, 1e-6))


@pytest.mark.parametrize("rate", [7350, 8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_rates(rate):
    speech = Speech.load(tone(1.0, rate), rate=rate)
    assert abs(len(speech.samples) - 16000) <= 1
    assert frequency(speech.samples) == pytest.approx(440, abs=1.5)


def test_layouts_average_the_channels():
    left, right = tone(0.2, 16000), tone(0.2, 16000, 880)
    both = np.stack([left, right])
    for array in (both, both.T):
        np.testing.assert_allclose(
            Speech.load(array, rate=16000).samples, (left + right) / 2, atol=1e-7
        )
    np.testing.assert_array_equal(Speech.load(left[:, None], rate=16000).samples, left)
    np.testing.assert_allclose(
        Speech.load(np.stack([left] * 6), rate=16000).samples, left, atol=1e-6
    )


def test_lists_and_torch_tensors():
    torch = pytest.importorskip("torch")
    wave = tone(0.1, 16000)
    np.testing.assert_array_equal(Speech.load(wave.tolist(), rate=16000).samples, wave)
    np.testing.assert_array_equal(Speech.load(torch.from_numpy(wave), rate=16000).samples, wave)


def test_too_loud_is_clipped():
    assert np.abs(Speech.load(np.full(100, 1.5), rate=16000).samples).max() == 1.0


@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (np.zeros(10), None, "needs its rate"),
        (np.zeros(10), 0, "rate is 0"),
        (np.zeros(10), 16000.5, "rate is 16000.5"),
        (np.zeros(0), 16000, "length is zero"),
        (np.zeros((0, 2)), 16000, "length is zero"),
        (np.zeros((2, 3, 4)), 16000, "shape (2, 3, 4)"),
        (np.zeros((200, 100)), 16000, "at most 64 channels"),
        (np.zeros(10, complex), 16000, "complex128"),
        (np.zeros(10, bool), 16000, "bool"),
        (["a", "b"], 16000, "expected real floats or integers"),
        (np.array([0.0, np.nan]), 16000, "NaN"),
        (np.array([0.0, np.inf]), 44100, "NaN or infinity"),
        (np.array([0.0, 12000.0]), 16000, "up to 12000"),
    ],
)
def test_bad_arrays(array, rate, message):
    with pytest.raises(InputError) as caught:
        Speech.load(array, rate=rate)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(10, np.float32), 8000, "16000 samples per second, not 8000"),
        (np.zeros(10, np.int16), 16000, "int16"),
        (np.zeros((10, 2), np.float32), 16000, "(10, 2)"),
        (np.zeros(0, np.float32), 16000, "at least one sample"),
        (np.array([np.nan], np.float32), 16000, "NaN"),
    ],
)
def test_a_speech_checks_itself(samples, rate, message):
    with pytest.raises(InputError) as caught:
        Speech(samples, rate)
    assert message in str(caught.value)
