"""The task of the presets that ship: shape weights of a face, from sequences joined of many voices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jambatalk.audio import Speech
from jambatalk.data.clip import Clip
from jambatalk.errors import InputError
from jambatalk.face.face import Face
from jambatalk.motion import Motion
from jambatalk.nn.mel import NormState
from jambatalk.nn.model import SpeechToMotion
from jambatalk.training.bank import VoiceBank
from jambatalk.training.batches import Batch, BatchMaker
from jambatalk.training.config import TrainConfig
from jambatalk.training.losses import MotionLoss
from jambatalk.training.task import Sample

Array = NDArray[Any]


class ShapesModule(nn.Module):
    """The network and what it minimises."""

    def __init__(self, network: SpeechToMotion, loss: MotionLoss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

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
        predicted, _, _, router = network.decode(normal.masked_fill(batch.hidden, 0.0), state)
        delay = network.config.delay
        # Millimetres are compared in float32 whatever the network's products are made in.
        with torch.autocast(predicted.device.type, enabled=False):
            total, terms = self.loss(predicted.float()[:, delay:], batch.weights[:, : batch.weights.shape[1] - delay], router)
        return total, terms


class ShapesTask:
    """Clips of any length whose motion is weights of ``face``'s shapes.

    Raises InputError when the network does not fit the face or a split is empty.
    progress: called with (clips made, clips in all) while voices are made.
    """

    def __init__(
        self, config: TrainConfig, face: Face, train: Sequence[Clip], val: Sequence[Clip],
        progress: Callable[[int, int], None] | None = None,
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
        bank = VoiceBank(train, model, shapes.voices, shapes.variants, config.seed, progress)
        self.network.norm.start.copy_(bank.mean_mel())
        mean, spread = bank.weight_statistics()
        self.network.output_mean.copy_(mean)
        self.network.output_scale.copy_(spread)
        self.batches = BatchMaker(bank, shapes, model, config.seed)
        self.module: nn.Module = ShapesModule(self.network, MotionLoss(face, shapes.loss))

    def batch(self, step: int, rows: slice) -> Batch:
        """Sequences ``rows`` of the batch of one step."""
        return self.batches.batch(step, rows)

    @torch.no_grad()
    def validate(self, network: SpeechToMotion) -> dict[str, float]:
        """On the validation clips, whole and unaugmented: ``opening``, the mean correlation of the inner-lip gap (the score),
        and ``gap_mm``, its root mean square error."""
        correlations, errors = [], []
        for clip in self.val:
            predicted = self._animated(network, clip)
            gap = self.face.lip_gap(predicted) * 1000.0
            true = self.face.lip_gap(clip.weights[: len(predicted)]) * 1000.0
            errors.append(float(np.sqrt(np.mean((gap - true) ** 2))))
            if gap.std() > 1e-6 and true.std() > 1e-6:
                correlations.append(float(np.corrcoef(gap, true)[0, 1]))
        opening = float(np.mean(correlations)) if correlations else 0.0
        return {"score": opening, "opening": opening, "gap_mm": float(np.mean(errors))}

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
        frames = min(len(clip.samples) // config.hop, len(clip.weights))
        # The delay is paid with silence after the end, as a session's flush does.
        padded = np.zeros((frames + config.delay) * config.hop, np.float32)
        padded[: frames * config.hop] = clip.samples[: frames * config.hop]
        sound = torch.from_numpy(padded)[None].to(network.head.weight.device)
        y, _ = network(sound, network.init_state())
        moved: Array = y[0, config.delay :].clamp(0, 1).cpu().numpy()
        return moved


def clips_hash(clips: Sequence[Clip]) -> str:
    """SHA-256 over the clips' names, splits, lengths, sounds and motions, in their order."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(f"{clip.corpus}/{clip.id}/{clip.split}/{len(clip.samples)}/{clip.weights.shape}/{clip.fps}\n".encode())
        digest.update(clip.samples.tobytes())
        digest.update(clip.weights.tobytes())
    return digest.hexdigest()
