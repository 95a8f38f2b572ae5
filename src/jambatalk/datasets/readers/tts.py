"""Synthetic voices with phone times: speech that nobody filmed, with the motion that a phone model
gives it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jambatalk.atomic import file_sha256
from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.dataset import read_flac, safe_name
from jambatalk.datasets.source import (
    SHAPES,
    ClipData,
    CorpusKind,
    Issue,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
    fixed_rate,
    own_splits,
    require,
)
from jambatalk.errors import InputError, reading, shown
from jambatalk.text.phones import Timed

if TYPE_CHECKING:
    from jambatalk.text.phone_motion import PhoneMotion

CLIPS = "clips.jsonl"
FPS = 25.0
LICENCE = (
    "Synthetic speech of hibari and kokoro voices (models under Apache-2.0); "
    "the motion is made from its phones."
)

HELD_VOICE = "jf_alpha"
"""A voice kept for testing: of the five packs that are also blended with each other, the one with
the least part in blends.
"""

HELD_SHARE = 0.3
"""Blends with at least this much of the held voice are in no split."""

VALIDATION = 0.05
"""Share of the clips of all other voices that validates, drawn by their sentences."""


@dataclass(frozen=True)
class TtsEntry:
    """One line of clips.jsonl. voice: pack -> share, summing to 1. phones: as the synthesiser
    writes them.
    """

    id: str
    voice: Mapping[str, float]
    text: str
    phones: tuple[Timed, ...]

    @property
    def subject(self) -> str:
        """The pack's name; a blend is a voice of its own."""
        return next(iter(self.voice)) if len(self.voice) == 1 else f"mix_{self.id}"

    @property
    def split(self) -> str | None:
        """ "train", "val" or "test_voice"; the same for a sentence whoever speaks it."""
        if self.subject == HELD_VOICE:
            return "test_voice"
        if self.voice.get(HELD_VOICE, 0.0) >= HELD_SHARE:
            return None
        return "val" if zlib.crc32(self.text.casefold().encode()) / 2**32 < VALIDATION else "train"


def open_tts(folder: Path, options: PrepareOptions) -> SourceCorpus:
    """A folder with clips.jsonl and audio/<id>.flac; motion by ``options.phones``, else by the
    model in the package.

    Raises InputError when the folder or the model cannot be read; a line that is damaged is a
    problem, not the end.
    """
    from jambatalk.text.phone_motion import DEFAULT_PHONE_MOTION, load_phone_motion

    require(folder, (CLIPS, "audio"), "a corpus of synthetic voices")
    fixed_rate(options, FPS)
    model = load_phone_motion(options.phones)
    entries, problems = read_entries(folder / CLIPS)
    clips = tuple(
        SourceClip(
            subject=entry.subject,
            sentence=entry.id,
            sources=(folder / "audio" / f"{entry.id}.flac",),
            load=partial(_load, folder, entry, model),
            text=entry.text,
            phones=entry.phones,
            pseudo=True,
            id=entry.id,
        )
        for entry in entries
    )
    schemes = {"voice": own_splits({(entry.subject, entry.id): entry.split for entry in entries})}
    recipe = file_sha256(options.phones or DEFAULT_PHONE_MOTION)[:16]
    return SourceCorpus(
        "tts",
        folder,
        LICENCE,
        FPS,
        SHAPES,
        {},
        None,
        schemes,
        clips,
        tuple(problems),
        tuple(model.names),
        recipe,
    )


def read_entries(path: Path) -> tuple[list[TtsEntry], list[Issue]]:
    """(the clips of a clips.jsonl, what is wrong with its other lines)."""
    from jambatalk.text.phones import tidy

    entries, problems = [], []
    with reading(path, "text"):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = f"line {number}"
        try:
            with reading(f"{CLIPS}, line {number}", "an entry of a clip"):
                row = json.loads(line)
                name = safe_name(row["id"])
                voice = {safe_name(pack): float(share) for pack, share in row["voice"].items()}
                if not voice or not abs(sum(voice.values()) - 1) <= 0.05:
                    raise InputError(f"its voice {shown(voice)} does not sum to 1")
                entries.append(TtsEntry(name, voice, str(row["text"]), tidy(_marks(row["phones"]))))
        except InputError as error:
            problems.append(Issue(name, str(error)))
    if not entries:
        raise InputError(f"{path} holds no clip that can be read, expected one per line")
    return entries, problems


def _marks(phones: Any) -> list[tuple[str, float, float]]:
    marks = [(str(symbol), float(start), float(end)) for symbol, start, end in phones]
    for (_, start, end), (_, after, _) in zip(marks, [*marks[1:], ("", float("inf"), 0.0)]):
        if not 0 <= start <= end <= after + 1e-6:
            raise InputError(
                f"its phones are not in order of time ({start:g} to {end:g} s, then {after:g} s)"
            )
    return marks


def _load(folder: Path, entry: TtsEntry, model: PhoneMotion) -> ClipData:
    samples = read_flac(folder / "audio" / f"{entry.id}.flac")
    seconds = len(samples) / SAMPLE_RATE
    if not entry.phones or entry.phones[-1].end > seconds + 0.1:
        end = entry.phones[-1].end if entry.phones else 0.0
        raise InputError(
            f"its phones end at {end:.2f} s, its sound at {seconds:.2f} s: one of them is cut off"
        )
    return ClipData(model.weights(entry.phones, max(1, round(seconds * FPS)), FPS), Speech(samples))


TTS = CorpusKind(
    "tts",
    open_tts,
    holds="`clips.jsonl` with phone times, `audio/`",
    splits="`voice`: train, val, test_voice",
    rate="25",
    unit="weights, made by a model",
)
