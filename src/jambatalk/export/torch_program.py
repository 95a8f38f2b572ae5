"""One hop of a network as a torch program (.pt2), for what builds on ``torch.export``: AOTInductor,
ExecuTorch, ...
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from jambatalk.errors import InputError
from jambatalk.export.graph import StepInfo, quiet, traced_step
from jambatalk.export.runtime import ExportedModel, StepState
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import StreamingStep

DESCRIPTION = "jambatalk.json"


def write_program(path: Path, model: SpeechToMotion, info: StepInfo) -> None:
    """Write the step to ``path``. ValueError when the network cannot run hop by hop."""
    described = info.metadata() | {"state": json.dumps(StreamingStep(model).names)}
    with quiet():
        torch.export.save(
            traced_step(model, info.batch), path, extra_files={DESCRIPTION: json.dumps(described)}
        )


class ProgramModel(ExportedModel):
    """``ExportedModel`` on a torch program, operator by operator: for checking, not for speed."""

    def __init__(
        self,
        info: StepInfo,
        path: str,
        program: torch.export.ExportedProgram,
        names: tuple[str, ...],
    ) -> None:
        super().__init__(info, path)
        self._module = program.module()
        placeholders = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
        values = [placeholders[name] for name in program.graph_signature.user_inputs[1:]]  # type: ignore[index]
        self._shapes = {
            name: (tuple(value.shape), value.dtype)
            for name, value in zip(names, values, strict=True)
        }

    def _state_shapes(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return self._shapes

    def _step(self, hop: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        with torch.no_grad():
            frame, *after = self._module(hop, *state.tensors.values())
        return frame, StepState(dict(zip(self._shapes, after, strict=True)))


def load_program(path: str | Path) -> ProgramModel:
    """Read a file written by ``write_program``.

    Only for files of your own: torch may unpickle parts of a stranger's.

    InputError when the file is missing, damaged or not ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no network at {path}: expected a .pt2 file written by jambatalk export")
    files = {DESCRIPTION: ""}
    try:
        with quiet():
            program = torch.export.load(path, extra_files=files)
    except Exception as error:  # torch names no exception for a bad archive
        raise InputError(
            f"{path} is damaged or no torch program ({' '.join(str(error).split())[:200]})"
        ) from error
    described = json.loads(files[DESCRIPTION] or "{}")
    info = StepInfo.from_metadata(described, str(path))
    return ProgramModel(info, str(path), program, tuple(json.loads(described["state"])))
