"""The network as a whole: sound in, one motion vector per frame out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from jambatalk.errors import InputError
from jambatalk.models.config import LipClosureConfig, ModelConfig
from jambatalk.models.encoders import EncoderOwner, encode_clip, make_encoder
from jambatalk.models.jamba import JambaDecoder
from jambatalk.models.moe import RouterStats

STYLE_SCALE = 32.0
"""Unit of the style vectors: features of speech are of some tens, and a step of Adam has one size
for all parameters."""

PIECE = 256
"""Frames that the streaming encoder and the motion head compute at a time on whole clips."""


@dataclass
class ModelState:
    """The state of a stream; its size does not grow if the network has ``fixed_state``."""

    speech: Any = field(metadata={"inline": True})
    """Of the speech encoder; its fields are named as if they were fields of this class."""
    decoder: list[Any]
    """One state per layer."""


class SpeechToMotion(EncoderOwner):
    """Speech encoder, Jamba decoder, linear motion head.

    The head's outputs are in units of ``output_scale`` around ``output_mean``, the spread and mean
    of each output over the training data: outputs that move by hundredths are learned as easily as
    those that move by tenths, and one that never moves in the data stays exactly where it is.
    """

    output_mean: Tensor
    output_scale: Tensor
    style: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Raises InputError where the layers do not fit ``config.look_ahead`` or one another."""
        super().__init__()
        width = config.decoder.width
        self.encoder = make_encoder(config.encoder, config.mel, config.fps, width)
        # With the encoder's architecture, so that a checkpoint needs neither a hub nor other files.
        self.config = replace(config, encoder=self.encoder.filled_config())
        if config.styles:
            # A learned vector per speaking style, added to the decoder's input.
            self.style_vectors = nn.Parameter(torch.zeros(len(config.styles), width))
            self.register_buffer("style", torch.zeros(width), persistent=False)
        self.decoder = JambaDecoder(config.decoder)
        _check_look_ahead(config, self.decoder)
        self.head = nn.Linear(width, config.outputs)
        self.contact = (
            LipClosureHead(width, config.outputs, config.contact) if config.contact.phones else None
        )
        self.register_buffer("output_mean", torch.zeros(config.outputs))
        self.register_buffer("output_scale", torch.ones(config.outputs))
        # The paper starts its output layer at zero: the untrained network shows a still face.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def fixed_state(self) -> bool:
        """Whether a stream's state keeps its size however long the stream is."""
        return self.config.streaming and self.decoder.fixed_state

    def init_state(self, batch: int = 1, position: Tensor | None = None) -> ModelState:
        """Return the state before the first sample of a stream (networks that can stream).

        Args:
            batch: streams.
            position: (B,) absolute index of the first frame, by default 0.
        """
        return ModelState(self.encoder.init_state(batch), self.decoder.init_state(batch, position))

    def forward(
        self, samples: Tensor, state: ModelState, style: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """Compute the next frames of a stream.

        Args:
            samples: (B, T * hop) at 16 kHz.
            state: of the stream before these samples.
            style: (B,) indices into ``config.styles``; None: the chosen style for all.

        Returns:
            (B, T, outputs), whose step k belongs to frame k - delay, and the new state.
        """
        x, speech = self.encoder(samples, state.speech)
        x, decoder, _ = self.decoder(self._add_style(x, style), state.decoder)
        return self.decode_motion(x), ModelState(speech, decoder)

    def forward_offline(
        self, samples: Tensor, frames: int | None = None
    ) -> tuple[Tensor, list[RouterStats]]:
        """Compute the motion of whole clips; without gradients in bounded memory beyond the result.

        Args:
            samples: (B, n) at 16 kHz.
            frames: motion frames T where they are known (training); otherwise they follow from n.

        Returns:
            (B, T, outputs), whose row t is frame t, and the mixtures' router statistics.
        """
        c = self.config
        x = encode_clip(self.encoder, samples, frames, c.delay, c.fps, PIECE)
        x, _, router = self.decoder(self._add_style(x), self.decoder.init_state(len(samples)))
        x = x[:, c.delay :]
        if torch.is_grad_enabled() or x.shape[1] <= PIECE:
            return self.decode_motion(x), router
        # Vertices are many: the result is made once, without copies of its size beside it.
        y = x.new_empty(*x.shape[:2], c.outputs, dtype=torch.float32)
        for start in range(0, x.shape[1], PIECE):
            y[:, start : start + PIECE] = self.decode_motion(x[:, start : start + PIECE])
        return y, router

    def encode_features(
        self, normal: Tensor, state: ModelState, style: Tensor | None = None
    ) -> tuple[Tensor, list[RouterStats]]:
        """Run the streaming encoder's steps and the decoder on features; for training.

        Args:
            normal: (B, F, bands) normalized log-mel features.
            state: of the stream before them.
            style: (B,) indices into ``config.styles``; None: the chosen style for all.

        Returns:
            (B, T, width), the input of ``motion_head``, and the mixtures' router statistics.
        """
        x, _ = self.encoder.encode_normalized(normal, state.speech.encoder)
        x, _, router = self.decoder(self._add_style(x, style), state.decoder)
        return x, router

    def decode_motion(self, x: Tensor) -> Tensor:
        """Apply motion head and lip closure: (B, T, width) -> (B, T, outputs) float32."""
        motion = self.motion_head(x)
        return motion if self.contact is None else cast(Tensor, self.contact(x, motion))

    def motion_head(self, x: Tensor) -> Tensor:
        """Apply the motion head alone, as training does: (B, T, width) -> (B, T, outputs)."""
        return self.output_mean + self.output_scale * self.head(x)

    def choose_style(self, name: str | None = None) -> SpeechToMotion:
        """Use a speaking style from now on; None is the default. ValueError lists the styles."""
        styles = self.config.styles
        if name is not None and name not in styles:
            known = (
                f"choose from {', '.join(styles)}"
                if styles
                else "this network has a single speaking style"
            )
            raise ValueError(f"no style {name!r}: {known}")
        if styles:
            index = styles.index(name) if name is not None else 0
            self.style = self.style_vectors[index].detach().clone()
        return self

    def lower_precision(self, dtype: torch.dtype) -> SpeechToMotion:
        """Turn the weights of encoder, decoder and head to ``dtype``.

        Features, scans, expert scores and the result stay float32.
        """
        getattr(self.encoder, "lower_precision", self.encoder.to)(dtype)
        self.decoder.to(dtype)
        self.head.to(dtype)
        if self.contact is not None:
            self.contact.read.to(dtype)
        return self

    def _add_style(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if not self.config.styles:
            return x
        added = self.style if style is None else self.style_vectors[style][:, None]
        return x + STYLE_SCALE * added.to(x.dtype)


class LipClosureHead(nn.Module):
    """Closes the lips where a bilabial is spoken, tucks the lower one in at a labiodental.

    A network that minimizes squared error makes half a closure where it is not sure of one, and
    lips that nearly meet look wrong. So the phone is read from the same features, and the
    probability of its class decides how far the motion goes to that class' pose.
    """

    closed: Tensor
    tucked: Tensor
    is_bilabial: Tensor
    is_labiodental: Tensor

    def __init__(self, width: int, outputs: int, config: LipClosureConfig) -> None:
        super().__init__()
        self.config = config
        self.read = nn.Linear(width, config.phones)
        self.register_buffer("closed", torch.zeros(outputs))  # the pose in which the lips meet
        if config.labiodentals:
            self.register_buffer("tucked", torch.zeros(outputs))  # the lower lip at the teeth
        for name, phones in (
            ("is_bilabial", config.bilabials),
            ("is_labiodental", config.labiodentals),
        ):
            chosen = torch.zeros(config.phones)
            chosen[phones] = 1.0
            self.register_buffer(name, chosen, persistent=False)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """Features (B, T, width) and motion (B, T, outputs) float32 -> the motion with poses."""
        c = self.config
        probabilities = self.read(x).float().softmax(-1)
        if c.labiodentals:
            motion = self._towards(self.tucked, probabilities, self.is_labiodental, motion)
        return self._towards(self.closed, probabilities, self.is_bilabial, motion)

    def _towards(
        self, pose: Tensor, probabilities: Tensor, chosen: Tensor, motion: Tensor
    ) -> Tensor:
        probability = (probabilities * chosen).sum(-1, keepdim=True)
        share = (probability - self.config.low) / (self.config.high - self.config.low)
        share = share.clamp(0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        return motion + share * (pose - motion)


def check_network(config: ModelConfig, where: str) -> ModelConfig:
    """Return settings whose pattern and sizes make a network; ``where`` names their source.

    Raises:
        InputError: where they do not.
    """
    try:
        with torch.device("meta"):  # shapes without numbers
            _check_look_ahead(config, JambaDecoder(config.decoder))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return config


def _check_look_ahead(config: ModelConfig, decoder: JambaDecoder) -> None:
    if config.streaming and not decoder.causal:
        raise InputError(
            f"pattern {config.decoder.pattern!r} with {config.decoder.attention} attention needs "
            "the whole clip: set look_ahead: full, or choose causal layers"
        )


def parameter_count(model: nn.Module) -> int:
    """Return how many trainable numbers a module has."""
    return sum(p.numel() for p in model.parameters())
