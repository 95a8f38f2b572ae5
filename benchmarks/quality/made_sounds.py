"""Sounds made for looking at: a whisper and a song out of a recording, and something like music.

Whisper and song are a recording's vocal tract (linear prediction, 32 ms frames) excited by
something else than its voice.
"""

from __future__ import annotations

import numpy as np

RATE = 16_000
FRAME, HOP, ORDER = 512, 256, 18
WINDOW = np.sqrt(np.hanning(FRAME + 1)[:-1])
MELODY_HZ = (220.0, 246.9, 261.6, 293.7, 329.6, 293.7, 261.6, 246.9)  # A minor, up and down
NOTE_SECONDS = 0.6


def predictor(frame: np.ndarray) -> tuple[np.ndarray, float]:
    """(1, -a1, -a2, ...) of a windowed frame and the root mean square of its residual."""
    correlations = np.correlate(frame, frame, "full")[len(frame) - 1 : len(frame) + ORDER]
    correlations[0] = correlations[0] * 1.0001 + 1e-9
    lags = np.abs(np.subtract.outer(np.arange(ORDER), np.arange(ORDER)))
    weights = np.linalg.solve(correlations[lags], correlations[1:])
    power = max(correlations[0] - weights @ correlations[1:], 0.0) / len(frame)
    return np.concatenate([[1.0], -weights]), float(np.sqrt(power))


def excited(samples: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The vocal tract and loudness of ``samples`` (n,), excited by ``source`` (n,) instead of its
    own residual.
    """
    padded, driving = (np.pad(np.asarray(x, float), (HOP, FRAME)) for x in (samples, source))
    out = np.zeros(len(padded))
    for start in range(0, len(padded) - FRAME + 1, HOP):
        part = slice(start, start + FRAME)
        filter_, level = predictor(padded[part] * WINDOW)
        drive = driving[part] * WINDOW
        drive *= level / max(float(np.sqrt(np.mean(drive**2))), 1e-9)
        spectrum = np.fft.rfft(drive, 2 * FRAME) / np.fft.rfft(filter_, 2 * FRAME)
        out[part] += np.fft.irfft(spectrum)[:FRAME] * WINDOW
    made = out[HOP : HOP + len(samples)]
    return (made * (np.std(samples) / max(float(np.std(made)), 1e-9))).astype(np.float32)


def whisper(samples: np.ndarray, seed: int = 0) -> np.ndarray:
    """The recording without its voice: noise in place of the residual."""
    return excited(samples, np.random.default_rng(seed).standard_normal(len(samples)))


def slowed(samples: np.ndarray, factor: float) -> np.ndarray:
    """``factor`` times as long at the same pitch."""
    from jambatalk.training.augment import stretch

    return stretch(np.asarray(samples, np.float32), round(len(samples) * factor))


def sung(samples: np.ndarray, pace: float = 2.0) -> np.ndarray:
    """The recording ``pace`` times slower, on the notes of a melody with vibrato."""
    long = slowed(samples, pace)
    time = np.arange(len(long)) / RATE
    note = np.array(MELODY_HZ)[(time / NOTE_SECONDS).astype(int) % len(MELODY_HZ)]
    pitch = note * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time))
    phase = np.cumsum(pitch) / RATE
    pulses = np.sum(
        [np.cos(2 * np.pi * k * phase) for k in range(1, 24)], axis=0
    )  # below 8 kHz for every note
    return excited(long, pulses + 0.3 * np.random.default_rng(0).standard_normal(len(long)))


def music(seconds: float) -> np.ndarray:
    """Plucked chords and a drum of noise; nobody sings."""
    rng = np.random.default_rng(1)
    out = np.zeros(round(seconds * RATE))
    beat = round(0.4 * RATE)
    for i, start in enumerate(range(0, len(out), beat)):
        time = np.arange(min(2 * beat, len(out) - start)) / RATE
        for root in (np.array([220.0, 277.2, 329.6]) * (1.0, 1.335, 1.498)[i // 4 % 3])[
            : 1 + i % 3
        ]:
            for k in range(1, 8):
                out[start : start + len(time)] += (
                    np.exp(-3 * k**0.5 * time) * np.sin(2 * np.pi * root * k * time) / k
                )
        drum = 0.5 * np.exp(-40 * time) * rng.standard_normal(len(time))
        out[start : start + len(time)] += drum
    return (0.1 * out / out.std()).astype(np.float32)
