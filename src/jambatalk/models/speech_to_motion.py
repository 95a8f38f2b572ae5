"""The network as a whole: sound in, one motion vector per frame out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jambatalk.audio import SAMPLE_RATE
from jambatalk.models.config import DecoderConfig
from jambatalk.models.encoders.pretrained import PretrainedConfig, PretrainedEncoder
from jambatalk.models.encoders.streaming import EncoderConfig, StreamingEncoder
from jambatalk.models.features import LogMel, MelConfig, NormState, RunningNorm
from jambatalk.models.jamba import JambaDecoder
from jambatalk.models.moe import RouterStats

# Lips that meet: where the network hears a bilabial, the motion goes all the way to closed lips.
#
# A network that minimises squared error halves a closure that it is not sure of, and lips that nearly meet look wrong. So the
# phone is read off the same features, and its probability decides.


@dataclass(frozen=True)
class LipClosureConfig:
    """Which phones close the lips, and how sure one has to be of them."""

    phones: int = (
        0  # phones that are told apart; 0: nothing is read, and lips meet as the motion has them
    )
    bilabials: list[int] = field(default_factory=list)  # indices of those for which the lips meet
    low: float = 0.1  # probability of a bilabial up to which the motion stays as it is
    high: float = 0.3  # and from which the lips are closed

    def __post_init__(self) -> None:
        if self.phones < 0 or not 0.0 <= self.low < self.high <= 1.0:
            raise ValueError(
                f"phones {self.phones}, low {self.low}, high {self.high}: expected phones >= 0, 0 <= low < high <= 1"
            )
        if self.phones and not (
            self.bilabials and all(0 <= i < self.phones for i in self.bilabials)
        ):
            raise ValueError(
                f"bilabials are {self.bilabials}, expected indices below {self.phones}"
            )


class LipClosureHead(nn.Module):
    """Reads phones off features, and closes the lips of the motion."""

    closed: Tensor
    chosen: Tensor

    def __init__(self, width: int, outputs: int, config: LipClosureConfig) -> None:
        super().__init__()
        self.config = config
        self.read = nn.Linear(width, config.phones)
        self.register_buffer("closed", torch.zeros(outputs))  # the pose in which the lips meet
        chosen = torch.zeros(config.phones)
        chosen[config.bilabials] = 1.0
        self.register_buffer("chosen", chosen, persistent=False)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """Features (B, T, width) and motion (B, T, outputs) float32 -> the motion with lips that meet."""
        c = self.config
        sure = (self.read(x).float().softmax(-1) * self.chosen).sum(-1, keepdim=True)
        share = ((sure - c.low) / (c.high - c.low)).clamp(0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        return motion + share * (self.closed - motion)


# Encoders that hear a whole clip at once, by their configuration's ``kind``: (configuration, fps, width) in, a module out
# with ``forward(samples (B, n), frames or None) -> (B, T, width)`` and ``filled_config()``. A new one is a dataclass with a
# ``kind`` of its own in the type of ``ModelConfig.encoder`` and one line here; ``streaming`` is the built-in one.
WHOLE_CLIP_ENCODERS: dict[str, Callable[[Any, float, int], nn.Module]] = {
    "pretrained": PretrainedEncoder
}

# Style vectors are learned in this unit: what the encoder makes of speech is of some tens, and a step of Adam is the same for
# all parameters.
STYLE_SCALE = 32.0

# Frames that the built-in encoder and the motion head work on at once when a whole clip is given.
PIECE = 256


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the network again; stored inside every checkpoint."""

    fps: int = 25  # motion frames per second
    delay: int = 4  # frames the output lags behind the input: see look_ahead_ms
    look_ahead: str = (
        "delay"  # delay: causal but for `delay`; full: hears the whole clip before it moves
    )
    outputs: int = 52  # values per motion frame
    styles: list[str] = field(
        default_factory=list
    )  # names of ways of speaking, the default first; none: there is one way
    contact: LipClosureConfig = field(
        default_factory=LipClosureConfig
    )  # lips that meet where a bilabial is heard
    mel: MelConfig = field(default_factory=MelConfig)
    encoder: EncoderConfig | PretrainedConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    @property
    def streaming(self) -> bool:
        """Whether the network can follow a live stream."""
        return self.look_ahead == "delay"

    @property
    def hop(self) -> int:
        """Samples per motion frame (networks with the built-in encoder)."""
        return SAMPLE_RATE // self.fps

    @property
    def look_ahead_ms(self) -> float:
        """How much sound after a frame's own time the frame depends on; infinite where the whole clip is heard.

        Step k has heard the samples before (k + 1) * hop and gives frame k - delay, which lies at (k - delay) * hop.
        """
        return (self.delay + 1) * 1000.0 / self.fps if self.streaming else math.inf

    def __post_init__(self) -> None:
        for name, least in (("fps", 1), ("delay", 0), ("outputs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if len(set(self.styles)) < len(self.styles) or not all(self.styles):
            raise ValueError(f"styles are {self.styles}, expected names that differ")
        if self.look_ahead not in ("delay", "full"):
            raise ValueError(f"look_ahead {self.look_ahead!r}, expected 'delay' or 'full'")
        whole_clip = self.encoder.kind in WHOLE_CLIP_ENCODERS
        if self.streaming and (whole_clip or not self.decoder.causal):
            part = (
                f"the {self.encoder.kind} encoder"
                if whole_clip
                else f"{self.decoder.attention} attention or a released layer"
            )
            raise ValueError(
                f"{part} hears the whole clip: say look_ahead: full, or choose causal parts"
            )
        if whole_clip:
            if self.delay:
                raise ValueError(
                    f"delay is {self.delay}, expected 0 with an encoder that hears the whole clip"
                )
            return
        if SAMPLE_RATE % self.fps or self.hop % self.mel.hop:
            raise ValueError(
                f"fps {self.fps}: a motion frame must span a whole number of {self.mel.hop}-sample feature hops"
            )
        features, reduction = (
            self.hop // self.mel.hop,
            2 ** len(cast(EncoderConfig, self.encoder).widths),
        )
        if features != reduction:
            raise ValueError(
                f"{len(cast(EncoderConfig, self.encoder).widths)} encoder stages reduce {reduction} feature frames to one, "
                f"but a motion frame at {self.fps} fps spans {features}"
            )


@dataclass
class ModelState:
    """Everything that the network remembers; its size does not depend on how much it has heard."""

    samples: Tensor
    norm: NormState
    encoder: list[Tensor]
    decoder: list[Any]


class SpeechToMotion(nn.Module):
    """Speech encoder, Jamba decoder, linear motion head; with the built-in encoder log-mel and running normalisation first.

    The head's outputs are in units of ``output_scale`` around ``output_mean``, the spread and mean of each output over the
    training data: shapes that move by hundredths are learned as easily as those that move by tenths, and one that never
    moves in the data stays exactly where it is.
    """

    output_mean: Tensor
    output_scale: Tensor
    style: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.decoder.width
        self.encoder: nn.Module
        if config.encoder.kind in WHOLE_CLIP_ENCODERS:
            encoder: Any = WHOLE_CLIP_ENCODERS[config.encoder.kind](
                config.encoder, config.fps, width
            )
            # With the encoder's architecture filled in, so that a checkpoint needs neither a hub nor another file.
            self.config, self.encoder = replace(config, encoder=encoder.filled_config()), encoder
        else:
            self.mel = LogMel(config.mel)
            self.norm = RunningNorm(config.mel)
            self.encoder = StreamingEncoder(
                config.mel.bands, width, cast(EncoderConfig, config.encoder)
            )
        # Changes log-mel features (B, F, bands) in training, where ``whole`` makes them: other voices, rooms, noise.
        self.disturb: Callable[[Tensor], Tensor] | None = None
        if config.styles:
            # A learned vector per way of speaking, added to what the decoder hears; ``style`` is the one in use.
            self.style_vectors = nn.Parameter(torch.zeros(len(config.styles), width))
            self.register_buffer("style", torch.zeros(width), persistent=False)
        self.decoder = JambaDecoder(config.decoder)
        self.head = nn.Linear(width, config.outputs)
        self.contact = (
            LipClosureHead(width, config.outputs, config.contact) if config.contact.phones else None
        )
        self.register_buffer("output_mean", torch.zeros(config.outputs))
        self.register_buffer("output_scale", torch.ones(config.outputs))
        # The paper starts its output layer at zero: the untrained network shows a still face.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def init_state(self, batch: int = 1, position: Tensor | None = None) -> ModelState:
        """The state before the first sample of a stream (networks with the built-in encoder)."""
        encoder = cast(StreamingEncoder, self.encoder)
        return ModelState(
            self.mel.init_state(batch),
            self.norm.init_state(batch),
            encoder.init_state(batch),
            self.decoder.init_state(batch, position),
        )

    def forward(
        self, samples: Tensor, state: ModelState, style: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """samples (B, T * hop) at 16 kHz -> (B, T, outputs); step k belongs to the frame k - delay.

        style: (B,) indices into ``config.styles``; None is the chosen one for all.
        """
        mel, tail = self.mel(samples, state.samples)
        normal, norm = self.norm(mel, state.norm)
        x, encoder, decoder, _ = self.understood(normal, state, style)
        y = self.moved(x)
        return y, ModelState(tail, norm, encoder, decoder)

    def whole(self, samples: Tensor, frames: int | None = None) -> tuple[Tensor, list[RouterStats]]:
        """A whole recording at once: samples (B, n) at 16 kHz -> (B, T, outputs), where row t is frame t.

        ``frames`` is T where the motion's length is known (training); otherwise it follows from n. Memory beyond the
        features and the result does not grow with n outside training.
        """
        if self.config.encoder.kind in WHOLE_CLIP_ENCODERS:
            x = self.encoder(samples, frames)
        else:
            x = self._encoded(
                samples, -(-samples.shape[1] // self.config.hop) if frames is None else frames
            )
        x, _, router = self.decoder(self._styled(x), self.decoder.init_state(len(samples)))
        x = x[:, self.config.delay :]
        if torch.is_grad_enabled() or x.shape[1] <= PIECE:
            return self.moved(x), router
        # Vertices are many: the result is made once, without copies of its size beside it.
        y = x.new_empty(*x.shape[:2], self.config.outputs, dtype=torch.float32)
        for start in range(0, x.shape[1], PIECE):
            y[:, start : start + PIECE] = self.moved(x[:, start : start + PIECE])
        return y, router

    def decode(
        self, normal: Tensor, state: ModelState
    ) -> tuple[Tensor, list[Tensor], list[Any], list[RouterStats]]:
        """From normalised features (B, T * reduction, bands) on, in the chosen style."""
        x, encoder, decoder, router = self.understood(normal, state)
        return self.moved(x), encoder, decoder, router

    def understood(
        self, normal: Tensor, state: ModelState, style: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor], list[Any], list[RouterStats]]:
        """As ``decode`` without the motion head: (B, T, width). What training runs, after augmenting the features.

        style: (B,) indices into ``config.styles``; None is the chosen one.
        """
        # Features are made in float32 whatever the precision of the weights.
        x, encoder = self.encoder(normal.to(self.head.weight.dtype), state.encoder)
        x, decoder, router = self.decoder(self._styled(x, style), state.decoder)
        return x, encoder, decoder, router

    def choose_style(self, name: str | None = None) -> SpeechToMotion:
        """Speak in the style of this name from now on; None is the default. ValueError names the styles there are."""
        styles = self.config.styles
        if name is not None and name not in styles:
            there = (
                f"choose from {', '.join(styles)}"
                if styles
                else "this network has one way of speaking"
            )
            raise ValueError(f"no style {name!r}: {there}")
        if styles:
            self.style = (
                self.style_vectors[styles.index(name) if name is not None else 0].detach().clone()
            )
        return self

    def _styled(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if not self.config.styles:
            return x
        added = self.style if style is None else self.style_vectors[style][:, None]
        return x + STYLE_SCALE * added.to(x.dtype)

    def moved(self, x: Tensor) -> Tensor:
        """The motion head and lips that meet: (B, T, width) -> (B, T, outputs) float32."""
        motion = self.unclosed(x)
        return motion if self.contact is None else self.contact(x, motion)

    def unclosed(self, x: Tensor) -> Tensor:
        """The motion head alone, which is what training compares: (B, T, width) -> (B, T, outputs) float32."""
        return self.output_mean + self.output_scale * self.head(x)

    def lower_precision(self, dtype: torch.dtype) -> SpeechToMotion:
        """Weights of encoder, decoder and head in ``dtype``; features, scans, expert scores and the result stay float32."""
        for part in (self.encoder, self.decoder, self.head):
            part.to(dtype)
        if self.contact is not None:
            self.contact.read.to(dtype)
        return self

    def _encoded(self, samples: Tensor, frames: int) -> Tensor:
        """The built-in encoder over a whole clip: (B, n) -> (B, frames + delay, width), piece by piece outside training."""
        steps = frames + self.config.delay
        samples = F.pad(samples, (0, max(steps * self.config.hop - samples.shape[1], 0)))[
            :, : steps * self.config.hop
        ]
        state, parts = self.init_state(len(samples)), []
        for piece in samples.split(
            PIECE * self.config.hop if not torch.is_grad_enabled() else max(samples.shape[1], 1),
            dim=1,
        ):
            mel, tail = self.mel(piece, state.samples)
            if self.training and self.disturb is not None:
                mel = self.disturb(mel)
            normal, norm = self.norm(mel, state.norm)
            x, encoder = self.encoder(normal.to(self.head.weight.dtype), state.encoder)
            state = ModelState(tail, norm, encoder, state.decoder)
            parts.append(x)
        return torch.cat(parts, dim=1)


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in model.parameters())
