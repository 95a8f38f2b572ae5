"""What the default weights promise, measured: each number of one column of the table in ``scripts/evaluate_default.py``."""

from __future__ import annotations

import json
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
from jambatalk.errors import InputError
from jambatalk.evaluation.metrics.mouth import (
    Stillness,
    correlation,
    fitted,
    joined,
    score_contact,
    stillness,
)
from jambatalk.evaluation.metrics.timing import lag_ms, sound_level
from jambatalk.evaluation.protocols.grid import predict, score_weights, shuffled
from jambatalk.evaluation.systems import FPS, System
from jambatalk.evaluation.systems import system_real_time_factor as real_time_factor
from jambatalk.face.face import Face
from jambatalk.streaming.frame_rate import resample_frames
from jambatalk.text.phone_motion import PhoneMotion
from jambatalk.text.phones import BILABIALS, SILENCE, Timed, tidy

# Speech to be tested on besides GRID: LibriVox sentences with aligned phones, FACEGOOD's held-out clip.


Array = NDArray[Any]

HELD_OUT = "1114_3_15"
"""FACEGOOD's clip that no training sees."""
JAW = "mouth_stretch_c"
FACEGOOD_FPS = 30.0
LEADS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
FAINT = 1e-3  # of full scale: a quiet room
TRANSCRIPT = re.compile(r"<s>(?P<text>.*)</s>\s*\((?P<id>[^()]+)\)")


@dataclass(frozen=True)
class AlignedSpeech:
    """A sentence read aloud. samples: (n,) float32 at 16 kHz. phones: IPA with times in seconds, pauses as "sil"."""

    id: str
    samples: Array
    phones: tuple[Timed, ...]

    @property
    def end(self) -> float:
        """Seconds at which the last phone ends."""
        return max(phone.end for phone in self.phones if phone.text != SILENCE)


def load_voice(folder: Path, split: str = "test_voice") -> list[AlignedSpeech]:
    """The clips of a prepared corpus' split, whose phones are known. InputError when it has none."""
    readings = []
    for clip in open_prepared(folder).clips(split):
        phones = tidy(clip.phones or ())
        if any(phone.text != SILENCE for phone in phones):
            readings.append(AlignedSpeech(clip.name, clip.samples, phones))
    if not readings:
        raise InputError(f"{folder} knows no phones of the clips in {split}, expected some")
    return readings


def load_readings(folder: Path, aligner: Aligner | None = None) -> list[AlignedSpeech]:
    """The sentences of a folder with <id>.wav files and their text in ``transcription`` ("<s> words </s> (id)" a line).

    That is how Debian's package pocketsphinx-testdata holds its LibriVox sentences. InputError when something is missing or
    the text does not fit the sound.
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
                f"{transcription} has the line {line[:80]!r}, expected '<s> words </s> (name of a .wav file)'"
            )
        samples = Speech.load(folder / f"{found['id']}.wav").samples
        readings.append(
            AlignedSpeech(found["id"], samples, align_stubbornly(aligner, samples, found["text"]))
        )
    if not readings:
        raise InputError(f"{transcription} is empty, expected at least one sentence")
    return readings


def align_stubbornly(aligner: Aligner, samples: Array, text: str) -> tuple[Timed, ...]:
    """The phones of a text; where the aligner finds no way through the sound it is asked again with other leads of silence.

    Its search is a narrow beam that a few hundredths of a second more or less of silence before the sound set right.
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


@dataclass(frozen=True)
class CapturedClip:
    """Speech with the jaw of the performer who spoke it.

    samples: (n,) float32 at 16 kHz. jaw: (T,) opening in 0..1 at ``fps``. others: recordings of the same performer.
    """

    id: str
    samples: Array
    jaw: Array
    fps: float
    others: tuple[Array, ...]


def load_performance(folder: Path, name: str = HELD_OUT) -> CapturedClip:
    """A clip of a FACEGOOD folder (<id>.flac, <id>.npy, columns.json), its jaw as the artists left it."""
    try:
        columns = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        values = np.load(folder / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is no FACEGOOD folder with the clip {name} ({error})"
        ) from error
    if JAW not in columns or values.ndim != 2 or values.shape[1] != len(columns):
        raise InputError(
            f"{folder / name}.npy has shape {values.shape}, expected (T, {len(columns)}) with a column {JAW}"
        )
    jaw = values[:, columns.index(JAW)].astype(np.float32)
    rest = [path for path in sorted(folder.glob("*.flac")) if path.stem != name]
    others = tuple(Speech.load(path).samples for path in rest[:1])
    return CapturedClip(
        name, Speech.load(folder / f"{name}.flac").samples, jaw, FACEGOOD_FPS, others
    )


Metrics = dict[str, float]

SETTLING, LISTENED = 0.3, 1.0
"""Seconds that a mouth may take to close after the last phone, and seconds that are then looked at."""
FAINT_ROOM = 10.0 ** (-60 / 20)  # root mean square of -60 dBFS
SPEED_SECONDS = 10


@dataclass(frozen=True)
class ProtocolData:
    """What the systems are scored on; GRID clips of the protocol's splits, the others may be missing.

    readings: people reading. voice: a synthetic voice kept out of training, whose phones are known without alignment.
    """

    grid: Sequence[Clip]
    readings: Sequence[AlignedSpeech] = ()
    voice: Sequence[AlignedSpeech] = ()
    performance: CapturedClip | None = None


def score_system(
    system: System, material: ProtocolData, face: Face, wrong_sound: bool = False
) -> Metrics:
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


def score_grid(system: System, clips: Sequence[Clip], face: Face, wrong_sound: bool) -> Metrics:
    """The GRID protocol (see there)."""
    partner = shuffled(clips)

    def animate(clip: Clip) -> tuple[Array, float]:
        heard = (
            np.resize(partner[clip.id].samples, len(clip.samples)) if wrong_sound else clip.samples
        )
        return system.animate(heard), FPS

    return grid_numbers(score_weights(system.name, clips, predict(clips, animate), face).as_dict())


def retargeted_truth(clips: Sequence[Clip], face: Face) -> Metrics:
    """The GRID protocol on the speakers' own motion as the face wears it: what a perfect network would reach."""
    return grid_numbers(
        score_weights("truth", clips, {clip.id: clip.weights for clip in clips}, face).as_dict()
    )


def grid_numbers(score: Mapping[str, Any]) -> Metrics:
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
    """Lips at the aligned phones, and how late the opening comes after the sound's level."""
    gaps, levels = [], []
    for i, reading in enumerate(readings):
        heard = reading.samples
        if wrong_sound:
            rest = [other.samples for other in (*readings[i + 1 :], *readings[:i])] or [
                reading.samples[::-1]
            ]
            heard = np.resize(np.concatenate(rest), len(heard))
        frames = round(len(reading.samples) / SAMPLE_RATE * FPS)
        gaps.append(fitted(face.lip_gap(system.animate(heard)), frames))
        levels.append(sound_level(reading.samples, SAMPLE_RATE, FPS, frames))
    contact = score_contact(gaps, [reading.phones for reading in readings], FPS)
    numbers = {f"{key}.{name}": float(value) for name, value in asdict(contact).items()}
    return numbers | {f"{key}.sound_lag_ms": lag_ms(levels, gaps, FPS)}


def score_performance(
    system: System, performance: CapturedClip, face: Face, wrong_sound: bool
) -> Metrics:
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


def score_silence(system: System, readings: Sequence[AlignedSpeech], face: Face) -> Metrics:
    """Ten seconds of digital silence and of faint pink noise, and the second after speech ends.

    Speech is cut where its last phone ends; silence, or the faint noise that was there all along, follows.
    """
    rng = np.random.default_rng(0)

    def noise(count: int) -> Array:
        made = coloured_noise(count, 1.0, rng)
        return np.asarray(made * np.float32(FAINT_ROOM / np.sqrt(np.mean(made**2))), np.float32)

    parts = {"silence": stillness(system.animate(np.zeros(10 * SAMPLE_RATE, np.float32)), face)}
    parts["noise"] = stillness(system.animate(noise(10 * SAMPLE_RATE)), face)
    after: dict[str, list[Stillness]] = {"after": [], "after_noise": []}
    for reading in readings:
        end = round(reading.end * SAMPLE_RATE)
        sound = np.concatenate([reading.samples[:end], np.zeros(2 * SAMPLE_RATE, np.float32)])
        first = round((reading.end + SETTLING) * FPS)
        for name, heard in (("after", sound), ("after_noise", sound + noise(len(sound)))):
            after[name].append(
                stillness(system.animate(heard)[first : first + round(LISTENED * FPS) + 1], face)
            )
    parts |= {name: joined(several) for name, several in after.items() if several}
    return {
        f"{name}.{field}": value
        for name, part in parts.items()
        for field, value in asdict(part).items()
    }


def cost(system: System, material: ProtocolData) -> Metrics:
    """Look-ahead, size and speed (a factor of 0.1 is ten times as fast as the sound)."""
    if system.path is None:
        return {}
    speech = np.concatenate([clip.samples for clip in material.grid])
    numbers = {
        "cost.look_ahead_ms": system.look_ahead_ms,
        "cost.megabytes": system.path.stat().st_size / 1e6,
        "cost.real_time_factor": real_time_factor(
            system, np.resize(speech, SPEED_SECONDS * SAMPLE_RATE)
        ),
    }
    return numbers | (
        {} if system.parameters is None else {"cost.parameters": float(system.parameters)}
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


# How well the phone model moves: against filmed speech, and by what phonetics says of any speech.


SHUT_MM = 1.0
"""Inner-lip gap in millimetres below which lips count as closed."""


def score_phone_motion(model: PhoneMotion, clips: Sequence[Clip], face: Face) -> dict[str, float]:
    """Of clips with phones and filmed motion: mean correlation of the inner-lip gap, lag, bilabials closed (model and film)."""
    made = [model.weights(clip.phones, clip.frames, clip.fps) for clip in clips]
    gaps, true = (
        [face.lip_gap(w) * 1e3 for w in made],
        [face.lip_gap(clip.weights) * 1e3 for clip in clips],
    )
    phones = [clip.phones for clip in clips]
    return {
        "gap correlation": float(np.mean([correlation(a, b) for a, b in zip(gaps, true)])),
        "lag ms": lag_ms(true, gaps, clips[0].fps),
        "bilabials closed": shut(gaps, phones, clips[0].fps),
        "bilabials closed in the film": shut(true, phones, clips[0].fps),
        "opening at its 95th percentile, mm": float(np.percentile(np.concatenate(gaps), 95)),
        "the same in the film, mm": float(np.percentile(np.concatenate(true), 95)),
    }


def shut(gaps: Sequence[Array], phones: Sequence[Sequence[Any]], fps: float) -> float:
    """Share of the bilabials during which, or a frame before or after, the gap (T,) mm falls below SHUT_MM; nan without any."""
    found = []
    for gap, timed in zip(gaps, phones):
        for phone, start, end in timed:
            if phone in BILABIALS:
                first, last = int(np.floor(start * fps)), int(np.ceil(end * fps))
                found.append(bool((gap[max(first, 0) : last + 1] < SHUT_MM).any()))
    return float(np.mean(found)) if found else float("nan")
