"""The task of the paper's presets: raw sound through a speech encoder to the vertices of a prepared corpus."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import RATE, Speech
from jambatalk.baselines.base import Baseline, BaselineConfig
from jambatalk.baselines.registry import baseline_config, make_baseline
from jambatalk.data.prepared import PreparedClip, PreparedCorpus, open_prepared
from jambatalk.data.raw import IN_METRES
from jambatalk.errors import InputError
from jambatalk.motion import Motion
from jambatalk.nn.mel import LogMel, MelConfig
from jambatalk.nn.model import SpeechToMotion
from jambatalk.training.baseline_module import BaselineModule
from jambatalk.training.buckets import LengthBuckets
from jambatalk.training.config import TrainConfig
from jambatalk.training.disturb import Disturb
from jambatalk.training.letters import NAME as LETTERS
from jambatalk.training.letters import Letters
from jambatalk.training.lip_reading import LipReading
from jambatalk.training.lips import MOST_CLIPS, lip_vertices, offset_spread
from jambatalk.training.network import Network
from jambatalk.training.recogniser import Recogniser
from jambatalk.training.task import Sample
from jambatalk.training.vertex_module import Said, VertexBatch, VertexModule

Array = NDArray[Any]
SHORTEST = 0.1
"""Seconds; the speech encoders need some frames to work on."""
TOGETHER = 25
"""Clips of one length that are animated at once."""


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
        baseline = baseline_config(config.baseline, "baseline") if config.baseline else None
        self._shape = (config.model.fps, config.model.outputs) if baseline is None else (baseline.fps, baseline.outputs)
        for corpus in corpora:
            _check_fit(corpus, *self._shape)
        loss, scheme = self.settings.loss, self.settings.scheme or None
        self.train = [Cut(clip) for corpus in corpora for clip in corpus.clips(self.settings.train, scheme)[:most]]
        self.val = [Cut(clip) for corpus in corpora for clip in corpus.clips(self.settings.val, scheme)[:most]]
        self.unit = corpora[0].unit
        if other := [corpus for corpus in corpora if corpus.unit != self.unit]:
            raise InputError(f"{corpora[0].folder} is in {self.unit}, but {other[0].folder} in {other[0].unit}")
        self.data_hash = _data_hash(self.train, self.val)
        longest = self.settings.seconds * self._shape[0] or math.inf
        self.buckets = LengthBuckets([round(min(cut.frames, longest)) for cut in self.train], config.batch, config.seed)
        self.subjects = sorted({cut.clip.subject for cut in self.train})
        torch.manual_seed(config.seed)
        clips = [cut.clip for cut in self.train]
        spread = offset_spread(clips)
        self.lips = lip_vertices(self.settings.lips, clips, spread)
        self.recogniser: Recogniser | Letters | None = None
        self.network: Network
        self.module: nn.Module
        self.spelled: list[Tensor] = []
        if baseline is not None:
            self._take_baseline(replace(baseline, subjects=baseline.subjects or self.subjects), clips, spread)
        else:
            self._take_network(cache, spread)
        if self.recogniser is not None and loss.ctc and self.settings.lip_reading.text == "corpus":
            self.spelled = [self.recogniser.spelled(cut.text) for cut in self.train]

    def _take_network(self, cache: Path | None, spread: Array) -> None:
        """Make the network that the settings describe, and what reads its lips."""
        config, loss = self.config, self.settings.loss
        network = SpeechToMotion(config.model)
        if network.config.encoder.kind == "streaming":
            network.norm.start.copy_(_mean_mel(self.train, config.model.mel, config.model.hop))
            if self.settings.augmented:
                network.disturb = Disturb(self.settings.augment, self.settings.augmented, config.model.mel)
        if self.settings.spread:
            network.output_scale.copy_(torch.from_numpy(spread).reshape(-1))
        reading = None
        if loss.latent or loss.ctc:
            self.recogniser = self._reads(cache)
            reading = LipReading(
                len(self.lips), self.recogniser.width, self.recogniser.letters, self.recogniser.blank,
                self.settings.lip_reading, loss.ctc > 0,
            )  # fmt: skip
        self.network, self.module = network, VertexModule(network, self.lips, loss, reading, self.recogniser)

    def _reads(self, cache: Path | None) -> Recogniser | Letters:
        """What tells the lip reader what is said. InputError when the terms ask for more than it can tell."""
        reading = self.settings.lip_reading
        if reading.recogniser != LETTERS:
            return Recogniser(reading.recogniser, None if cache is None else cache / "heard")
        if self.settings.loss.latent or reading.text != "corpus":
            raise InputError(
                f"the recogniser {LETTERS!r} hears nothing: expected loss: latent: 0 and lip_reading: text: corpus with it"
            )
        return Letters()

    def _take_baseline(self, settings: BaselineConfig, clips: Sequence[PreparedClip], spread: Array) -> None:
        """Make the baseline and show it some of the training motion."""
        network = make_baseline(settings)
        hearing = network.hearing
        if not hearing.whole_clip:
            hearing.norm.start.copy_(_mean_mel(self.train, settings.mel, hearing.hop))
            if self.settings.augmented:
                hearing.disturb = Disturb(self.settings.augment, self.settings.augmented, settings.mel)
        if self.settings.spread:
            network.output_scale.copy_(torch.from_numpy(spread).reshape(-1))
        shown = np.concatenate([np.array(clip.offsets, np.float32) for clip in clips[:: -(-len(clips) // MOST_CLIPS)]])
        network.fit(torch.from_numpy(shown.reshape(len(shown), -1)))
        self.network, self.module = network, BaselineModule(network)

    def batch(self, step: int, rows: slice) -> VertexBatch:
        """Sequences ``rows`` of the batch of one step: every clip once in each pass through the corpus, in a new order."""
        made = [self._sequence(step, index) for index in range(rows.start, rows.stop)]
        samples, offsets, rest, said, subjects = zip(*made, strict=True)
        return VertexBatch(
            nn.utils.rnn.pad_sequence(list(samples), batch_first=True),
            nn.utils.rnn.pad_sequence(list(offsets), batch_first=True),
            torch.stack(rest),
            tuple(map(len, samples)),
            tuple(map(len, offsets)),
            said if self.recogniser is not None else (),
            torch.tensor(subjects),
        )

    def _sequence(self, step: int, index: int) -> tuple[Tensor, Tensor, Tensor, Said, int]:
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
        subject = self.subjects.index(cut.clip.subject)
        return torch.from_numpy(samples.copy()), torch.from_numpy(offsets), torch.from_numpy(rest), said, subject

    @torch.no_grad()
    def validate(self, network: Network) -> dict[str, float]:
        """Over all frames of the validation clips: ``lips``, the mean distance of the lip vertex that is worst in a frame
        (the score is minus that), and ``vertices``, the mean distance of all; ``_mm`` where the corpus' unit is known."""
        worst, mean, frames = 0.0, 0.0, 0
        for cut, predicted in zip(self.val, self._animated(network, self.val), strict=True):
            error = np.linalg.norm(predicted - cut.clip.offsets[: len(predicted)], axis=2)  # (T, V)
            worst += float(error[:, self.lips].max(1).sum())
            mean += float(error.mean(1).sum())
            frames += len(error)
        scale, unit = (1000.0 * IN_METRES[self.unit], "_mm") if self.unit in IN_METRES else (1.0, "")
        lips, vertices = scale * worst / max(frames, 1), scale * mean / max(frames, 1)
        return {"score": -lips, f"lips{unit}": lips, f"vertices{unit}": vertices}

    @torch.no_grad()
    def samples(self, network: Network, count: int) -> list[Sample]:
        """The first validation clips whose corpus tells its mesh's triangles; without them there is nothing to look at."""
        shown = [cut for cut in self.val if cut.clip.corpus.triangles is not None][:count]
        made: list[Sample] = []
        for cut, predicted in zip(shown, self._animated(network, shown), strict=True):
            face = cut.clip.corpus.face(cut.clip.subject)
            true = np.array(cut.clip.offsets[: len(predicted)], np.float32)
            scale = np.float32(IN_METRES.get(self.unit, 1.0))
            ours, theirs = (Motion(cut.fps, offsets=scale * offsets, face=face) for offsets in (predicted, true))
            made.append(Sample(cut.clip.name, ours, theirs, Speech(cut.samples)))
        return made

    def _animated(self, network: Network, cuts: Sequence[Cut]) -> list[Array]:
        """(T, V, 3) float32 offsets of each clip; clips of one length go through together."""
        device = next(network.parameters()).device
        groups: dict[tuple[int, int], list[int]] = {}
        for i, cut in enumerate(cuts):
            groups.setdefault((len(cut.samples), cut.frames), []).append(i)
        moved: dict[int, Array] = {}
        for (_, frames), members in groups.items():
            for first in range(0, len(members), TOGETHER):
                some = members[first : first + TOGETHER]
                sound = torch.from_numpy(np.stack([cuts[i].samples for i in some])).to(device)
                y = network.animate(sound, frames) if isinstance(network, Baseline) else network.whole(sound, frames)[0]
                moved |= zip(some, y.float().cpu().numpy(), strict=True)
        return [moved[i].reshape(len(moved[i]), -1, 3) for i in range(len(cuts))]


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


def _check_fit(corpus: PreparedCorpus, fps: float, outputs: int) -> None:
    if not corpus.vertices:
        raise InputError(f"{corpus.folder} holds weights of shapes, not vertices: expected a corpus for task: shapes")
    if outputs != (wanted := 3 * corpus.vertices):
        raise InputError(f"outputs is {outputs}, but {corpus.folder} has {corpus.vertices} vertices: expected {wanted}")
    if float(fps) != corpus.fps:
        raise InputError(f"fps is {fps}, but {corpus.folder} has {corpus.fps:g} frames a second")


def _data_hash(*splits: Sequence[Cut]) -> str:
    """SHA-256 over the clips' names, lengths and checksums, split by split."""
    digest = hashlib.sha256()
    for cuts in splits:
        for cut in cuts:
            clip = cut.clip
            digest.update(f"{clip.corpus.name}/{clip.name}/{cut.frames}/{clip.motion_sha256}/{clip.audio_sha256}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _mean_mel(cuts: Sequence[Cut], mel: MelConfig, hop: int) -> Tensor:
    """(bands,) mean log power of the loud half of the frames of some clips: where the running normalisation starts."""
    features = LogMel(mel)
    mels = []
    for cut in cuts[:: -(-len(cuts) // MOST_CLIPS)]:
        whole = cut.samples[: len(cut.samples) // hop * hop]
        mels.append(features(torch.from_numpy(whole.copy())[None], features.init_state(1))[0][0])
    found = torch.cat(mels)
    power = found.exp().sum(1)
    return found[power >= power.median()].mean(0)
