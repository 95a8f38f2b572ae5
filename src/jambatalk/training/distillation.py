"""Features of a frozen Whisper, as targets for training: one of its middle layers, reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jambatalk.datasets.clip import Clip
from jambatalk.errors import InputError
from jambatalk.models.asr import FeatureCache, network_identity
from jambatalk.models.config import PretrainedConfig
from jambatalk.models.encoders.pretrained import WhisperReader, build_network

Array = NDArray[Any]

RATE = 50.0
"""Frames per second of the teacher."""
CONTEXT = 150
"""Frames (3 s) on either side of a piece of a long clip that are computed and dropped."""
LARGEST = 4.0
"""Standard deviations at which a feature is clipped: at a few frames Whisper has some that are
hundreds of times larger."""


@dataclass(frozen=True)
class TeacherConfig:
    """A frozen speech model that helps training; none unless it is named."""

    name: str = ""
    """Hub id or local folder of a Whisper; empty: none."""
    layer: int = 4
    """Whose features: k is the output of layer k."""
    width: int = 64
    """Principal components that are kept."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"teacher: width is {self.width}, expected at least 1")


def extract_teacher_features(
    clips: Sequence[Clip],
    config: TeacherConfig,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], Array]:
    """Compute the target features of some clips.

    A clip's own mean, which depends on voice and microphone, is subtracted; each feature is
    divided by its standard deviation over all clips.

    Args:
        clips: Of any corpora.
        config: Which teacher.
        cache: A folder where features are kept from run to run.
        progress: Called with (clips done, clips in all).

    Returns:
        (corpus, id) of each clip -> (T', width) float16 at the clip's rate.

    Raises:
        InputError: The settings name no teacher, or ask for more components than it has features.
    """
    if not config.name:
        raise InputError(
            "a loss term asks for a teacher (teacher, latent), but blendshapes: teacher: name is "
            "empty"
        )
    teacher = WhisperTeacher(config.name, config.layer, cache)
    if config.width > teacher.width:
        raise InputError(
            f"teacher: width is {config.width}, but {config.name} has {teacher.width} features"
        )
    features = {}
    for count, clip in enumerate(clips, 1):
        found = teacher.features(clip.samples).astype(np.float32)
        features[clip.corpus, clip.id] = _at_rate(found, clip.fps)
        if progress is not None:
            progress(count, len(clips))
    return reduced(features, config.width)


class WhisperTeacher:
    """Features of a clip's sound from a Whisper encoder of transformers; never trained.

    Args:
        name: Hub id or local folder.
        layer: 0 is the first layer's input, k the output of layer k, -1 the network's output.
        cache: A folder in which features are kept from run to run.
        device: Where the network runs.

    Raises:
        MissingExtraError: transformers is not installed.
        InputError: There is no such network or layer.
    """

    def __init__(
        self, name: str, layer: int, cache: Path | None = None, device: str | torch.device = "cpu"
    ) -> None:
        network, architecture = build_network(
            PretrainedConfig(name=name, layer=layer, align="outputs", frozen="all")
        )
        if architecture["model_type"] != "whisper":
            raise InputError(
                f"the teacher {name!r} is of type {architecture['model_type']!r}, expected Whisper"
            )
        self.device = device
        self.network: Any = network.requires_grad_(False).to(device)
        settings: Any = network.config
        self.width: int = settings.d_model
        self._reader = WhisperReader(self.network)
        self._cache = FeatureCache(cache, network_identity(self.network, f"whisper layer {layer}"))

    def features(self, samples: Array) -> Array:
        """Compute features, once per clip.

        Args:
            samples: (n,) float32 at 16 kHz.

        Returns:
            (T50, width) float16; frame k lies around k / 50 s.
        """
        return self._cache.get(samples, self._compute)["features"]

    @torch.no_grad()
    def _compute(self, samples: Array) -> dict[str, Array]:
        sound = torch.from_numpy(np.array(samples, np.float32))[None].to(self.device)
        length, window = self._reader.length(len(samples)), self._reader.positions
        whole = length <= window
        limit = float(np.finfo(np.float16).max)
        with torch.autocast(torch.device(self.device).type, enabled=False):
            stats = self._reader.stats(sound, whole)
            context = 0 if whole else min(CONTEXT, window // 4)
            kept = window - 2 * context
            parts = [np.zeros((0, self.width), np.float16)]
            for start in range(0, length, kept):
                stop, first = min(start + kept, length), max(start - context, 0)
                x = self._reader.read(sound, stats, first, min(first + window, length))
                x = x[0, start - first : stop - first].clamp(-limit, limit)
                parts.append(x.cpu().numpy().astype(np.float16))
        return {"features": np.concatenate(parts)}


def reduced(features: dict[tuple[str, str], Array], width: int) -> dict[tuple[str, str], Array]:
    """Project features (T, D) of each clip on the first ``width`` principal components of all.

    A component of variance v is multiplied by v^-1/4, half way from its own size to that of all
    others; the result has an rms of 1 altogether.
    """
    centered = {key: values - values.mean(0) for key, values in features.items()}
    deviation = np.maximum(np.concatenate(list(centered.values())).std(0), 1e-6)
    scaled = {key: np.clip(v / deviation, -LARGEST, LARGEST) for key, v in centered.items()}
    every = np.concatenate(list(scaled.values()))
    variance, axes = np.linalg.eigh(every.T @ every / len(every))
    variance, axes = variance[::-1][:width], axes[:, ::-1][:, :width]
    # An axis has no sign of its own: the largest entry is made positive, so that machines agree.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(width)])
    gain = np.maximum(variance, 1e-12) ** -0.25
    parts = {key: values @ axes * gain for key, values in scaled.items()}
    size = float(np.sqrt(np.mean(np.concatenate(list(parts.values())) ** 2)))
    return {key: (values / max(size, 1e-6)).astype(np.float16) for key, values in parts.items()}


def _at_rate(features: Array, fps: float) -> Array:
    """Resample (T50, D) at 50 Hz to ``fps``: weighted means of what is within a frame's time."""
    count = max(1, int(len(features) * fps / RATE))
    reach = max(RATE / fps, 1.0)
    places = np.arange(count) * (RATE / fps)
    near = np.maximum(1.0 - np.abs(np.arange(len(features))[None] - places[:, None]) / reach, 0.0)
    result: Array = (near @ features) / near.sum(1, keepdims=True)
    return result
