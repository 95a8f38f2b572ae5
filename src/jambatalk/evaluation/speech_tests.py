"""Speech to be tested on besides GRID: LibriVox sentences with aligned phones, FACEGOOD's held-out clip."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import RATE, Speech
from jambatalk.data.align import Aligner
from jambatalk.data.clip import Timed
from jambatalk.data.phones import SILENCE, tidy
from jambatalk.data.prepared import open_prepared
from jambatalk.errors import InputError

Array = NDArray[Any]

HELD_OUT = "1114_3_15"
"""FACEGOOD's clip that no training sees."""
JAW = "mouth_stretch_c"
FACEGOOD_FPS = 30.0
LEADS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
FAINT = 1e-3  # of full scale: a quiet room
TRANSCRIPT = re.compile(r"<s>(?P<text>.*)</s>\s*\((?P<id>[^()]+)\)")


@dataclass(frozen=True)
class Reading:
    """A sentence read aloud. samples: (n,) float32 at 16 kHz. phones: IPA with times in seconds, pauses as "sil"."""

    id: str
    samples: Array
    phones: tuple[Timed, ...]

    @property
    def end(self) -> float:
        """Seconds at which the last phone ends."""
        return max(phone.end for phone in self.phones if phone.text != SILENCE)


def load_voice(folder: Path, split: str = "test_voice") -> list[Reading]:
    """The clips of a prepared corpus' split, whose phones are known. InputError when it has none."""
    readings = []
    for clip in open_prepared(folder).clips(split):
        phones = tidy(clip.phones or ())
        if any(phone.text != SILENCE for phone in phones):
            readings.append(Reading(clip.name, clip.samples, phones))
    if not readings:
        raise InputError(f"{folder} knows no phones of the clips in {split}, expected some")
    return readings


def load_readings(folder: Path, aligner: Aligner | None = None) -> list[Reading]:
    """The sentences of a folder with <id>.wav files and their text in ``transcription`` ("<s> words </s> (id)" a line).

    That is how Debian's package pocketsphinx-testdata holds its LibriVox sentences. InputError when something is missing or
    the text does not fit the sound.
    """
    transcription = folder / "transcription"
    if not transcription.is_file():
        raise InputError(f"no {transcription}: expected a folder of .wav files with their transcription")
    aligner = aligner or Aligner()
    readings = []
    for line in transcription.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        found = TRANSCRIPT.match(line.strip())
        if found is None:
            raise InputError(f"{transcription} has the line {line[:80]!r}, expected '<s> words </s> (name of a .wav file)'")
        samples = Speech.load(folder / f"{found['id']}.wav").samples
        readings.append(Reading(found["id"], samples, align_stubbornly(aligner, samples, found["text"])))
    if not readings:
        raise InputError(f"{transcription} is empty, expected at least one sentence")
    return readings


def align_stubbornly(aligner: Aligner, samples: Array, text: str) -> tuple[Timed, ...]:
    """The phones of a text; where the aligner finds no way through the sound it is asked again with other leads of silence.

    Its search is a narrow beam that a few hundredths of a second more or less of silence before the sound set right.
    """
    rng = np.random.default_rng(0)
    for lead in LEADS:
        before = rng.normal(0.0, FAINT, round(lead * RATE)).astype(np.float32)
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
class Performance:
    """Speech with the jaw of the performer who spoke it.

    samples: (n,) float32 at 16 kHz. jaw: (T,) opening in 0..1 at ``fps``. others: recordings of the same performer.
    """

    id: str
    samples: Array
    jaw: Array
    fps: float
    others: tuple[Array, ...]


def load_performance(folder: Path, name: str = HELD_OUT) -> Performance:
    """A clip of a FACEGOOD folder (<id>.flac, <id>.npy, columns.json), its jaw as the artists left it."""
    try:
        columns = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        values = np.load(folder / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is no FACEGOOD folder with the clip {name} ({error})") from error
    if JAW not in columns or values.ndim != 2 or values.shape[1] != len(columns):
        raise InputError(f"{folder / name}.npy has shape {values.shape}, expected (T, {len(columns)}) with a column {JAW}")
    jaw = values[:, columns.index(JAW)].astype(np.float32)
    rest = [path for path in sorted(folder.glob("*.flac")) if path.stem != name]
    others = tuple(Speech.load(path).samples for path in rest[:1])
    return Performance(name, Speech.load(folder / f"{name}.flac").samples, jaw, FACEGOOD_FPS, others)
