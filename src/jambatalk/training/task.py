"""What is trained on what: all that the loop needs to know of a kind of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from jambatalk.audio import Speech
from jambatalk.baselines.base import Baseline
from jambatalk.baselines.checkpoint import is_baseline, load_baseline, save_baseline
from jambatalk.models.checkpoint import load_weights, save_weights
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.motion import Motion


@dataclass(frozen=True)
class Sample:
    """One validation clip to look at: what the network made of ``speech`` beside what was recorded.

    Both motions have their ``face`` set where it is not the default head.
    """

    name: str
    predicted: Motion
    true: Motion
    speech: Speech


class Task(Protocol):
    """A kind of training; the loop does the rest.

    module: everything trainable. ``module(batch, step) -> (loss (), terms)``: the total to minimise and named scalar tensors
        for the log, both means over the batch's sequences.
    network: the submodule of ``module`` whose average is validated and exported: a SpeechToMotion or a Baseline.
    names: shape names of the network's outputs; () for vertices.
    data_hash: SHA-256 over all training and validation data, in hexadecimal.
    """

    module: nn.Module
    network: Any
    names: tuple[str, ...]
    data_hash: str

    def batch(self, step: int, rows: slice) -> Any:
        """Sequences ``rows`` (start and stop given) of the global batch of ``step``, on the CPU.

        Each sequence follows from the seed, the step and its own index alone, so a batch is the same however many processes
        share it. Tensors in dataclasses, tuples, lists and dictionaries are moved to the device. Called in another thread.
        """
        ...

    def validate(self, network: Any) -> dict[str, float]:
        """Figures of the validation clips by name; "score" is among them, higher is better."""
        ...

    def samples(self, network: Any, count: int) -> list[Sample]:
        """The first ``count`` validation clips (fewer where there are fewer), always the same ones."""
        ...


# What a task trains: a network of ours or a baseline; written to a file and read again.


TrainableModel = SpeechToMotion | Baseline


def save_network(
    path: Path,
    network: TrainableModel,
    names: tuple[str, ...],
    notes: dict[str, Any],
    half: bool = False,
) -> None:
    """Write a trained network with its settings, output names (none: vertex offsets) and ``notes``."""
    if isinstance(network, Baseline):
        save_baseline(path, network, notes, half)
    else:
        save_weights(path, network, names, notes, half)


def load_network(path: Path, device: str = "cpu") -> tuple[TrainableModel, tuple[str, ...]]:
    """(network in evaluation mode, output names). InputError when the file is missing, damaged or of another kind."""
    if is_baseline(path):
        return load_baseline(path)[0].to(device), ()
    network, names, _ = load_weights(path, device)
    return network, names
