"""An exported ONNX step run by onnxruntime, in place of the network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jambatalk.errors import InputError, MissingExtraError
from jambatalk.export.graph import AFTER, BEFORE, MOTION, SOUND, StepInfo
from jambatalk.models.config import ModelConfig

# What stands in for the network when its step runs elsewhere: hops one by one, the same calls as
# ``SpeechToMotion``.


@dataclass(frozen=True)
class StepState:
    """What a stepped model remembers: ``named_state`` of the network's state, by name.

    Steps never change it in place.
    """

    tensors: dict[str, Tensor]


class ExportedModel(ABC):
    """A network known only by its exported step.

    ``model(samples, state)`` as ``SpeechToMotion``, float32 on the CPU.
    """

    def __init__(self, info: StepInfo, path: str) -> None:
        self.info, self.path = info, path

    @property
    def config(self) -> ModelConfig:
        """The network's configuration."""
        return self.info.config

    def init_state(self, batch: int = 1) -> StepState:
        """The state before the first sample.

        InputError when the file was exported for another number of streams.
        """
        if batch != self.info.batch:
            raise InputError(
                f"{self.path} takes {self.info.batch} streams at once, but {batch} is asked for: "
                f"export it with --batch {batch}"
            )
        state = {}
        for name, (shape, dtype) in self._state_shapes().items():
            state[name] = torch.zeros(shape, dtype=dtype)
            if name in self.info.initial:
                state[name] += torch.tensor(self.info.initial[name], dtype=dtype).view(
                    1, *shape[1:]
                )
        return StepState(state)

    def __call__(self, samples: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """samples (B, T * hop) at 16 kHz -> (B, T, outputs); step k belongs to frame k - delay."""
        if samples.shape[1] % self.config.hop:
            raise ValueError(
                f"a chunk of {samples.shape[1]} samples is not a multiple of the hop "
                f"{self.config.hop}"
            )
        frames = []
        for hop in samples.split(self.config.hop, dim=1):
            if hop.shape[1]:
                frame, state = self._step(hop, state)
                frames.append(frame)
        y = (
            torch.stack(frames, dim=1)
            if frames
            else samples.new_zeros(len(samples), 0, self.config.outputs)
        )
        return y, state

    @abstractmethod
    def _state_shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """(shape, dtype) of each state tensor by name, in the graph's order."""

    @abstractmethod
    def _step(self, hop: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """(B, hop), state -> (B, outputs), new state."""


DTYPES = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64}


class OnnxModel(ExportedModel):
    """``ExportedModel`` on an onnxruntime session."""

    def __init__(self, info: StepInfo, path: str, session: Any) -> None:
        super().__init__(info, path)
        self._session = session
        self._inputs = {
            x.name.removeprefix(BEFORE): x for x in session.get_inputs() if x.name != SOUND
        }
        self._outputs = [MOTION, *(AFTER + name for name in self._inputs)]

    def _state_shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return {name: (tuple(x.shape), DTYPES[x.type]) for name, x in self._inputs.items()}

    def _step(self, hop: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        feed = {BEFORE + name: tensor.numpy() for name, tensor in state.tensors.items()}
        feed[SOUND] = hop.contiguous().numpy()
        frame, *after = map(torch.from_numpy, self._session.run(self._outputs, feed))
        return frame, StepState(dict(zip(self._inputs, after, strict=True)))


def load_onnx(
    path: str | Path, threads: int = 1
) -> tuple[OnnxModel, tuple[str, ...], dict[str, Any]]:
    """(model, output names, notes) of a file written by ``jambatalk export``; of all extras only
    onnxruntime is needed.

    threads: of onnxruntime; a hop is too small for more than one to help. MissingExtraError without
    onnxruntime; InputError when the file is missing, damaged or not ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"no network at {path}: expected an .onnx file written by jambatalk export"
        )
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            'running an .onnx file needs onnxruntime: pip install "jambatalk[onnx]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; they reach the user as exceptions too
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own exceptions share no base class but this
        raise InputError(
            f"{path} is damaged or no ONNX file ({' '.join(str(error).split())[:200]})"
        ) from error
    info = StepInfo.from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    if not _fits(info, session):
        raise InputError(
            f"{path} has other inputs and outputs than its description has: not written by "
            "jambatalk export"
        )
    return OnnxModel(info, str(path), session), info.names, info.notes


def _fits(info: StepInfo, session: Any) -> bool:
    """Whether a graph has the inputs and outputs that its description promises."""
    sound, *states = session.get_inputs()
    shapes = {x.name.removeprefix(BEFORE): x.shape for x in states}
    return (
        (sound.name, sound.shape, sound.type)
        == (SOUND, [info.batch, info.config.hop], "tensor(float)")
        and all(
            x.name.startswith(BEFORE) and x.type in DTYPES and x.shape[0] == info.batch
            for x in states
        )
        and [x.name for x in session.get_outputs()] == [MOTION, *(AFTER + name for name in shapes)]
        and all(
            name in shapes and len(v) == math.prod(shapes[name][1:])
            for name, v in info.initial.items()
        )
    )
