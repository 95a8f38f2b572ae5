"""Pretrained encoders of the wav2vec 2.0 family and Whisper, at the frame rate of the motion.

They need the whole clip, sound to come included, so they are for recordings; for live sound there
is ``streaming.py``. From top to bottom: ``PretrainedEncoder``, the two readers that run a network
over any stretch of a clip (``WaveReader``, ``WhisperReader``), and where networks come from (a hub,
a folder, or random numbers in the shape of a given architecture).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.models.config import MelConfig, PretrainedConfig

FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper")
"""The ``model_type`` of each network that can be used."""

XLSR_53_LARGE: dict[str, Any] = {
    "model_type": "wav2vec2",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "conv_dim": [512, 512, 512, 512, 512, 512, 512],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "mask_time_prob": 0.05,
    "mask_feature_prob": 0.0,
    "feat_proj_dropout": 0.05,
    "hidden_dropout": 0.05,
    "activation_dropout": 0.05,
    "attention_dropout": 0.1,
    "layerdrop": 0.05,
    "vocab_size": 33,
    "pad_token_id": 0,
    "do_normalize": True,
}
"""wav2vec2-large-xlsr-53 as its English fine-tuning has it: what the released checkpoints hold."""

WITHOUT_EFFECT = (
    "transformers_version",
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
    "use_cache",
)
"""Parts of transformers' configurations that do not change the encoder's arithmetic."""

BLOCK = 1 << 20
"""Samples that statistics are summed over at a time."""

PIECE = 250
"""Frames that the convolutions make at a time outside training: their inner values take some 0.4 MB
a frame at full size.
"""

FRAME, HOP = 400, 160
WHISPER_BLOCK = 3000
"""Mel frames that the clip's loudest value is sought in at a time."""


class PretrainedEncoder(nn.Module):
    """Sound -> one vector per motion frame.

    ``network`` is the transformers module under its own names, so that published weights map one to
    one; ``project`` leads from its features (of two frames, folded, with align "pairs") to the
    decoder's width.

    Sound longer than ``config.window`` goes through in windows that overlap by twice
    ``config.context``, in evaluation only (in training every clip is read whole, but for Whisper,
    which cannot). What is read at a time is bounded, and so is memory beyond sound and result.
    Windows see the convolutions' features of the whole clip exactly, group norms included; what
    differs is context outside the window, and the positional convolution, which reaches 64 frames
    to each side (2.6 s at 25 fps, with align "features"): the context should not be shorter than
    that.

    Measured (``benchmarks/quality/encoder_seams.py``; wav2vec2-base's size with random weights,
    whose attention is even; 90 s of speech, windows of 30 s): rms error within 0.2 s of a seam,
    relative to how much features vary over time, 24 % without context, 29 % with 1 s, 4.6 % with 2
    s, 2.3 % with 3 s (the default). The rest of the clip differs by 2.5 % there and by no less with
    5 s: that is what even attention takes from the sound outside the window, and no seam. Where
    attention is sharp at random places (queries times 8), both are 13 %. Trained networks attend
    mostly nearby; none was at hand.
    """

    def __init__(
        self, config: PretrainedConfig, fps: float, width: int, mel: MelConfig | None = None
    ) -> None:
        """fps: motion frames per second. width: of the vectors returned.

        Raises MissingExtraError, InputError, ValueError.
        """
        super().__init__()
        network, architecture = build_network(config)
        self.config, self.fps, self.width = config, float(fps), width
        self._architecture = architecture
        self.network = network
        self.reader: WaveReader | WhisperReader
        settings: Any = network.config
        if architecture["model_type"] == "whisper":
            if config.align != "outputs":
                raise ValueError(
                    f"align is {config.align!r}, but Whisper's encoder needs 'outputs'"
                )
            self.reader = WhisperReader(network)
            hidden = settings.d_model
        else:
            self.reader = WaveReader(network, bool(architecture.get("do_normalize", True)))
            hidden = settings.hidden_size
        self.rate = (
            SAMPLE_RATE / self.reader.stride
        )  # frames per second of the network, 50 in every published one
        if config.align == "pairs" and self.rate != 2 * self.fps:
            raise ValueError(
                f"align 'pairs' folds {self.rate:g} Hz to {self.rate / 2:g} Hz, but the motion "
                f"has {self.fps:g} fps"
            )
        self.project = nn.Linear(hidden * (2 if config.align == "pairs" else 1), width)
        self._freeze()

    def _freeze(self) -> None:
        network: Any = self.network
        frozen: list[Any] = []
        if self.config.frozen == "all":
            frozen = [network]
        elif self.config.frozen == "conv":
            whisper = isinstance(self.reader, WhisperReader)
            frozen = [network.conv1, network.conv2] if whisper else [network.feature_extractor]
        for module in frozen:
            module.requires_grad_(False)
        if frozen and not isinstance(self.reader, WhisperReader):
            # transformers' mark: without it the extractor asks for gradients of the sound.
            network.feature_extractor._requires_grad = False

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """As in torch, but a network that is frozen as a whole stays in evaluation: no dropout, no
        masking.
        """
        super().train(mode)
        if self.config.frozen == "all":
            self.network.eval()
        return self

    def filled_config(self) -> PretrainedConfig:
        """The configuration with the whole architecture in it: enough to build this encoder again
        without any other file.
        """
        return replace(self.config, architecture=self._architecture)

    def frames(self, samples: int) -> int:
        """Motion frames of a clip of so many samples at 16 kHz: the authors' rule."""
        return self._count(self.reader.length(samples))

    def _count(self, length: int) -> int:
        return length // 2 if self.config.align == "pairs" else int(length / self.rate * self.fps)

    def forward(self, samples: Tensor, frames: int | None = None) -> Tensor:
        """samples (B, n) at 16 kHz -> (B, T, width).

        T is ``frames``, or by default ``self.frames(n)``; with align "pairs" it never exceeds the
        latter. A clip too short for one frame gives T = 0, or a ValueError when frames are demanded
        of it.
        """
        length = self.reader.length(samples.shape[1])
        count = self._count(length) if frames is None else frames
        if self.config.align == "pairs":
            count = min(count, length // 2)
        elif count and not length:
            raise ValueError(
                f"{samples.shape[1]} samples are too few for a speech encoder to make {count} "
                "frames of"
            )
        if not count:
            return samples.new_zeros(len(samples), 0, self.width, dtype=self.project.weight.dtype)
        whole, keep, context = self._plan(length, count)
        stats: Any = self.reader.stats(
            samples, whole and (torch.is_grad_enabled() or length <= PIECE)
        )
        parts = []
        for first in range(0, count, keep):
            part = self._encode(
                samples, stats, length, count, first, min(first + keep, count), context
            )
            parts.append(self.project(part.to(self.project.weight.dtype)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _plan(self, length: int, count: int) -> tuple[bool, int, int]:
        """(is the clip read whole?, motion frames kept of a window, network frames read at each
        side of them).
        """
        window = self.config.window * self.rate
        if isinstance(self.reader, WhisperReader):
            window = float(self.reader.positions)
            whole = length <= window
        else:
            whole = self.training or length <= window
        if whole:
            return True, count, max(length, count)
        # A frame of the transformer is a motion frame when the features were resampled before it.
        per_second = self.fps if self.config.align == "features" else self.rate
        context = round(self.config.context * per_second)
        seconds = window / self.rate - 2 * self.config.context
        keep = int(seconds * self.rate * count / length) - 4  # room for rounding
        return False, max(keep, 1), context

    def _encode(
        self, samples: Tensor, stats: Any, length: int, count: int, a: int, b: int, context: int
    ) -> Tensor:
        """Network outputs (B, b - a, features) of the motion frames a ... b - 1."""
        reader = self.reader
        if self.config.align == "pairs":
            first, last = max(0, 2 * a - context), min(length, 2 * b + context)
            y = reader.read(samples, stats, first, last)[:, 2 * a - first : 2 * b - first]
            return y.reshape(len(y), b - a, -1)
        step = (length - 1) / max(
            count - 1, 1
        )  # features or outputs of the network between two motion frames
        if self.config.align == "features":
            assert isinstance(reader, WaveReader)
            first, last = max(0, a - context), min(count, b + context)
            positions = torch.arange(first, last, dtype=torch.float64) * step
            lower, upper = int(positions[0]), min(int(positions[-1]) + 2, length)
            features = interpolate(reader.features(samples, stats, lower, upper), positions - lower)
            return reader.transform(features)[:, a - first : b - first]
        positions = torch.arange(a, b, dtype=torch.float64) * step
        first, last = (
            max(0, int(positions[0]) - context),
            min(length, int(positions[-1]) + 2 + context),
        )
        return interpolate(reader.read(samples, stats, first, last), positions - first)


def interpolate(values: Tensor, positions: Tensor) -> Tensor:
    """values (B, n, C) at 0 ... n - 1 -> (B, T, C) at ``positions`` (T,), linear in between.

    As ``F.interpolate(mode="linear", align_corners=True)`` does it, with positions exact over any
    length.
    """
    lower = positions.floor().clamp(0, values.shape[1] - 1)
    upper = (lower + 1).clamp(max=values.shape[1] - 1)
    share = (positions - lower).to(values)[:, None]
    low, high = (values[:, index.long().to(values.device)] for index in (lower, upper))
    return torch.lerp(low, high, share.expand_as(low))


@dataclass(frozen=True)
class ClipStats:
    """Statistics of a whole clip for its normalization.

    mean, scale: (B, 1) sound becomes (sound - mean) * scale. channels: (B, C, 1) mean and 1 /
    deviation of the first convolution's outputs, when a group norm follows it and the clip is read
    in parts.
    """

    mean: Tensor
    scale: Tensor
    channels: tuple[Tensor, Tensor] | None = None


class WaveReader:
    """Runs a network of the wav2vec 2.0 family over stretches of a clip; it does not own it.

    The convolutions span 400 samples a frame, so the features of a stretch are those of the whole
    clip if the statistics that they need of the whole clip are known: mean and variance of the
    sound and, where a group norm follows the first convolution, of each of its channels. All follow
    from sums over the clip, taken once block by block; nothing is as long as the clip.
    """

    def __init__(self, network: nn.Module, normalize: bool) -> None:
        self.network: Any = network
        self.normalize = normalize
        settings: Any = network.config
        self.kernels, self.strides = list(settings.conv_kernel), list(settings.conv_stride)
        self.stride = math.prod(self.strides)
        self.reach = 1  # samples under one frame
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides)):
            self.reach = (self.reach - 1) * stride + kernel

    def length(self, samples: int) -> int:
        """Frames that the convolutions make of so many samples."""
        for kernel, stride in zip(self.kernels, self.strides):
            samples = (samples - kernel) // stride + 1
        return max(samples, 0)

    @torch.no_grad()
    def stats(self, samples: Tensor, whole: bool) -> ClipStats:
        """What (B, n) sound must be normalized with; ``whole``: its convolutions will be computed
        in one piece.
        """
        mean = samples.new_zeros(len(samples), 1, dtype=torch.float64)
        scale = torch.ones_like(mean)
        if self.normalize:
            total, squares = torch.zeros_like(mean), torch.zeros_like(mean)
            for block in samples.split(BLOCK, dim=1):
                wide = block.double()
                total += wide.sum(1, keepdim=True)
                squares += wide.square().sum(1, keepdim=True)
            mean = total / samples.shape[1]
            # 1e-7 is that of transformers' feature extractor.
            scale = ((squares / samples.shape[1] - mean.square()).clamp(min=0) + 1e-7).rsqrt()
        plain = ClipStats(mean.to(samples.dtype), scale.to(samples.dtype))
        norm = getattr(self.network.feature_extractor.conv_layers[0], "layer_norm", None)
        if whole or not isinstance(norm, nn.GroupNorm):
            return plain
        return ClipStats(plain.mean, plain.scale, self._channels(samples, plain))

    def _channels(self, samples: Tensor, stats: ClipStats) -> tuple[Tensor, Tensor]:
        """Mean and 1 / deviation of the first convolution's channels over the clip.

        A channel is a weighted sum of the kernel's taps, so its moments follow from those of the
        taps: cheaper than the convolution, and exact.
        """
        layer = self.network.feature_extractor.conv_layers[0]
        kernel, stride = self.kernels[0], self.strides[0]
        count = (samples.shape[1] - kernel) // stride + 1
        total = samples.new_zeros(len(samples), kernel, dtype=torch.float64)
        products = samples.new_zeros(len(samples), kernel, kernel, dtype=torch.float64)
        for first in range(0, count, BLOCK // stride):
            last = min(first + BLOCK // stride, count)
            part = samples[:, first * stride : (last - 1) * stride + kernel].double()
            taps = ((part - stats.mean) * stats.scale).unfold(
                1, kernel, stride
            )  # (B, last - first, kernel)
            total += taps.sum(1)
            products += taps.transpose(1, 2) @ taps
        weight = layer.conv.weight.double().squeeze(1)  # (C, kernel)
        mean = total @ weight.T / count  # (B, C)
        square = torch.einsum("ck,bkl,cl->bc", weight, products, weight) / count
        deviation = ((square - mean.square()).clamp(min=0) + layer.layer_norm.eps).sqrt()
        if layer.conv.bias is not None:
            mean = mean + layer.conv.bias.double()
        return mean[..., None].to(samples.dtype), deviation.reciprocal()[..., None].to(
            samples.dtype
        )

    def features(self, samples: Tensor, stats: ClipStats, first: int, last: int) -> Tensor:
        """Convolution features (B, last - first, C) of the frames first ... last - 1."""
        if torch.is_grad_enabled() or last - first <= PIECE:
            return self._convolved(samples, stats, first, last)
        cuts = [*range(first, last, PIECE), last]
        return torch.cat([self._convolved(samples, stats, a, b) for a, b in pairwise(cuts)], dim=1)

    def _convolved(self, samples: Tensor, stats: ClipStats, first: int, last: int) -> Tensor:
        extractor = self.network.feature_extractor
        kind = next(self.network.parameters()).dtype
        if (first, last) == (0, self.length(samples.shape[1])) and stats.channels is None:
            part = samples
        else:
            part = samples[:, first * self.stride : (last - 1) * self.stride + self.reach]
        part = ((part - stats.mean) * stats.scale).to(kind)
        if stats.channels is None:
            return extractor(part).transpose(1, 2)
        layer = extractor.conv_layers[0]
        mean, scale = (value.to(kind) for value in stats.channels)
        x = (layer.conv(part[:, None]) - mean) * scale
        x = layer.activation(x * layer.layer_norm.weight[:, None] + layer.layer_norm.bias[:, None])
        for layer in extractor.conv_layers[1:]:
            x = layer(x)
        return x.transpose(1, 2)

    def transform(self, features: Tensor) -> Tensor:
        """(B, T, C) convolution features -> (B, T, hidden) through projection and transformer."""
        x = self.network.feature_projection(features)
        x = x[0] if isinstance(x, tuple) else x
        # transformers refuses sequences shorter than one masked span.
        if self.network.training and x.shape[1] > self.network.config.mask_time_length:
            x = self.network._mask_hidden_states(x)
        return self.network.encoder(x)[0]

    def read(self, samples: Tensor, stats: ClipStats, first: int, last: int) -> Tensor:
        """(B, last - first, hidden): frames first ... last - 1, computed on their own."""
        return self.transform(self.features(samples, stats, first, last))


@functools.cache
def mel_filters(bins: int) -> Tensor:
    """(201, bins) triangular filters, as transformers' feature extractor has them."""
    from transformers import WhisperFeatureExtractor

    return torch.as_tensor(
        WhisperFeatureExtractor(feature_size=bins).mel_filters, dtype=torch.float32
    )


class WhisperReader:
    """Runs Whisper's encoder over stretches of a clip; it does not own the network.

    Log-mel frames of up to 30 s go in at a time, and one output per 320 samples comes out.

    The network reads exactly ``positions`` frames (30 s in every published model) at a time,
    silence after the clip's end included. Values are clipped at 80 dB below the loudest of the
    whole clip.
    """

    stride = 2 * HOP

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network
        settings: Any = network.config
        self.positions: int = settings.max_source_positions
        self.bins: int = settings.num_mel_bins

    def length(self, samples: int) -> int:
        """Outputs that belong to so many samples."""
        return (samples // HOP + 1) // 2

    @torch.no_grad()
    def stats(self, samples: Tensor, whole: bool) -> Tensor:
        """(B, 1, 1): the loudest log-mel value of each clip."""
        frames = (samples.shape[1] + FRAME) // HOP + 1
        blocks = [
            self._log_mel(samples, first, min(first + WHISPER_BLOCK, frames))
            for first in range(0, frames, WHISPER_BLOCK)
        ]
        return torch.stack([block.amax((1, 2), keepdim=True) for block in blocks]).amax(0)

    def _log_mel(self, samples: Tensor, first: int, last: int) -> Tensor:
        """(B, bins, last - first) base-10 logarithms; frame i lies around sample i * 160."""
        begin, end = first * HOP - FRAME // 2, (last - 1) * HOP + FRAME // 2
        part = samples[:, max(begin, 0) : max(end, 1)].float()
        part = F.pad(part, (0, end - max(begin, 0) - part.shape[1]))
        if begin < 0:
            part = torch.cat([part[:, 1 : 1 - begin].flip(1), part], dim=1)
        window = torch.hann_window(FRAME, device=samples.device)
        spectrum = torch.stft(part, FRAME, HOP, window=window, center=False, return_complex=True)
        power = spectrum.abs().square()  # (B, 201, last - first)
        return (mel_filters(self.bins).T.to(power.device) @ power).clamp(min=1e-10).log10()

    def read(self, samples: Tensor, stats: Tensor, first: int, last: int) -> Tensor:
        """(B, last - first, hidden): outputs first ... last - 1, at most ``positions`` of them,
        computed on their own.
        """
        mel = self._log_mel(samples, 2 * first, 2 * (first + self.positions))
        mel = (torch.maximum(mel, stats - 8.0) + 4.0) / 4.0
        return self.network(mel.to(next(self.network.parameters()).dtype))[0][:, : last - first]


_unfilled = ContextVar("_unfilled", default=False)


@contextmanager
def unfilled_networks() -> Iterator[None]:
    """Networks made of their architecture inside this have names and shapes, but no numbers: for
    weights that follow.

    A random start of 315 million numbers takes seconds and 1.3 GB; ``load_state_dict(...,
    assign=True)`` brings the numbers.
    """
    token = _unfilled.set(True)
    try:
        yield
    finally:
        _unfilled.reset(token)


def build_network(config: PretrainedConfig) -> tuple[nn.Module, dict[str, Any]]:
    """(the transformers module, its whole architecture as plain values).

    Layers above the chosen one are left out, and with them the final norm. Raises
    MissingExtraError without transformers, InputError when ``name`` cannot be loaded or the
    architecture is not one of ``FAMILIES``.
    """
    from jambatalk.errors import InputError

    transformers = transformers_library()
    architecture = (
        dict(config.architecture)
        if config.architecture
        else read_architecture(transformers, config.name)
    )
    family = architecture.get("model_type")
    if family not in FAMILIES:
        raise InputError(
            f"speech encoder of type {family!r}, expected one of {', '.join(FAMILIES)}"
        )
    settings = settings_of(transformers, architecture)
    if getattr(settings, "add_adapter", False):
        raise InputError(
            "speech encoders with an adapter (add_adapter) are not supported: it changes the "
            "frame rate"
        )
    filled = plain_architecture(settings)
    depth = "encoder_layers" if family == "whisper" else "num_hidden_layers"
    if config.layer > getattr(settings, depth):
        raise InputError(
            f"layer is {config.layer}, but the speech encoder has {getattr(settings, depth)} layers"
        )
    if config.layer >= 0:
        setattr(settings, depth, config.layer)
    network = (
        _random(transformers, settings)
        if config.architecture
        else _loaded(transformers, settings, config.name)
    )
    if config.layer >= 0:
        _without_final_norm(network, family, settings)
    return network.float().eval(), filled


def transformers_library() -> Any:
    """The module ``transformers``. MissingExtraError has the command that installs it."""
    try:
        import transformers
    except ImportError as error:
        from jambatalk.errors import MissingExtraError

        raise MissingExtraError(
            'pretrained speech encoders need transformers: pip install "jambatalk[encoders]"'
        ) from error
    return transformers


def read_architecture(transformers: Any, name: str) -> dict[str, Any]:
    """The configuration of a hub id or folder as plain values, with do_normalize.

    InputError when there is none.
    """
    from jambatalk.errors import InputError

    try:
        architecture = plain_architecture(transformers.AutoConfig.from_pretrained(name))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"no speech encoder at {name!r}, expected a hub id or a folder of transformers "
            f"({why[:200]})"
        ) from error
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name)
    except (OSError, ValueError, KeyError):
        extractor = None  # the folder holds the network alone
    # Whether the network was trained on sound of zero mean and unit variance stands only in its
    # feature extractor.
    architecture["do_normalize"] = bool(getattr(extractor, "do_normalize", True))
    return architecture


def settings_of(transformers: Any, architecture: dict[str, Any]) -> Any:
    """The configuration object of transformers for a mapping.

    InputError when it does not make sense.
    """
    from jambatalk.errors import InputError

    values = {key: value for key, value in architecture.items() if key != "model_type"}
    try:
        return transformers.AutoConfig.for_model(architecture["model_type"], **values)
    # The validation of transformers has error classes of its own, other ones in each version
    except Exception as error:
        raise InputError(
            f"architecture of the speech encoder: {' '.join(str(error).split())[:300]}"
        ) from error


def plain_architecture(settings: Any) -> dict[str, Any]:
    """A configuration object as plain values that JSON can hold."""
    values = json.loads(settings.to_json_string(use_diff=False))
    return {
        key: value
        for key, value in values.items()
        if key not in WITHOUT_EFFECT and value is not None
    }


def _random(transformers: Any, settings: Any) -> nn.Module:
    from jambatalk.errors import InputError

    try:
        with torch.device("meta") if _unfilled.get() else nullcontext():
            return _made(transformers, settings)
    except (ValueError, ArithmeticError) as error:
        raise InputError(
            f"architecture of the speech encoder: {' '.join(str(error).split())[:300]}"
        ) from error


def _made(transformers: Any, settings: Any) -> nn.Module:
    if settings.model_type == "whisper":
        return transformers.models.whisper.modeling_whisper.WhisperEncoder(settings)
    return transformers.AutoModel.from_config(settings)


def _loaded(transformers: Any, settings: Any, name: str) -> nn.Module:
    from jambatalk.errors import InputError

    try:
        network = transformers.AutoModel.from_pretrained(name, config=settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the speech encoder {name!r} cannot be loaded: {' '.join(str(error).split())[:300]}"
        ) from error
    return network.encoder if settings.model_type == "whisper" else network


def _without_final_norm(network: nn.Module, family: str, settings: Any) -> None:
    if family == "whisper":
        network.layer_norm = nn.Identity()
    elif getattr(settings, "do_stable_layer_norm", False):
        network.encoder.layer_norm = nn.Identity()  # type: ignore[union-attr, assignment]
