"""What the default weights promise, measured: each number of one column of the table in ``scripts/evaluate_default.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.data.clip import RATE, Clip
from jambatalk.evaluation.contact import score_contact
from jambatalk.evaluation.grid_protocol import predict, score_weights, shuffled
from jambatalk.evaluation.lag import lag_ms, sound_level
from jambatalk.evaluation.opening import correlation, fitted
from jambatalk.evaluation.speech_tests import Performance, Reading
from jambatalk.evaluation.stillness import Stillness, joined, stillness
from jambatalk.evaluation.systems import FPS, System, real_time_factor
from jambatalk.face.face import Face
from jambatalk.face.resample import resample_frames
from jambatalk.training.augment import coloured_noise

Array = NDArray[Any]
Numbers = dict[str, float]

SETTLING, LISTENED = 0.3, 1.0
"""Seconds that a mouth may take to close after the last phone, and seconds that are then looked at."""
FAINT = 10.0 ** (-60 / 20)  # root mean square of -60 dBFS
SPEED_SECONDS = 10


@dataclass(frozen=True)
class Material:
    """What the systems are scored on; GRID clips of the protocol's splits, the others may be missing.

    readings: people reading. voice: a synthetic voice kept out of training, whose phones are known without alignment.
    """

    grid: Sequence[Clip]
    readings: Sequence[Reading] = ()
    voice: Sequence[Reading] = ()
    performance: Performance | None = None


def score_system(system: System, material: Material, face: Face, wrong_sound: bool = False) -> Numbers:
    """Every number of a system by name. wrong_sound: it hears another clip's sound, and only what that concerns is measured."""
    numbers = score_grid(system, material.grid, face, wrong_sound)
    if material.readings:
        numbers |= score_readings(system, material.readings, face, wrong_sound)
    if material.voice:
        numbers |= score_readings(system, material.voice, face, wrong_sound, "voice")
    if material.performance is not None:
        numbers |= score_performance(system, material.performance, face, wrong_sound)
    if not wrong_sound:
        numbers |= score_silence(system, material.readings, face)
        numbers |= cost(system, material)
    return numbers


def score_grid(system: System, clips: Sequence[Clip], face: Face, wrong_sound: bool) -> Numbers:
    """The GRID protocol (see there)."""
    partner = shuffled(clips)

    def animate(clip: Clip) -> tuple[Array, float]:
        heard = np.resize(partner[clip.id].samples, len(clip.samples)) if wrong_sound else clip.samples
        return system.animate(heard), FPS

    return grid_numbers(score_weights(system.name, clips, predict(clips, animate), face).as_dict())


def worn_truth(clips: Sequence[Clip], face: Face) -> Numbers:
    """The GRID protocol on the speakers' own motion as the face wears it: what a perfect network would reach."""
    return grid_numbers(score_weights("truth", clips, {clip.id: clip.weights for clip in clips}, face).as_dict())


def grid_numbers(score: Mapping[str, Any]) -> Numbers:
    chosen = ("seen", "unseen", "closure", "closure_count", "closure_mm", "lag_ms", "sound_lag_ms", "opening_error_mm")
    numbers = {f"grid.{name}": _number(score[name]) for name in chosen}
    return numbers | {f"grid.unseen.{name}": value for name, value in score["unseen_clips"].items()}


def score_readings(system: System, readings: Sequence[Reading], face: Face, wrong_sound: bool, key: str = "readings") -> Numbers:
    """Lips at the aligned phones, and how late the opening comes after the sound's level."""
    gaps, levels = [], []
    for i, reading in enumerate(readings):
        heard = reading.samples
        if wrong_sound:
            rest = [other.samples for other in (*readings[i + 1 :], *readings[:i])] or [reading.samples[::-1]]
            heard = np.resize(np.concatenate(rest), len(heard))
        frames = round(len(reading.samples) / RATE * FPS)
        gaps.append(fitted(face.lip_gap(system.animate(heard)), frames))
        levels.append(sound_level(reading.samples, RATE, FPS, frames))
    contact = score_contact(gaps, [reading.phones for reading in readings], FPS)
    numbers = {f"{key}.{name}": float(value) for name, value in asdict(contact).items()}
    return numbers | {f"{key}.sound_lag_ms": lag_ms(levels, gaps, FPS)}


def score_performance(system: System, performance: Performance, face: Face, wrong_sound: bool) -> Numbers:
    """Opening and jaw against the performer's jaw at 25 frames a second."""
    jaw = resample_frames(performance.jaw, performance.fps, FPS)
    heard = performance.samples
    if wrong_sound:
        heard = np.resize(np.concatenate(performance.others or (heard[::-1],)), len(heard))
    weights = system.animate(heard)
    opened = fitted(weights[:, face.names.index("jawOpen")], len(jaw))
    gap = fitted(face.lip_gap(weights), len(jaw))
    return {
        "performance.jaw": correlation(opened, jaw),
        "performance.gap": correlation(gap, jaw),
        "performance.lag_ms": lag_ms([jaw], [gap], FPS),
    }


def score_silence(system: System, readings: Sequence[Reading], face: Face) -> Numbers:
    """Ten seconds of digital silence and of faint pink noise, and the second after speech ends.

    Speech is cut where its last phone ends; silence, or the faint noise that was there all along, follows.
    """
    rng = np.random.default_rng(0)

    def noise(count: int) -> Array:
        made = coloured_noise(count, 1.0, rng)
        return np.asarray(made * np.float32(FAINT / np.sqrt(np.mean(made**2))), np.float32)

    parts = {"silence": stillness(system.animate(np.zeros(10 * RATE, np.float32)), face)}
    parts["noise"] = stillness(system.animate(noise(10 * RATE)), face)
    after: dict[str, list[Stillness]] = {"after": [], "after_noise": []}
    for reading in readings:
        end = round(reading.end * RATE)
        sound = np.concatenate([reading.samples[:end], np.zeros(2 * RATE, np.float32)])
        first = round((reading.end + SETTLING) * FPS)
        for name, heard in (("after", sound), ("after_noise", sound + noise(len(sound)))):
            after[name].append(stillness(system.animate(heard)[first : first + round(LISTENED * FPS) + 1], face))
    parts |= {name: joined(several) for name, several in after.items() if several}
    return {f"{name}.{field}": value for name, part in parts.items() for field, value in asdict(part).items()}


def cost(system: System, material: Material) -> Numbers:
    """Look-ahead, size and speed (a factor of 0.1 is ten times as fast as the sound)."""
    if system.path is None:
        return {}
    speech = np.concatenate([clip.samples for clip in material.grid])
    numbers = {
        "cost.look_ahead_ms": system.look_ahead_ms,
        "cost.megabytes": system.path.stat().st_size / 1e6,
        "cost.real_time_factor": real_time_factor(system, np.resize(speech, SPEED_SECONDS * RATE)),
    }
    return numbers | ({} if system.parameters is None else {"cost.parameters": float(system.parameters)})


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
