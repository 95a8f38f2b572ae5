"""``export_step``: weights in, a checked file for another runtime out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from jambatalk.audio import Speech
from jambatalk.checkpoint import file_sha256, load_weights
from jambatalk.deploy.check import LARGEST_ERROR, Parity, compare
from jambatalk.deploy.graph import StepInfo, step_info
from jambatalk.deploy.onnx import write_onnx
from jambatalk.deploy.onnx_model import load_onnx
from jambatalk.deploy.program import load_program, write_program
from jambatalk.errors import InputError
from jambatalk.files import replacing
from jambatalk.nn.step import HopStep, state_bytes

SUFFIXES = (".onnx", ".pt2")

OLDEST_TORCH = (2, 6)
"""The first torch whose ONNX exporter takes a graph of torch.export; training and animating work with older ones."""

# Sound for the comparison after writing, seconds.
CHECKED = 1.0


@dataclass(frozen=True)
class Exported:
    """What was written: its description, how it compares with the network, its size and that of one stream's state."""

    info: StepInfo
    parity: Parity
    bytes: int
    state_bytes: int


def check_suffix(path: str | Path, int8: bool) -> str:
    """The suffix of an output. InputError for an unknown one, or one that cannot be quantised."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"cannot export to {path}: unknown extension {suffix or '(none)'!r}, expected {' or '.join(SUFFIXES)}")
    if int8 and suffix != ".onnx":
        raise InputError(f"cannot write {path} with --int8: only .onnx files can be quantised")
    return suffix


def export_step(weights: str | Path, path: str | Path, batch: int = 1, int8: bool = False, style: str | None = None) -> Exported:
    """Write one hop of the network in ``weights`` to ``path`` (.onnx or .pt2), for ``batch`` streams at once, speaking in
    ``style`` (None: the weights' default).

    The written file is run over a second of speech before it takes its name. InputError when it moves differently from the
    network by more than LARGEST_ERROR, the network cannot run hop by hop, or a file cannot be read or written.
    """
    suffix = check_suffix(path, int8)
    if batch < 1:
        raise InputError(f"batch is {batch}, expected at least 1")
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        raise InputError(f"exporting needs torch {'.'.join(map(str, OLDEST_TORCH))} or newer, this is {torch.__version__}")
    if Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    model, names, notes = load_weights(weights)
    try:
        model.choose_style(style)
        HopStep(model)
    except ValueError as error:
        raise InputError(f"{weights} cannot be exported: {error}") from error
    info = step_info(model, names, notes, file_sha256(weights), batch, "int8" if int8 else "float32")
    with replacing(path) as temporary:
        if suffix == ".onnx":
            write_onnx(temporary, model, info)
            parity = compare(model, load_onnx(temporary)[0], _speech())
        else:
            write_program(temporary, model, info)
            parity = compare(model, load_program(temporary), _speech())
        allowed = LARGEST_ERROR[info.precision]
        if not parity.largest <= allowed:  # so written, it is true of NaN as well
            raise InputError(
                f"the export moves differently from the network by {parity.largest:.2g}, expected at most {allowed:g}: "
                f"nothing was written to {path}"
            )
        size = temporary.stat().st_size
    return Exported(info, parity, size, state_bytes(HopStep(model).init_state(1)))


def _speech() -> torch.Tensor:
    """A second from the middle of the demo's speech, (n,) at 16 kHz."""
    samples = Speech.load(Path(__file__).parents[1] / "assets" / "demo.flac").samples
    start = len(samples) // 3
    return torch.from_numpy(samples[start : start + int(CHECKED * 16000)].copy())
