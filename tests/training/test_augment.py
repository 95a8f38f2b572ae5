"""Voice augmentation: each effect does what it says, in time, and the same seed gives the same
voice.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from jambatalk.audio import SAMPLE_RATE
from jambatalk.audio.noise import coloured_noise, fast_length
from jambatalk.training.augment import (
    VoiceAugment,
    at_level,
    augment_voice,
    babble,
    change_voice,
    mixed,
    mu_law,
    power,
    room_response,
    stretch,
)
from small_network import speechlike

CHANCES = (
    "voice",
    "pace_chance",
    "whisper",
    "noise",
    "babble",
    "room",
    "equalizer",
    "band",
    "clip",
    "quantize",
)
NOTHING = replace(VoiceAugment(), **dict.fromkeys(CHANCES, 0.0), level_db=[0.0, 0.0])  # type: ignore[arg-type]
SPEECH = speechlike(3.0)


def vowel(pitch: float, formants: tuple[float, ...], seconds: float = 1.0) -> np.ndarray:
    """A steady voice: harmonics of ``pitch`` under resonances at ``formants`` Hz."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.zeros(len(t))
    for k in range(1, int(7500 / pitch)):
        gain = sum(1 / (1 + ((k * pitch - f) / 120.0) ** 2) for f in formants)
        sound += gain * np.sin(2 * np.pi * k * pitch * t + 0.7 * k * k)
    return (0.1 * sound).astype(np.float32)


def pitch_of(sound: np.ndarray) -> float:
    """Hz, by the highest peak of the autocorrelation between 60 and 500 Hz."""
    middle = sound[len(sound) // 4 : 3 * len(sound) // 4].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle, 2 * len(middle))) ** 2
    correlation = np.fft.irfft(spectrum)[: SAMPLE_RATE // 60 + 1]
    first = SAMPLE_RATE // 500
    return SAMPLE_RATE / (first + int(np.argmax(correlation[first:])))


def centroid(sound: np.ndarray) -> float:
    """Hz, the middle of the power spectrum."""
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64))) ** 2
    return float(np.sum(spectrum * np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)) / spectrum.sum())


@pytest.mark.parametrize("seed", range(12))
def test_every_draw_is_finite_sound_of_the_stated_length(seed: int) -> None:
    got, scale = augment_voice(
        SPEECH, VoiceAugment(), np.random.default_rng(seed), [SPEECH[::-1], SPEECH[:1000]]
    )
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= 1
    assert len(got) == round(len(SPEECH) * scale)
    assert 0.87 <= scale <= 1.2
    assert power(got) > 0


def test_the_seed_decides() -> None:
    def draw(seed: int) -> np.ndarray:
        return augment_voice(SPEECH, VoiceAugment(), np.random.default_rng(seed), [SPEECH])[0]

    assert np.array_equal(draw(3), draw(3))
    assert draw(3).shape != draw(4).shape or not np.array_equal(draw(3), draw(4))


def test_the_input_is_left_alone() -> None:
    before = SPEECH.copy()
    augment_voice(SPEECH, VoiceAugment(), np.random.default_rng(0), [SPEECH])
    np.testing.assert_array_equal(SPEECH, before)


def test_without_effects_only_the_level_is_set() -> None:
    got, scale = augment_voice(SPEECH, NOTHING, np.random.default_rng(0))
    assert scale == 1.0
    assert 10 * np.log10(power(got)) == pytest.approx(-26, abs=0.01)
    np.testing.assert_allclose(got / np.abs(got).max(), SPEECH / np.abs(SPEECH).max(), atol=1e-5)


@pytest.mark.parametrize("name", CHANCES)
def test_each_effect_changes_the_sound(name: str) -> None:
    settings = replace(NOTHING, **{name: 1.0})
    plain, _ = augment_voice(SPEECH, NOTHING, np.random.default_rng(5), [SPEECH[::-1]])
    got, _ = augment_voice(SPEECH, settings, np.random.default_rng(5), [SPEECH[::-1]])
    assert np.isfinite(got).all()
    common = min(len(got), len(plain))
    assert len(got) != len(plain) or np.abs(got[:common] - plain[:common]).max() > 1e-3


@pytest.mark.parametrize("factor", [0.8, 1.5, 1.9])
def test_pitch_moves_and_the_length_is_kept(factor: float) -> None:
    sound = vowel(120.0, (1500,))
    got = change_voice(sound, factor, 1.0, len(sound))
    assert len(got) == len(sound)
    assert pitch_of(got) == pytest.approx(120 * factor, rel=0.03)
    assert centroid(got) == pytest.approx(centroid(sound), rel=0.08)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_formants_move_and_the_pitch_stays(factor: float) -> None:
    sound = vowel(110.0, (1500,))
    got = change_voice(sound, 1.0, factor, len(sound))
    assert pitch_of(got) == pytest.approx(110, rel=0.02)
    assert centroid(got) == pytest.approx(1500 * factor, rel=0.06)
    assert centroid(sound) == pytest.approx(1500, rel=0.03)


def test_formants_that_stay_give_the_sound_back() -> None:
    np.testing.assert_array_equal(change_voice(SPEECH, 1.0, 1.0, len(SPEECH)), SPEECH)
    np.testing.assert_allclose(
        change_voice(SPEECH, 1.0, 1.0 + 1e-7, len(SPEECH)), SPEECH, atol=1e-4
    )


@pytest.mark.parametrize("pitch", [0.75, 2.0])
def test_the_hiss_of_an_s_stays_at_any_pitch(pitch: float) -> None:
    """Playing a sound at twice the pitch alone would push 6 kHz to 12 kHz, out of the band."""
    spectrum = np.fft.rfft(np.random.default_rng(4).standard_normal(SAMPLE_RATE))
    frequency = np.fft.rfftfreq(SAMPLE_RATE, 1 / SAMPLE_RATE)
    hiss = np.fft.irfft(spectrum * np.exp(-0.5 * ((frequency - 5800) / 700) ** 2)).astype(
        np.float32
    )
    got = change_voice(hiss, pitch, 1.0, len(hiss))
    assert centroid(got) == pytest.approx(5800, rel=0.05)
    assert power(got) == pytest.approx(power(hiss), rel=0.4)


def test_a_whisper_has_no_pitch_but_the_same_formant() -> None:
    sound = vowel(120.0, (1500,))
    got = change_voice(sound, 1.0, 1.0, len(sound), np.random.default_rng(0))
    assert centroid(got) == pytest.approx(1500, rel=0.1)
    period = SAMPLE_RATE // 120

    def periodicity(x: np.ndarray) -> float:
        return float(np.corrcoef(x[4000:12000], x[4000 + period : 12000 + period])[0, 1])

    assert periodicity(sound) > 0.8
    assert abs(periodicity(got)) < 0.35


@pytest.mark.parametrize("ratio", [0.8, 0.93, 1.1, 1.2])
def test_stretching_keeps_pitch_and_puts_events_where_they_belong(ratio: float) -> None:
    voice = vowel(130.0, (700, 1500), 2.0)
    times = np.arange(len(voice)) / SAMPLE_RATE
    sound = voice * ((times % 0.5) < 0.25)  # on and off four times
    length = round(len(sound) * ratio)
    got = stretch(sound, length)
    assert len(got) == length
    assert pitch_of(stretch(voice, length)) == pytest.approx(130, rel=0.03)

    def loudness(x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.convolve(x**2, np.ones(80) / 80, "same"))

    for onset in (0.5, 1.0, 1.5):
        place = round(onset * ratio * SAMPLE_RATE)
        near = loudness(got)[place - 1600 : place + 1600]
        started = int(np.argmax(near > 0.3 * near.max())) - 1600
        assert abs(started) < 0.012 * SAMPLE_RATE


def test_noise_is_added_at_the_stated_ratio() -> None:
    noise = coloured_noise(len(SPEECH), 1.0, np.random.default_rng(1))
    for snr in (5.0, 20.0):
        added = mixed(SPEECH, noise, snr) - SPEECH
        assert 10 * np.log10(power(SPEECH) / power(added)) == pytest.approx(snr, abs=0.1)
    np.testing.assert_array_equal(mixed(SPEECH, np.zeros_like(SPEECH), 5.0), SPEECH)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_falls_with_frequency_as_stated(exponent: float) -> None:
    noise = coloured_noise(160000, exponent, np.random.default_rng(2))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE)

    def band(low: float, high: float) -> float:
        return float(spectrum[(frequency > low) & (frequency < high)].mean())

    octaves = np.log2(band(3900, 4100) / band(490, 510)) / 3
    assert octaves == pytest.approx(-exponent, abs=0.25)


def test_a_room_begins_at_once_and_dies_away() -> None:
    response = room_response(0.3, -6.0, np.random.default_rng(3))
    assert response[0] == 1
    tail = response[1:]
    assert 10 * np.log10(float(tail @ tail)) == pytest.approx(-6, abs=0.01)
    early, late = tail[500:1300], tail[3700:4500]  # 200 ms apart: 40 dB at 60 dB in 300 ms
    assert 10 * np.log10(np.mean(early**2) / np.mean(late**2)) == pytest.approx(40, abs=2)


def test_babble_repeats_what_is_short() -> None:
    one = np.arange(5, dtype=np.float32)
    got = babble([one], 12, np.random.default_rng(0))
    assert len(got) == 12
    assert np.array_equal(got[:7], got[5:])
    assert set(got) == set(one)


def test_levels_and_steps() -> None:
    assert 10 * np.log10(power(at_level(SPEECH, -20.0))) == pytest.approx(-46, abs=0.01)
    np.testing.assert_array_equal(at_level(np.zeros(1000, np.float32), 6.0), 0)
    x = np.linspace(-1, 1, 20001).astype(np.float32)
    stepped = mu_law(x)
    assert len(np.unique(stepped)) == 255
    assert np.abs(stepped - x).max() < 0.025
    assert np.abs(stepped - x)[np.abs(x) < 0.01].max() < 0.001


def test_silence_and_scraps_pass_through() -> None:
    silent, _ = augment_voice(np.zeros(16000, np.float32), VoiceAugment(), np.random.default_rng(0))
    assert np.isfinite(silent).all()
    short, scale = augment_voice(SPEECH[:300], VoiceAugment(), np.random.default_rng(0))
    assert scale == 1.0
    np.testing.assert_array_equal(short, SPEECH[:300])


def test_fast_lengths_are_long_enough_and_close() -> None:
    for count in (1, 7, 100, 47631, 54321):
        assert count <= fast_length(count) <= max(count * 1.21, count + 2)


def test_every_setting_is_checked() -> None:
    for field in fields(VoiceAugment):
        if field.name.endswith("_db") and field.name in ("tilt_db", "bump_db"):
            continue
        wrong = [2.0, 1.0] if isinstance(getattr(VoiceAugment(), field.name), list) else 1.5
        with pytest.raises(ValueError, match=field.name):
            replace(VoiceAugment(), **{field.name: wrong})
    with pytest.raises(ValueError, match="positive"):
        VoiceAugment(pitch=[-1.0, 2.0])
