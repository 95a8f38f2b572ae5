"""What systems are compared on: the clips of a prepared corpus as sound and moving vertices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jambatalk.datasets.dataset import WEIGHTS, PreparedClip, PreparedCorpus, open_prepared
from jambatalk.datasets.source import METRES
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.face.head import default_head
from jambatalk.text.phones import Timed
from jambatalk.training.vertices import Cut

Array = NDArray[Any]
TRAIN = "train"


@dataclass(frozen=True)
class EvalClip:
    """One clip; its files are read when they are asked for, every time, so that a long set needs no memory.

    fps: frames per second. template: (V, 3) float32, the subject at rest, in the set's unit. phones, words: with times in
    seconds, None when unknown. read_samples, read_truth: give what ``samples`` and ``truth`` are.
    """

    __test__: ClassVar[bool] = False  # its name begins with Test, but it is none

    name: str
    subject: str
    split: str
    fps: float
    frames: int
    template: Array
    read_samples: Callable[[], Array] = field(repr=False)
    read_truth: Callable[[], Array] = field(repr=False)
    phones: tuple[Timed, ...] | None = None
    words: tuple[Timed, ...] | None = None

    @property
    def samples(self) -> Array:
        """(n,) float32 at 16 kHz, as long as the motion."""
        return self.read_samples()

    @property
    def truth(self) -> Array:
        """(T, V, 3) float32 offsets from the template in the set's unit. InputError when a file is damaged."""
        return self.read_truth()


class EvalDataset:
    """Clips of one mesh and one unit.

    folder: of the corpus. corpus: its kind. scheme: how it is split. unit: of offsets and templates. face: what wears the
    motion of a corpus of weights, None for vertices. clips: in the corpus' order.
    """

    __test__: ClassVar[bool] = False

    def __init__(self, corpus: PreparedCorpus, splits: Sequence[str], scheme: str | None) -> None:
        self.folder, self.corpus, self.scheme = corpus.folder, corpus.name, corpus.scheme(scheme)
        self.face: Face | None = default_head() if corpus.motion == WEIGHTS else None
        self.unit = METRES if self.face is not None else corpus.unit
        self.fps = corpus.fps
        self._prepared = corpus
        self._chosen = corpus.clips(list(splits), self.scheme)
        self.clips = [self._clip(clip) for clip in self._chosen]
        self.splits = tuple(splits)

    def _clip(self, clip: PreparedClip) -> EvalClip:
        cut = Cut(clip)
        face = self.face
        if face is None:

            def truth() -> Array:
                return np.array(clip.offsets[: cut.frames], np.float32)

        else:
            basis = face.basis[face.columns(self._prepared.names)]

            def truth() -> Array:
                weights = np.array(clip.weights[: cut.frames], np.float32)
                return np.tensordot(weights, basis, 1).astype(np.float32)

        return EvalClip(
            name=clip.name,
            subject=clip.subject,
            split=clip.splits[self.scheme] or "",
            fps=clip.fps,
            frames=cut.frames,
            template=clip.template if face is None else face.vertices,
            read_samples=lambda: cut.samples,
            read_truth=truth,
            phones=clip.phones,
            words=clip.words,
        )

    @property
    def vertices(self) -> int:
        """How many each frame has."""
        return self._prepared.vertices if self.face is None else len(self.face.vertices)

    @property
    def template(self) -> Array:
        """(V, 3) float32 of the first subject."""
        return (
            self._prepared.template(self._prepared.subjects[0])
            if self.face is None
            else self.face.vertices
        )

    @property
    def triangles(self) -> Array | None:
        """(F, 3) int32, None when the corpus does not tell them."""
        return self._prepared.triangles if self.face is None else self.face.triangles

    @cached_property
    def data_hash(self) -> str:
        """Twelve hexadecimal digits over the clips' names, splits, lengths and checksums."""
        digest = hashlib.sha256(f"{self.corpus}/{self.unit}\n".encode())
        for clip, prepared in zip(self.clips, self._chosen, strict=True):
            line = f"{clip.name}/{clip.split}/{clip.frames}/{prepared.motion_sha256}/{prepared.audio_sha256}\n"
            digest.update(line.encode())
        return digest.hexdigest()[:12]

    @property
    def has_training(self) -> bool:
        """Whether the corpus has a training split, so that ``mean_offset`` is known."""
        return TRAIN in self._prepared.splits(self.scheme)

    def mean_offset(self) -> Array:
        """(V, 3) float32, the mean of all frames of the training split. InputError when the corpus has none."""
        if not self.has_training:
            raise InputError(
                f"{self.folder} has no split {TRAIN!r}: the mean training motion is not known"
            )
        total, frames = np.zeros((self.vertices, 3)), 0
        for clip in self._prepared.clips(TRAIN, self.scheme):
            if self.face is None:
                total += clip.offsets.sum(0, dtype=np.float64)
            else:
                basis = self.face.basis[self.face.columns(self._prepared.names)]
                total += np.tensordot(clip.weights.sum(0, dtype=np.float64), basis, 1)
            frames += clip.frames
        return (total / max(frames, 1)).astype(np.float32)


def load_test_set(
    folder: str | Path, splits: Sequence[str] | None = None, scheme: str | None = None
) -> EvalDataset:
    """The clips of some splits of a prepared corpus; None takes those whose names begin with "test".

    A corpus of weights is worn by the default head. InputError for unknown splits, a damaged corpus, or no clip at all.
    """
    corpus = open_prepared(folder)
    known = corpus.splits(scheme)
    if splits is None:
        splits = sorted(name for name in known if name.startswith("test"))
        if not splits:
            raise InputError(
                f"{folder} has no split for tests: choose from {', '.join(known) or 'none'}"
            )
    return EvalDataset(corpus, list(dict.fromkeys(splits)), scheme)
