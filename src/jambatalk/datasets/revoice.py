"""Recorded sentences spoken by other voices at the times of the recording: the motion of the face
stays true, the voice is another one.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jambatalk.atomic import write_json
from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.datasets.align import SILENT_WORDS, Aligner
from jambatalk.datasets.dataset import WEIGHTS, PreparedClip, PreparedCorpus, open_prepared
from jambatalk.datasets.kokoro import LICENCE, Take, take_of_phones, take_of_symbols
from jambatalk.datasets.prepare import Outcome, prepare
from jambatalk.datasets.source import (
    SHAPES,
    ClipData,
    CorpusKind,
    PrepareOptions,
    SourceClip,
    SourceCorpus,
    own_splits,
)
from jambatalk.errors import InputError, reading
from jambatalk.text.phones import Timed

Array = NDArray[Any]

TEST_VOICES = ("jf_alpha", "am_onyx", "bm_lewis", "af_nicole", "bf_isabella")
"""Kept out of every clip: voices that nothing learned from, two men and three women, American,
British and Japanese. jf_alpha is also kept out of the corpus of synthetic voices.
"""

VALIDATION_VOICES = ("am_fenrir", "af_kore")
"""Speak the validation split and nothing else."""

WINDOW = 0.025  # seconds of the loudness envelope
FLOOR = -40.0  # dB below the loudest window; what is softer counts as silence
FARTHEST = 6  # windows by which a take is shifted in search of its lag
CLEARER = 0.1
"""By how much a lag must raise the correlation to count: the loudness of short sentences is
ambiguous.
"""

LEAST_ENVELOPE = 0.6
MOST_LAG = 0.05  # seconds
MOST_ONSET = 0.06  # seconds
"""A take is dropped below this correlation of loudness, when its words begin further than this from
the original's in the median, or, where the words are unknown, beyond this lag.
"""


class Synthesiser(Protocol):
    """What speaks: ``Kokoro``, or in tests a stand-in."""

    packs: tuple[str, ...]
    vocabulary: dict[str, int]

    @property
    def sha256(self) -> str: ...

    def speak(self, take: Take, voice: str) -> Array: ...


@dataclass(frozen=True)
class Likeness:
    """How well a take keeps to the original.

    envelope: correlation of the loudness in dB. lag: seconds by which the take comes later, by the
    best correlation. onset: median seconds between the beginnings of words, None where the words
    are unknown; infinite where they were not found in the take.
    """

    envelope: float
    lag: float
    onset: float | None = None

    @property
    def fault(self) -> str | None:
        """Why the take is dropped; None to keep it."""
        if self.envelope < LEAST_ENVELOPE:
            return (
                f"its loudness follows the original at {self.envelope:.2f}, expected "
                f"{LEAST_ENVELOPE:g}"
            )
        if self.onset is not None and self.onset == np.inf:
            return "its words were not found in its sound"
        if self.onset is not None and self.onset > MOST_ONSET:
            return (
                f"its words begin {1000 * self.onset:.0f} ms from the original's, expected "
                f"{1000 * MOST_ONSET:.0f}"
            )
        if self.onset is None and abs(self.lag) > MOST_LAG:
            return (
                f"it lies {1000 * self.lag:+.0f} ms from the original, expected within "
                f"{1000 * MOST_LAG:.0f}"
            )
        return None


def loudness(samples: Array) -> Array:
    """(n,) dB of every whole WINDOW relative to the loudest, not below FLOOR."""
    size = round(WINDOW * SAMPLE_RATE)
    whole = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    power = (whole**2).mean(1)
    return np.maximum(10 * np.log10(power / max(power.max(initial=0), 1e-12) + 1e-12), FLOOR)


def likeness(original: Array, take: Array, onset: float | None = None) -> Likeness:
    """Compare two sounds (n,) at 16 kHz of the same length."""
    a, b = loudness(original), loudness(take)
    length = min(len(a), len(b))
    here = _correlation(a[:length], b[:length])
    inside = slice(FARTHEST, length - FARTHEST)
    shifts = {
        shift: _correlation(a[inside], b[inside.start + shift : inside.stop + shift])
        for shift in range(-FARTHEST, FARTHEST + 1)
    }
    best = max(shifts, key=lambda shift: (shifts[shift], -abs(shift)))
    lag = best * WINDOW if shifts[best] > shifts[0] + CLEARER else 0.0
    return Likeness(here, lag, onset)


def _correlation(a: Array, b: Array) -> float:
    """0 where one of them does not change."""
    if len(a) < 3 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def voices_for(clip: str, seed: int, count: int, packs: Sequence[str]) -> tuple[str, ...]:
    """The voices of a clip: ``count`` of ``packs``, as many men as women, one more of either when
    the count is odd; the same for the same id and seed, in whatever order clips are made.

    packs: named as Kokoro does, the second letter m for men, f for women. TEST_VOICES are never
    chosen. InputError when there are too few.
    """
    usable = sorted(set(packs) - set(TEST_VOICES))
    sexes = [[pack for pack in usable if pack[1:2] == sex] for sex in "mf"]
    rng = np.random.default_rng([seed, zlib.crc32(clip.encode())])
    men, women = len(sexes[0]), len(sexes[1])
    if rng.random() < 0.5:
        sexes.reverse()
    wanted = (count - count // 2, count // 2)
    if any(len(one) < number for one, number in zip(sexes, wanted)):
        raise InputError(
            f"{count} voices a clip, half of them men, from {men} men and {women} women that are "
            "not kept for tests: expected fewer voices a clip or more packs"
        )
    drawn = [rng.permutation(one)[:number] for one, number in zip(sexes, wanted)]
    return tuple(str(name) for name in rng.permutation(np.concatenate(drawn)))


class Sentences:
    """What is said in the clips of a corpus and when, found once per clip, by any thread."""

    def __init__(self, symbols: Mapping[str, Sequence[Timed]] | None = None) -> None:
        """symbols: clip -> symbols of the synthesiser's own alphabet, where a corpus was made by
        one.
        """
        self.symbols = symbols or {}
        self._lock = threading.Lock()  # the aligner is one decoder
        self._aligner: Aligner | None = None
        self._found: dict[str, tuple[tuple[Timed, ...], tuple[Timed, ...]]] = {}

    def take(self, clip: PreparedClip, vocabulary: Mapping[str, int]) -> Take:
        """The plan of a clip. InputError when nothing is known of what it says."""
        seconds = clip.samples_count / SAMPLE_RATE
        if clip.name in self.symbols:
            return take_of_symbols(self.symbols[clip.name], seconds, vocabulary)
        phones, words = self.of(clip)
        return take_of_phones(phones, seconds, vocabulary, words)

    def of(self, clip: PreparedClip) -> tuple[tuple[Timed, ...], tuple[Timed, ...]]:
        """(phones, words) of a clip, aligned to each other where its words are known; phones of
        synthetic speech are kept as they are. InputError when there are neither.
        """
        with self._lock:
            if clip.name not in self._found:
                try:
                    phones, words = self._align(clip.samples, said(clip))
                except InputError:
                    if not clip.phones:
                        raise
                    phones, words = clip.phones, clip.words or ()
                if clip.pseudo and clip.phones:
                    phones = clip.phones
                self._found[clip.name] = phones, words
            return self._found[clip.name]

    def onset(self, clip: PreparedClip, samples: Array) -> float | None:
        """Median seconds between the beginnings of the clip's words and of the same words in
        ``samples``; None where the clip's are unknown, infinite where they are not found.
        """
        try:
            text = said(clip)
            words = self.of(clip)[1]
        except InputError:
            return None
        if not words:
            return None
        try:
            with self._lock:
                again = self._align(samples, text)[1]
        except InputError:
            return float("inf")
        if [word.text for word in again] != [word.text for word in words]:
            return float("inf")
        return float(np.median([abs(a.start - b.start) for a, b in zip(again, words)]))

    def _align(self, samples: Array, text: str) -> tuple[tuple[Timed, ...], tuple[Timed, ...]]:
        self._aligner = self._aligner or Aligner()
        return self._aligner.align(samples, text)


def said(clip: PreparedClip) -> str:
    """The words of a clip. InputError when they are unknown."""
    words = [word.text for word in clip.words or () if word.text not in SILENT_WORDS]
    text = " ".join(words) or clip.text
    if not text:
        raise InputError("neither phones nor words are known of it: expected one of them")
    return text


def revoice(
    prepared: str | Path,
    out: str | Path,
    synthesiser: Synthesiser,
    per_clip: int = 8,
    seed: int = 0,
    symbols: str | Path | None = None,
    jobs: int | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Make a prepared corpus of the clips in ``prepared``, each spoken by ``per_clip`` voices with
    the original's motion; the validation split by VALIDATION_VOICES, tests not at all.

    symbols: a clips.jsonl whose phones are the synthesiser's own symbols. jobs, limit, progress: as
    in ``prepare``, by takes. Takes that do not keep to the original are left out and named, with
    the reason, in the result and the manifest. InputError when the corpus cannot be used.
    """
    if per_clip < 1:
        raise InputError(f"{per_clip} voices a clip, expected at least 1")
    corpus = open_prepared(prepared)
    if corpus.motion != WEIGHTS:
        raise InputError(
            f"{corpus.folder} moves the vertices of its speakers' own faces, expected weights of "
            "shapes"
        )
    sentences = Sentences(None if symbols is None else read_symbols(Path(symbols)))
    name = f"{corpus.name}-revoiced"

    def opened(folder: Path, options: PrepareOptions) -> SourceCorpus:
        dropped = None if options.scratch is None else Dropped(options.scratch)
        speak = partial(_load, synthesiser=synthesiser, sentences=sentences, dropped=dropped)
        return _source(name, corpus, synthesiser, speak, per_clip, seed)

    kind = CorpusKind(name, opened, "a prepared corpus", "train, val", f"{corpus.fps:g}", SHAPES)
    return prepare(kind, corpus.folder, out, None, False, jobs, limit, progress)


def _source(
    name: str,
    corpus: PreparedCorpus,
    synthesiser: Synthesiser,
    load: Callable[[PreparedClip, str], ClipData],
    per_clip: int,
    seed: int,
) -> SourceCorpus:
    scheme = corpus.scheme(None)
    training = [pack for pack in synthesiser.packs if pack not in VALIDATION_VOICES]
    validation = [pack for pack in VALIDATION_VOICES if pack in synthesiser.packs]
    takes: list[SourceClip] = []
    splits: dict[tuple[str, str], str | None] = {}
    for clip in corpus.clips():
        split = clip.splits[scheme]
        if split == "train":
            voices = voices_for(clip.name, seed, per_clip, training)
        elif split == "val":
            voices = tuple(validation)
        else:
            continue
        for voice in voices:
            take = SourceClip(
                subject=voice,
                sentence=clip.name,
                sources=(clip.audio_path, clip.motion_path),
                load=partial(load, clip, voice),
                text=clip.text,
                phones=clip.phones,
                words=clip.words,
                pseudo=clip.pseudo,
                weight=clip.weight,
                notes={
                    "revoiced": {
                        "clip": clip.name,
                        "subject": clip.subject,
                        "voice": voice,
                        "licence": LICENCE.format(voice=voice),
                    }
                },
            )
            takes.append(take)
            splits[take.subject, take.sentence] = split
    return SourceCorpus(
        name,
        corpus.folder,
        f"{corpus.licence} The voices are others: Kokoro-82M v1.0, Apache-2.0.",
        corpus.fps,
        SHAPES,
        {},
        None,
        {scheme: own_splits(splits)},
        tuple(takes),
        names=corpus.names,
        recipe=synthesiser.sha256[:16],
    )


class Dropped:
    """The takes that earlier runs dropped, so that going on does not make them again: a file each.

    folder: where; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reason(self, clip: PreparedClip, voice: str, model: str) -> str | None:
        """Why this take was dropped; None when it was not, or anything that decides it changed."""
        with suppress(OSError, ValueError, AttributeError):
            known = json.loads(self._path(clip, voice).read_text(encoding="utf-8"))
            if known.get("decided_by") == self._decided_by(clip, model):
                return str(known["reason"])
        return None

    def add(self, clip: PreparedClip, voice: str, model: str, reason: str) -> None:
        """Note a take."""
        known = {"decided_by": self._decided_by(clip, model), "reason": reason}
        write_json(self._path(clip, voice), known)

    def _path(self, clip: PreparedClip, voice: str) -> Path:
        return self.folder / f"{voice}_{clip.name}.json"

    @staticmethod
    def _decided_by(clip: PreparedClip, model: str) -> list[Any]:
        return [clip.audio_sha256, model, LEAST_ENVELOPE, MOST_LAG, MOST_ONSET]


def _load(
    clip: PreparedClip,
    voice: str,
    synthesiser: Synthesiser,
    sentences: Sentences,
    dropped: Dropped | None,
) -> ClipData:
    model = synthesiser.sha256
    if dropped is not None and (reason := dropped.reason(clip, voice, model)) is not None:
        raise InputError(reason)
    samples = synthesiser.speak(sentences.take(clip, synthesiser.vocabulary), voice)
    found = likeness(clip.samples, samples)
    if found.fault is None:  # otherwise the aligner's time can be saved
        found = replace(found, onset=sentences.onset(clip, samples))
    if found.fault is not None:
        if dropped is not None:
            dropped.add(clip, voice, model, found.fault)
        raise InputError(found.fault)
    measured = {"envelope": found.envelope, "lag": found.lag, "onset": found.onset}
    return ClipData(
        np.asarray(clip.weights, np.float32),
        Speech(samples),
        clip.gap,
        clip.tracked,
        head_pose=clip.head_pose,
        notes={"likeness": {k: None if v is None else round(v, 3) for k, v in measured.items()}},
    )


def read_symbols(path: Path) -> dict[str, tuple[Timed, ...]]:
    """Clip -> its symbols, of a file with a JSON object a line: id, phones [[symbol, start s, end
    s], …]. InputError when it is damaged.
    """
    with reading(path, "lines of clips with their phones"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {
            str(row["id"]): tuple(Timed(str(s), float(a), float(b)) for s, a, b in row["phones"])
            for row in rows
        }
