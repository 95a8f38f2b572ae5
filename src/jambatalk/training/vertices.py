"""The task of the paper's presets: raw sound through a speech encoder to a corpus' vertices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE, Speech
from jambatalk.baselines import baseline_config, make_baseline
from jambatalk.baselines.base import Baseline, BaselineConfig
from jambatalk.datasets.dataset import PreparedClip, open_prepared
from jambatalk.datasets.lip_mask import lip_vertices
from jambatalk.datasets.masks import MOST_CLIPS, offset_spread
from jambatalk.datasets.regions import corpus_regions
from jambatalk.datasets.source import IN_METRES
from jambatalk.errors import InputError
from jambatalk.models.asr import NAME as LETTERS
from jambatalk.models.asr import ASRFeatures, CharTokenizer, SpeechRecognizer, collapsed
from jambatalk.models.lip_reader import TEXT_RATE
from jambatalk.models.moe import RouterStats
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion
from jambatalk.training.config import TrainConfig, VertexLossConfig
from jambatalk.training.lip_reading import LipReading, LipTarget
from jambatalk.training.losses import router_terms, vertex_terms, weighted_sum
from jambatalk.training.spec_augment import SpecAugment
from jambatalk.training.task import Sample, TrainableModel
from jambatalk.training.vertex_data import (
    Cut,
    Excerpt,
    LengthBuckets,
    VertexBatch,
    check_fit,
    cuts_hash,
    mean_mel,
)

Array = NDArray[Any]
TOGETHER = 25
"""Clips of one length that are animated at once in validation."""


class VertexTask:
    """Prepared corpora of one mesh; ``network`` moves its vertices from the subject's template.

    Args:
        config: The settings of the run.
        folders: Written by ``jambatalk data prepare``.
        cache: Where the recognizer's features are kept between runs; None: in memory.
        most: Clips of a split and folder that are used; None: all.

    Raises:
        InputError: Settings and corpora do not fit each other.
    """

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        config: TrainConfig,
        folders: Sequence[Path],
        cache: Path | None = None,
        most: int | None = None,
    ) -> None:
        self.config, self.settings = config, config.vertices
        baseline = baseline_config(config.baseline, "baseline") if config.baseline else None
        size: Any = config.model if baseline is None else baseline
        corpora = [open_prepared(folder) for folder in folders]
        for corpus in corpora:
            check_fit(corpus, size.fps, size.outputs)
        self.unit = corpora[0].unit
        if other := [corpus for corpus in corpora if corpus.unit != self.unit]:
            raise InputError(
                f"{corpora[0].folder} is in {self.unit}, but {other[0].folder} in {other[0].unit}"
            )
        scheme = self.settings.scheme or None
        self.train, self.val = (
            [Cut(clip) for corpus in corpora for clip in corpus.clips(split, scheme)[:most]]
            for split in (self.settings.train, self.settings.val)
        )
        self.data_hash = cuts_hash(self.train, self.val)
        longest = self.settings.seconds * size.fps or math.inf
        lengths = [round(min(cut.frames, longest)) for cut in self.train]
        self.buckets = LengthBuckets(lengths, config.batch_size, config.seed)
        self.subjects = sorted({cut.clip.subject for cut in self.train})
        torch.manual_seed(config.seed)
        clips = [cut.clip for cut in self.train]
        deviation = offset_spread(clips)
        self.lips = lip_vertices(self.settings.lips, clips, deviation)
        if self.settings.lips.choose == "regions":
            self.notes = tuple(corpus_regions(clips[0].corpus).lines)
            # Masks that are put beside the corpus later make another training of it.
            known = f"{self.data_hash}/{self.lips.tolist()}"
            self.data_hash = hashlib.sha256(known.encode()).hexdigest()
        self.recognizer: SpeechRecognizer | CharTokenizer | None = None
        self.network: TrainableModel
        self.module: nn.Module
        if baseline is None:
            self._make_network(cache, deviation)
        else:
            subjects = baseline.subjects or self.subjects
            changes: dict[str, Any] = {"subjects": subjects}
            # SelfTalk's reader sees lips of its own, unless its share of all vertices is 0.
            if getattr(baseline, "lip_share", 1.0) == 0 and not getattr(baseline, "lips", ()):
                changes["lips"] = self.lips.tolist()
            self._make_baseline(replace(baseline, **changes), clips, deviation)
        self.texts: list[list[int]] = []
        ctc = self.settings.loss.ctc and self.settings.lip_reading.text == "corpus"
        if self.recognizer is not None and ctc:
            self.texts = [self.recognizer.spelled(cut.text) for cut in self.train]

    def _make_network(self, cache: Path | None, deviation: Array) -> None:
        """Make the network that the settings describe, and its lip reader."""
        config, loss = self.config, self.settings.loss
        network = SpeechToMotion(config.model)
        if network.config.encoder.kind == "streaming":
            start = mean_mel(self.train, config.model.mel, config.model.hop)
            network.encoder.norm.start.copy_(start)
            if self.settings.augment_share:
                network.encoder.feature_augment = SpecAugment(
                    self.settings.spec_augment, self.settings.augment_share, config.model.mel
                )
        if self.settings.spread:
            network.output_scale.copy_(torch.from_numpy(deviation).reshape(-1))
        reading = None
        if loss.latent or loss.ctc:
            self.recognizer = self._make_recognizer(cache)
            reading = LipReading(
                len(self.lips),
                self.recognizer.width,
                self.recognizer.letters,
                self.recognizer.blank,
                self.settings.lip_reading,
                loss.ctc > 0,
            )
        self.network = network
        self.module = VertexModule(network, self.lips, loss, reading, self.recognizer)

    def _make_recognizer(self, cache: Path | None) -> SpeechRecognizer | CharTokenizer:
        """What gives the lip reader its targets. InputError when the terms ask for more."""
        reading = self.settings.lip_reading
        if reading.recognizer != LETTERS:
            return SpeechRecognizer(reading.recognizer, None if cache is None else cache / "heard")
        if self.settings.loss.latent or reading.text != "corpus":
            raise InputError(
                f"the recognizer {LETTERS!r} has no features of sound: expected loss: latent: 0 "
                "and lip_reading: text: corpus"
            )
        return CharTokenizer()

    def _make_baseline(
        self, settings: BaselineConfig, clips: Sequence[PreparedClip], deviation: Array
    ) -> None:
        """Make the baseline and fit it to some of the training motion."""
        network = make_baseline(settings)
        if network.config.encoder.kind == "streaming":
            encoder = network.hearing.encoder
            start = mean_mel(self.train, settings.mel, SAMPLE_RATE // settings.fps)
            encoder.norm.start.copy_(start)
            if self.settings.augment_share:
                encoder.feature_augment = SpecAugment(
                    self.settings.spec_augment, self.settings.augment_share, settings.mel
                )
        if self.settings.spread:
            network.output_scale.copy_(torch.from_numpy(deviation).reshape(-1))
        some = clips[:: -(-len(clips) // MOST_CLIPS)]
        frames = np.concatenate([np.array(clip.offsets, np.float32) for clip in some])
        network.fit(torch.from_numpy(frames.reshape(len(frames), -1)))
        self.network, self.module = network, BaselineModule(network)

    def batch(self, step: int, rows: slice) -> VertexBatch:
        """Make sequences ``rows`` of the batch of one step.

        Every clip comes once in each pass through the corpus, in a new order.
        """
        sequences = [self._sequence(step, index) for index in range(rows.start, rows.stop)]
        samples, offsets, rest, excerpts, subjects = zip(*sequences, strict=True)
        return VertexBatch(
            nn.utils.rnn.pad_sequence(list(samples), batch_first=True),
            nn.utils.rnn.pad_sequence(list(offsets), batch_first=True),
            torch.stack(rest),
            tuple(map(len, samples)),
            tuple(map(len, offsets)),
            excerpts if self.recognizer is not None else (),
            torch.tensor(subjects),
        )

    def _sequence(self, step: int, index: int) -> tuple[Tensor, Tensor, Tensor, Excerpt, int]:
        clip = int(self.buckets.batch(step)[index])
        cut, sound = self.train[clip], self.train[clip].samples
        first, frames = 0, cut.frames
        longest = max(2, round(self.settings.seconds * cut.fps))
        if self.settings.seconds and longest < frames:
            rng = np.random.default_rng([self.config.seed, 11, step, index])
            first, frames = int(rng.integers(frames - longest + 1)), longest
        start = round(first / cut.fps * SAMPLE_RATE)
        samples = sound[start : start + round(frames / cut.fps * SAMPLE_RATE)]
        offsets = np.array(cut.clip.offsets[first : first + frames], np.float32).reshape(frames, -1)
        rest = np.array(cut.clip.template[self.lips], np.float32).reshape(-1)
        text = torch.tensor(self.texts[clip], dtype=torch.long) if self.texts else None
        excerpt = Excerpt(sound, first / cut.fps, (first + frames) / cut.fps, text)
        return (
            torch.from_numpy(samples.copy()),
            torch.from_numpy(offsets),
            torch.from_numpy(rest),
            excerpt,
            self.subjects.index(cut.clip.subject),
        )

    @torch.no_grad()
    def validate(self, network: TrainableModel) -> dict[str, float]:
        """Compare all frames of the validation clips.

        Returns:
            ``lips``, the mean distance of the lip vertex that is worst in a frame (the score is
            minus that), and ``vertices``, the mean distance of all; in mm, with ``_mm`` in their
            names, where the corpus' unit is known.
        """
        worst, mean, frames = 0.0, 0.0, 0
        for cut, predicted in zip(self.val, self._animate(network, self.val), strict=True):
            error = np.linalg.norm(predicted - cut.clip.offsets[: len(predicted)], axis=2)  # (T, V)
            worst += float(error[:, self.lips].max(1).sum())
            mean += float(error.mean(1).sum())
            frames += len(error)
        known = self.unit in IN_METRES
        scale, unit = (1000.0 * IN_METRES[self.unit], "_mm") if known else (1.0, "")
        lips, vertices = scale * worst / max(frames, 1), scale * mean / max(frames, 1)
        return {"score": -lips, f"lips{unit}": lips, f"vertices{unit}": vertices}

    @torch.no_grad()
    def samples(self, network: TrainableModel, count: int) -> list[Sample]:
        """Animate the first validation clips whose corpus has its mesh's triangles."""
        shown = [cut for cut in self.val if cut.clip.corpus.triangles is not None][:count]
        samples: list[Sample] = []
        scale = np.float32(IN_METRES.get(self.unit, 1.0))
        for cut, offsets in zip(shown, self._animate(network, shown), strict=True):
            face = cut.clip.corpus.face(cut.clip.subject)
            predicted, true = (
                Motion(cut.fps, offsets=scale * values, face=face)
                for values in (offsets, np.array(cut.clip.offsets[: len(offsets)], np.float32))
            )
            samples.append(Sample(cut.clip.name, predicted, true, Speech(cut.samples)))
        return samples

    def _animate(self, network: TrainableModel, cuts: Sequence[Cut]) -> list[Array]:
        """(T, V, 3) float32 offsets of each clip; clips of one length are computed together."""
        device = next(network.parameters()).device
        groups: dict[tuple[int, int], list[int]] = {}
        for i, cut in enumerate(cuts):
            groups.setdefault((len(cut.samples), cut.frames), []).append(i)
        moved: dict[int, Array] = {}
        for (_, frames), members in groups.items():
            for first in range(0, len(members), TOGETHER):
                some = members[first : first + TOGETHER]
                sound = torch.from_numpy(np.stack([cuts[i].samples for i in some])).to(device)
                if isinstance(network, Baseline):
                    y = network.animate(sound, frames)
                else:
                    y, _ = network.forward_offline(sound, frames)
                moved |= zip(some, y.float().cpu().numpy(), strict=True)
        return [moved[i].reshape(len(moved[i]), -1, 3) for i in range(len(cuts))]


class VertexModule(nn.Module):
    """The network, the lip reader beside it, and the loss.

    Args:
        network: What is trained.
        lips: (L,) vertex indices.
        loss: Weights of the terms.
        reading: The lip reader, or None.
        recognizer: Gives the lip reader its targets; frozen, and part of no checkpoint.
    """

    lips: Tensor

    def __init__(
        self,
        network: SpeechToMotion,
        lips: Array,
        loss: VertexLossConfig,
        reading: LipReading | None = None,
        recognizer: SpeechRecognizer | CharTokenizer | None = None,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.reading = network, loss, reading
        self.register_buffer("lips", torch.from_numpy(lips), persistent=False)
        self.recognizer = recognizer

    def forward(self, batch: VertexBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the weighted sum of the terms and each by name; means over the sequences."""
        predicted, lengths, router = self._predict(batch)
        # Fractions of a millimeter, squared, are beyond half precision.
        with torch.autocast(predicted.device.type, enabled=False):
            predicted = predicted.float()
            true = batch.offsets[:, : predicted.shape[1]]
            terms = vertex_terms(predicted, true, lengths, self.lips, self.loss)
        if self.reading is not None:
            fps = float(self.network.config.fps)
            moved = predicted.unflatten(-1, (-1, 3))[:, :, self.lips].flatten(2)
            targets = [
                self._target(excerpt, length / fps, moved.device)
                for excerpt, length in zip(batch.excerpts, lengths, strict=True)
            ]
            terms |= self.reading(moved + batch.rest[:, None], fps, lengths, targets)
        if self.loss.balance or self.loss.router_z:
            terms |= router_terms(router, predicted)
        return weighted_sum(terms, self.loss), terms

    def _predict(self, batch: VertexBatch) -> tuple[Tensor, list[int], list[RouterStats]]:
        """(B, T, 3 V) with zeros after each sequence's end, frames of each, router statistics."""
        rows: dict[int, Tensor] = {}
        routers = []
        for (samples, frames), members in batch.groups().items():
            with numpy_seeded_by_torch():
                y, router = self.network.forward_offline(batch.samples[members, :samples], frames)
            rows |= zip(members, y, strict=True)
            routers.append(router)
        predicted = [rows[row] for row in range(len(rows))]
        counts = [len(row) for row in predicted]
        padded = [F.pad(row, (0, 0, 0, max(counts) - len(row))) for row in predicted]
        joined = [RouterStats.joined(list(stats)) for stats in zip(*routers, strict=True)]
        return torch.stack(padded), counts, joined

    def _target(self, excerpt: Excerpt, seconds: float, device: torch.device) -> LipTarget:
        """What the lips of the first ``seconds`` of a sequence should be read as."""
        assert self.recognizer is not None
        start, end = excerpt.start, min(excerpt.end, excerpt.start + seconds)
        if self.loss.latent or (self.loss.ctc and excerpt.text is None):
            read = self.recognizer.read(excerpt.sound, device).between(start, end)
        else:
            last = min(self.recognizer.frames(len(excerpt.sound)), round(end * TEXT_RATE))
            frames = last - round(start * TEXT_RATE)
            read = ASRFeatures(np.zeros((frames, 0), np.float16), np.zeros(frames, np.int32))
        latent = text = None
        if self.loss.latent:
            latent = torch.from_numpy(read.latent).to(device, torch.float32)
        if self.loss.ctc:
            text = excerpt.text
            if text is None:
                letters = collapsed(read.letters, self.recognizer.blank)
                text = torch.tensor(letters, dtype=torch.long)
        return LipTarget(len(read.latent), latent, text)


class BaselineModule(nn.Module):
    """A baseline with the terms of its own loss, over clips of one length at a time."""

    def __init__(self, network: Baseline) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: VertexBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the sum of the baseline's terms and each by name; means over the clips."""
        terms: dict[str, Tensor] = {}
        for (samples, frames), rows in batch.groups().items():
            with numpy_seeded_by_torch():
                found = self.network.loss(
                    batch.samples[rows, :samples],
                    batch.offsets[rows, :frames],
                    batch.subjects[rows],
                    step,
                )
            for name, value in found.items():
                terms[name] = terms.get(name, 0.0) + value * (len(rows) / len(batch.lengths))
        return torch.stack(list(terms.values())).sum(), terms


@contextmanager
def numpy_seeded_by_torch() -> Iterator[None]:
    """Seed numpy's global generator from torch's for a while.

    transformers draws the masks of wav2vec 2.0 from it, and a resumed run must draw the same.
    """
    state = np.random.get_state()
    np.random.seed(int(torch.randint(2**31, ())))
    try:
        yield
    finally:
        np.random.set_state(state)
