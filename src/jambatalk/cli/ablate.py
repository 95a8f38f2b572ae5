"""``jambatalk ablate``: a suite of trainings and a corpus in, a table of comparisons out."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jambatalk.cli.evaluate import (
    LipsOption,
    MaskOption,
    OpeningOption,
    RegionsOption,
    UpperFaceOption,
    regions_from_options,
)

if TYPE_CHECKING:
    from jambatalk.experiments.runner import Runner, State


def ablate(
    suite: Annotated[
        Path,
        typer.Argument(
            help="A base and named differences to it: a YAML file, or a name in the package.",
            show_default=False,
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Argument(
            help="A corpus folder, or several; scored is the first.", show_default=False
        ),
    ],
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each variant, with the seeds 1, 2, …")
    ] = 3,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder for runs and tables. Default: runs/<suite's name>-ablation."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings at a time; they share the cores.")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Instead of the suite's number of steps.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A variant; give it again for more. Default: all."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting, for every variant."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to score on. Default: those named test…")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric of the printed table; give it again for more."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME", help="The row that all others are compared with.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="A row that is not trained here, as for evaluate."),
    ] = None,
    regions: RegionsOption = None,
    lips: LipsOption = None,
    upper_face: UpperFaceOption = None,
    opening: OpeningOption = None,
    mask: MaskOption = None,
    device: Annotated[str, typer.Option(help="What to train on: cpu, cuda or auto.")] = "cpu",
    slow: Annotated[
        bool, typer.Option("--slow", help="Train on a GPU also where it has no fast scan kernel.")
    ] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Go on without this terminal; see ablate.log.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Print the status of every training, and do nothing.")
    ] = False,
) -> None:
    """Train every variant from several seeds, resume what was stopped, and compare the results."""
    from jambatalk.errors import InputError
    from jambatalk.experiments.results import (
        compare,
        prepare_scoring,
        save_table,
        score_runs,
        text_table,
    )
    from jambatalk.experiments.runner import LOG, Runner, detach
    from jambatalk.experiments.suite import load_suite

    folder = Path("runs") / f"{suite.stem}-ablation" if out is None else out
    loaded = load_suite(suite, change or [], steps)
    runner = Runner(loaded, data, folder, range(1, seeds + 1), only or [], device, slow)
    if status:
        _print_status(runner)
        return
    scoring = prepare_scoring(
        runner.data[0],
        loaded,
        split,
        metric,
        lambda found: regions_from_options(found, regions, lips, upper_face, opening, mask),
        extra or (),
    )
    runner.check()
    for line in scoring.regions.lines:
        typer.echo(line, err=True)
    if background:
        if runner.working():
            raise InputError(
                f"another process is at work on {folder}: wait until it ends, or choose another "
                "folder"
            )
        words = ["ablate", str(suite), *map(str, data), "--seeds", str(seeds)]
        words += ["-o", str(folder), "--jobs", str(jobs), "--device", device]
        words += ["--slow"] if slow else []
        for option, value in (
            ("--steps", steps),
            ("--against", against),
            ("--regions", regions),
            ("--lips", lips),
            ("--upper-face", upper_face),
            ("--opening", opening),
            ("--mask", mask),
        ):
            words += [option, str(value)] if value is not None else []
        for option, values in (
            ("--only", only),
            ("--set", change),
            ("--split", split),
            ("--metric", metric),
            ("--extra", extra),
        ):
            words += [word for value in values or () for word in (option, value)]
        process = detach(words, folder / LOG)
        typer.echo(f"process {process} is at work; its output is in {folder / LOG}, see --status")
        return

    def log(line: str) -> None:
        typer.echo(line, err=True)

    states = runner.run(jobs, log)
    table = compare(loaded, score_runs(runner, scoring, log), metric or None, against)
    save_table(folder, table)
    typer.echo(text_table(table))
    log(f"tables: {folder}{os.sep}table.md, .csv, .json")
    if failed := [state for state in states if state.state != "done"]:
        for state in failed:
            _print_failure(state)
        log("the same command tries them again")
        raise typer.Exit(1)


def _print_failure(state: State) -> None:
    typer.echo(
        f"{state.variant}, seed {state.seed}: {state.state}, {state.reason}; see {state.folder}",
        err=True,
    )


def _print_status(runner: Runner) -> None:
    """Print a line for each training and the sums."""
    working = runner.working()
    states = runner.states()
    for state in states:
        at = f"step {state.step} of {state.steps}" if state.state == "stopped" else state.reason
        typer.echo(f"{state.variant:24} seed {state.seed:<3} {at or state.state}")
    counts = Counter(state.state for state in states)
    typer.echo(
        ", ".join(f"{count} {name}" for name, count in counts.items())
        + ("; a process is at work" if working else "")
    )
