"""The task of the presets that ship: blendshape weights of a face, from speech in many voices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import Speech
from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion
from jambatalk.text.phones import BILABIALS, PHONES
from jambatalk.training.blendshape_data import (
    AugmentedClips,
    Batch,
    BatchMaker,
    Source,
    Teacher,
    clips_hash,
    weight_statistics,
)
from jambatalk.training.config import CorpusConfig, TrainConfig
from jambatalk.training.lip_reading import BlendshapeLipReading
from jambatalk.training.losses import MotionLoss
from jambatalk.training.phone_motion import closed_pose, tucked_pose
from jambatalk.training.task import Sample

Array = NDArray[Any]
Progress = Callable[[int, int], None]


class BlendshapeTask:
    """Clips of any length whose motion is weights of ``face``'s blendshapes.

    Args:
        config: The settings of the run.
        face: The mesh with its blendshapes.
        train: Clips to learn from.
        val: Clips to validate on.
        progress: Called with (clips made, clips in all) while other voices are made.
        teacher: Features of a frozen speech model, for the loss terms that ask for one.

    Raises:
        InputError: The network does not fit the face, or a split is empty.
    """

    def __init__(
        self,
        config: TrainConfig,
        face: Face,
        train: Sequence[Clip],
        val: Sequence[Clip],
        progress: Progress | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        model = config.model
        if model.outputs != len(face.names):
            raise InputError(
                f"model.outputs is {model.outputs}, but the face has {len(face.names)} blendshapes"
            )
        if not model.encoder.streaming:
            raise InputError(
                f"model.encoder is of kind {model.encoder.kind!r}, expected an encoder that "
                "streams for training on blendshapes"
            )
        if not train or not val:
            raise InputError(
                f"{len(train)} training and {len(val)} validation clips found, expected at least "
                "one of each"
            )
        self.config, self.face, self.val, self.names = config, face, val, face.names
        self.notes: tuple[str, ...] = ()
        self.data_hash = clips_hash([*train, *val])
        torch.manual_seed(config.seed)
        self.network = SpeechToMotion(model)
        sources = self._sources(train, progress, teacher)
        self._set_statistics([source.clips for source in sources], train)
        self.batches = BatchMaker(
            sources, config.blendshapes, model, config.seed, self.network.encoder.norm
        )
        teacher_width = sources[0].clips.voices[0][0].teacher.shape[1]
        self.module: nn.Module = BlendshapeModule(
            self.network,
            MotionLoss(face, config.blendshapes.loss),
            teacher_width,
            self._lip_reading(teacher_width),
        )

    def batch(self, step: int, rows: slice) -> Batch:
        """Make sequences ``rows`` of the batch of one step, on the network's device."""
        return self.batches.to(self.network.head.weight.device).batch(step, rows)

    @torch.no_grad()
    def validate(self, network: SpeechToMotion) -> dict[str, float]:
        """Compare the validation clips, whole and unaugmented.

        Returns:
            ``opening``, the mean correlation of the inner-lip gap (the score), also of each corpus
            where there are several, and ``gap_mm``, its root mean square error.
        """
        correlations: dict[str, list[float]] = {}
        errors = []
        for clip in self.val:
            predicted = self._animate(network, clip)
            gap = self.face.lip_gap(predicted) * 1000.0
            true = self.face.lip_gap(clip.weights[: len(predicted)]) * 1000.0
            errors.append(float(np.sqrt(np.mean((gap - true) ** 2))))
            if gap.std() > 1e-6 and true.std() > 1e-6:
                correlations.setdefault(clip.corpus, []).append(float(np.corrcoef(gap, true)[0, 1]))
        every = [value for values in correlations.values() for value in values]
        opening = float(np.mean(every)) if every else 0.0
        figures = {"score": opening, "opening": opening, "gap_mm": float(np.mean(errors))}
        if len(correlations) > 1:
            figures |= {f"opening_{k}": float(np.mean(v)) for k, v in correlations.items()}
        return figures

    @torch.no_grad()
    def samples(self, network: SpeechToMotion, count: int) -> list[Sample]:
        """Animate the first validation clips."""
        samples = []
        for clip in self.val[:count]:
            weights = self._animate(network, clip)
            predicted, true = (
                Motion(clip.fps, weights=w[: len(weights)], names=self.names, face=self.face)
                for w in (weights, clip.weights)
            )
            samples.append(Sample(clip.id, predicted, true, Speech(clip.samples)))
        return samples

    def _animate(self, network: SpeechToMotion, clip: Clip) -> Array:
        """Weights (T, K) in 0..1 of a whole clip."""
        config = network.config
        corpora = self.config.blendshapes.corpora
        styles = [use.style for use in corpora if use.name == clip.corpus and use.style]
        network.choose_style(styles[0] if styles else None)
        frames = min(len(clip.samples) // config.hop, len(clip.weights))
        # Silence after the end pushes the last frames out, as a session's flush does.
        padded = np.zeros((frames + config.delay) * config.hop, np.float32)
        padded[: frames * config.hop] = clip.samples[: frames * config.hop]
        sound = torch.from_numpy(padded)[None].to(network.head.weight.device)
        y, _ = network(sound, network.init_state())
        weights: Array = y[0, config.delay :].clamp(0, 1).cpu().numpy()
        return weights

    def _sources(
        self, clips: Sequence[Clip], progress: Progress | None, teacher: Teacher | None
    ) -> list[Source]:
        """Make the voices of each corpus. InputError where the settings name another one."""
        config, settings = self.config, self.config.blendshapes
        by_corpus: dict[str, list[Clip]] = {}
        for clip in clips:
            by_corpus.setdefault(clip.corpus, []).append(clip)
        uses = settings.corpora or [
            CorpusConfig(name, share=float(sum(clip.frames for clip in clips)))
            for name, clips in by_corpus.items()
        ]
        if sorted(use.name for use in uses) != sorted(by_corpus):
            raise InputError(
                f"the data are of the corpora {', '.join(sorted(by_corpus))}, but blendshapes: "
                f"corpora names {', '.join(sorted(use.name for use in uses))}: expected the same"
            )
        variants = [use.variants or settings.variants for use in uses]
        total = sum(n * len(by_corpus[use.name]) for use, n in zip(uses, variants))
        sources: list[Source] = []
        done = 0
        for use, count in zip(uses, variants):

            def report(made: int, _: int, before: int = done) -> None:
                if progress is not None:
                    progress(before + made, total)

            augmented = AugmentedClips(
                by_corpus[use.name],
                config.model,
                settings.voice_augment,
                count,
                config.seed,
                report,
                teacher,
            )
            sources.append(Source(augmented, use.share, self._style(use.style), use.weight))
            done += count * len(by_corpus[use.name])
        return sources

    def _style(self, name: str) -> int:
        styles = self.config.model.styles
        if name and name not in styles:
            raise InputError(
                f"blendshapes: corpora: style is {name!r}, expected one of model: styles "
                f"({', '.join(styles) or 'none'})"
            )
        return styles.index(name) if name else 0

    def _set_statistics(self, sources: Sequence[AugmentedClips], train: Sequence[Clip]) -> None:
        """Start the network's normalization, face and closed lips where the corpora are."""
        network, contact = self.network, self.config.model.contact
        network.encoder.norm.start.copy_(
            torch.stack([clips.mean_mel() for clips in sources]).mean(0)
        )
        mean, deviation = weight_statistics(sources)
        network.output_mean.copy_(mean)
        network.output_scale.copy_(deviation)
        if network.contact is not None:
            if contact.phones != len(PHONES):
                raise InputError(
                    f"model: contact: phones is {contact.phones}, expected {len(PHONES)}, the "
                    "number of phones"
                )
            # Without bilabials in the data, closed lips are those of the initial weights.
            if any(phone.text in BILABIALS for clip in train for phone in clip.phones):
                network.contact.closed.copy_(torch.from_numpy(closed_pose(train, self.face)))
            tucked = tucked_pose(train) if contact.labiodentals else None
            if tucked is not None:
                network.contact.tucked.copy_(torch.from_numpy(tucked))

    def _lip_reading(self, teacher_width: int) -> BlendshapeLipReading | None:
        """The lip reader, where a term asks for it; InputError without the teacher it follows."""
        settings = self.config.blendshapes
        ctc, latent = settings.loss.ctc > 0, settings.loss.latent > 0
        if (latent or settings.loss.teacher) and not teacher_width:
            raise InputError(
                "a loss term asks for a teacher (teacher, latent), but blendshapes: teacher: name "
                "is empty"
            )
        if not ctc and not latent:
            return None
        reading = replace(settings.lip_reading, teacher_width=teacher_width if latent else 0)
        return BlendshapeLipReading(self.face, self.config.model.fps, reading, ctc, latent)


class BlendshapeModule(nn.Module):
    """The network, its loss, and the classifiers that only training has.

    Args:
        network: What is trained.
        loss: Terms of the predicted weights.
        teacher_width: Features per frame of the teacher; 0 without one.
        lips: The lip reader, or None.
    """

    def __init__(
        self,
        network: SpeechToMotion,
        loss: MotionLoss,
        teacher_width: int,
        lips: BlendshapeLipReading | None = None,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.lips = network, loss, lips
        width = network.config.decoder.width
        # A network that classifies phones itself, to close its lips, trains that classifier.
        own = loss.settings.phones and network.contact is None
        self.phone_reader = nn.Linear(width, len(PHONES)) if own else None
        with_teacher = loss.settings.teacher and teacher_width
        self.teacher_reader = nn.Linear(width, teacher_width) if with_teacher else None

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch and its terms, see ``MotionLoss``."""
        network = self.network
        state = network.init_state(len(batch.normal), batch.position)
        x, router = network.encode_features(batch.normal, state, batch.style)
        # The decoder's features at a step are about the frame ``delay`` before it.
        delay, frames = network.config.delay, x.shape[1] - network.config.delay
        x = x[:, delay:]
        predicted = network.motion_head(x)
        # Millimeters are compared in float32 whatever the network's precision.
        with torch.autocast(predicted.device.type, enabled=False):
            predicted = predicted.float()
            phones, teacher = batch.phones[:, :frames], batch.teacher[:, :frames]
            terms = self._classify(x.float(), phones, teacher, batch.has_teacher[:, :frames])
            if self.lips is not None:
                terms |= self.lips(predicted, phones, teacher)
            return self.loss(  # type: ignore[no-any-return]
                predicted, batch.weights[:, :frames], router, batch.importance, terms
            )

    def _classify(
        self, x: Tensor, phones: Tensor, teacher: Tensor, has_teacher: Tensor
    ) -> dict[str, Tensor]:
        """Compute the terms that are read off the decoder's features (B, T, width)."""
        terms = {}
        contact = self.network.contact
        reader = self.phone_reader if contact is None else contact.read
        if reader is not None and self.loss.settings.phones:
            # Of all frames, not of those known: the mean over parts of a batch is that of all.
            errors = F.cross_entropy(
                reader(x).flatten(0, 1), phones.flatten(), ignore_index=-1, reduction="sum"
            )
            terms["phones"] = errors / phones.numel()
        if self.teacher_reader is not None:
            error = (self.teacher_reader(x) - teacher).square().mean(-1)
            terms["teacher"] = (error * has_teacher).mean()
        return terms
