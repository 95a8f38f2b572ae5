"""``jambatalk convert``: weights of other programs in, ours out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from jambatalk.cli.console import handle_errors

convert = typer.Typer(
    help="Convert weights of other programs.", no_args_is_help=True, rich_markup_mode=None
)


@convert.callback()
def _commands() -> None:
    """Convert weights of other programs."""


def released(
    checkpoint: Annotated[
        Path,
        Argument(
            metavar="CHECKPOINT", help="A .pth file of the authors' code.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Weights to write, .safetensors.",
            show_default=False,
        ),
    ],
    preset: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="released-vocaset or released-biwi6.  [default: by the number of vertices]",
        ),
    ] = None,
    without_lip_reader: Annotated[
        bool,
        Option(
            "--without-lip-reader",
            help="Leave out what only training uses: a file of less than half the size.",
        ),
    ] = False,
    half: Annotated[bool, Option("--half", help="Write float16: half the size.")] = False,
) -> None:
    """Turn a checkpoint of the released JambaTalk code into weights for ``jambatalk animate
    --model``.

    Every tensor is mapped by its name; one that is missing, left over or of another shape stops the
    conversion.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.errors import InputError
    from jambatalk.models.convert_released import convert_released

    if out.suffix != ".safetensors":
        raise InputError(f"{out} is not a name for weights, expected one that ends in .safetensors")
    with progress_console() as console:
        with console.progress(f"converting {checkpoint}") as report:
            done = convert_released(checkpoint, out, preset, not without_lip_reader, half, report)
        kept = f", {done.lip_reader} of them for training alone" if done.lip_reader else ""
        console.log(
            f"{checkpoint} ({done.preset}) -> {out}: {done.tensors} tensors{kept}, "
            f"{out.stat().st_size / 1e6:,.0f} MB; "
            f"moves {done.config.outputs // 3:,} vertices at {done.config.fps} fps"
        )


convert.command()(handle_errors(released))
