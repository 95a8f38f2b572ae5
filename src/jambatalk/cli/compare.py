"""``jambatalk compare``: systems and a corpus in, one HTML report out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from jambatalk.cli.evaluate import (
    LipsOption,
    MaskOption,
    OpeningOption,
    RegionsOption,
    UpperFaceOption,
    regions_from_options,
)


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA",
            help="As for evaluate: default, a file of weights, or a folder of predictions "
            "CLIP.npy; NAME= before it names it, "
            "and commas join seeds of one system: NAME=a.safetensors,b.safetensors. Last, the "
            "folder of a prepared corpus.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    split: Annotated[
        list[str] | None,
        typer.Option(help="A split; give the option again for more. Default: those named test..."),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Another way to split the corpus than its usual one.")
    ] = None,
    regions: RegionsOption = None,
    lips: LipsOption = None,
    upper_face: UpperFaceOption = None,
    opening: OpeningOption = None,
    mask: MaskOption = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The system that others are tested against. Default: the first."),
    ] = None,
    videos: Annotated[
        int, typer.Option(min=0, help="How many of the reference's worst clips are filmed.")
    ] = 3,
) -> None:
    """Compare systems in one HTML file that opens offline: numbers with error bars, curves, maps on
    the face, videos.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.errors import InputError
    from jambatalk.evaluation.dataset import load_test_set
    from jambatalk.evaluation.report.collect import open_report_system
    from jambatalk.evaluation.report.page import require_extra, write_report

    if len(models) < 2:
        raise InputError(
            f"only {models[0]} is named: expected at least one model and, last, the folder of a "
            "prepared corpus"
        )
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"cannot write the report to {out}: expected a name ending in .html")
    require_extra()
    test_set = load_test_set(models[-1], split, scheme)
    chosen = regions_from_options(test_set, regions, lips, upper_face, opening, mask)
    systems = [open_report_system(spec, test_set) for spec in models[:-1]]
    given = {
        "--regions": regions,
        "--lips": lips,
        "--upper-face": upper_face,
        "--opening": opening,
        "--mask": mask,
    }
    options = [
        *(word for one in split or () for word in ("--split", one)),
        *(() if scheme is None else ("--scheme", scheme)),
        *(
            word
            for name, value in given.items()
            if value is not None
            for word in (name, str(value))
        ),
        *(() if reference is None else ("--reference", reference)),
        *(() if videos == 3 else ("--videos", str(videos))),
    ]
    command = shlex.join(["jambatalk", "compare", *models, *options])
    for line in chosen.lines:
        typer.echo(line, err=True)
    with progress_console() as console, console.progress("comparing") as report:

        def step(what: str, done: int, total: int) -> None:
            report(done, total)

        write_report(
            systems,
            test_set,
            chosen,
            out,
            reference=reference,
            videos=videos,
            command=command,
            progress=step,
        )
    typer.echo(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
