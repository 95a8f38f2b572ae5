"""What a task trains: a network of ours or a baseline; written to a file and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jambatalk.baselines.base import Baseline
from jambatalk.baselines.checkpoint import is_baseline, load_baseline, save_baseline
from jambatalk.checkpoint import load_weights, save_weights
from jambatalk.nn.model import SpeechToMotion

Network = SpeechToMotion | Baseline


def save_network(path: Path, network: Network, names: tuple[str, ...], notes: dict[str, Any], half: bool = False) -> None:
    """Write a trained network with its settings, output names (none: vertex offsets) and ``notes``."""
    if isinstance(network, Baseline):
        save_baseline(path, network, notes, half)
    else:
        save_weights(path, network, names, notes, half)


def load_network(path: Path, device: str = "cpu") -> tuple[Network, tuple[str, ...]]:
    """(network in evaluation mode, output names). InputError when the file is missing, damaged or of another kind."""
    if is_baseline(path):
        return load_baseline(path)[0].to(device), ()
    network, names, _ = load_weights(path, device)
    return network, names
