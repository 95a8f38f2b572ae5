"""The task of the paper's presets: raw sound through a speech encoder to the vertices of a prepared corpus."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import RATE, Speech
from jambatalk.data.prepared import PreparedClip, PreparedCorpus, open_prepared
from jambatalk.data.raw import METRES
from jambatalk.errors import InputError
from jambatalk.motion import Motion
from jambatalk.nn.mel import LogMel
from jambatalk.nn.model import ModelConfig, SpeechToMotion
from jambatalk.training.buckets import LengthBuckets
from jambatalk.training.config import TrainConfig
from jambatalk.training.lip_reading import LipReading
from jambatalk.training.lips import MOST_CLIPS, lip_vertices, offset_spread
from jambatalk.training.recogniser import Recogniser
from jambatalk.training.task import Sample
from jambatalk.training.vertex_module import Said, VertexBatch, VertexModule

Array = NDArray[Any]
SHORTEST = 0.1
"""Seconds; the speech encoders need some frames to work on."""


class VertexTask:
    """Prepared corpora of one mesh; ``network`` moves its vertices from the subject's template.

    folders: written by ``jambatalk data prepare``. cache: where what the recogniser reads is kept between runs, None for
    memory. most: clips of a split and folder that are taken, None for all. InputError when settings and corpora do not fit
    each other.
    """

    names: tuple[str, ...] = ()

    def __init__(
        self, config: TrainConfig, folders: Sequence[Path], cache: Path | None = None, most: int | None = None
    ) -> None:  # fmt: skip
        self.config, self.settings = config, config.vertices
        corpora = [open_prepared(folder) for folder in folders]
        for corpus in corpora:
            _check_fit(corpus, config)
        loss, scheme = self.settings.loss, self.settings.scheme or None
        self.train = [Cut(clip) for corpus in corpora for clip in corpus.clips(self.settings.train, scheme)[:most]]
        self.val = [Cut(clip) for corpus in corpora for clip in corpus.clips(self.settings.val, scheme)[:most]]
        self.unit = corpora[0].unit
        if other := [corpus for corpus in corpora if corpus.unit != self.unit]:
            raise InputError(f"{corpora[0].folder} is in {self.unit}, but {other[0].folder} in {other[0].unit}")
        self.data_hash = _data_hash(self.train, self.val)
        longest = self.settings.seconds * config.model.fps or math.inf
        self.buckets = LengthBuckets([round(min(cut.frames, longest)) for cut in self.train], config.batch, config.seed)
        torch.manual_seed(config.seed)
        self.network = SpeechToMotion(config.model)
        if self.network.config.encoder.kind == "streaming":
            self.network.norm.start.copy_(_mean_mel(self.train, config.model))
        clips = [cut.clip for cut in self.train]
        spread = offset_spread(clips)
        if self.settings.spread:
            self.network.output_scale.copy_(torch.from_numpy(spread).reshape(-1))
        self.lips = lip_vertices(self.settings.lips, clips, spread)
        reading = recogniser = None
        if loss.latent or loss.ctc:
            recogniser = Recogniser(self.settings.lip_reading.recogniser, None if cache is None else cache / "heard")
            reading = LipReading(
                len(self.lips), recogniser.width, recogniser.letters, recogniser.blank, self.settings.lip_reading, loss.ctc > 0
            )
        self.recogniser = recogniser
        self.module: nn.Module = VertexModule(self.network, self.lips, loss, reading, recogniser)
        if recogniser is not None and loss.ctc and self.settings.lip_reading.text == "corpus":
            self.spelled = [recogniser.spelled(cut.text) for cut in self.train]
        else:
            self.spelled = []

    def batch(self, step: int, rows: slice) -> VertexBatch:
        """Sequences ``rows`` of the batch of one step: every clip once in each pass through the corpus, in a new order."""
        made = [self._sequence(step, index) for index in range(rows.start, rows.stop)]
        samples, offsets, rest, said = zip(*made, strict=True)
        return VertexBatch(
            nn.utils.rnn.pad_sequence(list(samples), batch_first=True),
            nn.utils.rnn.pad_sequence(list(offsets), batch_first=True),
            torch.stack(rest),
            tuple(map(len, samples)),
            tuple(map(len, offsets)),
            said if self.recogniser is not None else (),
        )

    def _sequence(self, step: int, index: int) -> tuple[Tensor, Tensor, Tensor, Said]:
        clip = int(self.buckets.batch(step)[index])
        cut, sound = self.train[clip], self.train[clip].samples
        first, frames = 0, cut.frames
        if self.settings.seconds and (wanted := max(2, round(self.settings.seconds * cut.fps))) < frames:
            first = int(np.random.default_rng([self.config.seed, 11, step, index]).integers(frames - wanted + 1))
            frames = wanted
        start = round(first / cut.fps * RATE)
        samples = sound[start : start + round(frames / cut.fps * RATE)]
        offsets = np.array(cut.clip.offsets[first : first + frames], np.float32).reshape(frames, -1)
        rest = np.array(cut.clip.template[self.lips], np.float32).reshape(-1)
        text = torch.tensor(self.spelled[clip], dtype=torch.long) if self.spelled else None
        said = Said(sound, first / cut.fps, (first + frames) / cut.fps, text)
        return torch.from_numpy(samples.copy()), torch.from_numpy(offsets), torch.from_numpy(rest), said

    @torch.no_grad()
    def validate(self, network: SpeechToMotion) -> dict[str, float]:
        """Over all frames of the validation clips: ``lips``, the mean distance of the lip vertex that is worst in a frame
        (the score is minus that), and ``vertices``, the mean distance of all; ``_mm`` where the corpus' unit is metres."""
        worst, mean, frames = 0.0, 0.0, 0
        for cut in self.val:
            predicted = self._animated(network, cut)
            error = np.linalg.norm(predicted - cut.clip.offsets[: len(predicted)], axis=2)  # (T, V)
            worst += float(error[:, self.lips].max(1).sum())
            mean += float(error.mean(1).sum())
            frames += len(error)
        scale, unit = (1000.0, "_mm") if self.unit == METRES else (1.0, "")
        lips, vertices = scale * worst / max(frames, 1), scale * mean / max(frames, 1)
        return {"score": -lips, f"lips{unit}": lips, f"vertices{unit}": vertices}

    @torch.no_grad()
    def samples(self, network: SpeechToMotion, count: int) -> list[Sample]:
        """The first validation clips whose corpus tells its mesh's triangles; without them there is nothing to look at."""
        made: list[Sample] = []
        for cut in self.val:
            face = cut.clip.corpus.face(cut.clip.subject)
            if face is None or len(made) == count:
                continue
            predicted = self._animated(network, cut)
            true = np.array(cut.clip.offsets[: len(predicted)], np.float32)
            ours, theirs = (Motion(cut.fps, offsets=offsets, face=face) for offsets in (predicted, true))
            made.append(Sample(cut.clip.name, ours, theirs, Speech(cut.samples)))
        return made

    def _animated(self, network: SpeechToMotion, cut: Cut) -> Array:
        """(T, V, 3) float32 offsets of a whole clip."""
        sound = torch.from_numpy(cut.samples.copy())[None].to(network.head.weight.device)
        moved: Array = network.whole(sound, cut.frames)[0][0].float().cpu().numpy()
        return moved.reshape(len(moved), -1, 3)


class Cut:
    """A clip whose sound and motion end together. InputError when nothing much is left of it."""

    def __init__(self, clip: PreparedClip) -> None:
        self.clip, self.fps = clip, clip.fps
        self.frames = min(clip.frames, int(clip.samples_count / RATE * clip.fps))
        if self.frames < max(2, SHORTEST * clip.fps):
            raise InputError(f"{clip.corpus.folder}: clip {clip.name} has {self.frames} frames, too few to train on")

    @property
    def samples(self) -> Array:
        """(n,) float32 at 16 kHz."""
        return self.clip.samples[: round(self.frames / self.fps * RATE)]

    @property
    def text(self) -> str:
        if not self.clip.text:
            raise InputError(
                f"{self.clip.corpus.folder} knows no text of clip {self.clip.name}: say lip_reading: text: recognised"
            )
        return self.clip.text


def _check_fit(corpus: PreparedCorpus, config: TrainConfig) -> None:
    model = config.model
    if not corpus.vertices:
        raise InputError(f"{corpus.folder} holds weights of shapes, not vertices: expected a corpus for task: shapes")
    if model.outputs != (wanted := 3 * corpus.vertices):
        raise InputError(
            f"model.outputs is {model.outputs}, but {corpus.folder} has {corpus.vertices} vertices: expected {wanted}"
        )
    if float(model.fps) != corpus.fps:
        raise InputError(f"model.fps is {model.fps}, but {corpus.folder} has {corpus.fps:g} frames a second")


def _data_hash(*splits: Sequence[Cut]) -> str:
    """SHA-256 over the clips' names, lengths and checksums, split by split."""
    digest = hashlib.sha256()
    for cuts in splits:
        for cut in cuts:
            clip = cut.clip
            digest.update(f"{clip.corpus.name}/{clip.name}/{cut.frames}/{clip.motion_sha256}/{clip.audio_sha256}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _mean_mel(cuts: Sequence[Cut], config: ModelConfig) -> Tensor:
    """(bands,) mean log power of the loud half of the frames of some clips: where the running normalisation starts."""
    features = LogMel(config.mel)
    mels = []
    for cut in cuts[:: -(-len(cuts) // MOST_CLIPS)]:
        whole = cut.samples[: len(cut.samples) // config.hop * config.hop]
        mels.append(features(torch.from_numpy(whole.copy())[None], features.init_state(1))[0][0])
    mel = torch.cat(mels)
    power = mel.exp().sum(1)
    return mel[power >= power.median()].mean(0)
