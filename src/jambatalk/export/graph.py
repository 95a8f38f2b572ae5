"""One hop of a network as a traced torch graph, and the description that travels with it in every
format.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from jambatalk.config import from_mapping
from jambatalk.errors import InputError, reading
from jambatalk.models.config import ModelConfig
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import StreamingStep


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings and log lines below errors (absent torchvision, advice on preparing a model,
    deprecations).
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


FORMAT = "jambatalk-step-1"

SOUND, MOTION = "samples", "weights"
BEFORE, AFTER = "state.", "next."


@dataclass(frozen=True)
class StepInfo:
    """What is known about an exported step besides its graph.

    config: the network's. names: its output names, none for vertex offsets. notes: how it was
    trained. source_sha256: of the weights' file it was made from. batch: streams that the step
    takes at once. precision: "float32" or "int8". initial: the values of those state tensors that
    do not start at zero, for one stream, flattened, by state name.
    """

    config: ModelConfig
    names: tuple[str, ...]
    notes: dict[str, Any]
    source_sha256: str
    batch: int
    precision: str
    initial: dict[str, list[float]]

    def metadata(self) -> dict[str, str]:
        """As text under the keys that README and other programs may rely on."""
        return {
            "format": FORMAT,
            "config": json.dumps(dataclasses.asdict(self.config)),
            "names": json.dumps(list(self.names)),
            "notes": json.dumps(self.notes),
            "source_sha256": self.source_sha256,
            "batch": str(self.batch),
            "precision": self.precision,
            "initial_state": json.dumps(self.initial),
            # The two figures that a program which drives a face needs; both follow from the
            # configuration.
            "fps": str(self.config.fps),
            "delay_frames": str(self.config.delay),
            "look_ahead_ms": f"{self.config.look_ahead_ms:g}",
        }

    @classmethod
    def from_metadata(cls, found: dict[str, str], where: str) -> StepInfo:
        """Read ``metadata`` back.

        InputError when it is missing, of another format or damaged; ``where`` names the file.
        """
        if found.get("format") != FORMAT:
            raise InputError(
                f"{where} is of format {found.get('format')!r}, expected {FORMAT!r}: not written "
                "by jambatalk export"
            )
        with reading(f"the description in {where}", "one of jambatalk export"):
            return cls(
                from_mapping(ModelConfig, json.loads(found["config"]), where),
                tuple(json.loads(found["names"])),
                json.loads(found["notes"]),
                found["source_sha256"],
                int(found["batch"]),
                found["precision"],
                json.loads(found["initial_state"]),
            )


def step_info(
    model: SpeechToMotion,
    names: tuple[str, ...],
    notes: dict[str, Any],
    source_sha256: str,
    batch: int,
    precision: str,
) -> StepInfo:
    """The description of a network's step."""
    step = StreamingStep(model)
    initial = {
        name: tensor.flatten().tolist()
        for name, tensor in zip(step.names, step.init_state(1), strict=True)
        if tensor.any()
    }
    return StepInfo(model.config, names, notes, source_sha256, batch, precision, initial)


def traced_step(model: SpeechToMotion, batch: int) -> torch.export.ExportedProgram:
    """The step for ``batch`` streams, as ``torch.export`` sees it: plain torch operations, all
    shapes fixed.

    ValueError when the network cannot run hop by hop.
    """
    step = StreamingStep(model).eval()
    sound = torch.zeros(batch, model.config.hop)
    with torch.no_grad():
        return torch.export.export(step, (sound, *step.init_state(batch)), strict=False)


def input_names(step_names: tuple[str, ...]) -> list[str]:
    """The graph's inputs, in order: the sound, then each state tensor before the hop."""
    return [SOUND, *(BEFORE + name for name in step_names)]


def output_names(step_names: tuple[str, ...]) -> list[str]:
    """The graph's outputs, in order: the motion, then each state tensor after the hop."""
    return [MOTION, *(AFTER + name for name in step_names)]
