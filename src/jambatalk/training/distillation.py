"""A frozen Whisper as teacher: what one of its middle layers hears, at 50 frames a second."""

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

# What frozen networks hear in a clip, computed once: in memory, or in a folder from one run to the next.


Array = NDArray[Any]


CONTEXT = 150
"""Frames (3 s) that are heard on either side of a piece of a long clip and thrown away."""


class WhisperTeacher:
    """Features of a clip's sound from a Whisper encoder of transformers; never trained.

    width: features per frame. ``features`` are computed once per clip and, with a cache folder, kept from run to run.
    """

    def __init__(
        self, name: str, layer: int, cache: Path | None = None, device: str | torch.device = "cpu"
    ) -> None:
        """name: hub id or local folder. layer: 0 is the first layer's input, k what comes out of layer k, -1 the output.

        Raises MissingExtraError without transformers, InputError when there is no such network or layer.
        """
        network, architecture = build_network(
            PretrainedConfig(name=name, layer=layer, align="outputs", frozen="all")
        )
        if architecture["model_type"] != "whisper":
            raise InputError(
                f"the teacher {name!r} is of type {architecture['model_type']!r}, expected a Whisper"
            )
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
                heard = self._reader.read(sound, stats, first, last)[
                    0, start - first : stop - first
                ]
                limit = float(np.finfo(np.float16).max)
                parts.append(heard.clamp(-limit, limit).cpu().numpy().astype(np.float16))
        return {"features": np.concatenate(parts)}


# What a frozen Whisper hears in the clips as a target for training: few numbers a frame, alike in size, without the voice.


RATE = 50.0
"""Frames per second of the teacher."""
LARGEST = 4.0
"""Standard deviations at which a feature is cut off: Whisper has some that are hundreds of times larger at a few frames."""


@dataclass(frozen=True)
class TeacherConfig:
    """A frozen speech model that helps training; none unless it is named."""

    name: str = ""  # hub id or local folder of a Whisper; empty: none
    layer: int = 4  # whose features: k is what comes out of layer k
    width: int = 64  # principal components that are kept

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"teacher: width is {self.width}, expected at least 1")


def extract_teacher_features(
    clips: Sequence[Clip],
    config: TeacherConfig,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], Array]:
    """(corpus, id) of each clip -> (T', width) float16 at the clip's rate.

    A clip's own mean, which tells voice and microphone, is taken off; each feature is divided by its spread over all clips.
    InputError when the settings name no teacher, or want more components than it has features.
    """
    if not config.name:
        raise InputError(
            "a loss term asks for a teacher (teacher, latent), but shapes: teacher: name says none"
        )
    teacher = WhisperTeacher(config.name, config.layer, cache)
    if config.width > teacher.width:
        raise InputError(
            f"teacher: width is {config.width}, but {config.name} has {teacher.width} features"
        )
    heard = {}
    for count, clip in enumerate(clips, 1):
        features = teacher.features(clip.samples).astype(np.float32)
        heard[clip.corpus, clip.id] = _at_rate(features, clip.fps)
        if progress is not None:
            progress(count, len(clips))
    return reduced(heard, config.width)


def reduced(heard: dict[tuple[str, str], Array], width: int) -> dict[tuple[str, str], Array]:
    """Features (T, D) of each clip -> its first ``width`` principal components over all clips, of rms 1 altogether.

    A component of variance v is multiplied by v^-1/4, half way from its own size to that of all others.
    """
    centred = {key: values - values.mean(0) for key, values in heard.items()}
    spread = np.concatenate(list(centred.values())).std(0)
    scaled = {
        key: np.clip(v / np.maximum(spread, 1e-6), -LARGEST, LARGEST) for key, v in centred.items()
    }
    every = np.concatenate(list(scaled.values()))
    variance, axes = np.linalg.eigh(every.T @ every / len(every))
    variance, axes = variance[::-1][:width], axes[:, ::-1][:, :width]
    # An axis is only known up to its sign: the largest entry is made positive, so that machines agree.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(width)])
    gain = np.maximum(variance, 1e-12) ** -0.25
    parts = {key: values @ axes * gain for key, values in scaled.items()}
    size = float(np.sqrt(np.mean(np.concatenate(list(parts.values())) ** 2)))
    return {key: (values / max(size, 1e-6)).astype(np.float16) for key, values in parts.items()}


def _at_rate(features: Array, fps: float) -> Array:
    """(T50, D) at 50 Hz -> (T, D) at ``fps``: each frame the mean of what lies within a frame of its time, nearer counts more."""
    count = max(1, int(len(features) * fps / RATE))
    reach = max(RATE / fps, 1.0)
    places = np.arange(count) * (RATE / fps)
    near = np.maximum(1.0 - np.abs(np.arange(len(features))[None] - places[:, None]) / reach, 0.0)
    result: Array = (near @ features) / near.sum(1, keepdims=True)
    return result
