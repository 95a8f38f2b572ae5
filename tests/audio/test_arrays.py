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


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64", "int16", "uint8"])
def test_tensors_of_any_kind(kind):
    torch = pytest.importorskip("torch")
    wave = torch.from_numpy(tone(0.1, 16000))
    dtype = getattr(torch, kind)
    scale, center = {"int16": (32767, 0), "uint8": (127, 128)}.get(kind, (1, 0))
    tensor = (wave * scale + center).to(dtype)
    if dtype.is_floating_point:
        tensor.requires_grad_(True)
    for given in (tensor, tensor[None], torch.stack([tensor, tensor], dim=1)):
        samples = Speech.load(given, rate=16000).samples
        np.testing.assert_allclose(samples, wave, atol=0.02 if kind == "uint8" else 2e-3)


def test_tensors_without_values():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="the array is damaged"):
        Speech.load(torch.zeros(10, device="meta"), rate=16000)
    with pytest.raises(InputError, match="complex64"):
        Speech.load(torch.zeros(10, dtype=torch.complex64), rate=16000)


def test_torch_defaults_do_not_matter():
    torch = pytest.importorskip("torch")
    wave = torch.from_numpy(tone(0.1, 16000))
    right = Speech.load(wave, rate=16000).samples
    try:
        for dtype, device in ((torch.float64, None), (torch.bfloat16, None), (None, "meta")):
            torch.set_default_dtype(dtype or torch.float32)
            torch.set_default_device(device)
            np.testing.assert_array_equal(Speech.load(wave, rate=16000).samples, right)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def test_pairs_of_rate_and_samples():
    """What gradio and scipy give, and librosa and torchaudio the other way round."""
    torch = pytest.importorskip("torch")
    wave = tone(0.2, 48000)
    right = Speech.load(wave, rate=48000).samples
    whole = (np.stack([wave, wave], 1) * 32767).astype(np.int16)
    np.testing.assert_allclose(Speech.load((48000, whole)).samples, right, atol=1e-4)
    np.testing.assert_array_equal(Speech.load((wave, np.int64(48000))).samples, right)
    np.testing.assert_array_equal(Speech.load((torch.from_numpy(wave)[None], 48000)).samples, right)
    assert len(Speech.load((0.1, 0.2), rate=16000).samples) == 2
    with pytest.raises(InputError, match="a pair that has its own"):
        Speech.load((48000, whole), rate=16000)
    with pytest.raises(InputError, match="rate is 0"):
        Speech.load((0, whole))


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
