"""The task of the presets that ship: shape weights of a face, from sequences joined of many voices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from jambatalk.models.config import ModelConfig
from jambatalk.models.features import LogMel, NormState
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion
from jambatalk.streaming.frame_rate import resample_frames
from jambatalk.text.phones import BILABIALS, PHONE_INDEX, PHONES, SILENCE
from jambatalk.training.augment import VoiceAugment, augment_voice
from jambatalk.training.config import CorpusConfig, ShapesConfig, TrainConfig
from jambatalk.training.losses import LipTerms, MotionLoss
from jambatalk.training.phone_motion import closed_pose
from jambatalk.training.spec_augment import SpectralEffects
from jambatalk.training.task import Sample

# The voice bank: every training clip as features, in its own voice and in others made from it.


Array = NDArray[Any]
Teacher = Callable[[Clip], Array]


@dataclass(frozen=True)
class AugmentedClip:
    """One clip in one voice.

    mel: (T * reduction, bands) float16 log power. weights: (T, K) float32. phones: (T,) int16 indices into PHONES of the phone
    spoken at each frame, -1 where unknown. teacher: (T, D) float16 features of a frozen speech model; D is 0 without one.
    """

    mel: Array
    weights: Array
    phones: Array
    teacher: Array


class AugmentedClips:
    """``takes[v][i]``: clip i in voice v; voice 0 is the clip as recorded."""

    def __init__(
        self,
        clips: Sequence[Clip],
        config: ModelConfig,
        voices: VoiceAugment,
        variants: int,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        """teacher: the features (T', D) of a clip's recorded voice at the motion's rate. Other voices are to give the same."""
        features = LogMel(config.mel)
        others = [clip.samples for clip in clips]
        nothing = np.zeros((1, 0), np.float16)
        taught = [nothing if teacher is None else teacher(clip) for clip in clips]
        self.takes: list[list[AugmentedClip]] = []
        for voice in range(variants):
            row = []
            for i, clip in enumerate(clips):
                samples, weights, time_scale = clip.samples, clip.weights, 1.0
                if voice:
                    rng = np.random.default_rng([seed, voice, i])
                    samples, time_scale = augment_voice(samples, voices, rng, others)
                    if time_scale != 1.0:
                        weights = resample_frames(weights, config.fps, config.fps * time_scale)
                row.append(_take(samples, weights, time_scale, clip, taught[i], features, config))
                if progress is not None:
                    progress(voice * len(clips) + i + 1, variants * len(clips))
            self.takes.append(row)

    def mean_mel(self, loud_share: float = 0.5) -> torch.Tensor:
        """(bands,) mean log power of the loud half of the recorded voices' frames: where RunningNorm starts."""
        mel = np.concatenate([take.mel for take in self.takes[0]]).astype(np.float32)
        energy = np.exp(mel).sum(1)
        return torch.from_numpy(mel[energy >= np.quantile(energy, 1 - loud_share)].mean(0))


def weight_statistics(banks: Sequence[AugmentedClips]) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, standard deviation), (K,) each, of the shape weights over all frames of the recorded voices."""
    weights = np.concatenate([take.weights for bank in banks for take in bank.takes[0]])
    return torch.from_numpy(weights.mean(0)), torch.from_numpy(weights.std(0))


def _take(
    samples: Array,
    weights: Array,
    time_scale: float,
    clip: Clip,
    taught: Array,
    features: LogMel,
    config: ModelConfig,
) -> AugmentedClip:
    """Cut sound and motion to the same whole number of frames."""
    frames = min(len(samples) // config.hop, len(weights))
    sound = torch.from_numpy(np.ascontiguousarray(samples[: frames * config.hop], np.float32))[None]
    mel, _ = features(sound, features.init_state(1))
    times = np.arange(frames) / time_scale  # in frames of the recorded voice
    nearest = np.minimum(np.round(times).astype(np.int64), len(taught) - 1)
    return AugmentedClip(
        mel[0].numpy().astype(np.float16),
        np.ascontiguousarray(weights[:frames], np.float32),
        phone_indices(clip, times / config.fps),
        taught[nearest].astype(np.float16),
    )


def phone_indices(clip: Clip, seconds: Array) -> Array:
    """(T,) int16 indices into PHONES of what is spoken at the given times, -1 where that is unknown."""
    found = np.full(len(seconds), -1, np.int16)
    for phone, start, end in clip.phones:
        found[(seconds >= start) & (seconds < end)] = PHONE_INDEX.get(phone, -1)
    return found


# Training sequences: clips joined to long stretches of speech with pauses, drawn anew at every step.


@dataclass(frozen=True)
class Batch:
    """B sequences of T motion frames.

    mel: (B, T * reduction, bands) augmented log power. weights: (B, T, K). position: (B,) of the first frame.
    known: (B, 1) bool, whether the running normalisation has already heard the voice.
    hidden: (B, T * reduction, bands) bool, features that are hidden after normalisation.
    phones: (B, T) int64, -1 where unknown. teacher: (B, T, D). taught: (B, T) bool, where the teacher was heard.
    style: (B,) int64. importance: (B,) of the sequence in the loss.
    """

    mel: Tensor
    weights: Tensor
    phones: Tensor
    teacher: Tensor
    taught: Tensor
    style: Tensor
    importance: Tensor
    position: Tensor
    known: Tensor
    hidden: Tensor


# A clip is three seconds long; people talk longer, pause, and start again. Shares of the joints that get a pause:
PAUSE_CHANCE = 0.5
LONGEST_PAUSE = 40  # frames
NOISE_LOG_POWER = (
    -18.0,
    -2.0,
)  # natural logarithm of mel power: from a silent room to as loud as speech


@dataclass(frozen=True)
class Source:
    """A corpus' clips in many voices, and how they take part."""

    bank: AugmentedClips
    share: float  # of the sequences
    style: int = 0
    weight: float = 1.0


@dataclass
class _Stretch:
    """Parts of a sequence, to be put end to end."""

    mel: list[np.ndarray]
    weights: list[np.ndarray]
    phones: list[np.ndarray]
    teacher: list[np.ndarray]
    taught: list[np.ndarray]

    def cut(self, frames: slice, reduction: int) -> list[np.ndarray]:
        fine = slice(frames.start * reduction, frames.stop * reduction)
        rest = (
            np.concatenate(parts)[frames]
            for parts in (self.weights, self.phones, self.teacher, self.taught)
        )
        return [np.concatenate(self.mel)[fine], *rest]


class BatchMaker:
    """``batch(step, rows)``: each sequence depends on the seed, the step and its index in the global batch alone."""

    def __init__(
        self, sources: Sequence[Source], config: ShapesConfig, model: ModelConfig, seed: int
    ) -> None:
        self.sources, self.config, self.model, self.seed = tuple(sources), config, model, seed
        self.effects = SpectralEffects(config.spectral, model.mel)
        self.reduction = model.hop // model.mel.hop
        self.floor = float(np.log(model.mel.floor))
        shares = np.array([source.share for source in sources])
        self.chances = np.cumsum(shares / shares.sum())

    def batch(self, step: int, rows: slice) -> Batch:
        """Sequences ``rows`` of the batch of one step."""
        made = [self.one(step, index) for index in range(rows.start, rows.stop)]
        return Batch(*(torch.stack(values) for values in zip(*made, strict=True)))

    def one(self, step: int, index: int) -> tuple[Tensor, ...]:
        """One sequence: the fields of ``Batch`` without their first dimension."""
        rng = np.random.default_rng([self.seed, 7, step, index])
        source = self.sources[
            min(int(np.searchsorted(self.chances, rng.random())), len(self.sources) - 1)
        ]
        mel, *targets = self._sequence(rng, source)
        other = self._sequence(rng, source)[0]  # who may talk in the background
        position = torch.tensor(int(rng.integers(self.config.max_position)))
        known = torch.tensor([bool(rng.random() < self.config.known_voice)])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        heard = self.effects(torch.from_numpy(mel)[None], torch.from_numpy(other)[None], generator)[
            0
        ]
        hidden = self.effects.hidden(len(mel), generator)
        style, importance = torch.tensor(source.style), torch.tensor(source.weight)
        return (
            heard,
            *(torch.from_numpy(values) for values in targets),
            style,
            importance,
            position,
            known,
            hidden,
        )

    def _sequence(self, rng: np.random.Generator, source: Source) -> list[np.ndarray]:
        """Random clips end to end, some joints with a pause, cut out at a random place. One voice kind per sequence."""
        length = self.config.sequence
        if self.config.no_speech and rng.random() < self.config.no_speech:
            return self._noise(rng, source)
        takes = source.bank.takes
        voice = (
            0
            if len(takes) == 1 or rng.random() < self.config.own_voice
            else int(rng.integers(1, len(takes)))
        )
        row = takes[voice]
        parts = _Stretch([], [], [], [], [])
        skip = -1
        total = 0
        while skip < 0 or total < length + skip:
            take: AugmentedClip = row[int(rng.integers(len(row)))]
            if skip < 0:
                skip = int(rng.integers(len(take.weights)))
            elif rng.random() < PAUSE_CHANCE:
                frames = int(rng.integers(3, LONGEST_PAUSE))
                # The face moves on from where it was to where the next clip finds it; clips start and end at rest.
                mix = np.linspace(0, 1, frames + 2, dtype=np.float32)[1:-1, None]
                parts.weights.append((1 - mix) * parts.weights[-1][-1] + mix * take.weights[0])
                parts.mel.append(
                    np.full((frames * self.reduction, take.mel.shape[1]), self.floor, np.float32)
                )
                parts.phones.append(np.full(frames, PHONE_INDEX[SILENCE], np.int64))
                parts.teacher.append(np.zeros((frames, take.teacher.shape[1]), np.float32))
                parts.taught.append(np.zeros(frames, bool))
                total += frames
            parts.weights.append(take.weights)
            parts.mel.append(take.mel.astype(np.float32))
            parts.phones.append(take.phones.astype(np.int64))
            parts.teacher.append(take.teacher.astype(np.float32))
            parts.taught.append(np.ones(len(take.weights), bool))
            total += len(take.weights)
        return parts.cut(slice(skip, skip + length), self.reduction)

    def _noise(self, rng: np.random.Generator, source: Source) -> list[np.ndarray]:
        """Steady noise of any colour and level, and the face as clips begin: at rest."""
        length = self.config.sequence
        frames, bands = length * self.reduction, self.model.mel.bands
        axis = np.linspace(-1, 1, bands)
        colour = 3.0 * rng.standard_normal() * axis + 1.5 * rng.standard_normal() * np.cos(
            np.pi * axis
        )
        # Mel power of Gaussian noise is close to gamma-distributed around its mean.
        mel = (
            rng.uniform(*NOISE_LOG_POWER)
            + colour
            + np.log(rng.gamma(3.0, 1 / 3.0, (frames, bands)) + 1e-6)
        )
        row = source.bank.takes[0]
        take = row[int(rng.integers(len(row)))]
        return [
            mel.astype(np.float32),
            np.repeat(take.weights[:1], length, axis=0),
            np.full(length, PHONE_INDEX[SILENCE], np.int64),
            np.zeros((length, take.teacher.shape[1]), np.float32),
            np.zeros(length, bool),
        ]


class BlendshapeModule(nn.Module):
    """The network, what it minimises, and the readers that only training has."""

    def __init__(
        self,
        network: SpeechToMotion,
        loss: MotionLoss,
        teacher_width: int,
        lips: LipTerms | None = None,
    ) -> None:
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
        fresh, norm = state.speech.norm, network.encoder.norm
        _, heard = norm(batch.mel, fresh)
        start = NormState(
            torch.where(batch.known, heard.mean, fresh.mean),
            torch.where(batch.known, heard.level, fresh.level),
        )
        normal, _ = norm(batch.mel, start)
        x, router = network.encode_features(
            normal.masked_fill(batch.hidden, 0.0), state, batch.style
        )
        # Features of a step are about the frame ``delay`` before it.
        delay, frames = network.config.delay, x.shape[1] - network.config.delay
        x = x[:, delay:]
        predicted = network.motion_head(x)
        # Millimetres are compared in float32 whatever the network's products are made in.
        with torch.autocast(predicted.device.type, enabled=False):
            phones, teacher = batch.phones[:, :frames], batch.teacher[:, :frames]
            more = self._read(x.float(), phones, teacher, batch.taught[:, :frames])
            if hasattr(self, "lips"):
                more |= self.lips(predicted.float(), phones, teacher)
            total, terms = self.loss(
                predicted.float(), batch.weights[:, :frames], router, batch.importance, more
            )
        return total, terms

    def _read(
        self, x: Tensor, phones: Tensor, teacher: Tensor, taught: Tensor
    ) -> dict[str, Tensor]:
        """What can be read off the decoder's features (B, T, width), against what is known of the speech."""
        terms = {}
        reader = (
            self.network.contact.read
            if self.network.contact is not None
            else getattr(self, "phone_reader", None)
        )
        if reader is not None and self.loss.settings.phones:
            # Of all frames, not of those known: the mean over a part of a batch is then that of the whole.
            errors = F.cross_entropy(
                reader(x).flatten(0, 1), phones.flatten(), ignore_index=-1, reduction="sum"
            )
            terms["phones"] = errors / phones.numel()
        if hasattr(self, "teacher_reader"):
            terms["teacher"] = (
                (self.teacher_reader(x) - teacher).square().mean(-1) * taught
            ).mean()
        return terms


class BlendshapeTask:
    """Clips of any length whose motion is weights of ``face``'s shapes.

    Raises InputError when the network does not fit the face or a split is empty.
    progress: called with (clips made, clips in all) while voices are made.
    """

    def __init__(
        self,
        config: TrainConfig,
        face: Face,
        train: Sequence[Clip],
        val: Sequence[Clip],
        progress: Callable[[int, int], None] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        model, shapes = config.model, config.shapes
        if model.outputs != len(face.names):
            raise InputError(
                f"model.outputs is {model.outputs}, but the face has {len(face.names)} shapes"
            )
        if model.encoder.kind != "streaming":
            raise InputError(
                f"model.encoder is of kind {model.encoder.kind!r}, expected 'streaming': the one that trains here"
            )
        if not train or not val:
            raise InputError(
                f"{len(train)} training and {len(val)} validation clips found, expected at least one of each"
            )
        self.config, self.face, self.val, self.names = config, face, val, face.names
        self.data_hash = clips_hash([*train, *val])
        torch.manual_seed(config.seed)
        self.network = SpeechToMotion(model)
        sources = self._sources(train, progress, teacher)
        takes = [source.bank for source in sources]
        # The running mean starts where the corpora are on average, and so does the face.
        self.network.encoder.norm.start.copy_(
            torch.stack([bank.mean_mel() for bank in takes]).mean(0)
        )
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
        self.module: nn.Module = BlendshapeModule(
            self.network, MotionLoss(face, shapes.loss), teacher_width, self._lips(teacher_width)
        )

    def _lips(self, teacher_width: int) -> LipTerms | None:
        """The lip reader, where a term asks for it; InputError when the teacher that it is to follow is missing."""
        shapes = self.config.shapes
        ctc, latent = shapes.loss.ctc > 0, shapes.loss.latent > 0
        if (latent or shapes.loss.teacher) and not teacher_width:
            raise InputError(
                "a loss term asks for a teacher (teacher, latent), but shapes: teacher: name says none"
            )
        if not ctc and not latent:
            return None
        reading = replace(shapes.reading, teacher_width=teacher_width if latent else 0)
        return LipTerms(self.face, self.config.model.fps, reading, ctc, latent)

    def _sources(
        self,
        clips: Sequence[Clip],
        progress: Callable[[int, int], None] | None,
        teacher: Teacher | None,
    ) -> list[Source]:
        """Voices of each corpus, as the settings have it take part. InputError when these name another corpus or style."""
        config, shapes = self.config, self.config.shapes
        by_name: dict[str, list[Clip]] = {}
        for clip in clips:
            by_name.setdefault(clip.corpus, []).append(clip)
        frames = {name: sum(clip.frames for clip in own) for name, own in by_name.items()}
        uses = shapes.corpora or [
            CorpusConfig(name, share=float(count)) for name, count in frames.items()
        ]
        if sorted(use.name for use in uses) != sorted(by_name):
            raise InputError(
                f"the data are of the corpora {', '.join(sorted(by_name))}, but shapes: corpora names "
                f"{', '.join(sorted(use.name for use in uses))}: expected the same"
            )
        counts = [(use.variants or shapes.variants) * len(by_name[use.name]) for use in uses]
        sources, done = [], 0
        for use, count in zip(uses, counts):
            report = None if progress is None else partial(_report, progress, done, sum(counts))
            bank = AugmentedClips(
                by_name[use.name],
                config.model,
                shapes.voices,
                use.variants or shapes.variants,
                config.seed,
                report,
                teacher,
            )
            sources.append(Source(bank, use.share, self._style(use.style), use.weight))
            done += count
        return sources

    def _style(self, name: str) -> int:
        styles = self.config.model.styles
        if name and name not in styles:
            raise InputError(
                f"shapes: corpora: style is {name!r}, expected one of model: styles ({', '.join(styles) or 'none'})"
            )
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
        opening = (
            float(np.mean([value for values in correlations.values() for value in values]))
            if correlations
            else 0.0
        )
        own = {f"opening_{name}": value for name, value in each.items()} if len(each) > 1 else {}
        return {"score": opening, "opening": opening, "gap_mm": float(np.mean(errors)), **own}

    @torch.no_grad()
    def samples(self, network: SpeechToMotion, count: int) -> list[Sample]:
        """The first validation clips as the network moves them."""
        made = []
        for clip in self.val[:count]:
            predicted = self._animated(network, clip)
            mine, true = (
                Motion(
                    clip.fps, weights=weights[: len(predicted)], names=self.names, face=self.face
                )
                for weights in (predicted, clip.weights)
            )
            made.append(Sample(clip.id, mine, true, Speech(clip.samples)))
        return made

    def _animated(self, network: SpeechToMotion, clip: Clip) -> Array:
        """(T, K) weights in 0..1 of a whole clip."""
        config = network.config
        own = [
            use.style for use in self.config.shapes.corpora if use.name == clip.corpus and use.style
        ]
        network.choose_style(own[0] if own else None)
        frames = min(len(clip.samples) // config.hop, len(clip.weights))
        # The delay is paid with silence after the end, as a session's flush does.
        padded = np.zeros((frames + config.delay) * config.hop, np.float32)
        padded[: frames * config.hop] = clip.samples[: frames * config.hop]
        sound = torch.from_numpy(padded)[None].to(network.head.weight.device)
        y, _ = network(sound, network.init_state())
        moved: Array = y[0, config.delay :].clamp(0, 1).cpu().numpy()
        return moved


def _report(
    progress: Callable[[int, int], None], before: int, total: int, made: int, _: int
) -> None:
    progress(before + made, total)


def clips_hash(clips: Sequence[Clip]) -> str:
    """SHA-256 over the clips' names, splits, lengths, sounds and motions, in their order."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(
            f"{clip.corpus}/{clip.id}/{clip.split}/{len(clip.samples)}/{clip.weights.shape}/{clip.fps}\n".encode()
        )
        digest.update(clip.samples.tobytes())
        digest.update(clip.weights.tobytes())
    return digest.hexdigest()
