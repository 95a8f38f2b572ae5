"""Batches of clips of prepared corpora: sound, vertex offsets, and the text of their lips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jambatalk.audio import SAMPLE_RATE
from jambatalk.datasets.dataset import PreparedClip, PreparedCorpus
from jambatalk.datasets.masks import MOST_CLIPS
from jambatalk.errors import InputError
from jambatalk.models.config import MelConfig
from jambatalk.models.features import LogMel

Array = NDArray[Any]

SHORTEST = 0.1
"""Seconds; the speech encoders need some frames to work on."""


class Excerpt(NamedTuple):
    """What is said in a sequence, for the lip reader's targets."""

    sound: Array
    """(n,) samples of the whole clip."""
    start: float
    """Seconds in the clip at which the sequence begins."""
    end: float
    """Seconds in the clip at which it ends."""
    text: Tensor | None
    """The corpus' text as letters, or None."""


@dataclass(frozen=True)
class VertexBatch:
    """B sequences, padded at their ends to the longest.

    Attributes:
        samples: (B, n) at 16 kHz.
        offsets: (B, T, 3 V) from the template.
        rest: (B, 3 L), the template's lips.
        sample_counts: Real samples of each sequence.
        lengths: Real frames of each sequence.
        excerpts: Empty when no lips are read.
        subjects: (B,) indices of the speakers, for networks conditioned on them.
    """

    samples: Tensor
    offsets: Tensor
    rest: Tensor
    sample_counts: tuple[int, ...]
    lengths: tuple[int, ...]
    excerpts: tuple[Excerpt, ...]
    subjects: Tensor

    def groups(self) -> dict[tuple[int, int], list[int]]:
        """Group rows of equal length: (samples, frames) -> rows.

        Speech encoders and full attention depend on all that they get, silence after the end
        included, so that sequences of different lengths cannot be computed together.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for row, size in enumerate(zip(self.sample_counts, self.lengths, strict=True)):
            groups.setdefault(size, []).append(row)
        return groups


class LengthBuckets:
    """Batches of whole clips of similar length, so that little of a batch is padding.

    ``batch(step)`` follows from the seed and the step alone: nothing need be stored to resume. An
    epoch is ``per_epoch`` steps. In each, the clips are shuffled, and pools of ``pool`` batches
    are sorted by length and cut into batches, which come in random order. Every clip comes once in
    an epoch; where the clips do not fill the last batch, as many as are missing, drawn at random,
    come once more (again and again where there are fewer clips than one batch holds).

    Args:
        lengths: Of each clip, in any unit.
        batch: Clips per step.
        seed: Of the order.
        pool: Batches per pool; 1 is pure chance, more is less padding.

    Raises:
        InputError: There are no clips.
        ValueError: ``batch`` or ``pool`` is below 1.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, pool: int = 16) -> None:
        if not len(lengths):
            raise InputError("no clips to train on: expected at least one")
        if batch < 1 or pool < 1:
            raise ValueError(f"batch is {batch} and pool {pool}, expected at least 1 each")
        self.lengths = np.asarray(lengths)
        self.size, self.seed, self.pool = batch, seed, pool
        self.per_epoch = -(-len(self.lengths) // batch)
        self._planned = -1, np.empty((0, batch), np.int64)

    def batch(self, step: int) -> Array:
        """Return the indices (batch,) int64 of the clips of step ``step``, from 0 on."""
        epoch, place = divmod(step, self.per_epoch)
        if self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return np.asarray(self._planned[1][place])

    def _plan(self, epoch: int) -> Array:
        """(per_epoch, batch) indices."""
        rng = np.random.default_rng([self.seed, 11, epoch])
        count = len(self.lengths)
        missing = self.per_epoch * self.size - count
        again = [rng.permutation(count) for _ in range(-(-missing // count))]
        order = np.concatenate([rng.permutation(count), *again])[: count + missing]
        rng.shuffle(order)
        reach = self.pool * self.size
        pools = [order[start : start + reach] for start in range(0, len(order), reach)]
        # Clips of the same length stay in random order.
        in_order = np.concatenate(
            [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
        )
        plan = in_order.reshape(-1, self.size)[rng.permutation(self.per_epoch)]
        # Processes take neighboring rows: none should get the short ones of every batch.
        return rng.permuted(plan, axis=1)


class Cut:
    """A prepared clip whose sound and motion end together.

    Raises:
        InputError: Too little of it is left.
    """

    def __init__(self, clip: PreparedClip) -> None:
        self.clip, self.fps = clip, clip.fps
        self.frames = min(clip.frames, int(clip.samples_count / SAMPLE_RATE * clip.fps))
        if self.frames < max(2, SHORTEST * clip.fps):
            raise InputError(
                f"{clip.corpus.folder}: clip {clip.name} has {self.frames} frames, too few to "
                "train on"
            )

    @property
    def samples(self) -> Array:
        """The sound, (n,) float32 at 16 kHz."""
        return self.clip.samples[: round(self.frames / self.fps * SAMPLE_RATE)]

    @property
    def text(self) -> str:
        """What is said. InputError where the corpus does not know it."""
        if not self.clip.text:
            raise InputError(
                f"{self.clip.corpus.folder} has no text of clip {self.clip.name}: set "
                "lip_reading: text: recognized"
            )
        return self.clip.text


def check_fit(corpus: PreparedCorpus, fps: float, outputs: int) -> None:
    """Raise InputError unless a network of ``outputs`` values at ``fps`` fits the corpus."""
    if not corpus.vertices:
        raise InputError(
            f"{corpus.folder} holds blendshape weights, not vertices: expected a corpus for task: "
            "blendshapes"
        )
    if outputs != (expected := 3 * corpus.vertices):
        raise InputError(
            f"outputs is {outputs}, but {corpus.folder} has {corpus.vertices} vertices: expected "
            f"{expected}"
        )
    if float(fps) != corpus.fps:
        raise InputError(f"fps is {fps}, but {corpus.folder} has {corpus.fps:g} frames a second")


def cuts_hash(*splits: Sequence[Cut]) -> str:
    """Compute SHA-256 over the clips' names, lengths and checksums, split by split."""
    digest = hashlib.sha256()
    for cuts in splits:
        for cut in cuts:
            clip = cut.clip
            sums = f"{clip.motion_sha256}/{clip.audio_sha256}"
            digest.update(f"{clip.corpus.name}/{clip.name}/{cut.frames}/{sums}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def mean_mel(cuts: Sequence[Cut], mel: MelConfig, hop: int) -> Tensor:
    """Average the log power (bands,) of the loud half of the frames of some clips.

    This is where the running normalization starts.
    """
    features = LogMel(mel)
    mels = []
    for cut in cuts[:: -(-len(cuts) // MOST_CLIPS)]:
        whole = cut.samples[: len(cut.samples) // hop * hop]
        mels.append(features(torch.from_numpy(whole.copy())[None], features.init_state(1))[0][0])
    frames = torch.cat(mels)
    power = frames.exp().sum(1)
    return frames[power >= power.median()].mean(0)
