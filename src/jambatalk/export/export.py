"""``export_step``: weights in, a checked file for another runtime out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jambatalk.atomic import atomic_write, file_sha256
from jambatalk.audio import Speech
from jambatalk.errors import InputError
from jambatalk.export.graph import StepInfo, step_info
from jambatalk.export.onnx import write_onnx
from jambatalk.export.runtime import ExportedModel, load_onnx
from jambatalk.export.torch_program import load_program, write_program
from jambatalk.models.checkpoint import load_weights
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import StreamingStep, state_bytes

# Whether an exported step does what the network does: both run over the same sound.


LARGEST_ERROR = {"float32": 1e-4, "int8": 0.1}
"""By precision, on a motion of weights in 0..1 (for vertices: metres)."""


@dataclass(frozen=True)
class Parity:
    """Absolute difference of the motions: the largest, the mean, over ``frames`` frames of each
    stream.
    """

    largest: float
    mean: float
    frames: int


def compare(model: SpeechToMotion, stepped: ExportedModel, samples: Tensor) -> Parity:
    """Run both over samples (n,) at 16 kHz, hop by hop; in a batch every stream starts at
    another place on.
    """
    hop, batch = model.config.hop, stepped.info.batch
    frames = len(samples) // hop
    sound = torch.stack([samples.roll(-i * frames // batch * hop) for i in range(batch)])[
        :, : frames * hop
    ]
    with torch.inference_mode():
        expected, _ = model(sound, model.init_state(batch))
    found, _ = stepped(sound, stepped.init_state(batch))
    difference = (found - expected).abs()
    return Parity(float(difference.max()), float(difference.mean()), frames)


SUFFIXES = (".onnx", ".pt2")

OLDEST_TORCH = (2, 6)
"""The first torch whose ONNX exporter takes a graph of torch.export; training and animating work
with older ones.
"""

# Sound for the comparison after writing, seconds.
CHECKED = 1.0


@dataclass(frozen=True)
class Exported:
    """What was written: its description, how it compares with the network, its size and that of one
    stream's state.
    """

    info: StepInfo
    parity: Parity
    bytes: int
    state_bytes: int


def check_suffix(path: str | Path, int8: bool) -> str:
    """The suffix of an output. InputError for an unknown one, or one that cannot be quantized."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"cannot export to {path}: unknown extension {suffix or '(none)'!r}, expected "
            f"{' or '.join(SUFFIXES)}"
        )
    if int8 and suffix != ".onnx":
        raise InputError(f"cannot write {path} with --int8: only .onnx files can be quantized")
    return suffix


def export_step(
    weights: str | Path,
    path: str | Path,
    batch: int = 1,
    int8: bool = False,
    style: str | None = None,
) -> Exported:
    """Write one hop of the network in ``weights`` to ``path`` (.onnx or .pt2), for ``batch``
    streams at once, speaking in ``style`` (None: the weights' default).

    The written file is run over a second of speech before it takes its name. InputError when it
    moves differently from the network by more than LARGEST_ERROR, the network cannot run hop by
    hop, or a file cannot be read or written.
    """
    suffix = check_suffix(path, int8)
    if batch < 1:
        raise InputError(f"batch is {batch}, expected at least 1")
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        raise InputError(
            f"exporting needs torch {'.'.join(map(str, OLDEST_TORCH))} or newer, this is "
            f"{torch.__version__}"
        )
    if Path(path).is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    model, names, notes = load_weights(weights)
    try:
        model.choose_style(style)
        StreamingStep(model)
    except ValueError as error:
        raise InputError(f"{weights} cannot be exported: {error}") from error
    info = step_info(
        model, names, notes, file_sha256(weights), batch, "int8" if int8 else "float32"
    )
    with atomic_write(path) as temporary:
        if suffix == ".onnx":
            write_onnx(temporary, model, info)
            parity = compare(model, load_onnx(temporary)[0], _speech())
        else:
            write_program(temporary, model, info)
            parity = compare(model, load_program(temporary), _speech())
        allowed = LARGEST_ERROR[info.precision]
        if not parity.largest <= allowed:  # so written, it is true of NaN as well
            raise InputError(
                f"the export moves differently from the network by {parity.largest:.2g}, "
                f"expected at most {allowed:g}: "
                f"nothing was written to {path}"
            )
        size = temporary.stat().st_size
    return Exported(info, parity, size, state_bytes(StreamingStep(model).init_state(1)))


def _speech() -> torch.Tensor:
    """A second from the middle of the demo's speech, (n,) at 16 kHz."""
    samples = Speech.load(Path(__file__).parents[1] / "assets" / "demo.flac").samples
    start = len(samples) // 3
    return torch.from_numpy(samples[start : start + int(CHECKED * 16000)].copy())
