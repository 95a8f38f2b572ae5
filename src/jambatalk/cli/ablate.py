"""``jambatalk ablate``: a suite of trainings and a corpus in, a table of what each part contributes out."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jambatalk.experiments.runner import Runner, State


def ablate(
    suite: Annotated[
        Path, typer.Argument(help="A base and named differences to it, YAML.", show_default=False)
    ],
    data: Annotated[
        list[Path], typer.Argument(help="A corpus folder, or several.", show_default=False)
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
    background: Annotated[
        bool, typer.Option("--background", help="Go on without this terminal; see ablate.log.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Tell where every training stands, and do nothing.")
    ] = False,
) -> None:
    """Train every variant from several seeds, resume what was stopped, and tell which differences are real."""
    from jambatalk.errors import InputError
    from jambatalk.experiments.runner import LOG, Runner, detach
    from jambatalk.experiments.suite import load_suite

    folder = Path("runs") / f"{suite.stem}-ablation" if out is None else out
    loaded = load_suite(suite, change or [], steps)
    runner = Runner(loaded, data, folder, range(1, seeds + 1), only or [])
    if status:
        _tell(runner)
        return
    if background:
        if runner.working():
            raise InputError(
                f"another process is at work on {folder}: wait until it ends, or choose another "
                "folder"
            )
        words = [
            "ablate",
            str(suite),
            *map(str, data),
            "--seeds",
            str(seeds),
            "-o",
            str(folder),
            "--jobs",
            str(jobs),
        ]
        words += ["--steps", str(steps)] if steps is not None else []
        for option, values in (
            ("--only", only),
            ("--set", change),
            ("--split", split),
            ("--metric", metric),
        ):
            words += [word for value in values or () for word in (option, value)]
        process = detach(words, folder / LOG)
        typer.echo(
            f"process {process} is at work; its words go to {folder / LOG}, and --status tells "
            "where it stands"
        )
        return
    states = runner.run(jobs, lambda line: typer.echo(line, err=True))
    _table(runner, states, split, metric)
    if failed := [state for state in states if state.state != "done"]:
        for state in failed:
            typer.echo(
                f"{state.variant}, seed {state.seed}: {state.state}, {state.reason}; see "
                f"{state.folder}",
                err=True,
            )
        typer.echo("the same command tries them again", err=True)
        raise typer.Exit(1)


def _tell(runner: Runner) -> None:
    """Print a line for each training and the sums."""
    working = runner.working()
    states = runner.states()
    for state in states:
        told = f"step {state.step} of {state.steps}" if state.state == "stopped" else state.reason
        typer.echo(f"{state.variant:24} seed {state.seed:<3} {state.state if told == '' else told}")
    counts = Counter(state.state for state in states)
    typer.echo(
        ", ".join(f"{count} {name}" for name, count in counts.items())
        + ("; a process is at work" if working else "")
    )


def _table(
    runner: Runner, states: list[State], split: list[str] | None, metric: list[str] | None
) -> None:
    """Score what is done and print the table; files are written beside the runs."""
    from jambatalk.experiments.results import compare, save_table, score_runs, text_table

    scores = score_runs(runner, split, lambda line: typer.echo(line, err=True))
    table = compare(runner.suite, scores, metric or None)
    save_table(runner.out, table)
    typer.echo(text_table(table))
    typer.echo(f"tables: {runner.out}{os.sep}table.md, .csv, .json", err=True)
