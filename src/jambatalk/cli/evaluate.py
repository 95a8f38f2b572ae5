"""``jambatalk evaluate``: systems and a corpus in, a table of metrics out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jambatalk.evaluation.dataset import EvalDataset
    from jambatalk.evaluation.regions import Regions


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA",
            help="default, a file of weights (@STYLE behind it for a style) or a folder of predictions CLIP.npy; NAME= before it "
            "for a name. Last, the folder of a prepared corpus.",
            show_default=False,
        ),
    ],
    split: Annotated[
        list[str] | None,
        typer.Option(help="A split; give the option again for more. Default: those named test..."),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Another way to split the corpus than its usual one.")
    ] = None,
    regions: Annotated[
        Path | None, typer.Option(help="Regions of the mesh, as an earlier run saved them.")
    ] = None,
    lips: Annotated[
        Path | None, typer.Option(help="Vertex indices of the lips: .npy, .txt, .json or .pkl.")
    ] = None,
    upper_face: Annotated[
        Path | None, typer.Option(help="Vertex indices of the upper face.")
    ] = None,
    opening: Annotated[
        str | None,
        typer.Option(
            metavar="UPPER,LOWER", help="The two vertices in the middle of the inner lips."
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(help="What these masks are called, for numbers published under the name."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="How often a model that draws at random is asked.")
    ] = 10,
    compat: Annotated[
        bool,
        typer.Option(
            "--compat",
            help="Also what the authors' released script computes (not the field's quantities).",
        ),
    ] = False,
    speed: Annotated[bool, typer.Option(help="Measure real-time factors.")] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write result.json, clips.csv and regions.json into this folder."
        ),
    ] = None,
) -> None:
    """Score systems on a prepared corpus, beside the truth itself, a still face and the mean training motion."""
    from jambatalk.cli.console import progress_console
    from jambatalk.errors import InputError
    from jambatalk.evaluation.dataset import load_test_set
    from jambatalk.evaluation.evaluate import evaluate as score
    from jambatalk.evaluation.regions import FILE
    from jambatalk.evaluation.systems import open_entry
    from jambatalk.evaluation.tables import save_results, text_table

    if len(models) < 2:
        raise InputError(
            f"only {models[0]} is named: expected at least one model and, last, the folder of a prepared corpus"
        )
    test_set = load_test_set(models[-1], split, scheme)
    chosen = _regions(test_set, regions, lips, upper_face, opening, mask)
    entries = [open_entry(spec, test_set) for spec in models[:-1]]
    with progress_console() as console:
        console.log(f"regions {chosen.hash}: {len(chosen.lips)} lip vertices, {chosen.source}")
        if not test_set.has_training:
            console.log(
                "no training split in this corpus: the row of the mean training motion is left out"
            )
        with console.progress("scoring") as report:
            scored = score(
                entries,
                test_set,
                chosen,
                seeds=range(seeds),
                compat=compat,
                speed=speed,
                progress=lambda system, done, total: report(done, total),
            )
    if out is not None:
        save_results(out, scored)
        chosen.save(out / FILE)
    typer.echo(text_table(scored))


def _regions(
    test_set: EvalDataset,
    file: Path | None,
    lips: Path | None,
    upper_face: Path | None,
    opening: str | None,
    mask: str | None,
) -> Regions:
    from dataclasses import replace

    from jambatalk.errors import InputError
    from jambatalk.evaluation.regions import Regions, find_regions, regions_from_files

    masks = {"--lips": lips, "--upper-face": upper_face, "--opening": opening}
    given = [name for name, value in masks.items() if value is not None]
    if file is not None:
        if given:
            raise InputError(f"--regions and {given[0]} are both given, expected one or the other")
        found = Regions.load(file, test_set.vertices)
    elif lips is not None and upper_face is not None and opening is not None:
        found = regions_from_files(lips, upper_face, _pair(opening), test_set.vertices)
    elif given:
        lacking = next(name for name in masks if name not in given)
        raise InputError(
            f"{given[0]} is given without {lacking}: expected --lips, --upper-face and --opening together"
        )
    else:
        found = find_regions(test_set)
    return found if mask is None else replace(found, source=mask)


def _pair(text: str) -> tuple[int, int]:
    from jambatalk.errors import InputError

    upper, comma, lower = text.partition(",")
    if not (comma and upper.strip().isdigit() and lower.strip().isdigit()):
        raise InputError(
            f"--opening is {text!r}, expected the numbers of two vertices such as 13,14"
        )
    return int(upper), int(lower)
