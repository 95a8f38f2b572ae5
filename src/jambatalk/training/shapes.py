"""The task of the presets that ship: shape weights of a face, from sequences joined of many voices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import Speech
from jambatalk.data.clip import Clip
from jambatalk.data.phones import BILABIALS, PHONES
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.nn.mel import NormState
from jambatalk.nn.model import SpeechToMotion
from jambatalk.training.bank import Teacher, VoiceBank, weight_statistics
from jambatalk.training.batches import Batch, BatchMaker, Source
from jambatalk.training.config import TrainConfig
from jambatalk.training.lip_terms import LipTerms
from jambatalk.training.losses import MotionLoss
from jambatalk.training.phone_fit import closed_pose
from jambatalk.training.shapes_config import CorpusConfig
from jambatalk.training.task import Sample

Array = NDArray[Any]


class ShapesModule(nn.Module):
    """The network, what it minimises, and the readers that only training has."""

    def __init__(self, network: SpeechToMotion, loss: MotionLoss, teacher_width: int, lips: LipTerms | None = None) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        if lips is not None:
            self.lips = lips
        width = network.config.decoder.width
        # Where the network itself reads phones, to close its lips by, it is that reader which learns.
        if loss.settings.phones and network.contact is None:
            self.phone_reader = nn.Linear(width, len(PHONES))
        if loss.settings.teacher and teacher_width:
            self.teacher_reader = nn.Linear(width, teacher_width)

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms, see ``MotionLoss``."""
        network = self.network
        state = network.init_state(len(batch.mel), batch.position)
        # Some sequences begin a stream; for the others the running mean has already heard the voice.
        _, heard = network.norm(batch.mel, state.norm)
        start = NormState(
            torch.where(batch.known, heard.mean, state.norm.mean), torch.where(batch.known, heard.level, state.norm.level)
        )
        normal, _ = network.norm(batch.mel, start)
        x, _, _, router = network.understood(normal.masked_fill(batch.hidden, 0.0), state, batch.style)
        # What is understood at a step is about the frame ``delay`` before it.
        delay, frames = network.config.delay, x.shape[1] - network.config.delay
        x = x[:, delay:]
        predicted = network.unclosed(x)
        # Millimetres are compared in float32 whatever the network's products are made in.
        with torch.autocast(predicted.device.type, enabled=False):
            phones, teacher = batch.phones[:, :frames], batch.teacher[:, :frames]
            more = self._read(x.float(), phones, teacher, batch.taught[:, :frames])
            if hasattr(self, "lips"):
                more |= self.lips(predicted.float(), phones, teacher)
            total, terms = self.loss(predicted.float(), batch.weights[:, :frames], router, batch.importance, more)
        return total, terms

    def _read(self, x: Tensor, phones: Tensor, teacher: Tensor, taught: Tensor) -> dict[str, Tensor]:
        """What can be read off the decoder's features (B, T, width), against what is known of the speech."""
        terms = {}
        reader = self.network.contact.read if self.network.contact is not None else getattr(self, "phone_reader", None)
        if reader is not None and self.loss.settings.phones:
            # Of all frames, not of those known: the mean over a part of a batch is then that of the whole.
            errors = F.cross_entropy(reader(x).flatten(0, 1), phones.flatten(), ignore_index=-1, reduction="sum")
            terms["phones"] = errors / phones.numel()
        if hasattr(self, "teacher_reader"):
            terms["teacher"] = ((self.teacher_reader(x) - teacher).square().mean(-1) * taught).mean()
        return terms


class ShapesTask:
    """Clips of any length whose motion is weights of ``face``'s shapes.

    Raises InputError when the network does not fit the face or a split is empty.
    progress: called with (clips made, clips in all) while voices are made.
    """

    def __init__(
        self, config: TrainConfig, face: Face, train: Sequence[Clip], val: Sequence[Clip],
        progress: Callable[[int, int], None] | None = None, teacher: Teacher | None = None,
    ) -> None:  # fmt: skip
        model, shapes = config.model, config.shapes
        if model.outputs != len(face.names):
            raise InputError(f"model.outputs is {model.outputs}, but the face has {len(face.names)} shapes")
        if model.encoder.kind != "streaming":
            raise InputError(f"model.encoder is of kind {model.encoder.kind!r}, expected 'streaming': the one that trains here")
        if not train or not val:
            raise InputError(f"{len(train)} training and {len(val)} validation clips found, expected at least one of each")
        self.config, self.face, self.val, self.names = config, face, val, face.names
        self.data_hash = clips_hash([*train, *val])
        torch.manual_seed(config.seed)
        self.network = SpeechToMotion(model)
        sources = self._sources(train, progress, teacher)
        takes = [source.bank for source in sources]
        # The running mean starts where the corpora are on average, and so does the face.
        self.network.norm.start.copy_(torch.stack([bank.mean_mel() for bank in takes]).mean(0))
        mean, spread = weight_statistics(takes)
        self.network.output_mean.copy_(mean)
        self.network.output_scale.copy_(spread)
        if self.network.contact is not None:
            if model.contact.phones != len(PHONES):
                raise InputError(
                    f"model: contact: phones is {model.contact.phones}, expected {len(PHONES)}: as many as there are"
                )
            # Without bilabials in the data, how lips meet is what the weights that training begins with say.
            if any(phone.text in BILABIALS for clip in train for phone in clip.phones):
                self.network.contact.closed.copy_(torch.from_numpy(closed_pose(train, face)))
        self.batches = BatchMaker(sources, shapes, model, config.seed)
        teacher_width = takes[0].takes[0][0].teacher.shape[1]
        self.module: nn.Module = ShapesModule(
            self.network, MotionLoss(face, shapes.loss), teacher_width, self._lips(teacher_width)
        )

    def _lips(self, teacher_width: int) -> LipTerms | None:
        """The lip reader, where a term asks for it; InputError when the teacher that it is to follow is missing."""
        shapes = self.config.shapes
        ctc, latent = shapes.loss.ctc > 0, shapes.loss.latent > 0
        if (latent or shapes.loss.teacher) and not teacher_width:
            raise InputError("a loss term asks for a teacher (teacher, latent), but shapes: teacher: name says none")
        if not ctc and not latent:
            return None
        reading = replace(shapes.reading, teacher_width=teacher_width if latent else 0)
        return LipTerms(self.face, self.config.model.fps, reading, ctc, latent)

    def _sources(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None, teacher: Teacher | None
    ) -> list[Source]:
        """Voices of each corpus, as the settings have it take part. InputError when these name another corpus or style."""
        config, shapes = self.config, self.config.shapes
        by_name: dict[str, list[Clip]] = {}
        for clip in clips:
            by_name.setdefault(clip.corpus, []).append(clip)
        frames = {name: sum(clip.frames for clip in own) for name, own in by_name.items()}
        uses = shapes.corpora or [CorpusConfig(name, share=float(count)) for name, count in frames.items()]
        if sorted(use.name for use in uses) != sorted(by_name):
            raise InputError(
                f"the data are of the corpora {', '.join(sorted(by_name))}, but shapes: corpora names "
                f"{', '.join(sorted(use.name for use in uses))}: expected the same"
            )
        counts = [(use.variants or shapes.variants) * len(by_name[use.name]) for use in uses]
        sources, done = [], 0
        for use, count in zip(uses, counts):
            report = None if progress is None else partial(_report, progress, done, sum(counts))
            bank = VoiceBank(
                by_name[use.name], config.model, shapes.voices, use.variants or shapes.variants, config.seed, report, teacher
            )
            sources.append(Source(bank, use.share, self._style(use.style), use.weight))
            done += count
        return sources

    def _style(self, name: str) -> int:
        styles = self.config.model.styles
        if name and name not in styles:
            raise InputError(f"shapes: corpora: style is {name!r}, expected one of model: styles ({', '.join(styles) or 'none'})")
        return styles.index(name) if name else 0

    def batch(self, step: int, rows: slice) -> Batch:
        """Sequences ``rows`` of the batch of one step."""
        return self.batches.batch(step, rows)

    @torch.no_grad()
    def validate(self, network: SpeechToMotion) -> dict[str, float]:
        """On the validation clips, whole and unaugmented: ``opening``, the mean correlation of the inner-lip gap (the score), of
        each corpus where there are several, and ``gap_mm``, its root mean square error."""
        correlations: dict[str, list[float]] = {}
        errors = []
        for clip in self.val:
            predicted = self._animated(network, clip)
            gap = self.face.lip_gap(predicted) * 1000.0
            true = self.face.lip_gap(clip.weights[: len(predicted)]) * 1000.0
            errors.append(float(np.sqrt(np.mean((gap - true) ** 2))))
            if gap.std() > 1e-6 and true.std() > 1e-6:
                correlations.setdefault(clip.corpus, []).append(float(np.corrcoef(gap, true)[0, 1]))
        each = {name: float(np.mean(values)) for name, values in correlations.items()}
        opening = float(np.mean([value for values in correlations.values() for value in values])) if correlations else 0.0
        own = {f"opening_{name}": value for name, value in each.items()} if len(each) > 1 else {}
        return {"score": opening, "opening": opening, "gap_mm": float(np.mean(errors)), **own}

    @torch.no_grad()
    def samples(self, network: SpeechToMotion, count: int) -> list[Sample]:
        """The first validation clips as the network moves them."""
        made = []
        for clip in self.val[:count]:
            predicted = self._animated(network, clip)
            mine, true = (
                Motion(clip.fps, weights=weights[: len(predicted)], names=self.names, face=self.face)
                for weights in (predicted, clip.weights)
            )
            made.append(Sample(clip.id, mine, true, Speech(clip.samples)))
        return made

    def _animated(self, network: SpeechToMotion, clip: Clip) -> Array:
        """(T, K) weights in 0..1 of a whole clip."""
        config = network.config
        own = [use.style for use in self.config.shapes.corpora if use.name == clip.corpus and use.style]
        network.choose_style(own[0] if own else None)
        frames = min(len(clip.samples) // config.hop, len(clip.weights))
        # The delay is paid with silence after the end, as a session's flush does.
        padded = np.zeros((frames + config.delay) * config.hop, np.float32)
        padded[: frames * config.hop] = clip.samples[: frames * config.hop]
        sound = torch.from_numpy(padded)[None].to(network.head.weight.device)
        y, _ = network(sound, network.init_state())
        moved: Array = y[0, config.delay :].clamp(0, 1).cpu().numpy()
        return moved


def _report(progress: Callable[[int, int], None], before: int, total: int, made: int, _: int) -> None:
    progress(before + made, total)


def clips_hash(clips: Sequence[Clip]) -> str:
    """SHA-256 over the clips' names, splits, lengths, sounds and motions, in their order."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(f"{clip.corpus}/{clip.id}/{clip.split}/{len(clip.samples)}/{clip.weights.shape}/{clip.fps}\n".encode())
        digest.update(clip.samples.tobytes())
        digest.update(clip.weights.tobytes())
    return digest.hexdigest()
