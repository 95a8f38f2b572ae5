"""``jambatalk train``: settings and data in, weights out."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jambatalk.cli.console import ThreadsOption


def train(
    config: Annotated[Path, typer.Argument(help="Training settings, YAML.", show_default=False)],
    data: Annotated[
        list[Path],
        typer.Option(help="A corpus folder; give the option again for more.", show_default=False),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoints and the log; an earlier run there is resumed. Default: runs/<settings' name>."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Also write the final weights here, as float16."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Begin with these weights instead of random ones (fine-tuning)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Instead of the settings' number of steps.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another setting, such as shapes.loss.gap=0.7."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    threads: ThreadsOption = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Try everything in about a minute, in a temporary folder or --run."
        ),
    ] = False,
) -> None:
    """Train a network on one corpus or several; stop at any time and run again to resume. Several processes: torchrun."""
    from rich.console import Console

    from jambatalk.training.config import load_train_config

    changes = [*(change or []), *([f"steps={steps}"] if steps is not None else [])]
    settings = load_train_config(config, changes)
    # Of several processes the first one speaks.
    console = Console(file=sys.stderr, quiet=os.environ.get("RANK", "0") != "0")
    if smoke:
        from jambatalk.errors import InputError
        from jambatalk.training import smoke_test as small

        if out is not None:
            raise InputError(
                "--smoke trains nothing worth keeping: leave -o out, its weights are in the run folder"
            )
        if run is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                "several processes need a folder in common: give --smoke a --run that is empty"
            )
        folder = Path(tempfile.mkdtemp(prefix="jambatalk-smoke-")) if run is None else run
        small.smoke(
            settings,
            data,
            folder,
            device,
            lambda line: console.print(line, highlight=False, soft_wrap=True),
            init,
        )
        console.print(f"all of it works; see {folder}", highlight=False, soft_wrap=True)
        return

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from jambatalk.training import build_task
    from jambatalk.training.trainer import Trainer

    folder = Path("runs") / config.stem if run is None else run
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        reading = bars.add_task("data", total=None)
        task = build_task(
            settings,
            data,
            folder,
            lambda done, total: bars.update(reading, completed=done, total=total),
        )
        trainer = Trainer(settings, task, folder, device)
        if trainer.resume():
            console.print(f"resumed {folder} at step {trainer.step}")
        elif init is not None:
            trainer.start_from(init)
        training = bars.add_task("training", total=settings.steps, completed=trainer.step)

        def report(step: int, terms: dict[str, float]) -> None:
            bars.update(training, completed=step, description=f"training, loss {terms['loss']:.3f}")
            figures = ", ".join(
                f"{name[4:]} {value:.3f}"
                for name, value in terms.items()
                if name.startswith("val_")
            )
            if figures:
                console.print(
                    f"step {step}: loss {terms['loss']:.3f}, validation {figures}, {terms['seconds']:.2f} s a step"
                )

        trainer.run(report)
    if trainer.step < settings.steps:
        console.print(
            f"stopped early at step {trainer.step}: no better validation in {settings.early_stopping.patience}"
        )
    if out is not None:
        trainer.export(out, half=True)
        console.print(f"weights written to {out}")
