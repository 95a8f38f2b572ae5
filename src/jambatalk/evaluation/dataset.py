"""Load the clips that systems are compared on: sound and moving vertices of a prepared corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.dataset import WEIGHTS, PreparedClip, PreparedCorpus, open_prepared
from jambatalk.datasets.regions import Regions, corpus_regions
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
    """One clip; its files are read each time they are asked for, so that a long set fits in memory.

    Args:
        name: Unique within the set.
        fps: Frames per second.
        frames: Of the motion.
        read_samples, read_truth: Give what ``samples`` and ``truth`` are.
        template: (V, 3) float32, the subject at rest, in the set's unit; None for sound alone.
        phones, words: With times in seconds; None when unknown.
    """

    name: str
    fps: float
    frames: int
    read_samples: Callable[[], Array] = field(repr=False)
    read_truth: Callable[[], Array] | None = field(default=None, repr=False)
    template: Array | None = None
    subject: str = ""
    split: str = ""
    phones: tuple[Timed, ...] | None = None
    words: tuple[Timed, ...] | None = None

    @property
    def samples(self) -> Array:
        """(n,) float32 at 16 kHz, as long as the motion."""
        return self.read_samples()

    @property
    def truth(self) -> Array:
        """(T, V, 3) float32 offsets from the template. InputError when a file is damaged."""
        if self.read_truth is None:
            raise InputError(f"clip {self.name} is sound alone: its true motion is not known")
        return self.read_truth()


def sound_clip(samples: Array, fps: float = 25.0, name: str = "sound") -> EvalClip:
    """Make a clip of sound alone, (n,) float32 at 16 kHz."""
    frames = max(1, round(len(samples) / SAMPLE_RATE * fps))
    return EvalClip(name, fps, frames, lambda: samples)


class EvalDataset:
    """The clips of some splits of a prepared corpus: one mesh and one unit.

    Attributes:
        folder: Of the corpus.
        corpus: Its kind.
        scheme: How it is split.
        unit: Of offsets and templates.
        face: What a corpus of weights moves; None for a corpus of vertices.
        clips: In the corpus' order.
    """

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
            fps=clip.fps,
            frames=cut.frames,
            read_samples=lambda: cut.samples,
            read_truth=truth,
            template=clip.template if face is None else face.vertices,
            subject=clip.subject,
            split=clip.splits[self.scheme] or "",
            phones=clip.phones,
            words=clip.words,
        )

    @property
    def vertices(self) -> int:
        """The number of vertices of a frame."""
        return self._prepared.vertices if self.face is None else len(self.face.vertices)

    @property
    def template(self) -> Array:
        """(V, 3) float32 of the first subject."""
        return (
            self._prepared.template(self._prepared.subjects[0])
            if self.face is None
            else self.face.vertices
        )

    def regions(self, mask: str = "") -> Regions:
        """Lips, upper face and opening of the mesh; see ``datasets.regions.corpus_regions``."""
        return corpus_regions(self._prepared, mask)

    @property
    def triangles(self) -> Array | None:
        """(F, 3) int32, None when the corpus has none."""
        return self._prepared.triangles if self.face is None else self.face.triangles

    @cached_property
    def data_hash(self) -> str:
        """Twelve hexadecimal digits over the clips' names, splits, lengths and checksums."""
        digest = hashlib.sha256(f"{self.corpus}/{self.unit}\n".encode())
        for clip, prepared in zip(self.clips, self._chosen, strict=True):
            parts = (clip.name, clip.split, clip.frames)
            sums = (prepared.motion_sha256, prepared.audio_sha256)
            digest.update(("/".join(map(str, (*parts, *sums))) + "\n").encode())
        return digest.hexdigest()[:12]

    @property
    def has_training(self) -> bool:
        """Whether the corpus has a training split, so that ``mean_offset`` is known."""
        return TRAIN in self._prepared.splits(self.scheme)

    def mean_offset(self) -> Array:
        """(V, 3) float32, the mean of all training frames. InputError without a training split."""
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
    """Load some splits of a prepared corpus; None takes those whose names begin with "test".

    A corpus of weights moves the default head.

    Raises:
        InputError: A split is unknown, the corpus is damaged or no clip is left.
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


def find_regions(test_set: EvalDataset) -> Regions:
    """Find the regions of a test set's mesh; InputError where that is not possible."""
    return test_set.regions()
