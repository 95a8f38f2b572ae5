"""A frozen Whisper as teacher: what one of its middle layers hears, at 50 frames a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.errors import InputError
from jambatalk.nn.pretrained_config import PretrainedConfig
from jambatalk.nn.pretrained_source import build_network
from jambatalk.nn.pretrained_whisper import WhisperReader
from jambatalk.training.feature_cache import FeatureCache, network_identity

Array = NDArray[Any]
CONTEXT = 150
"""Frames (3 s) that are heard on either side of a piece of a long clip and thrown away."""


class WhisperTeacher:
    """Features of a clip's sound from a Whisper encoder of transformers; never trained.

    width: features per frame. ``features`` are computed once per clip and, with a cache folder, kept from run to run.
    """

    def __init__(self, name: str, layer: int, cache: Path | None = None, device: str | torch.device = "cpu") -> None:
        """name: hub id or local folder. layer: 0 is the first layer's input, k what comes out of layer k, -1 the output.

        Raises MissingExtraError without transformers, InputError when there is no such network or layer.
        """
        network, architecture = build_network(PretrainedConfig(name=name, layer=layer, align="outputs", frozen="all"))
        if architecture["model_type"] != "whisper":
            raise InputError(f"the teacher {name!r} is of type {architecture['model_type']!r}, expected a Whisper")
        self.device = device
        self.network: Any = network.requires_grad_(False).to(device)
        settings: Any = network.config
        self.width: int = settings.d_model
        self._reader = WhisperReader(self.network)
        self._cache = FeatureCache(cache, network_identity(self.network, f"whisper layer {layer}"))

    def features(self, samples: Array) -> Array:
        """samples (n,) float32 at 16 kHz -> (T50, width) float16; frame k lies around k / 50 s."""
        return self._cache.get(samples, self._heard)["features"]

    @torch.no_grad()
    def _heard(self, samples: Array) -> dict[str, Array]:
        sound = torch.from_numpy(np.array(samples, np.float32))[None].to(self.device)
        length, window = self._reader.length(len(samples)), self._reader.positions
        with torch.autocast(torch.device(self.device).type, enabled=False):
            stats = self._reader.stats(sound, length <= window)
            context = min(CONTEXT, window // 4)
            kept = window if length <= window else window - 2 * context
            parts = [np.zeros((0, self.width), np.float16)]
            for start in range(0, length, kept):
                stop = min(start + kept, length)
                first = max(start - (0 if length <= window else context), 0)
                last = min(first + window, length)
                heard = self._reader.read(sound, stats, first, last)[0, start - first : stop - first]
                limit = float(np.finfo(np.float16).max)
                parts.append(heard.clamp(-limit, limit).cpu().numpy().astype(np.float16))
        return {"features": np.concatenate(parts)}
