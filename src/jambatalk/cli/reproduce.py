"""``jambatalk reproduce``: the paper's experiments, from the owner's files to tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def reproduce(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="vocaset, biwi6 or grid468.", show_default=False)
    ],
    raw: Annotated[
        Path, typer.Argument(metavar="RAW", help="As its owner ships it.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Folder for everything; a run there goes on.", show_default=False
        ),
    ],
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="All of it in minutes: few clips, tiny networks, four steps."),
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan, and end.")] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP",
            help="prepare, check, train, evaluate, ablate, compare or study; again for more.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting, for every training."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="ID=FOLDER", help="A local folder in a hub's speech network's place."),
    ] = None,
    device: Annotated[str, typer.Option(help="What to train on: cpu, cuda or auto.")] = "cpu",
    slow: Annotated[
        bool, typer.Option("--slow", help="Train on a GPU also where it has no fast scan kernel.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although disk or memory will not do.")
    ] = False,
) -> None:
    """Repeat the paper's experiments: prepare and check the corpus, train JambaTalk and published
    systems, evaluate, ablate, compare, and make a user study.

    A plan with disk, memory and time is printed first. Stop at any time and run again to go on.
    """
    from jambatalk.errors import InputError
    from jambatalk.experiments.reproduce import ReproduceOptions, Reproduction, steps_of

    networks = {}
    for word in network or ():
        name, equals, folder = word.partition("=")
        if not equals or not name or not folder:
            raise InputError(f"--network is {word!r}, expected ID=FOLDER")
        networks[name] = folder
    options = ReproduceOptions(
        smoke, seeds, jobs, device, slow, steps_of(skip or ()), tuple(change or ()), networks, force
    )
    work = Reproduction(corpus, raw, out, options)
    for line in work.plan():
        typer.echo(line)
    if plan:
        return

    def log(line: str) -> None:
        typer.echo(line, err=True)

    if failed := work.run(log):
        for line in failed:
            log(line)
        log("the same command tries them again")
        raise typer.Exit(1)
