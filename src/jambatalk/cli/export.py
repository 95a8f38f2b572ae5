"""``jambatalk export``: one hop of the network as a file for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def export(
    out: Annotated[
        Path,
        Argument(
            metavar="OUT", help="File to write: .onnx, or .pt2 (torch.export).", show_default=False
        ),
    ],
    model: Annotated[
        Path | None,
        Option(
            metavar="WEIGHTS",
            help="Weights to export.  [default: those in the package]",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[int, Option(metavar="N", help="Streams that the step takes at once.")] = 1,
    int8: Annotated[
        bool,
        Option(
            "--int8",
            help="int8 weights (.onnx): a quarter of the size, faster, motion off by 0.0001 on "
            "average.",
        ),
    ] = False,
    style: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Way of speaking, one of the weights' (jambatalk network lists them).",
        ),
    ] = None,
) -> None:
    """Write one hop of the network, with all its memory explicit, for ONNX runtimes or
    torch.export.

    The file is run over a second of speech beside the network before it takes its name.
    """
    from jambatalk.export.export import export_step
    from jambatalk.talker import DEFAULT_WEIGHTS

    written = export_step(model if model is not None else DEFAULT_WEIGHTS, out, batch, int8, style)
    info, parity = written.info, written.parity
    config = info.config
    typer.echo(
        f"{out}: {info.precision}, {written.bytes / 1e6:.1f} MB; one call takes {config.hop} "
        f"samples of {info.batch} "
        f"stream{'s' * (info.batch > 1)} and gives {config.outputs} values a frame at {config.fps} "
        "frames a second; "
        f"state {written.state_bytes / 1e3:.0f} kB a stream"
    )
    typer.echo(
        f"against the network, over {parity.frames / config.fps:.1f} s of speech: largest "
        f"difference {parity.largest:.1e}, "
        f"mean {parity.mean:.1e}"
    )
