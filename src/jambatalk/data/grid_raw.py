"""GRID-468 as ``data prepare`` takes it: faces worn by the default head, one subject after the other.

Where pocketsphinx is installed (extra ``align``), clips with words get their phones by forced alignment.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from jambatalk.audio import Speech
from jambatalk.data.align import SILENT_WORDS, Aligner
from jambatalk.data.clip import Timed
from jambatalk.data.grid import FILES, GridCorpus, GridEntry
from jambatalk.data.raw import SHAPES, Loaded, Options, RawClip, RawCorpus, fixed_rate, require
from jambatalk.data.splits import own_splits
from jambatalk.errors import InputError, MissingExtraError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head

Array = NDArray[Any]


def open_grid(folder: Path, options: Options) -> RawCorpus:
    """The folder that ``data.grid`` describes. Raises InputError when it is none, or another frame rate is asked for."""
    require(folder, FILES, "GRID-468")
    corpus, face = GridCorpus.open(folder), default_head()
    aligner = _aligner()
    fps = corpus.entries[0].fps
    fixed_rate(options, fps)
    corpus.tracked(corpus.entries[0])  # arrays that cannot be read are the corpus' end, not each clip's
    wearer = _Wearer(corpus, face, aligner)
    clips = tuple(
        RawClip(
            subject=entry.subject,
            sentence=entry.id,
            # motion.npz and face468.npz are in the recipe: their bytes count, not their time.
            sources=(folder / "audio" / f"{entry.id}.flac",),
            load=partial(wearer.load, entry),
            text=" ".join(word.text for word in entry.words if word.text not in SILENT_WORDS) or None,
            words=entry.words or None,
            id=entry.id,
        )
        for entry in corpus.entries
    )
    schemes = {"speaker": own_splits({(entry.subject, entry.id): entry.split for entry in corpus.entries})}
    return RawCorpus(
        "grid", folder, corpus.credit, fps, SHAPES, {}, None, schemes, clips, names=face.names,
        recipe=corpus.key(face) + ("" if aligner is None else "+phones"),
    )  # fmt: skip


class _Wearer:
    """Wears a subject when the first of the subject's clips is wanted; a run that is stopped loses no more.

    The last few subjects stay: where one ends, threads are on clips of both, in any order.
    """

    KEPT = 4

    def __init__(self, corpus: GridCorpus, face: Face, aligner: Aligner | None) -> None:
        self.corpus, self.face, self.aligner = corpus, face, aligner
        self._lock, self._aligning = Lock(), Lock()
        self._carried: dict[str, dict[str, tuple[Array, Array]]] = {}

    def load(self, entry: GridEntry) -> Loaded:
        with self._lock:
            if entry.subject not in self._carried:
                while len(self._carried) >= self.KEPT:
                    del self._carried[next(iter(self._carried))]
                self._carried[entry.subject] = self._wear(entry.subject)
            weights, gap = self._carried[entry.subject][entry.id]
        speech = Speech(self.corpus.samples(entry))
        return Loaded(weights, speech, gap, self.corpus.tracked(entry), phones=self._phones(entry, speech))

    def _wear(self, subject: str) -> dict[str, tuple[Array, Array]]:
        """Weights and gap of each of the subject's clips, by the clip's id."""
        weights, gap = self.corpus.carried(subject, self.face)
        clips, start = {}, 0
        for one in self.corpus.entries:
            if one.subject == subject:
                frames = slice(start, start + one.frames)
                clips[one.id] = weights[frames], gap[frames]
                start += one.frames
        return clips

    def _phones(self, entry: GridEntry, speech: Speech) -> tuple[Timed, ...] | None:
        """When which phone of the words is spoken; None where that cannot be told."""
        words = [word.text for word in entry.words if word.text not in SILENT_WORDS]
        if self.aligner is None or not words:
            return None
        with self._aligning, suppress(InputError):  # a text that does not fit its sound costs the phones, not the clip
            return self.aligner.align(speech.samples, " ".join(words))[0]
        return None


def _aligner() -> Aligner | None:
    with suppress(MissingExtraError):
        return Aligner()
    return None
