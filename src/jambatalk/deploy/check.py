"""Whether an exported step does what the network does: both hear the same sound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jambatalk.deploy.stepped import SteppedModel
from jambatalk.nn.model import SpeechToMotion

LARGEST_ERROR = {"float32": 1e-4, "int8": 0.1}
"""By precision, on a motion of weights in 0..1 (for vertices: metres)."""


@dataclass(frozen=True)
class Parity:
    """Absolute difference of the motions: the largest, the mean, over ``frames`` frames of each stream."""

    largest: float
    mean: float
    frames: int


def compare(model: SpeechToMotion, stepped: SteppedModel, samples: Tensor) -> Parity:
    """Run both over samples (n,) at 16 kHz, hop by hop; in a batch every stream hears them from another place on."""
    hop, batch = model.config.hop, stepped.info.batch
    frames = len(samples) // hop
    sound = torch.stack([samples.roll(-i * frames // batch * hop) for i in range(batch)])[:, : frames * hop]
    with torch.inference_mode():
        expected, _ = model(sound, model.init_state(batch))
    found, _ = stepped(sound, stepped.init_state(batch))
    difference = (found - expected).abs()
    return Parity(float(difference.max()), float(difference.mean()), frames)
