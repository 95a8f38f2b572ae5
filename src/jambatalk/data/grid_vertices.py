"""GRID-468 as vertices: the tracked faces themselves, 468 vertices in centimetres, for the open benchmark.

The template of a subject is his own neutral face: the median over the frames in which his lips are closed and still. Where
pocketsphinx is installed (extra ``align``), clips get their phones by forced alignment; clips of speakers without a transcript
take their words from GRID's six-letter code at the end of the clip's name.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from jambatalk.audio import Speech
from jambatalk.data.align import SILENT_WORDS, Aligner
from jambatalk.data.carry import resting_frames
from jambatalk.data.clip import Timed
from jambatalk.data.grid import FILES, GridCorpus, GridEntry
from jambatalk.data.raw import CENTIMETRES, Loaded, Options, RawClip, RawCorpus, fixed_rate, require
from jambatalk.data.splits import own_splits
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.landmarks import INNER_LOWER, INNER_UPPER, OUTER_LOWER, OUTER_UPPER, measured_gap

CODES = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(zip("z123456789", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
"""GRID's sentences letter by letter: command, colour, preposition, letter, digit, adverb (Cooke et al. 2006)."""


def spoken(entry: GridEntry) -> str | None:
    """The words of a clip, by its transcript or by the code at the end of its name; None where neither tells."""
    if words := [word.text for word in entry.words if word.text not in SILENT_WORDS]:
        return " ".join(words)
    code = entry.id[-6:]
    if len(code) == 6 and all(letter in words for words, letter in zip(CODES, code)):
        return " ".join(words[letter] for words, letter in zip(CODES, code))
    return None


def open_grid_vertices(folder: Path, options: Options) -> RawCorpus:
    """The folder that ``data.grid`` describes. Raises InputError when it is none, or another frame rate is asked for."""
    require(folder, FILES, "GRID-468")
    corpus = GridCorpus.open(folder)
    fps = corpus.entries[0].fps
    fixed_rate(options, fps)
    aligner, lock = _aligner(), Lock()
    clips = tuple(
        RawClip(
            subject=entry.subject,
            sentence=entry.id,
            sources=(folder / "audio" / f"{entry.id}.flac",),
            load=partial(_load, corpus, entry, aligner, lock),
            text=spoken(entry),
            words=entry.words or None,
            id=entry.id,
        )
        for entry in corpus.entries
    )
    templates = {}
    for subject in dict.fromkeys(entry.subject for entry in corpus.entries):
        entries = [entry for entry in corpus.entries if entry.subject == subject]
        positions = corpus.positions(entries)  # (T, 468, 3) metres
        rest = resting_frames(measured_gap(positions).astype(np.float64), np.array([entry.frames for entry in entries]))
        templates[subject] = (100.0 * np.median(positions[rest], axis=0)).astype(np.float32)
    schemes = {"speaker": own_splits({(entry.subject, entry.id): entry.split for entry in corpus.entries})}
    return RawCorpus(
        "grid468", folder, corpus.credit, fps, CENTIMETRES, templates, corpus.triangles, schemes, clips,
        recipe=corpus.tracking_key() + ("" if aligner is None else "+phones"), regions=_regions(corpus),
    )  # fmt: skip


def _load(corpus: GridCorpus, entry: GridEntry, aligner: Aligner | None, lock: Lock) -> Loaded:
    positions, speech, text = corpus.positions([entry]), Speech(corpus.samples(entry)), spoken(entry)
    phones: tuple[Timed, ...] | None = None
    if aligner is not None and text:
        with lock, suppress(InputError):  # a text that does not fit its sound costs the phones, not the clip
            phones = aligner.align(speech.samples, text)[0]
    gap = measured_gap(positions).astype(np.float32)
    return Loaded(positions * np.float32(100.0), speech, gap, corpus.tracked(entry), phones=phones)


def _regions(corpus: GridCorpus) -> dict[str, Any]:
    """The lips' two contours as MediaPipe numbers them (40 vertices); the upper face is all that lies above the eyes' corners
    (landmarks 33 and 263) on the canonical face."""
    height = corpus.canonical[:, 1]
    upper = np.flatnonzero(height > height[[33, 263]].mean())
    return {
        "format": "jambatalk-regions-1",  # as evaluation.regions reads it
        "vertices": len(height),
        "lips": sorted({*OUTER_UPPER, *OUTER_LOWER, *INNER_UPPER, *INNER_LOWER}),
        "upper_face": upper.tolist(),
        "opening": [13, 14],
        "source": "MediaPipe face mesh: lip contours; above the eyes' corners",
    }


def _aligner() -> Aligner | None:
    with suppress(MissingExtraError):
        return Aligner()
    return None
