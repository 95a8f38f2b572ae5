"""The protocol of voices: how well a mouth follows voices it does not know, in speech and at rest.

Filmed clips are compared in speech only, behind silence and noise and at several levels; what is
said is read off the mouth on voices that no training saw; and the mouth is watched where nobody
speaks. Half the error of whole clips is how a mouth rests, which no sound shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.audio.noise import coloured_noise
from jambatalk.datasets.align import SILENT_WORDS
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError, reading
from jambatalk.evaluation.dataset import sound_clip
from jambatalk.evaluation.metrics.closure import bilabial_onsets, smallest_gap
from jambatalk.evaluation.metrics.mouth import correlation, fit_curve
from jambatalk.evaluation.metrics.visemes import (
    contrast,
    join_mouths,
    legibility_of,
    measure_phones,
    mouth_track,
    named_visemes,
)
from jambatalk.evaluation.protocols.default_weights import AlignedSpeech
from jambatalk.evaluation.protocols.figures import Figure, Figures, figure
from jambatalk.evaluation.systems import System
from jambatalk.face.face import Face
from jambatalk.text.phones import BILABIALS, LABIODENTALS, OPEN_VOWELS, SILENCE, Timed

Array = NDArray[Any]

FPS = 25.0
TOUCH_MM, TUCK_MM = 1.0, 1.5
"""Lips touch below this gap; the lower lip is at the teeth's edge within this height."""
AROUND = 0.04
"""Seconds around a phone in which a contact counts."""
LEADS = ("none", "zeros 0.48 s", "zeros 2 s", "zeros 5 s", "dither 2 s", "-60 dBFS", "-45 dBFS")
"""What comes before a clip: whole frames, so that the truth is at the same times behind each."""
LEVELS_DB = (0.0, -20.0, -40.0)
LEVEL_LEADS = ("none", "zeros 2 s", "-60 dBFS", "-45 dBFS")
"""Leads at the lower levels."""
ROOM_DB, MUSIC_DB = -50.0, -26.0
CONTRASTS = (
    ("/u w/ less /i/, width, mm", ("u", "w"), ("i",), 1),
    ("/u w/ less /i/, protrusion, mm", ("u", "w"), ("i",), 2),
    ("/y ø/ less /i e/, width, mm", ("y", "ø"), ("i", "e"), 1),
    ("/ʃ ʧ/ less /s z/, protrusion, mm", ("ʃ", "ʒ", "ʧ", "ʤ"), ("s", "z"), 2),
    ("/a ɑ æ/ less /i u/, gap, mm", ("a", "ɑ", "æ"), ("i", "u"), 0),
)
"""Titles, phones, other phones, and the column of the mouth that should differ."""


@dataclass(frozen=True)
class VoicesData:
    """What systems are scored on; every part may be empty.

    Attributes:
        filmed: Name -> clips with measured motion and words.
        spoken: Name -> sentences with phones, in voices that no training saw.
    """

    filmed: Mapping[str, Sequence[Clip]] = field(default_factory=dict)
    spoken: Mapping[str, Sequence[AlignedSpeech]] = field(default_factory=dict)


def score_voices(system: System, data: VoicesData, face: Face) -> Figures:
    """Measure every number of one system."""
    figures: Figures = {}
    for name, clips in data.filmed.items():
        figures |= {f"{name}: {key}": f for key, f in score_filmed(system, clips, face).items()}
    for name, sentences in data.spoken.items():
        found = score_spoken(system, sentences, face)
        figures |= {f"{name}: {key}": value for key, value in found.items()}
    rest = [s for sentences in data.spoken.values() for s in sentences][:12]
    figures |= {f"rest: {key}": f for key, f in score_rest(system, rest, face).items()}
    return figures


# Filmed speakers.


def score_filmed(system: System, clips: Sequence[Clip], face: Face) -> Figures:
    """Compare opening and width with the truth from the first word to the last.

    Returns:
        Correlations behind each lead and at each level, their worst, closures at bilabial words.
    """
    conditions = [(0.0, lead) for lead in LEADS]
    conditions += [(level, lead) for level in LEVELS_DB[1:] for lead in LEVEL_LEADS]
    opening: dict[tuple[float, str], list[float]] = {c: [] for c in conditions}
    width: dict[tuple[float, str], list[float]] = {c: [] for c in conditions}
    closed: list[float] = []
    for number, clip in enumerate(clips):
        span = speech_span(clip)
        if span is None:
            continue
        truth = mouth_track(clip.weights, face)
        gap = truth[:, 0] if clip.gap is None else clip.gap * 1e3
        for level, lead in conditions:
            before = make_lead(lead, np.random.default_rng([7, number]))
            sound = np.concatenate([before, clip.samples * np.float32(10 ** (level / 20))])
            weights = system.weights(sound_clip(sound, FPS), face)
            track = mouth_track(weights, face)[round(len(before) / SAMPLE_RATE * FPS) :]
            predicted = np.stack([fit_curve(track[:, n], len(gap)) for n in (0, 1)])
            opening[level, lead].append(correlation(predicted[0][span] / 1e3, gap[span] / 1e3))
            width[level, lead].append(correlation(predicted[1][span] / 1e3, truth[span, 1] / 1e3))
            if (level, lead) == (0.0, "zeros 2 s"):
                for onset in bilabial_onsets(clip.words):
                    nearest = smallest_gap(predicted[0], onset - AROUND, onset + AROUND, FPS)
                    closed.append(float(nearest < TOUCH_MM))
    figures: Figures = {}
    for (level, lead), values in opening.items():
        figures[f"opening, {level:g} dB, {lead}"] = figure(values)
    for level in LEVELS_DB:
        means = [float(np.mean(v)) for (at, _), v in opening.items() if at == level and v]
        figures[f"opening, {level:g} dB, worst"] = Figure(min(means, default=float("nan")))
    figures["width, none"] = figure(width[0.0, "none"])
    figures["width, zeros 2 s"] = figure(width[0.0, "zeros 2 s"])
    figures["closed at bilabials, zeros 2 s"] = figure(closed)
    return figures


def speech_span(clip: Clip) -> slice | None:
    """Frames from the first word to the last; without words, where the sound is loud."""
    times = [(w.start, w.end) for w in clip.words if w.text not in SILENT_WORDS]
    if not times:
        times = [(p.start, p.end) for p in clip.phones if p.text != SILENCE]
    if times:
        first, last = times[0][0] * FPS, times[-1][1] * FPS
    else:
        hop = round(SAMPLE_RATE / FPS)
        power = np.square(clip.samples[: len(clip.samples) // hop * hop]).reshape(-1, hop).mean(1)
        loud = np.flatnonzero(power > 0.01 * power.max()) if len(power) else np.array([])
        if not len(loud):
            return None
        first, last = float(loud[0]), float(loud[-1] + 1)
    span = slice(int(first), min(math.ceil(last), clip.frames))
    return span if span.stop - span.start >= 5 else None


def make_lead(name: str, rng: np.random.Generator) -> Array:
    """Make what comes before a clip, one of LEADS: (n,) float32."""
    if name == "none":
        return np.zeros(0, np.float32)
    kind, *rest = name.split()
    if kind == "zeros":
        return np.zeros(round(float(rest[0]) * SAMPLE_RATE), np.float32)
    count = 2 * SAMPLE_RATE
    if kind == "dither":
        steps = np.round(rng.random(count) - rng.random(count))
        return np.asarray(steps / 32768.0, np.float32)
    return room(count, float(kind), rng)


def room(count: int, dbfs: float, rng: np.random.Generator) -> Array:
    """Make pink noise (count,) of a root mean square in dBFS."""
    noise = coloured_noise(count, 1.0, rng)
    return np.asarray(noise * (10 ** (dbfs / 20) / np.sqrt(np.mean(noise**2))), np.float32)


# Voices that no training saw.


def score_spoken(system: System, sentences: Sequence[AlignedSpeech], face: Face) -> Figures:
    """Read visemes and contacts off the mouth at phones of one voice."""
    return score_speakers(system, [sentences], face)


def score_speakers(
    system: System, voices: Sequence[Sequence[AlignedSpeech]], face: Face
) -> Figures:
    """Read visemes and contacts off the mouth at phones of voices together.

    Visemes are named by a discriminant for each voice.
    """
    readings, mouths = [], []
    contact: dict[str, list[float]] = {"touch": [], "false": [], "tuck": []}
    for sentences in voices:
        weights = [system.weights(sound_clip(said.samples, FPS), face) for said in sentences]
        found = measure_phones(weights, [said.phones for said in sentences], FPS, face)
        readings.append(named_visemes(found))
        mouths.append(found)
        for motion, said in zip(weights, sentences, strict=True):
            gap = face.lip_gap(motion) * 1e3
            height = np.abs(mouth_track(motion, face)[:, 3])
            for name, rate in contact_rates(gap, height, said.phones).items():
                contact[name].append(rate)
    values, intervals = legibility_of(readings)
    nothing = (float("nan"), float("nan"))
    count = sum(len(found.phones) for found in mouths)
    figures = {
        f"legibility, {name}": Figure(value, *intervals.get(name, nothing), count)
        for name, value in values.items()
    }
    figures["/p b m/ within 1 mm"] = figure(contact["touch"])
    figures["open vowels closed"] = figure(contact["false"])
    figures["/f v/ within 1.5 mm of the teeth's edge"] = figure(contact["tuck"])
    together = join_mouths(mouths)
    for title, ones, others, column in CONTRASTS:
        figures[title] = Figure(*contrast(together, ones, others, column), count)
    return figures


def score_languages(
    system: System, languages: Mapping[str, Mapping[str, Sequence[AlignedSpeech]]], face: Face
) -> Figures:
    """Read visemes and contacts of every language, its voices together.

    Visemes are counted for phones that the language shares with English.
    """
    figures: Figures = {}
    for language, voices in languages.items():
        for name, found in score_speakers(system, list(voices.values()), face).items():
            of_a_viseme = name.startswith("legibility, ") and name != "legibility, mean"
            if not of_a_viseme and not math.isnan(found.value):
                figures[f"{language}: {name}"] = found
    return figures


def contact_rates(gap: Array, teeth_mm: Array, phones: Sequence[Timed]) -> dict[str, float]:
    """Measure one sentence's contacts; nan where it has no such phone.

    Args:
        gap: (T,) between the inner lips, mm.
        teeth_mm: (T,) height of the lower lip from the edge of the upper teeth, mm.
        phones: IPA with times in seconds.
    """

    def share(names: Sequence[str], reached: Any) -> float:
        found = [reached(phone) for phone in phones if phone.text in names]
        return float(np.mean(found)) if found else float("nan")

    def nearest(curve: Array, phone: Timed) -> float:
        return smallest_gap(curve, max(phone.start - AROUND, 0.0), phone.end + AROUND, FPS)

    def middle(phone: Timed) -> float:
        at = round((phone.start + phone.end) / 2 * FPS)
        return float(gap[min(at, len(gap) - 1)])

    return {
        "touch": share(BILABIALS, lambda p: nearest(gap, p) < TOUCH_MM),
        "false": share(OPEN_VOWELS, lambda p: middle(p) < TOUCH_MM),
        "tuck": share(LABIODENTALS, lambda p: nearest(teeth_mm, p) < TUCK_MM),
    }


# Where nobody speaks.


def score_rest(system: System, sentences: Sequence[AlignedSpeech], face: Face) -> Figures:
    """Measure the gap in silence, room noise, music, breath and clicks, and before the first word.

    All in millimetres. After speech: from 0.3 to 3 s behind the last phone, in a room that was
    there all along.
    """

    def gap(sound: Array) -> Array:
        return np.asarray(face.lip_gap(system.weights(sound_clip(sound, FPS), face)) * 1e3)

    rng = np.random.default_rng(11)
    sounds = {
        "digital silence": np.zeros(5 * SAMPLE_RATE, np.float32),
        "music": music(6 * SAMPLE_RATE),
        "breath": breath(rng),
        "clicks": clicks(rng),
    }
    figures: Figures = {}
    for name, sound in sounds.items():
        found = gap(sound)
        figures[f"{name}, mean"] = Figure(float(found.mean()))
        figures[f"{name}, most"] = Figure(float(found.max()))
    after, most, early = [], [], []
    for sentence in sentences:
        spoken = [phone for phone in sentence.phones if phone.text != SILENCE]
        if not spoken:
            continue
        end, start = sentence.end, spoken[0].start
        cut = sentence.samples[: round(end * SAMPLE_RATE)]
        sound = np.concatenate([cut, np.zeros(4 * SAMPLE_RATE, np.float32)])
        found = gap(sound + room(len(sound), ROOM_DB, rng))
        part = found[round((end + 0.3) * FPS) : round((end + 3.0) * FPS)]
        after.append(float(part.mean()))
        most.append(float(part.max()))
        # Rooms of recordings differ: a second of this one, then the sentence from its first word.
        begin = round(max(start - 0.05, 0.0) * SAMPLE_RATE)
        noise = room(SAMPLE_RATE, ROOM_DB, rng)
        found = gap(np.concatenate([noise, sentence.samples[begin:]]))
        until = round((1.0 + start - begin / SAMPLE_RATE - 0.15) * FPS)
        early.append(float(found[:until].max()))
    figures["room at -50 dBFS after speech, mean"] = figure(after)
    figures["room at -50 dBFS after speech, most"] = Figure(max(most, default=float("nan")))
    figures["before the first word, most"] = figure(early)
    return figures


def music(count: int) -> Array:
    """Make plucked chords of decaying harmonics at half-second beats: (count,) float32."""
    times = np.arange(count) / SAMPLE_RATE
    sound = np.zeros(count)
    for beat, root in enumerate(np.tile([220.0, 174.6, 261.6, 196.0], count // SAMPLE_RATE)):
        since = times - 0.5 * beat
        envelope = np.where(since >= 0, np.exp(-4.0 * np.maximum(since, 0.0)), 0.0)
        for interval in (1.0, 1.26, 1.5):
            for harmonic in range(1, 6):
                phase = 2 * np.pi * root * interval * harmonic * np.maximum(since, 0.0)
                sound += envelope * np.sin(phase) / harmonic
    return np.asarray(sound * (10 ** (MUSIC_DB / 20) / np.sqrt(np.mean(sound**2))), np.float32)


def breath(rng: np.random.Generator) -> Array:
    """Make three breaths of band-limited noise between pauses: 6 s, float32."""
    sound = np.zeros(6 * SAMPLE_RATE)
    for start in (0.5, 2.5, 4.5):
        count = round(0.6 * SAMPLE_RATE)
        noise = coloured_noise(count, 0.5, rng)
        window = np.sin(np.pi * np.arange(count) / count) ** 2
        at = round(start * SAMPLE_RATE)
        sound[at : at + count] = noise / np.sqrt(np.mean(noise**2)) * window
    return np.asarray(sound * 10 ** (-40 / 20), np.float32)


def clicks(rng: np.random.Generator) -> Array:
    """Make clicks of a keyboard: 5 s, float32."""
    sound = np.zeros(5 * SAMPLE_RATE)
    for start in np.arange(0.4, 4.8, 0.23):
        at = round(start * SAMPLE_RATE)
        count = round(0.008 * SAMPLE_RATE)
        sound[at : at + count] += rng.standard_normal(count) * np.exp(-np.arange(count) / 25.0)
    return np.asarray(sound * 0.05, np.float32)


# Sentences with phones on disk.


def load_spoken(folder: Path, voices: Sequence[str] = ()) -> dict[str, list[AlignedSpeech]]:
    """Read what ``benchmarks/quality/voices_data.py`` wrote.

    Args:
        folder: Holds ``clips.jsonl`` with id, voice and phones, and ``audio/ID.flac``.
        voices: Those that are read; none: all.

    Returns:
        Voice -> its sentences.

    Raises:
        InputError: Something is missing or damaged, or nobody of ``voices`` speaks.
    """
    path = folder / "clips.jsonl"
    if not path.is_file():
        raise InputError(f"no {path}: expected a folder of benchmarks/quality/voices_data.py")
    found: dict[str, list[AlignedSpeech]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        with reading(f"{path}, line {number}", "an entry of a sentence"):
            row = json.loads(line)
            phones = tuple(Timed(str(p), float(a), float(b)) for p, a, b in row["phones"])
            name, voice = str(row["id"]), str(row["voice"])
        if voices and voice not in voices:
            continue
        samples = Speech.load(folder / "audio" / f"{name}.flac").samples
        found.setdefault(voice, []).append(AlignedSpeech(name, samples, phones))
    if not found:
        raise InputError(f"{path} has no sentence of {', '.join(voices) or 'anybody'}")
    return found


def load_languages(folder: Path) -> dict[str, dict[str, list[AlignedSpeech]]]:
    """Read what ``voices_data.py --languages`` wrote: language -> voice -> sentences.

    Raises:
        InputError: Something is missing or damaged, or a voice is not named LANGUAGE/VOICE.
    """
    found: dict[str, dict[str, list[AlignedSpeech]]] = {}
    for name, sentences in load_spoken(folder).items():
        language, _, voice = name.partition("/")
        if not voice:
            raise InputError(
                f"{folder} has the voice {name!r}, expected LANGUAGE/VOICE: a folder of "
                "voices_data.py --languages"
            )
        found.setdefault(language, {})[voice] = sentences
    return found
