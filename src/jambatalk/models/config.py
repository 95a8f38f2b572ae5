"""Settings of the networks: sound features, speech encoders, decoder, lip closure, and all of them
together.

Every class is plain data: it checks its own values and knows nothing about the modules that it
describes. Presets (``models/presets``) and the metadata of every checkpoint hold these settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jambatalk.audio import SAMPLE_RATE
from jambatalk.config import Variants
from jambatalk.errors import shown

LARGEST_SIZE = 1 << 20
"""Of any width, window or count in settings: no text of a few bytes may fill the memory."""


@dataclass(frozen=True)
class MelConfig:
    """Log-mel features of the sound, and how they are normalized."""

    bands: int = 64
    """Mel bands."""
    low_hz: float = 60.0
    """Lower edge of the first band."""
    high_hz: float = 7600.0
    """Upper edge of the last band."""
    hop: int = 160
    """Samples from one feature frame to the next: 10 ms."""
    window: int = 400
    """Samples under each window: 25 ms."""
    fft: int = 512
    """Points of the Fourier transform."""
    floor: float = 1e-9
    """Added to each band's power before the logarithm."""
    scale: str = "htk"
    """Of the bands: htk (O'Shaughnessy's formula, height 1) or slaney (Slaney's Auditory Toolbox,
    area 1, as librosa and Whisper have it)."""
    normalize: str = "bands"
    """What the running norm subtracts: the mean of each band (bands: cancels voice, microphone and
    level) or their average alone (level: keeps the color, as pretrained encoders expect)."""
    rate: float = 0.005
    """Smallest weight of a loud frame in the running mean: 1 / 0.005 frames are 2 s of speech."""
    prior: float = 10.0
    """Loud frames that the trained mean counts for at the start of a stream."""
    level_prior: float = 1.0
    """The same for the mean over the bands (the level), which the first loud frames already show.
    """
    background_memory: float = 50.0
    """Frames in which the estimated level of the background can double: 0.5 s."""
    memory: float = 3000.0
    """Frames until the running peak level halves: 30 s."""
    low: float = -6.0
    """Normalized features are clipped to low ... high (natural logarithm of power)."""
    high: float = 4.0
    """See ``low``."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("bands", 1, 1024),
            ("hop", 1, self.window),
            ("window", 1, self.fft),
            ("fft", 1, 1 << 16),
            ("low_hz", 0.0, self.high_hz),
            ("high_hz", 0.0, SAMPLE_RATE / 2),
            ("floor", 1e-30, 1.0),
            ("rate", 1e-9, 1.0),
            ("prior", 0.0, 1e6),
            ("level_prior", 0.0, 1e6),
            ("background_memory", 1e-3, 1e9),
            ("memory", 1e-3, 1e9),
            ("low", -1e3, self.high),
            ("high", -1e3, 1e3),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} to {most}")
        for name, choices in (("scale", ("htk", "slaney")), ("normalize", ("bands", "level"))):
            if getattr(self, name) not in choices:
                expected = " or ".join(map(repr, choices))
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")


@dataclass(frozen=True)
class SpeechEncoderConfig(Variants):
    """Base of the settings of speech encoders, which ``kind`` distinguishes.

    A subclass sets ``kind`` to its name in ``models.encoders.ENCODERS``.
    """

    kind: str = ""
    """Name of the encoder in ``models.encoders.ENCODERS``."""

    streaming: ClassVar[bool] = True
    """Whether the encoder works hop by hop; False: it needs the whole clip."""

    def describe(self, fps: float) -> str:
        """Return one line for people about an encoder with motion at ``fps`` frames per second."""
        return self.kind

    def check(self, fps: int, mel: MelConfig) -> None:
        """Raise ValueError where the encoder cannot make ``fps`` vectors per second."""
        if self.streaming and SAMPLE_RATE % fps:
            raise ValueError(
                f"fps {fps}: a motion frame must span a whole number of samples at {SAMPLE_RATE} Hz"
            )


@dataclass(frozen=True)
class EncoderConfig(SpeechEncoderConfig):
    """The built-in streaming encoder: stages of causal convolutions over log-mel features.

    The first stage works at the feature rate (100 Hz); each stage ends with half its rate.
    """

    kind: str = "streaming"
    """Always "streaming"."""
    widths: list[int] = field(default_factory=lambda: [128, 192])
    """Features of each stage."""
    blocks: int = 2
    """Residual blocks per stage."""
    kernel: int = 9
    """Frames under each block's convolution."""
    dropout: float = 0.1
    """Share of each residual branch's values dropped in training."""

    def describe(self, fps: float) -> str:
        return f"built in, widths {self.widths}"

    def check(self, fps: int, mel: MelConfig) -> None:
        hop, reduction = SAMPLE_RATE // fps, 2 ** len(self.widths)
        if SAMPLE_RATE % fps or hop % mel.hop:
            raise ValueError(
                f"fps {fps}: a motion frame must span a whole number of {mel.hop}-sample "
                "feature hops"
            )
        if hop // mel.hop != reduction:
            raise ValueError(
                f"{len(self.widths)} encoder stages reduce {reduction} feature frames to one, "
                f"but a motion frame at {fps} fps spans {hop // mel.hop}"
            )


@dataclass(frozen=True)
class StreamingWhisperConfig(SpeechEncoderConfig):
    """The first layers of Whisper's encoder (arXiv 2212.04356), made to stream.

    Convolutions become causal and attention a window; a learned bias by distance takes the place of
    absolute positions, so that a stream may last for hours. See ``models.encoders.whisper``.
    """

    kind: str = "streaming-whisper"
    """Always "streaming-whisper"."""
    width: int = 512
    """Features per frame (Whisper base: 512)."""
    heads: int = 8
    """Attention heads."""
    hidden: int = 2048
    """Hidden width of the feed-forward parts."""
    look_back: int = 50
    """Frames of 20 ms before its own that each layer attends to."""
    look_ahead: list[int] = field(default_factory=lambda: [2, 2, 3, 3])
    """Frames of 20 ms after its own that each layer attends to, and waits for; one entry a layer.
    """
    weights: str = ""
    """A file of ``tools/convert_whisper.py`` that the encoder starts from; empty: random."""
    dropout: float = 0.0
    """Share of each residual branch's values dropped in training."""

    def __post_init__(self) -> None:
        if not self.look_ahead or min(self.look_ahead) < 0 or self.look_back < 0:
            raise ValueError(
                f"look_ahead is {self.look_ahead} and look_back {self.look_back}, expected one "
                "number of at least 0 a layer"
            )
        if self.heads < 1 or self.width % self.heads or self.hidden < 1:
            raise ValueError(
                f"width {self.width}, heads {self.heads}, hidden {self.hidden}: expected a width "
                "that is a multiple of the heads"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 or more and less than 1")

    def describe(self, fps: float) -> str:
        return (
            f"streaming Whisper, {len(self.look_ahead)} layers of width {self.width}, "
            f"{20 * sum(self.look_ahead)} ms ahead"
        )

    def check(self, fps: int, mel: MelConfig) -> None:
        if SAMPLE_RATE % fps or (SAMPLE_RATE // fps) % (2 * mel.hop):
            raise ValueError(
                f"fps {fps}: a motion frame must span a whole number of {2 * mel.hop}-sample "
                "encoder frames"
            )


ALIGNMENTS = ("features", "pairs", "outputs")
FREEZING = ("nothing", "conv", "all")


@dataclass(frozen=True)
class PretrainedConfig(SpeechEncoderConfig):
    """A published encoder of the wav2vec 2.0 family or Whisper, over whole clips."""

    kind: str = "pretrained"
    """Always "pretrained"."""
    name: str = ""
    """Hub id or folder that the weights come from if ``architecture`` is empty, else a note."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """transformers' configuration with its model_type: build this network with random weights."""
    layer: int = -1
    """-1: the network's output; 0: input of its first layer; k: after layer k, not normalized."""
    align: str = "features"
    """Where frames come to the motion's rate: features (interpolated before the transformer),
    outputs (interpolated after it), pairs (two outputs side by side)."""
    frozen: str = "conv"
    """What training leaves as it is: nothing, conv, all."""
    window: float = 30.0
    """Seconds; longer clips go through in windows of this length."""
    context: float = 3.0
    """Seconds at each side of a window that are computed and dropped."""

    streaming: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind != "pretrained":
            raise ValueError(f"kind is {self.kind!r}, expected 'pretrained'")
        if not self.name and not self.architecture:
            raise ValueError(
                "a pretrained encoder needs a name (hub id or folder) or an architecture"
            )
        for key, value, known in (
            ("align", self.align, ALIGNMENTS),
            ("frozen", self.frozen, FREEZING),
        ):
            if value not in known:
                raise ValueError(f"{key} is {value!r}, expected one of {', '.join(known)}")
        if self.layer < -1:
            raise ValueError(
                f"layer is {self.layer}, expected -1 (the output), 0 (the first layer's input) "
                "or a layer's number"
            )
        if self.context < 0 or self.window <= 2 * self.context + 1:
            raise ValueError(
                f"window {self.window} s must be more than 1 s longer than both contexts of "
                f"{self.context} s"
            )

    def describe(self, fps: float) -> str:
        network = self.name or self.architecture.get("model_type", "unnamed")
        return f"{network}, {self.align} aligned to {fps} fps"


@dataclass(frozen=True)
class DecoderConfig:
    """The stack of layers after the speech encoder."""

    pattern: str = "M E T E M E"
    """The layers, bottom to top: codes of ``models.block.LAYERS`` or mixer+feed."""
    tied: bool = False
    """One module per kind of layer, used at each of its places (as in the authors' code)."""
    width: int = 256
    """Features per frame."""
    d_state: int = 16
    """Mamba's state size N."""
    d_conv: int = 4
    """Frames under Mamba's convolution."""
    expand: int = 2
    """Mamba's inner width / width."""
    mlp_hidden: int = 512
    """Hidden width of the dense feed-forward part."""
    activation: str = "gelu"
    """Of the feed-forward parts: gelu or relu."""
    attention: str = "sliding"
    """What a frame attends to: sliding (the last ``window`` frames), causal (all frames so far),
    full (the whole clip)."""
    attention_norm: str = "pre"
    """Of T layers: pre (RMSNorm before each branch) or post (LayerNorm after each sum)."""
    heads: int = 8
    """Query heads."""
    kv_heads: int = 2
    """Key/value heads."""
    window: int = 64
    """Frames that sliding attention looks back, itself included."""
    rope: bool = True
    """Rotate queries and keys by their positions; False: attention knows no order."""
    rope_rank: int = 16
    """Rank of the learned correction of RoPE; 0 is plain RoPE."""
    rope_normalize: bool = True
    """Keep each corrected (sin, cos) on the unit circle."""
    experts: int = 4
    """Experts in each mixture."""
    top_k: int = 2
    """Experts that each frame goes through."""
    expert_hidden: int = 512
    """Hidden width of one expert."""
    expert_bias: bool = True
    """Whether the experts have biases."""
    dense_hidden: int = 0
    """Hidden width of a D layer's dense part; 0: top_k * expert_hidden, as a frame sees in E."""
    expert_d_state: int = 0
    """Mamba's state size in E and D layers; 0: ``d_state``."""
    expert_d_conv: int = 0
    """Frames under Mamba's convolution in E and D layers; 0: ``d_conv``."""
    gate: str = "continuous"
    """Weights of the chosen experts: continuous or softmax, see ``models.moe``."""
    dropout: float = 0.1
    """Share of each residual branch's values dropped in training."""
    final_norm: bool = True
    """RMSNorm after the last layer."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("activation", ("gelu", "relu")),
            ("attention", ("sliding", "causal", "full")),
            ("attention_norm", ("pre", "post")),
            ("gate", ("continuous", "softmax")),
        ):
            if getattr(self, name) not in choices:
                expected = " or ".join(map(repr, choices))
                raise ValueError(f"{name} {getattr(self, name)!r}, expected {expected}")
        least = {"dense_hidden": 0, "expert_d_state": 0, "expert_d_conv": 0, "rope_rank": 0}
        for name, value in vars(self).items():
            if type(value) is int and not least.get(name, 1) <= value <= LARGEST_SIZE:
                raise ValueError(
                    f"{name} is {shown(value)}, expected {least.get(name, 1)} to {LARGEST_SIZE}"
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 or more and less than 1")
        if not 1 <= self.top_k <= self.experts:
            raise ValueError(
                f"top_k {self.top_k} must lie in 1..{self.experts} (the number of experts)"
            )


@dataclass(frozen=True)
class LipClosureConfig:
    """Which phones have a pose that must be reached, and how probable one has to be."""

    phones: int = 0
    """Phones that are distinguished; 0: none are read, and the motion is left as it is."""
    bilabials: list[int] = field(default_factory=list)
    """Indices of the phones for which the lips meet."""
    labiodentals: list[int] = field(default_factory=list)
    """Indices of the phones for which the lower lip meets the upper teeth."""
    low: float = 0.1
    """Probability of a class of phones up to which the motion is left as it is."""
    high: float = 0.3
    """Probability of a class of phones from which its pose is reached."""

    def __post_init__(self) -> None:
        if self.phones < 0 or not 0.0 <= self.low < self.high <= 1.0:
            raise ValueError(
                f"phones {self.phones}, low {self.low}, high {self.high}: "
                "expected phones >= 0, 0 <= low < high <= 1"
            )
        if not self.phones:
            return
        for name in ("bilabials", "labiodentals"):
            indices = getattr(self, name)
            missing = not indices and name == "bilabials"
            if missing or not all(0 <= i < self.phones for i in indices):
                raise ValueError(f"{name} are {indices}, expected indices below {self.phones}")


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build a network again; stored inside every checkpoint."""

    fps: int = 25
    """Motion frames per second."""
    delay: int = 4
    """Frames by which the output lags behind the input, see ``look_ahead_ms``."""
    look_ahead: str = "delay"
    """delay: causal but for ``delay``; full: the network needs the whole clip."""
    outputs: int = 52
    """Values per motion frame."""
    styles: list[str] = field(default_factory=list)
    """Speaking styles, the default first; empty for a network with a single style."""
    contact: LipClosureConfig = field(default_factory=LipClosureConfig)
    """Lips that meet at bilabials."""
    mel: MelConfig = field(default_factory=MelConfig)
    """Sound features, for the encoders that use them."""
    encoder: SpeechEncoderConfig = field(default_factory=EncoderConfig)
    """The speech encoder, chosen by its ``kind``."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """The stack of layers after the encoder."""

    @property
    def streaming(self) -> bool:
        """Whether the network can follow a live stream."""
        return self.look_ahead == "delay"

    @property
    def hop(self) -> int:
        """Samples per motion frame (networks with a streaming encoder)."""
        return SAMPLE_RATE // self.fps

    @property
    def look_ahead_ms(self) -> float:
        """Milliseconds of sound after a frame's own time that the frame depends on.

        Infinite where the network needs the whole clip. Step k is computed from the samples before
        (k + 1) * hop and gives frame k - delay, whose time is (k - delay) * hop.
        """
        return (self.delay + 1) * 1000.0 / self.fps if self.streaming else math.inf

    def __post_init__(self) -> None:
        for name, least in (("fps", 1), ("delay", 0), ("outputs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.outputs > LARGEST_SIZE:
            raise ValueError(f"outputs is {shown(self.outputs)}, expected 1 to {LARGEST_SIZE}")
        if len(set(self.styles)) < len(self.styles) or not all(self.styles):
            raise ValueError(f"styles are {self.styles}, expected names that differ")
        if self.look_ahead not in ("delay", "full"):
            raise ValueError(f"look_ahead {self.look_ahead!r}, expected 'delay' or 'full'")
        if self.streaming and not self.encoder.streaming:
            raise ValueError(
                f"the {self.encoder.kind} encoder needs the whole clip: set look_ahead: full, "
                "or choose causal parts"
            )
        check_encoder(self.encoder, self.mel, self.fps, self.delay)


def check_encoder(encoder: SpeechEncoderConfig, mel: MelConfig, fps: int, delay: int) -> None:
    """Raise ValueError unless an encoder fits the motion's rate and the delay of its network."""
    if not encoder.streaming and delay:
        raise ValueError(f"delay is {delay}, expected 0 with an encoder that needs the whole clip")
    encoder.check(fps, mel)
