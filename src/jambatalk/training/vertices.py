"""The task of the paper's presets: raw sound through a speech encoder to the vertices of a prepared corpus."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.baselines import baseline_config, make_baseline
from jambatalk.baselines.base import Baseline, BaselineConfig
from jambatalk.datasets.dataset import PreparedClip, PreparedCorpus, open_prepared
from jambatalk.datasets.lip_mask import MOST_CLIPS, lip_vertices, offset_spread
from jambatalk.datasets.source import IN_METRES
from jambatalk.errors import InputError
from jambatalk.models.asr import NAME as LETTERS
from jambatalk.models.asr import ASRFeatures, CharTokenizer, SpeechRecognizer, collapsed
from jambatalk.models.config import MelConfig
from jambatalk.models.features import LogMel
from jambatalk.models.lip_reader import TEXT_RATE
from jambatalk.models.moe import RouterStats
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion
from jambatalk.training.config import TrainConfig, VertexLossConfig
from jambatalk.training.lip_reading import Aim, LipReading
from jambatalk.training.losses import router_terms, vertex_terms
from jambatalk.training.spec_augment import SpecAugment
from jambatalk.training.task import Sample, TrainableModel

# What one step of training on vertices computes: the network's motion of a batch, and the terms of its loss.


Array = NDArray[Any]


class Said(NamedTuple):
    """What the lip reader aims at in a sequence, before it is read.

    sound: (n,) the whole clip, numpy. start, end: the sequence in it, seconds. text: of the corpus, as letters, or None.
    """

    sound: Array
    start: float
    end: float
    text: Tensor | None


@dataclass(frozen=True)
class VertexBatch:
    """B sequences, padded at their ends to the longest.

    samples: (B, n) at 16 kHz. offsets: (B, T, 3 V) from the template. rest: (B, 3 L), the template's lips.
    sample_counts, lengths: how many samples and frames of each are real. said: empty when no lips are read.
    subjects: (B,) indices of the speakers, for networks that are told them.
    """

    samples: Tensor
    offsets: Tensor
    rest: Tensor
    sample_counts: tuple[int, ...]
    lengths: tuple[int, ...]
    said: tuple[Said, ...]
    subjects: Tensor


class VertexModule(nn.Module):
    """The network, the lip reader beside it, and what is minimised."""

    lips: Tensor

    def __init__(
        self,
        network: SpeechToMotion,
        lips: Array,
        loss: VertexLossConfig,
        reading: LipReading | None = None,
        recogniser: SpeechRecognizer | CharTokenizer | None = None,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.reading = network, loss, reading
        self.register_buffer("lips", torch.from_numpy(lips), persistent=False)
        self.recogniser = recogniser  # no module: frozen, and in no checkpoint

    def forward(self, batch: VertexBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms that have a weight, and each term by name; means over the batch's sequences."""
        predicted, lengths, router = self._predicted(batch)
        # Fractions of a millimetre, squared, are beyond half precision.
        with torch.autocast(predicted.device.type, enabled=False):
            predicted = predicted.float()
            terms = vertex_terms(
                predicted, batch.offsets[:, : predicted.shape[1]], lengths, self.lips, self.loss
            )
        if self.reading is not None:
            fps = float(self.network.config.fps)
            lips = (
                predicted.unflatten(-1, (-1, 3))[:, :, self.lips].flatten(2) + batch.rest[:, None]
            )
            aims = [
                self._aim(said, length / fps, lips.device)
                for said, length in zip(batch.said, lengths, strict=True)
            ]
            terms |= self.reading(lips, fps, lengths, aims)
        if self.loss.balance or self.loss.router_z:
            terms |= router_terms(router, predicted)
        total = torch.stack(
            [
                getattr(self.loss, name) * value
                for name, value in terms.items()
                if hasattr(self.loss, name)
            ]
        ).sum()
        return total, terms

    def _predicted(self, batch: VertexBatch) -> tuple[Tensor, list[int], list[RouterStats]]:
        """(B, T, 3 V) with zeros after each sequence's end, the frames of each, and what the routers did.

        Sequences of one length go through together, others one after the other: speech encoders and full attention hear
        everything that they are given, silence after the end included.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for row, lengths in enumerate(zip(batch.sample_counts, batch.lengths, strict=True)):
            groups.setdefault(lengths, []).append(row)
        rows: dict[int, Tensor] = {}
        routers = []
        for (samples, frames), members in groups.items():
            with numpy_follows_torch():
                y, router = self.network.forward_offline(batch.samples[members, :samples], frames)
            rows |= zip(members, y, strict=True)
            routers.append(router)
        counts = [len(rows[row]) for row in range(len(rows))]
        padded = [
            F.pad(rows[row], (0, 0, 0, max(counts) - counts[row])) for row in range(len(rows))
        ]
        return (
            torch.stack(padded),
            counts,
            [RouterStats.joined(list(stats)) for stats in zip(*routers, strict=True)],
        )

    def _aim(self, said: Said, seconds: float, device: torch.device) -> Aim:
        """What the first ``seconds`` of a sequence should be read as."""
        assert self.recogniser is not None
        end = min(said.end, said.start + seconds)
        if self.loss.latent or (self.loss.ctc and said.text is None):
            read = self.recogniser.read(said.sound, device).between(said.start, end)
        else:
            frames = min(self.recogniser.frames(len(said.sound)), round(end * TEXT_RATE)) - round(
                said.start * TEXT_RATE
            )
            read = ASRFeatures(np.zeros((frames, 0), np.float16), np.zeros(frames, np.int32))
        latent = (
            torch.from_numpy(read.latent).to(device, torch.float32) if self.loss.latent else None
        )
        text = None
        if self.loss.ctc:
            heard = collapsed(read.letters, self.recogniser.blank)
            text = torch.tensor(heard, dtype=torch.long) if said.text is None else said.text
        return Aim(len(read.latent), latent, text)


@contextmanager
def numpy_follows_torch() -> Iterator[None]:
    """Numpy's global generator seeded from torch's: transformers draws the masks of wav2vec 2.0 from it, and a resumed
    run must draw the same ones."""
    state = np.random.get_state()
    np.random.seed(int(torch.randint(2**31, ())))
    try:
        yield
    finally:
        np.random.set_state(state)


# What one step of training a baseline computes.


class BaselineModule(nn.Module):
    """The baseline and the terms of its own loss, over the clips of a batch, those of one length at a time."""

    def __init__(self, network: Baseline) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: VertexBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the baseline's terms and each term by name, means over the batch's clips."""
        groups: dict[tuple[int, int], list[int]] = {}
        for row, lengths in enumerate(zip(batch.sample_counts, batch.lengths, strict=True)):
            groups.setdefault(lengths, []).append(row)
        terms: dict[str, Tensor] = {}
        for (samples, frames), rows in groups.items():
            with numpy_follows_torch():
                found = self.network.loss(
                    batch.samples[rows, :samples],
                    batch.offsets[rows, :frames],
                    batch.subjects[rows],
                    step,
                )
            for name, value in found.items():
                terms[name] = terms.get(name, 0.0) + value * (len(rows) / len(batch.lengths))
        return torch.stack(list(terms.values())).sum(), terms


# Batches of whole clips of similar length, so that little of a batch is padding.


class LengthBuckets:
    """``batch(step)`` follows from the seed and the step alone: nothing need be stored to resume.

    An epoch is ``per_epoch`` steps. In each, the clips are shuffled, and pools of ``pool`` batches are sorted by length and
    cut into batches, which come in random order. Every clip comes once in an epoch; where the clips do not fill the last
    batch, as many as are missing, drawn at random, come once more (again and again where there are fewer clips than one
    batch holds).

    lengths: of each clip, in any unit. batch: clips per step. pool: 1 is pure chance; more is less padding.
    Raises InputError without clips, ValueError for a batch or pool below 1.
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
        """(batch,) int64 indices of the clips of step ``step``, from 0 on."""
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
        # Clips of the same length stay in the order of chance.
        in_order = np.concatenate(
            [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
        )
        plan = in_order.reshape(-1, self.size)[rng.permutation(self.per_epoch)]
        # Processes take neighbouring rows: none is to get the short ones of every batch.
        return rng.permuted(plan, axis=1)


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
        self,
        config: TrainConfig,
        folders: Sequence[Path],
        cache: Path | None = None,
        most: int | None = None,
    ) -> None:
        self.config, self.settings = config, config.vertices
        corpora = [open_prepared(folder) for folder in folders]
        baseline = baseline_config(config.baseline, "baseline") if config.baseline else None
        self._shape = (
            (config.model.fps, config.model.outputs)
            if baseline is None
            else (baseline.fps, baseline.outputs)
        )
        for corpus in corpora:
            _check_fit(corpus, *self._shape)
        loss, scheme = self.settings.loss, self.settings.scheme or None
        self.train = [
            Cut(clip)
            for corpus in corpora
            for clip in corpus.clips(self.settings.train, scheme)[:most]
        ]
        self.val = [
            Cut(clip)
            for corpus in corpora
            for clip in corpus.clips(self.settings.val, scheme)[:most]
        ]
        self.unit = corpora[0].unit
        if other := [corpus for corpus in corpora if corpus.unit != self.unit]:
            raise InputError(
                f"{corpora[0].folder} is in {self.unit}, but {other[0].folder} in {other[0].unit}"
            )
        self.data_hash = _data_hash(self.train, self.val)
        longest = self.settings.seconds * self._shape[0] or math.inf
        self.buckets = LengthBuckets(
            [round(min(cut.frames, longest)) for cut in self.train], config.batch, config.seed
        )
        self.subjects = sorted({cut.clip.subject for cut in self.train})
        torch.manual_seed(config.seed)
        clips = [cut.clip for cut in self.train]
        spread = offset_spread(clips)
        self.lips = lip_vertices(self.settings.lips, clips, spread)
        self.recogniser: SpeechRecognizer | CharTokenizer | None = None
        self.network: TrainableModel
        self.module: nn.Module
        self.spelled: list[Tensor] = []
        if baseline is not None:
            self._take_baseline(
                replace(baseline, subjects=baseline.subjects or self.subjects), clips, spread
            )
        else:
            self._take_network(cache, spread)
        if self.recogniser is not None and loss.ctc and self.settings.lip_reading.text == "corpus":
            self.spelled = [self.recogniser.spelled(cut.text) for cut in self.train]

    def _take_network(self, cache: Path | None, spread: Array) -> None:
        """Make the network that the settings describe, and what reads its lips."""
        config, loss = self.config, self.settings.loss
        network = SpeechToMotion(config.model)
        if network.config.encoder.kind == "streaming":
            network.encoder.norm.start.copy_(
                _mean_mel(self.train, config.model.mel, config.model.hop)
            )
            if self.settings.augmented:
                network.encoder.feature_augment = SpecAugment(
                    self.settings.augment, self.settings.augmented, config.model.mel
                )
        if self.settings.spread:
            network.output_scale.copy_(torch.from_numpy(spread).reshape(-1))
        reading = None
        if loss.latent or loss.ctc:
            self.recogniser = self._reads(cache)
            reading = LipReading(
                len(self.lips),
                self.recogniser.width,
                self.recogniser.letters,
                self.recogniser.blank,
                self.settings.lip_reading,
                loss.ctc > 0,
            )
        self.network, self.module = (
            network,
            VertexModule(network, self.lips, loss, reading, self.recogniser),
        )

    def _reads(self, cache: Path | None) -> SpeechRecognizer | CharTokenizer:
        """What tells the lip reader what is said. InputError when the terms ask for more than it can tell."""
        reading = self.settings.lip_reading
        if reading.recogniser != LETTERS:
            return SpeechRecognizer(reading.recogniser, None if cache is None else cache / "heard")
        if self.settings.loss.latent or reading.text != "corpus":
            raise InputError(
                f"the recogniser {LETTERS!r} hears nothing: expected loss: latent: 0 and lip_reading: text: corpus with it"
            )
        return CharTokenizer()

    def _take_baseline(
        self, settings: BaselineConfig, clips: Sequence[PreparedClip], spread: Array
    ) -> None:
        """Make the baseline and show it some of the training motion."""
        network = make_baseline(settings)
        encoder = network.hearing.encoder
        if network.config.encoder.kind == "streaming":
            hop = SAMPLE_RATE // settings.fps
            encoder.norm.start.copy_(_mean_mel(self.train, settings.mel, hop))
            if self.settings.augmented:
                encoder.feature_augment = SpecAugment(
                    self.settings.augment, self.settings.augmented, settings.mel
                )
        if self.settings.spread:
            network.output_scale.copy_(torch.from_numpy(spread).reshape(-1))
        shown = np.concatenate(
            [np.array(clip.offsets, np.float32) for clip in clips[:: -(-len(clips) // MOST_CLIPS)]]
        )
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
        if (
            self.settings.seconds
            and (wanted := max(2, round(self.settings.seconds * cut.fps))) < frames
        ):
            first = int(
                np.random.default_rng([self.config.seed, 11, step, index]).integers(
                    frames - wanted + 1
                )
            )
            frames = wanted
        start = round(first / cut.fps * SAMPLE_RATE)
        samples = sound[start : start + round(frames / cut.fps * SAMPLE_RATE)]
        offsets = np.array(cut.clip.offsets[first : first + frames], np.float32).reshape(frames, -1)
        rest = np.array(cut.clip.template[self.lips], np.float32).reshape(-1)
        text = torch.tensor(self.spelled[clip], dtype=torch.long) if self.spelled else None
        said = Said(sound, first / cut.fps, (first + frames) / cut.fps, text)
        subject = self.subjects.index(cut.clip.subject)
        return (
            torch.from_numpy(samples.copy()),
            torch.from_numpy(offsets),
            torch.from_numpy(rest),
            said,
            subject,
        )

    @torch.no_grad()
    def validate(self, network: TrainableModel) -> dict[str, float]:
        """Over all frames of the validation clips: ``lips``, the mean distance of the lip vertex that is worst in a frame
        (the score is minus that), and ``vertices``, the mean distance of all; ``_mm`` where the corpus' unit is known."""
        worst, mean, frames = 0.0, 0.0, 0
        for cut, predicted in zip(self.val, self._animated(network, self.val), strict=True):
            error = np.linalg.norm(predicted - cut.clip.offsets[: len(predicted)], axis=2)  # (T, V)
            worst += float(error[:, self.lips].max(1).sum())
            mean += float(error.mean(1).sum())
            frames += len(error)
        scale, unit = (
            (1000.0 * IN_METRES[self.unit], "_mm") if self.unit in IN_METRES else (1.0, "")
        )
        lips, vertices = scale * worst / max(frames, 1), scale * mean / max(frames, 1)
        return {"score": -lips, f"lips{unit}": lips, f"vertices{unit}": vertices}

    @torch.no_grad()
    def samples(self, network: TrainableModel, count: int) -> list[Sample]:
        """The first validation clips whose corpus tells its mesh's triangles; without them there is nothing to look at."""
        shown = [cut for cut in self.val if cut.clip.corpus.triangles is not None][:count]
        made: list[Sample] = []
        for cut, predicted in zip(shown, self._animated(network, shown), strict=True):
            face = cut.clip.corpus.face(cut.clip.subject)
            true = np.array(cut.clip.offsets[: len(predicted)], np.float32)
            scale = np.float32(IN_METRES.get(self.unit, 1.0))
            ours, theirs = (
                Motion(cut.fps, offsets=scale * offsets, face=face) for offsets in (predicted, true)
            )
            made.append(Sample(cut.clip.name, ours, theirs, Speech(cut.samples)))
        return made

    def _animated(self, network: TrainableModel, cuts: Sequence[Cut]) -> list[Array]:
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
                y = (
                    network.animate(sound, frames)
                    if isinstance(network, Baseline)
                    else network.forward_offline(sound, frames)[0]
                )
                moved |= zip(some, y.float().cpu().numpy(), strict=True)
        return [moved[i].reshape(len(moved[i]), -1, 3) for i in range(len(cuts))]


class Cut:
    """A clip whose sound and motion end together. InputError when nothing much is left of it."""

    def __init__(self, clip: PreparedClip) -> None:
        self.clip, self.fps = clip, clip.fps
        self.frames = min(clip.frames, int(clip.samples_count / SAMPLE_RATE * clip.fps))
        if self.frames < max(2, SHORTEST * clip.fps):
            raise InputError(
                f"{clip.corpus.folder}: clip {clip.name} has {self.frames} frames, too few to train on"
            )

    @property
    def samples(self) -> Array:
        """(n,) float32 at 16 kHz."""
        return self.clip.samples[: round(self.frames / self.fps * SAMPLE_RATE)]

    @property
    def text(self) -> str:
        if not self.clip.text:
            raise InputError(
                f"{self.clip.corpus.folder} knows no text of clip {self.clip.name}: say lip_reading: text: recognised"
            )
        return self.clip.text


def _check_fit(corpus: PreparedCorpus, fps: float, outputs: int) -> None:
    if not corpus.vertices:
        raise InputError(
            f"{corpus.folder} holds weights of shapes, not vertices: expected a corpus for task: shapes"
        )
    if outputs != (wanted := 3 * corpus.vertices):
        raise InputError(
            f"outputs is {outputs}, but {corpus.folder} has {corpus.vertices} vertices: expected {wanted}"
        )
    if float(fps) != corpus.fps:
        raise InputError(f"fps is {fps}, but {corpus.folder} has {corpus.fps:g} frames a second")


def _data_hash(*splits: Sequence[Cut]) -> str:
    """SHA-256 over the clips' names, lengths and checksums, split by split."""
    digest = hashlib.sha256()
    for cuts in splits:
        for cut in cuts:
            clip = cut.clip
            digest.update(
                f"{clip.corpus.name}/{clip.name}/{cut.frames}/{clip.motion_sha256}/{clip.audio_sha256}\n".encode()
            )
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
