"""What frozen networks hear in a clip, computed once: in memory, or in a folder from one run to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jambatalk.files import replacing

Array = NDArray[Any]
Features = dict[str, Array]


class FeatureCache:
    """Named arrays per clip, found again by the clip's sound.

    folder: where <identity>/<sound>.npz files are kept; None keeps everything in memory. identity: tells one network and
    one way of using it from every other.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self.folder = None if folder is None else folder / identity
        self._kept: dict[str, Features] = {}

    def get(self, samples: Array, make: Callable[[Array], Features]) -> Features:
        """What ``make`` gives for the sound (n,) float32; called when it is not there yet, or its file is damaged."""
        key = hashlib.sha256(np.ascontiguousarray(samples, np.float32).tobytes()).hexdigest()
        if self.folder is None:
            if key not in self._kept:
                self._kept[key] = make(samples)
            return self._kept[key]
        path = self.folder / f"{key}.npz"
        if (found := _read(path)) is None:
            found = make(samples)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **found)
        return found


def _read(path: Path) -> Features | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception:  # missing, or cut off: as many kinds of error as there are damages
        return None


def network_identity(network: nn.Module, use: str) -> str:
    """A name for a network's numbers and what is taken from it: for folders, 16 hexadecimal digits."""
    digest = hashlib.sha256(use.encode())
    for name, value in network.state_dict().items():
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
