"""How large a training is before it begins: parameters by part, memory and disk.

Networks are built without numbers, so that 500 million parameters are counted in a second, and
without asking a hub: the architectures of the speech networks that the paper and its baselines use
are known here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from jambatalk.baselines import baseline_config, make_baseline
from jambatalk.models.config import PretrainedConfig
from jambatalk.models.encoders.pretrained import (
    XLSR_53_LARGE,
    build_network,
    read_architecture,
    transformers_library,
    unfilled_networks,
)
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.training.config import TrainConfig
from jambatalk.training.lip_reading import LipReading

BASE: dict[str, Any] = {
    **XLSR_53_LARGE,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "conv_bias": False,
    "vocab_size": 32,
}
"""The size that wav2vec 2.0 and HuBERT call base."""

KNOWN = {
    "jonatasgrosman/wav2vec2-large-xlsr-53-english": XLSR_53_LARGE,
    "facebook/wav2vec2-base-960h": BASE,
    "facebook/hubert-base-ls960": {**BASE, "model_type": "hubert"},
}
"""Architectures of hub ids, for counting only: a training reads the network's own."""

LIPS = {15069: 250, 11685: 758}
"""Lip vertices of FLAME's mask (distinct ones) and of the paper's box on BIWI_6, by outputs."""

LETTERS = 33
"""Of the recognizer that the paper's lip reader is compared with."""


@dataclass(frozen=True)
class Part:
    """One part of a network: parameters in all and those that training changes."""

    name: str
    parameters: int
    trained: int


@dataclass(frozen=True)
class TrainingSize:
    """What one training takes.

    Args:
        parts: Of the network and, last, the lip reader beside it, where there is one.
        average: Whether a moving average of the weights is kept.
        reader: Whether the last part is a lip reader, which is not in exported weights.
        recognizer: Parameters of the frozen recognizer beside the network; in no checkpoint.
    """

    parts: tuple[Part, ...]
    average: bool = False
    reader: bool = False
    recognizer: int = 0

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(part.parameters for part in self.parts)

    @property
    def trained(self) -> int:
        """Those that training changes."""
        return sum(part.trained for part in self.parts)

    @property
    def memory(self) -> int:
        """Bytes of weights, gradients, Adam's two means, average and recognizer, float32.

        What a clip's activations take comes on top.
        """
        average = self.trained if self.average else 0
        return 4 * (self.parameters + self.recognizer + 3 * self.trained + average)

    @property
    def disk(self) -> int:
        """Bytes of the run folder at its largest: the last checkpoint, one that is being written,
        best and final weights, and what is frozen.
        """
        average = self.trained if self.average else 0
        checkpoint = 4 * (3 * self.trained + average)
        exported = self.parameters - (self.parts[-1].parameters if self.reader else 0)
        return 2 * checkpoint + 2 * 4 * exported + 4 * (self.parameters - self.trained)


def training_size(config: TrainConfig) -> TrainingSize:
    """Count the parameters of what the settings train.

    Raises:
        InputError: A pretrained encoder is neither known here nor can its architecture be read.
        MissingExtraError: There is one and transformers is not installed.
    """
    with torch.device("meta"), unfilled_networks():
        if config.baseline:
            settings = baseline_config(config.baseline, "baseline")
            network = make_baseline(replace(settings, encoder=_known(settings.encoder)))
            parts = _parts(network.hearing.encoder)
            rest = _part("decoder", network)
            used = [sum(values) for values in zip(*((p.parameters, p.trained) for p in parts))]
            parts.append(Part("decoder", rest.parameters - used[0], rest.trained - used[1]))
            reads = str(config.baseline.get("recognizer", ""))
            return TrainingSize(
                tuple(parts), config.ema_decay > 0, recognizer=_recognizer(reads) if reads else 0
            )
        made = SpeechToMotion(replace(config.model, encoder=_known(config.model.encoder)))
        parts = [*_parts(made.encoder), _part("decoder", made.decoder), _part("head", made.head)]
        whole, known = _part("other", made), sum(part.parameters for part in parts)
        if whole.parameters > known:  # styles, lip closure
            trained = whole.trained - sum(part.trained for part in parts)
            parts.append(Part("other", whole.parameters - known, trained))
        loss, reading = config.vertices.loss, config.vertices.lip_reading
        reads_lips = config.task == "vertices" and bool(loss.latent or loss.ctc)
        beside = 0
        if reads_lips:
            beside = _recognizer(reading.recognizer)
            width = int(_architecture(reading.recognizer)["hidden_size"])
            lips = LIPS.get(config.model.outputs, config.model.outputs // 60)
            reader = LipReading(lips, width, LETTERS, 0, reading, loss.ctc > 0)
            parts.append(_part("lip reader", reader))
    return TrainingSize(tuple(parts), config.ema_decay > 0, reads_lips, beside)


def _parts(encoder: nn.Module) -> list[Part]:
    """The speech network and the linear map from it to the decoder's width, where there is one."""
    whole, project = _part("encoder", encoder), getattr(encoder, "project", None)
    if project is None:
        return [whole]
    map_part = _part("map", project)
    return [
        Part("encoder", whole.parameters - map_part.parameters, whole.trained - map_part.trained),
        map_part,
    ]


def _recognizer(name: str) -> int:
    """Parameters of a recognizer; its map to letters is next to nothing."""
    if name == "letters":
        return 0
    network, _ = build_network(PretrainedConfig(name=name, architecture=_architecture(name)))
    return _part("recognizer", network).parameters


def _part(name: str, module: nn.Module) -> Part:
    counts = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return Part(name, sum(n for n, _ in counts), sum(n for n, trained in counts if trained))


def _known(encoder: Any) -> Any:
    if isinstance(encoder, PretrainedConfig) and not encoder.architecture:
        return replace(encoder, architecture=_architecture(encoder.name))
    return encoder


def _architecture(name: str) -> dict[str, Any]:
    if name in KNOWN:
        return KNOWN[name]
    if name == "letters":
        return {"hidden_size": 128}
    return read_architecture(transformers_library(), name)
