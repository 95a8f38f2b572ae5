"""What stands in for the network when its step runs elsewhere: hops one by one, the same calls as ``SpeechToMotion``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from jambatalk.deploy.graph import StepInfo
from jambatalk.errors import InputError
from jambatalk.nn.model import ModelConfig


@dataclass(frozen=True)
class StepState:
    """What a stepped model remembers: ``named_state`` of the network's state, by name. Steps never change it in place."""

    tensors: dict[str, Tensor]


class SteppedModel(ABC):
    """A network known only by its exported step. ``model(samples, state)`` as ``SpeechToMotion``, float32 on the CPU."""

    def __init__(self, info: StepInfo, path: str) -> None:
        self.info, self.path = info, path

    @property
    def config(self) -> ModelConfig:
        """The network's configuration."""
        return self.info.config

    def init_state(self, batch: int = 1) -> StepState:
        """The state before the first sample. InputError when the file was exported for another number of streams."""
        if batch != self.info.batch:
            raise InputError(
                f"{self.path} takes {self.info.batch} streams at once, but {batch} is asked for: export it with --batch {batch}"
            )
        state = {}
        for name, (shape, dtype) in self._state_shapes().items():
            state[name] = torch.zeros(shape, dtype=dtype)
            if name in self.info.initial:
                state[name] += torch.tensor(self.info.initial[name], dtype=dtype).view(1, *shape[1:])
        return StepState(state)

    def __call__(self, samples: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """samples (B, T * hop) at 16 kHz -> (B, T, outputs); step k belongs to the frame k - delay."""
        if samples.shape[1] % self.config.hop:
            raise ValueError(f"a chunk of {samples.shape[1]} samples is no multiple of the hop {self.config.hop}")
        frames = []
        for hop in samples.split(self.config.hop, dim=1):
            if hop.shape[1]:
                frame, state = self._step(hop, state)
                frames.append(frame)
        y = torch.stack(frames, dim=1) if frames else samples.new_zeros(len(samples), 0, self.config.outputs)
        return y, state

    @abstractmethod
    def _state_shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """(shape, dtype) of each state tensor by name, in the graph's order."""

    @abstractmethod
    def _step(self, hop: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """(B, hop), state -> (B, outputs), new state."""
