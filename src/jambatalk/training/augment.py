"""Other voices from one recording: another speaker's pitch, vocal tract, pace, room, microphone.

All effects keep time: a sound at time t of the input lies at ``t * time_scale`` of the output
(within the 8 ms that pace changes may move a pitch period), so that the motion only has to be
resampled. The rooms' tails follow the sound, the equalizers have zero phase.

Order: pitch and pace, vocal tract, other voices and noise, room and equalizer, level, damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.audio.noise import coloured_noise, fast_length

Array = NDArray[Any]

FRAME = 512
"""Samples, 32 ms: two to six pitch periods."""
WINDOW = np.sqrt(np.hanning(FRAME + 1)[:-1]).astype(np.float32)
SEARCH = 128
"""Samples, 8 ms either way: at least one period of voices above 125 Hz, most of one below."""


@dataclass(frozen=True)
class VoiceAugment:
    """Chances (0..1) and ranges [lowest, highest] of the effects, new at every call.

    The defaults start from one man's voice and reach women, children and deeper men, near and far,
    over any line.
    """

    voice: float = 0.9
    """Chance of another pitch and vocal tract."""
    pitch: list[float] = field(default_factory=lambda: [0.75, 2.1])
    """Factor of the fundamental frequency, logarithmically uniform."""
    formants: list[float] = field(default_factory=lambda: [0.82, 1.3])
    """Factor of the formant frequencies (vocal tract); leans to high with the pitch."""
    pace: list[float] = field(default_factory=lambda: [0.87, 1.2])
    """Factor of the duration (what ``augment_voice`` returns as time_scale)."""
    pace_chance: float = 0.6
    """Chance of another pace."""
    whisper: float = 0.02
    """Chance that the voice loses its pitch altogether."""
    noise: float = 0.5
    """Chance of steady noise: white to brown."""
    noise_snr_db: list[float] = field(default_factory=lambda: [5.0, 40.0])
    """Speech over noise."""
    babble: float = 0.15
    """Chance of 1 to 4 other voices in the background."""
    babble_snr_db: list[float] = field(default_factory=lambda: [8.0, 25.0])
    """Speech over the other voices together."""
    room: float = 0.35
    """Chance of a room."""
    room_seconds: list[float] = field(default_factory=lambda: [0.12, 0.7])
    """Its reverberation time (60 dB)."""
    room_db: list[float] = field(default_factory=lambda: [-18.0, 0.0])
    """Power of its tail against the direct sound."""
    equalizer: float = 0.7
    """Chance of a microphone's coloration: tilt and smooth bumps."""
    tilt_db: float = 5.0
    """Spectral tilt in dB per octave-and-a-half, standard deviation."""
    bump_db: float = 3.0
    """Bumps, standard deviation."""
    band: float = 0.2
    """Chance of a limited band: telephone, old recording, dull microphone."""
    level_db: list[float] = field(default_factory=lambda: [-30.0, 6.0])
    """Loudness, relative to an ordinary speech level; what exceeds full scale is clipped."""
    clip: float = 0.07
    """Chance of an overdriven input."""
    quantize: float = 0.07
    """Chance of coarse 8-bit mu-law steps, as in telephone and old codecs."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, list):
                if len(value) != 2 or value[0] > value[1]:
                    raise ValueError(f"{name} is {value}, expected [lowest, highest]")
            elif not name.endswith("_db") and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, expected a chance between 0 and 1")
        for name in ("pitch", "formants", "pace", "room_seconds"):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected positive numbers")


def augment_voice(
    samples: Array, settings: VoiceAugment, rng: np.random.Generator, others: Sequence[Array] = ()
) -> tuple[Array, float]:
    """Turn speech into that of another voice.

    Args:
        samples: (n,) at 16 kHz.
        settings: Chances and ranges of the effects.
        rng: Of all random numbers.
        others: Recordings of any length that may talk in the background.

    Returns:
        float32 samples (round(n * time_scale),) in -1..1, and time_scale, the duration of the
        result over that of the input. Motion follows by
        ``resample_frames(weights, fps, fps * time_scale)``.
    """
    s = settings
    sound = np.asarray(samples, np.float32)
    if len(sound) < 2 * FRAME:
        return sound.copy(), 1.0
    scale = log_uniform(rng, s.pace) if rng.random() < s.pace_chance else 1.0
    if rng.random() < s.voice:
        pitch = log_uniform(rng, s.pitch)
        # High voices mostly have short vocal tracts: a third of the way from a uniform draw to
        # what belongs to the pitch.
        own = float(np.clip(pitch**0.3, s.formants[0], s.formants[1]))
        formants = log_uniform(rng, s.formants) ** (2 / 3) * own ** (1 / 3)
    else:
        pitch = formants = 1.0
    hoarse = rng if rng.random() < s.whisper else None
    sound = change_voice(sound, pitch, formants, round(len(sound) * scale), hoarse)
    if others and rng.random() < s.babble:
        crowd = babble(
            [others[i] for i in rng.integers(len(others), size=rng.integers(1, 5))], len(sound), rng
        )
        sound = mixed(sound, crowd, uniform(rng, s.babble_snr_db))
    if rng.random() < s.noise:
        sound = mixed(
            sound,
            coloured_noise(len(sound), rng.uniform(0.0, 2.0), rng),
            uniform(rng, s.noise_snr_db),
        )
    sound = _filtered(sound, s, rng)
    sound = at_level(sound, uniform(rng, s.level_db))
    if rng.random() < s.clip:
        limit = np.quantile(np.abs(sound), rng.uniform(0.97, 0.999)) + 1e-6
        sound = np.clip(sound, -limit, limit)
    sound = np.clip(sound, -1.0, 1.0)
    if rng.random() < s.quantize:
        sound = mu_law(sound)
    return sound.astype(np.float32), scale


def uniform(rng: np.random.Generator, limits: Sequence[float]) -> float:
    """Draw a number between two limits."""
    return float(rng.uniform(limits[0], limits[1]))


def log_uniform(rng: np.random.Generator, limits: Sequence[float]) -> float:
    """Draw a number between two positive limits, uniform on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))


def change_pitch(sound: Array, pitch: float, length: int) -> Array:
    """Multiply fundamental and formants by ``pitch``; the result has ``length`` samples."""
    if pitch != 1.0:
        sound = soxr.resample(sound, SAMPLE_RATE * pitch, SAMPLE_RATE, quality="LQ")
    return stretch(sound, length)


def stretch(sound: Array, length: int) -> Array:
    """Change the duration to ``length`` samples, not the pitch.

    By WSOLA: overlapping frames, each from where it continues the last one best.
    """
    if length == len(sound):
        return sound
    hop = FRAME // 2
    count = -(-length // hop) + 1
    padded = np.pad(sound, (hop + SEARCH, FRAME + hop + 2 * SEARCH)).astype(np.float32)
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    out = np.zeros(count * hop + FRAME, np.float32)
    ratio = len(sound) / length
    last = 0
    for i in range(count):
        # Where the frame's first sample lies in ``padded``, less SEARCH.
        place = min(round(i * hop * ratio), len(sound))
        if i:
            # How the last frame continues; every second sample is enough.
            wanted = padded[last + hop : last + FRAME : 2]
            area = padded[place : place + hop + 2 * SEARCH]
            shift = 2 * int(np.argmax(np.correlate(area[::2], wanted, "valid")))
            last = place + shift
        else:
            last = place + SEARCH
        out[i * hop : i * hop + FRAME] += padded[last : last + FRAME] * window
    return out[hop : hop + length]


def change_voice(
    sound: Array,
    pitch: float,
    formants: float,
    length: int,
    whisper: np.random.Generator | None = None,
) -> Array:
    """Change pitch, vocal tract and duration of a voice.

    The voice's source comes from the sound played faster or slower, its vocal tract from the sound
    at its own pitch: each 32 ms spectrum of the former is divided by its envelope and multiplied by
    the latter's, moved from frequency f to f * formants. So the hiss of an /s/, which playing
    faster pushes out of the band, stays.

    Args:
        sound: (n,).
        pitch: Factor of the fundamental frequency.
        formants: Factor of the frequencies of the spectral envelope.
        length: Samples of the result.
        whisper: Draws the phases that replace the voice's own, which removes the pitch; or None.
    """
    own = stretch(sound, length)
    if pitch == formants == 1.0 and whisper is None:
        return own
    spectrum = spectra(own)
    tract = envelopes(spectrum)
    source = spectrum / np.exp(tract)
    if pitch != 1.0:
        played = spectra(change_pitch(sound, pitch, length))
        # Played slower, the top stays empty.
        filled = min(spectrum.shape[1], round(spectrum.shape[1] * pitch * 0.97))
        source[:, :filled] = (played / np.exp(envelopes(played)))[:, :filled]
    if whisper is not None:
        source = np.exp(2j * np.pi * whisper.random(spectrum.shape))
    bins = np.arange(spectrum.shape[1])
    place = np.minimum(bins / formants, bins[-1])
    left = np.minimum(place.astype(np.int64), bins[-1] - 1)
    share = place - left
    moved = tract[:, left] * (1 - share) + tract[:, left + 1] * share
    return overlapped(source * np.exp(moved), length)


def spectra(sound: Array) -> Array:
    """Compute spectra of half-overlapping frames; ``overlapped`` is the inverse.

    Returns:
        (frames, FRAME // 2 + 1) complex.
    """
    hop = FRAME // 2
    count = -(-len(sound) // hop) + 1
    padded = np.pad(sound, (hop, count * hop + FRAME - hop - len(sound)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[: count * hop : hop]
    return np.fft.rfft(frames * WINDOW, axis=1)


def overlapped(spectrum: Array, length: int) -> Array:
    """Join spectra made by ``spectra`` to a sound (length,) float32."""
    frames = np.fft.irfft(spectrum, axis=1) * WINDOW
    out = np.zeros((len(frames) + 1, FRAME // 2), np.float32)
    out[:-1] += frames[:, : FRAME // 2]
    out[1:] += frames[:, FRAME // 2 :]
    return out.ravel()[FRAME // 2 : FRAME // 2 + length]


def envelopes(spectrum: Array) -> Array:
    """Compute the natural logarithm (frames, bins) of the spectral envelope.

    It is the log magnitudes, smoothed in the cepstrum.
    """
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum).astype(np.float32) + 1e-5), axis=1)
    # Quefrencies up to 1.4 ms hold the vocal tract, from 2.6 ms on the pitch of voices below
    # 380 Hz; between them the lifter fades.
    kept = 42
    taper = np.clip((kept - np.arange(kept)) / 20.0, 0.0, 1.0)
    lifter = np.zeros(FRAME)
    lifter[:kept] = taper
    lifter[-kept + 1 :] = taper[:0:-1]
    return np.fft.rfft(cepstrum * lifter, axis=1).real


def power(sound: Array) -> float:
    """Compute the mean square of the louder half of 20 ms frames: pauses do not count."""
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    energies = np.sort(np.einsum("ij,ij->i", frames, frames))
    if not len(energies):
        return float(np.mean(sound**2))
    return float(energies[len(energies) // 2 :].mean()) / 320


def mixed(sound: Array, added: Array, snr_db: float) -> Array:
    """Add ``added``, scaled so that the speech is ``snr_db`` above it."""
    level = power(added)
    if level == 0.0:
        return sound
    return sound + added * np.float32(np.sqrt(power(sound) / level) * 10 ** (-snr_db / 20))


def babble(voices: Sequence[Array], length: int, rng: np.random.Generator) -> Array:
    """Mix recordings to (length,), each from a random place on and repeated as needed."""
    total = np.zeros(length, np.float32)
    for voice in voices:
        if len(voice):
            start = int(rng.integers(len(voice)))
            total += np.resize(np.concatenate([voice[start:], voice[:start]]), length)
    return total


def _filtered(sound: Array, s: VoiceAugment, rng: np.random.Generator) -> Array:
    """Room, equalizer and band limit in one pass over the whole sound's spectrum."""
    room, equalizer, band = rng.random() < s.room, rng.random() < s.equalizer, rng.random() < s.band
    if not (room or equalizer or band):
        return sound
    tail = np.ones(1, np.float32)
    if room:
        tail = room_response(log_uniform(rng, s.room_seconds), uniform(rng, s.room_db), rng)
    size = fast_length(len(sound) + len(tail))
    spectrum = np.fft.rfft(sound, size)
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    if room:
        spectrum *= np.fft.rfft(tail, size)
    octaves = np.log2(np.maximum(frequency, 40.0) / 1000.0)
    decibels = np.zeros_like(octaves)
    if equalizer:
        decibels += rng.normal(0, s.tilt_db) * octaves / 1.5
        for center in rng.uniform(-3.0, 3.0, 3):
            decibels += rng.normal(0, s.bump_db) * np.exp(-0.5 * ((octaves - center) / 0.6) ** 2)
    if band:
        low, high = log_uniform(rng, (50.0, 350.0)), log_uniform(rng, (2500.0, 6500.0))
        decibels -= 20.0 * (1.0 - np.tanh((frequency - low) / (0.2 * low)))
        decibels -= 25.0 * (1.0 + np.tanh((frequency - high) / (0.06 * high)))
    spectrum *= 10.0 ** (np.clip(decibels, -70.0, 25.0) / 20.0)
    filtered = np.fft.irfft(spectrum, size)[: len(sound)].astype(np.float32)
    # The line's color is kept, its loudness is not: the level is an effect of its own.
    return filtered * np.float32(np.sqrt(power(sound) / max(power(filtered), 1e-20)))


def room_response(seconds: float, tail_db: float, rng: np.random.Generator) -> Array:
    """Make a room's impulse response: the direct sound, then noise that decays by 60 dB.

    Args:
        seconds: Until the noise has decayed.
        tail_db: Its power against the direct sound.
        rng: Of the noise.
    """
    count = int(min(seconds, 0.8) * SAMPLE_RATE)
    tail = rng.standard_normal(count, np.float32) * 10.0 ** (
        -3.0 * np.arange(count) / (seconds * SAMPLE_RATE)
    ).astype(np.float32)
    tail[: int(rng.uniform(0.002, 0.012) * SAMPLE_RATE)] = 0.0
    tail *= np.float32(10 ** (tail_db / 20) / np.sqrt(max(float(tail @ tail), 1e-20)))
    tail[0] = 1.0
    return tail


def at_level(sound: Array, change_db: float) -> Array:
    """Scale to ``change_db`` above an ordinary speech level of -26 dB of full scale."""
    level = power(sound)
    if level == 0.0:
        return sound
    return sound * np.float32(10 ** ((change_db - 26.0) / 20) / np.sqrt(level))


def mu_law(sound: Array) -> Array:
    """Quantize to 256 logarithmic steps (ITU-T G.711's curve with mu = 255)."""
    squeezed = np.sign(sound) * np.log1p(255.0 * np.abs(sound)) / np.log(256.0)
    stepped = np.round(squeezed * 127.0) / 127.0
    return (np.sign(stepped) * (256.0 ** np.abs(stepped) - 1.0) / 255.0).astype(np.float32)
