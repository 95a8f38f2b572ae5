"""The protocol of the default weights: every number of one column of the table in ``promises.py``.

Systems are scored on GRID, on sentences read aloud with aligned phones, on a performer's captured
jaw, and on silence, noise and what follows speech.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.audio.noise import coloured_noise
from jambatalk.datasets.align import Aligner
from jambatalk.datasets.clip import Clip
from jambatalk.datasets.dataset import open_prepared
from jambatalk.errors import InputError, reading
from jambatalk.evaluation.dataset import sound_clip
from jambatalk.evaluation.metrics.closure import score_contact
from jambatalk.evaluation.metrics.mouth import Stillness, correlation, fit_curve, joined, stillness
from jambatalk.evaluation.metrics.timing import lag_ms, sound_level
from jambatalk.evaluation.protocols.grid import predict, retargeted_truth, score_weights, shuffled
from jambatalk.evaluation.systems import System, check_names, real_time_factor, static_system
from jambatalk.face.face import Face
from jambatalk.streaming.resampler import resample_frames
from jambatalk.text.phones import SILENCE, Timed, tidy

Array = NDArray[Any]
Metrics = dict[str, float]
"""Number -> value; the keys are those of ``promises.measures``."""

FPS = 25.0
SETTLING, OBSERVED = 0.3, 1.0
"""Seconds that a mouth may take to close after the last phone, and that are then looked at."""
FAINT_ROOM = 10.0 ** (-60 / 20)  # root mean square of -60 dBFS
SPEED_SECONDS = 10
HELD_OUT = "1114_3_15"
"""FACEGOOD's clip that no training sees."""
JAW = "mouth_stretch_c"
FACEGOOD_FPS = 30.0
LEADS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
FAINT = 1e-3  # of full scale: a quiet room
TRANSCRIPT = re.compile(r"<s>(?P<text>.*)</s>\s*\((?P<id>[^()]+)\)")


@dataclass(frozen=True)
class AlignedSpeech:
    """A sentence read aloud.

    Attributes:
        samples: (n,) float32 at 16 kHz.
        phones: IPA with times in seconds, pauses as "sil".
    """

    id: str
    samples: Array
    phones: tuple[Timed, ...]

    @property
    def end(self) -> float:
        """Seconds at which the last phone ends."""
        return max(phone.end for phone in self.phones if phone.text != SILENCE)


@dataclass(frozen=True)
class CapturedClip:
    """Speech with the jaw of the performer who spoke it.

    Attributes:
        samples: (n,) float32 at 16 kHz.
        jaw: (T,) opening in 0..1 at ``fps``.
        others: Recordings of the same performer.
    """

    id: str
    samples: Array
    jaw: Array
    fps: float
    others: tuple[Array, ...]


@dataclass(frozen=True)
class ProtocolData:
    """What systems are scored on; all but ``grid`` may be missing.

    Attributes:
        grid: Clips of the GRID protocol's splits.
        readings: People spoken.
        voice: A synthetic voice kept out of training, whose phones are known without alignment.
        performance: Speech with a performer's jaw.
    """

    grid: Sequence[Clip]
    readings: Sequence[AlignedSpeech] = ()
    voice: Sequence[AlignedSpeech] = ()
    performance: CapturedClip | None = None


def score_all(systems: Sequence[System], data: ProtocolData, face: Face) -> dict[str, Metrics]:
    """Score systems beside controls: column -> numbers.

    The first system is also given the wrong sound; a static face and the speakers' own motion,
    retargeted to the head, follow.
    """
    check_names(systems)
    columns = {system.name: score_system(system, data, face) for system in systems}
    if systems:
        wrong = score_system(systems[0], data, face, wrong_sound=True)
        columns[f"{systems[0].name}, wrong sound"] = wrong
    columns["static face"] = score_system(static_system(face), data, face)
    columns["retargeted truth"] = grid_numbers(retargeted_truth(data.grid, face).as_dict())
    return columns


def score_system(
    system: System, data: ProtocolData, face: Face, wrong_sound: bool = False
) -> Metrics:
    """Measure every number of a system.

    Args:
        wrong_sound: Animate from another clip's sound, and measure only what that concerns.
    """
    numbers = score_grid(system, data.grid, face, wrong_sound)
    if data.readings:
        numbers |= score_readings(system, data.readings, face, wrong_sound)
    if data.voice:
        numbers |= score_readings(system, data.voice, face, wrong_sound, "voice")
    if data.performance is not None:
        numbers |= score_performance(system, data.performance, face, wrong_sound)
    if not wrong_sound:
        numbers |= score_silence(system, data.readings, face)
        numbers |= cost(system, data)
    return numbers


def score_grid(system: System, clips: Sequence[Clip], face: Face, wrong_sound: bool) -> Metrics:
    """Score by the GRID protocol; wrong_sound: each clip gets the sound of another one."""
    if wrong_sound:
        partner = shuffled(clips)
        sounds = {c.id: np.resize(partner[c.id].samples, len(c.samples)) for c in clips}
    else:
        sounds = {clip.id: clip.samples for clip in clips}

    def animate(clip: Clip) -> tuple[Array, float]:
        return system.weights(sound_clip(sounds[clip.id], FPS), face), FPS

    return grid_numbers(score_weights(system.name, clips, predict(clips, animate), face).as_dict())


def grid_numbers(score: Mapping[str, Any]) -> Metrics:
    """Choose the protocol's numbers of a ``GridScore`` as a mapping."""
    chosen = (
        "seen",
        "unseen",
        "closure",
        "closure_count",
        "closure_mm",
        "lag_ms",
        "sound_lag_ms",
        "opening_error_mm",
    )
    numbers = {f"grid.{name}": _number(score[name]) for name in chosen}
    return numbers | {f"grid.unseen.{name}": value for name, value in score["unseen_clips"].items()}


def score_readings(
    system: System,
    readings: Sequence[AlignedSpeech],
    face: Face,
    wrong_sound: bool,
    key: str = "readings",
) -> Metrics:
    """Score the lips at the aligned phones, and the opening's lag after the sound's level."""
    gaps, levels = [], []
    for i, spoken in enumerate(readings):
        sound = spoken.samples
        if wrong_sound:
            others = [other.samples for other in (*readings[i + 1 :], *readings[:i])]
            sound = np.resize(np.concatenate(others or [sound[::-1]]), len(sound))
        frames = round(len(spoken.samples) / SAMPLE_RATE * FPS)
        gaps.append(fit_curve(face.lip_gap(_weights(system, sound, face)), frames))
        levels.append(sound_level(spoken.samples, SAMPLE_RATE, FPS, frames))
    contact = score_contact(gaps, [spoken.phones for spoken in readings], FPS)
    numbers = {f"{key}.{name}": float(value) for name, value in asdict(contact).items()}
    return numbers | {f"{key}.sound_lag_ms": lag_ms(levels, gaps, FPS)}


def score_performance(
    system: System, performance: CapturedClip, face: Face, wrong_sound: bool
) -> Metrics:
    """Compare opening and jaw with the performer's jaw at 25 frames a second."""
    jaw = resample_frames(performance.jaw, performance.fps, FPS)
    sound = performance.samples
    if wrong_sound:
        sound = np.resize(np.concatenate(performance.others or (sound[::-1],)), len(sound))
    weights = _weights(system, sound, face)
    opened = fit_curve(weights[:, face.names.index("jawOpen")], len(jaw))
    gap = fit_curve(face.lip_gap(weights), len(jaw))
    return {
        "performance.jaw": correlation(opened, jaw),
        "performance.gap": correlation(gap, jaw),
        "performance.lag_ms": lag_ms([jaw], [gap], FPS),
    }


def score_silence(system: System, readings: Sequence[AlignedSpeech], face: Face) -> Metrics:
    """Measure stillness in 10 s of digital silence, in 10 s of faint pink noise, and after speech.

    Speech is cut where its last phone ends; silence, or the faint noise that was there all along,
    follows, and the second from 0.3 s on is measured.
    """
    rng = np.random.default_rng(0)

    def noise(count: int) -> Array:
        made = coloured_noise(count, 1.0, rng)
        return np.asarray(made * np.float32(FAINT_ROOM / np.sqrt(np.mean(made**2))), np.float32)

    silence = np.zeros(10 * SAMPLE_RATE, np.float32)
    parts = {"silence": stillness(_weights(system, silence, face), face)}
    parts["noise"] = stillness(_weights(system, noise(10 * SAMPLE_RATE), face), face)
    after: dict[str, list[Stillness]] = {"after": [], "after_noise": []}
    for spoken in readings:
        end = round(spoken.end * SAMPLE_RATE)
        ended = np.concatenate([spoken.samples[:end], np.zeros(2 * SAMPLE_RATE, np.float32)])
        first = round((spoken.end + SETTLING) * FPS)
        part = slice(first, first + round(OBSERVED * FPS) + 1)
        for name, sound in (("after", ended), ("after_noise", ended + noise(len(ended)))):
            after[name].append(stillness(_weights(system, sound, face)[part], face))
    parts |= {name: joined(several) for name, several in after.items() if several}
    return {
        f"{name}.{field}": value
        for name, part in parts.items()
        for field, value in asdict(part).items()
    }


def cost(system: System, data: ProtocolData) -> Metrics:
    """Measure look-ahead, size and speed (0.1 is ten times as fast as the sound)."""
    if system.path is None:
        return {}
    speech = np.concatenate([clip.samples for clip in data.grid])
    clip = sound_clip(np.resize(speech, SPEED_SECONDS * SAMPLE_RATE), FPS)
    numbers = {
        "cost.look_ahead_ms": system.look_ahead_ms,
        "cost.megabytes": system.path.stat().st_size / 1e6,
        "cost.real_time_factor": real_time_factor(system, clip),
    }
    if system.parameters is not None:
        numbers["cost.parameters"] = float(system.parameters)
    return numbers


def finite(numbers: Metrics) -> dict[str, float | None]:
    """Prepare for JSON, which has no nan and no infinity: None for both."""
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def _weights(system: System, samples: Array, face: Face) -> Array:
    return system.weights(sound_clip(samples, FPS), face)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


# The speech besides GRID.


def load_voice(folder: Path, split: str = "test_voice") -> list[AlignedSpeech]:
    """Load the clips of a prepared corpus' split that have phones; InputError when none has."""
    readings = []
    for clip in open_prepared(folder).clips(split):
        phones = tidy(clip.phones or ())
        if any(phone.text != SILENCE for phone in phones):
            readings.append(AlignedSpeech(clip.name, clip.samples, phones))
    if not readings:
        raise InputError(f"{folder} has no phones for the clips in {split}, expected some")
    return readings


def load_readings(folder: Path, aligner: Aligner | None = None) -> list[AlignedSpeech]:
    """Load a folder of ID.wav files and their ``transcription``, lines "<s> words </s> (ID)".

    Debian's package pocketsphinx-testdata has its LibriVox sentences in this form.

    Raises:
        InputError: Something is missing, or a text does not fit its sound.
    """
    transcription = folder / "transcription"
    if not transcription.is_file():
        raise InputError(
            f"no {transcription}: expected a folder of .wav files with their transcription"
        )
    aligner = aligner or Aligner()
    readings = []
    for line in transcription.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        found = TRANSCRIPT.match(line.strip())
        if found is None:
            raise InputError(
                f"{transcription} has the line {line[:80]!r}, expected '<s> words </s> (name of a "
                ".wav file)'"
            )
        samples = Speech.load(folder / f"{found['id']}.wav").samples
        readings.append(
            AlignedSpeech(found["id"], samples, align_stubbornly(aligner, samples, found["text"]))
        )
    if not readings:
        raise InputError(f"{transcription} is empty, expected at least one sentence")
    return readings


def align_stubbornly(aligner: Aligner, samples: Array, text: str) -> tuple[Timed, ...]:
    """Align the phones of a text; where it fails, try again with other leads of silence.

    The aligner's search is a narrow beam, which a few hundredths of a second more or less of
    silence before the sound can set right.
    """
    rng = np.random.default_rng(0)
    for lead in LEADS:
        before = rng.normal(0.0, FAINT, round(lead * SAMPLE_RATE)).astype(np.float32)
        try:
            phones, _ = aligner.align(np.concatenate([before, samples]), text)
        except InputError:
            if lead == LEADS[-1]:
                raise
            continue
        moved = (Timed(text, max(start - lead, 0.0), end - lead) for text, start, end in phones)
        return tuple(phone for phone in moved if phone.end > phone.start)
    raise AssertionError("the last lead returns or raises")


def load_performance(folder: Path, name: str = HELD_OUT) -> CapturedClip:
    """Load a clip of a FACEGOOD folder (ID.flac, ID.npy, columns.json) with its captured jaw."""
    with reading(folder, f"a FACEGOOD folder with the clip {name}"):
        columns = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        values = np.load(folder / f"{name}.npy", allow_pickle=False)
    if JAW not in columns or values.ndim != 2 or values.shape[1] != len(columns):
        raise InputError(
            f"{folder / name}.npy has shape {values.shape}, expected (T, {len(columns)}) with a "
            f"column {JAW}"
        )
    jaw = values[:, columns.index(JAW)].astype(np.float32)
    rest = [path for path in sorted(folder.glob("*.flac")) if path.stem != name]
    others = tuple(Speech.load(path).samples for path in rest[:1])
    return CapturedClip(
        name, Speech.load(folder / f"{name}.flac").samples, jaw, FACEGOOD_FPS, others
    )
