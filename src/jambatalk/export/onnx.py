"""Writing one hop of a network as an ONNX file: one file, standard operators only, description
inside.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from jambatalk.errors import MissingExtraError
from jambatalk.export.graph import StepInfo, input_names, output_names, quiet, traced_step
from jambatalk.models.moe import MixtureOfExperts
from jambatalk.models.speech_to_motion import SpeechToMotion
from jambatalk.models.state import StreamingStep

OPSET = 20
"""The first operator set with Gelu and with the Fourier transform in today's form; onnxruntime
knows it since 1.17.
"""

SMALLEST_QUANTIZED = 1 << 14
"""Numbers in a weight below which int8 gains nothing."""

LARGEST_FOLDED = 1 << 28
"""Numbers in a weight that may be sliced or turned when the file is written instead of when it
runs.
"""

INSTALL = 'pip install "jambatalk[onnx]"'


def write_onnx(path: Path, model: SpeechToMotion, info: StepInfo) -> None:
    """Write the step to ``path``; ``info.precision`` "int8" quantizes the weights of matrix
    products.

    MissingExtraError without onnx and onnxscript; ValueError when the network cannot run hop by
    hop.
    """
    if info.precision == "int8":
        with tempfile.TemporaryDirectory() as folder:
            exact = Path(folder) / "float32.onnx"
            with _every_expert(model):
                _write_float32(exact, model, info)
            _quantise(exact, path)
    else:
        _write_float32(path, model, info)


def _write_float32(path: Path, model: SpeechToMotion, info: StepInfo) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401  (the file is run for comparison: better to know before the work)
        import onnxscript.optimizer
    except ImportError as error:
        raise MissingExtraError(f"exporting to ONNX needs {error.name}: {INSTALL}") from error
    names = StreamingStep(model).names
    with quiet():
        written = torch.onnx.export(
            traced_step(model, info.batch),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=input_names(names),
            output_names=output_names(names),
        )
    assert written is not None  # it is, for exports by dynamo
    graph = written.model
    # Weights of the experts are slices of one tensor; apart from each other they can be quantized
    # and packed.
    onnxscript.optimizer.fold_constants(
        graph, input_size_limit=LARGEST_FOLDED, output_size_limit=LARGEST_FOLDED
    )
    onnxscript.optimizer.remove_unused_nodes(graph)
    # Where each operator came from in the Python source: of no use elsewhere, and it names folders
    # of this machine.
    for node in graph.graph.all_nodes():
        node.metadata_props.clear()
    for value in [*graph.graph.inputs, *graph.graph.outputs, *graph.graph.initializers.values()]:
        value.metadata_props.clear()
    graph.graph.metadata_props.clear()
    graph.metadata_props.clear()
    graph.metadata_props.update(info.metadata())
    written.save(str(path), external_data=False)


def _quantise(source: Path, target: Path) -> None:
    """Weights of the large linear layers as int8, one scale per output; their inputs are quantized
    as they come.

    It pays: of the shipped network the file shrinks from 16.3 to 4.6 MB, a hop takes 0.55 to 0.65
    of float32's time, and shape weights are off by 0.0001 on average and 0.01 at most over a minute
    of speech (benchmarks/speed/onnx_step.py). torch's own dynamic int8 layers gain no time over its
    float32.

    The mel filters stay as they are, since band powers span ten orders of magnitude, and so do
    products that are too small to gain: the router, the rotary correction, the motion head.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtraError(f"quantizing needs {error.name}: {INSTALL}") from error
    graph = onnx.load(source).graph
    sizes = {
        x.name: math.prod(x.dims) for x in graph.initializer if not x.name.endswith("mel.filters")
    }
    large = {name for name, size in sizes.items() if size >= SMALLEST_QUANTIZED}
    chosen = [node.name for node in graph.node if large.intersection(node.input)]
    chosen += [
        f"{name}_MatMul" for name in chosen
    ]  # what onnxruntime calls the product of a Gemm that it takes apart
    with quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=chosen,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def _every_expert(model: SpeechToMotion) -> Iterator[None]:
    """Trace graphs that run all experts: int8 products need weights known beforehand."""
    mixtures = [module for module in model.modules() if isinstance(module, MixtureOfExperts)]
    try:
        for mixture in mixtures:
            mixture.trace_every_expert = True
        yield
    finally:
        for mixture in mixtures:
            mixture.trace_every_expert = False
