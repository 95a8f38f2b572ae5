"""From timed phones to motion: gives speech that nobody filmed the motion that its phones ask for.

A small convolutional network over articulatory features (``text.phones``), fitted on filmed speech
whose phones are known by forced alignment (``training.phone_motion``). Coarticulation is what the
data shows: the network sees 0.4 s to either side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jambatalk.atomic import atomic_write
from jambatalk.errors import InputError, reading, shown
from jambatalk.streaming.resampler import resample_frames
from jambatalk.text.phones import BILABIALS, FEATURES, SILENCE, Timed, feature_track

Array = NDArray[Any]
FORMAT = "jambatalk-phones-1"
RATE = 50.0
"""Frames per second that the network works at."""
DEFAULT_PHONE_MOTION = Path(__file__).parents[1] / "assets" / "phones.safetensors"

CLOSURE_REACH = 0.025
"""Seconds (sigma) over which the lips come together before a bilabial and part after it, beyond the
network's own motion.
"""

RELEASE = 0.3
"""Share of a bilabial's time, at its end, in which the lips are parting already: the burst, and the
breath after it.
"""

REST_AFTER, REST_FADE = 0.15, 0.1
"""Seconds after the last phone and before the next at which the mouth is at rest in a pause, and
those of the way there.
"""


class PhoneNet(nn.Module):
    """Features (B, T, F) at 50 Hz -> shape weights (B, T, K), not yet limited to 0..1."""

    mean: Tensor
    scale: Tensor
    closed: Tensor
    rest: Tensor

    def __init__(
        self,
        outputs: int,
        width: int = 64,
        dilations: Sequence[int] = (1, 2, 2),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width, self.dilations = width, tuple(dilations)
        self.enter = nn.Linear(len(FEATURES), width)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 9, padding=4 * d, dilation=d) for d in self.dilations
        )
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Linear(width, outputs)
        # Outputs are in units of each shape's spread around its mean, as in SpeechToMotion.
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))
        # The mean pose of the fitted speech at the middle of its bilabials.
        self.register_buffer("closed", torch.zeros(outputs))
        # The mean pose of the fitted speech in pauses.
        self.register_buffer("rest", torch.zeros(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Whole utterances; silence is what lies around them."""
        x = self.enter(features).transpose(1, 2)
        for conv in self.convs:
            x = x + self.dropout(nn.functional.gelu(conv(x)))
        moved: Tensor = self.mean + self.scale * self.leave(x.transpose(1, 2))
        return moved


class PhoneMotion:
    """A fitted network on named shapes. ``weights`` is what it is for."""

    def __init__(self, net: PhoneNet, names: tuple[str, ...], notes: Mapping[str, Any]) -> None:
        self.net, self.names, self.notes = net.eval(), names, dict(notes)

    @torch.no_grad()
    def weights(self, phones: Sequence[Timed], frames: int, fps: float) -> Array:
        """(frames, K) float32 weights in 0..1 on ``names``; frame t belongs to t / fps seconds.

        phones: in IPA, as ``data.phones.tidy`` gives them; ValueError for an unknown one. Lips meet
        at every bilabial, and the mouth rests in pauses.
        """
        steps = int(np.ceil(frames * RATE / fps)) + 1
        try:
            features = feature_track(phones, steps, RATE)
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} is not a phone known here: data.phones.PHONES lists them"
            ) from error
        moved = self.net(torch.from_numpy(features)[None])[0].numpy()
        at_rate = resample_frames(moved, RATE, fps)
        at_rate = at_rate[np.minimum(np.arange(frames), len(at_rate) - 1)]
        resting, meeting = (
            pausing(phones, frames, fps)[:, None],
            closing(phones, frames, fps)[:, None],
        )
        at_rate = (1 - resting) * at_rate + resting * self.net.rest.numpy()
        return np.clip(
            (1 - meeting) * at_rate + meeting * self.net.closed.numpy(), 0.0, 1.0
        ).astype(np.float32)


def pausing(phones: Sequence[Timed], frames: int, fps: float) -> Array:
    """(frames,) how far the mouth is at rest: 1 inside pauses, 0 in speech."""
    spoken = [phone for phone in phones if phone.text != SILENCE]
    times = np.arange(frames) / fps
    nearest = np.full(frames, np.inf)
    for _, start, end in spoken:
        nearest = np.minimum(nearest, np.maximum(np.maximum(start - times, times - end), 0.0))
    return np.clip((nearest - REST_AFTER) / REST_FADE + 1.0, 0.0, 1.0).astype(np.float32)


def closing(phones: Sequence[Timed], frames: int, fps: float) -> Array:
    """(frames,) how far the lips are brought together: 1 while a bilabial is shut, else 0."""
    meeting = np.zeros(frames, np.float32)
    times = np.arange(frames) / fps
    for phone, start, end in phones:
        if phone in BILABIALS:
            parted = end - RELEASE * (end - start)
            # A short closure falls between two frames: the nearer one shows it.
            middle = np.clip(round((start + parted) / 2 * fps), 0, max(frames - 1, 0)) / fps
            outside = np.maximum(
                np.maximum(min(start, middle) - times, times - max(parted, middle)), 0.0
            )
            meeting = np.maximum(meeting, np.exp(-0.5 * (outside / CLOSURE_REACH) ** 2))
    return meeting.astype(np.float32)


def save_phone_motion(path: str | Path, model: PhoneMotion) -> None:
    """Write a model as one safetensors file, float16 with its settings in the header."""
    tensors = {name: value.half().contiguous() for name, value in model.net.state_dict().items()}
    settings = {
        "width": model.net.width,
        "dilations": list(model.net.dilations),
        "features": list(FEATURES),
    }
    header = {
        "format": FORMAT,
        "settings": json.dumps(settings),
        "names": json.dumps(list(model.names)),
        "notes": json.dumps(model.notes),
    }
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, header)
        except SafetensorError as error:  # a full disk
            raise InputError(f"cannot write {path}: {error}") from error


def load_phone_motion(path: str | Path | None = None) -> PhoneMotion:
    """The model in a file (default: the one inside the package). InputError when it is missing,
    damaged or of another kind.
    """
    path = DEFAULT_PHONE_MOTION if path is None else Path(path)
    if not path.is_file():
        raise InputError(
            f"no phone model at {path}: expected a file written by jambatalk data fit-phones"
        )
    with reading(path, "a phone model"):
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        if header.get("format") != FORMAT:
            raise InputError(
                f"{path} is of format {shown(header.get('format'))}, expected {FORMAT!r}"
            )
        settings, names, notes = (json.loads(header[key]) for key in ("settings", "names", "notes"))
        if settings["features"] != list(FEATURES):
            raise InputError(
                f"{path} was fitted with other articulatory features than this version has: fit it "
                "anew"
            )
        net = PhoneNet(len(names), int(settings["width"]), [int(d) for d in settings["dilations"]])
        net.load_state_dict(tensors)
    return PhoneMotion(net, tuple(names), notes)
