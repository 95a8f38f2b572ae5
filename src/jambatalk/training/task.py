"""What the training loop needs to know of a kind of training, and the networks that are trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from jambatalk.audio import Speech
from jambatalk.baselines import is_baseline, load_baseline, save_baseline
from jambatalk.baselines.base import Baseline
from jambatalk.errors import InputError
from jambatalk.models.checkpoint import load_weights, save_weights
from jambatalk.models.config import EncoderConfig, LipClosureConfig, ModelConfig
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion

TrainableModel = SpeechToMotion | Baseline


@dataclass(frozen=True)
class Sample:
    """One validation clip to look at: what the network predicts for ``speech`` and the truth.

    Both motions have their ``face`` set where it is not the default head.
    """

    name: str
    predicted: Motion
    true: Motion
    speech: Speech


class Task(Protocol):
    """A kind of training: data, network and loss; ``Trainer`` does the rest.

    Attributes:
        module: Everything trainable. ``module(batch, step) -> (loss (), terms)``: the total to
            minimize and named scalar tensors for the log, all means over the batch's sequences.
        network: The submodule of ``module`` whose average is validated and exported.
        names: Blendshape names of the network's outputs; () for vertices.
        notes: Lines to print before the training begins.
        data_hash: SHA-256 over all training and validation data, in hexadecimal.
    """

    module: nn.Module
    network: Any
    names: tuple[str, ...]
    notes: tuple[str, ...]
    data_hash: str

    def batch(self, step: int, rows: slice) -> Any:
        """Make sequences ``rows`` (start and stop given) of the global batch of ``step``.

        Each sequence follows from the seed, the step and its own index alone, so a batch is the
        same however many processes share it. Called in another thread.

        Returns:
            Tensors on the CPU in dataclasses, tuples, lists or dictionaries.
        """
        ...

    def validate(self, network: Any) -> dict[str, float]:
        """Compute the figures of the validation clips; "score" is one of them, higher is better."""
        ...

    def samples(self, network: Any, count: int) -> list[Sample]:
        """Animate the first ``count`` validation clips (fewer where there are fewer)."""
        ...


def save_network(
    path: Path,
    network: TrainableModel,
    names: tuple[str, ...],
    notes: dict[str, Any],
    half: bool = False,
) -> None:
    """Write a trained network.

    Args:
        path: A .safetensors file.
        network: The weights and their settings.
        names: Blendshape names of its outputs; () for vertex offsets.
        notes: How it was trained.
        half: Store float16.
    """
    if isinstance(network, Baseline):
        save_baseline(path, network, notes, half)
    else:
        save_weights(path, network, names, notes, half)


def load_network(path: Path, device: str = "cpu") -> tuple[TrainableModel, tuple[str, ...]]:
    """Read what ``save_network`` wrote.

    Returns:
        The network in evaluation mode and the blendshape names of its outputs.

    Raises:
        InputError: The file is missing, damaged or of another kind.
    """
    if is_baseline(path):
        return load_baseline(path)[0].to(device), ()
    network, names, _ = load_weights(path, device)
    return network, names


def initialize_network(path: Path, network: TrainableModel, names: tuple[str, ...]) -> None:
    """Give ``network``, whose output statistics are those of new data, the weights in ``path``.

    It then moves as the network in ``path`` does, except for blendshapes that rest in the new
    data. The statistics stay: a blendshape that the old data never moved, and the old units could
    not express, can be learned. Styles that the old network lacks begin as its only style; a lip
    closure head that it lacks stays as it is.

    Args:
        path: Weights to begin with.
        network: Is changed.
        names: Blendshape names of its outputs.

    Raises:
        InputError: The weights are of another architecture or move other blendshapes.
    """
    if isinstance(network, Baseline):
        baseline, _ = load_baseline(path)
        if baseline.config != network.config:
            raise InputError(
                f"{path} is another baseline than the settings describe: the same settings expected"
            )
        network.load_state_dict(baseline.state_dict())
        return
    old, old_names, _ = load_weights(path)
    contact, wanted = old.config.contact, network.config.contact
    fits = old.config.styles in ([], network.config.styles) and (
        contact == LipClosureConfig()
        or replace(contact, labiodentals=wanted.labiodentals) == wanted
    )
    if _architecture(old.config) != _architecture(network.config) or old_names != names or not fits:
        raise InputError(
            f"{path} is another network than the settings describe: same model settings and face "
            "expected"
        )
    scale = network.output_scale
    moves = scale > 0
    safe = torch.where(moves, scale, torch.ones_like(scale))
    with torch.no_grad():
        weight = old.head.weight * (old.output_scale / safe)[:, None]
        bias = (old.output_mean + old.output_scale * old.head.bias - network.output_mean) / safe
    tensors = old.state_dict() | {
        "head.weight": torch.where(moves[:, None], weight, torch.zeros_like(weight)),
        "head.bias": torch.where(moves, bias, torch.zeros_like(bias)),
        "output_mean": network.output_mean,
        "output_scale": scale,
    }
    network.load_state_dict({**network.state_dict(), **tensors})


def _architecture(config: ModelConfig) -> ModelConfig:
    """The settings that weights have to agree on; dropout and styles may differ."""
    encoder = config.encoder
    if isinstance(encoder, EncoderConfig):
        encoder = replace(encoder, dropout=0.0)
    return replace(
        config,
        styles=[],
        contact=LipClosureConfig(),
        encoder=encoder,
        decoder=replace(config.decoder, dropout=0.0),
    )
