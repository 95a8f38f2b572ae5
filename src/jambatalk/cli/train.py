"""``jambatalk train``: settings and data in, weights out."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jambatalk.cli.console import ThreadsOption

if TYPE_CHECKING:
    from rich.console import Console

    from jambatalk.training.config import TrainConfig


def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="Training settings: a YAML file, or the name of one in the package, such as "
            "light-grid or own-face.",
            show_default=False,
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(help="A corpus folder; give the option again for more.", show_default=False),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoints and the log; an earlier run there is resumed. "
            "Default: runs/<settings' name>."
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
            "--set", metavar="KEY=VALUE", help="Another setting, such as blendshapes.loss.gap=0.7."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    slow: Annotated[
        bool, typer.Option("--slow", help="Train on a GPU also where it has no fast scan kernel.")
    ] = False,
    threads: ThreadsOption = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Try everything in about a minute, in a temporary folder or --run."
        ),
    ] = False,
) -> None:
    """Train a network on one corpus or several; stop at any time and run again to resume.

    Several processes: torchrun.
    """
    from rich.console import Console

    from jambatalk.training.config import load_train_config

    changes = [*(change or []), *([f"steps={steps}"] if steps is not None else [])]
    settings = load_train_config(config, changes)
    # Of several processes the first one prints.
    console = Console(file=sys.stderr, quiet=os.environ.get("RANK", "0") != "0")
    if smoke:
        _smoke(settings, data, run, out, init, device, slow, console)
    else:
        folder = Path("runs") / config.stem if run is None else run
        _train(settings, data, folder, out, init, device, slow, console)


def _smoke(
    settings: TrainConfig,
    data: list[Path],
    run: Path | None,
    out: Path | None,
    init: Path | None,
    device: str,
    slow: bool,
    console: Console,
) -> None:
    from jambatalk.errors import InputError
    from jambatalk.training.smoke_test import smoke

    if out is not None:
        raise InputError(
            "--smoke trains nothing worth keeping: leave -o out, its weights are in the run folder"
        )
    if run is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("several processes need a common folder: give --smoke an empty --run")
    folder = Path(tempfile.mkdtemp(prefix="jambatalk-smoke-")) if run is None else run

    def log(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    smoke(settings, data, folder, device, log, init, slow)
    log(f"all of it works; see {folder}")


def _train(
    settings: TrainConfig,
    data: list[Path],
    folder: Path,
    out: Path | None,
    init: Path | None,
    device: str,
    slow: bool,
    console: Console,
) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from jambatalk.training import build_task
    from jambatalk.training.run_dir import lock_run_dir
    from jambatalk.training.trainer import Trainer

    if int(os.environ.get("RANK", "0")) == 0:
        with lock_run_dir(folder):
            pass  # refused at once rather than after the data were read
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
        trainer = Trainer(settings, task, folder, device, slow)
        console.print(trainer.headline, highlight=False, soft_wrap=True, markup=False)
        for note in task.notes:
            console.print(note, highlight=False, soft_wrap=True, markup=False)
        if trainer.resume():
            console.print(f"resumed {folder} at step {trainer.step}")
        elif init is not None:
            trainer.start_from(init)
        training = bars.add_task("training", total=settings.steps, completed=trainer.step)

        def report(step: int, values: dict[str, float]) -> None:
            loss = values["loss"]
            bars.update(training, completed=step, description=f"training, loss {loss:.3f}")
            figures = [f"{k[4:]} {v:.3f}" for k, v in values.items() if k.startswith("val_")]
            if figures:
                console.print(
                    f"step {step}: loss {loss:.3f}, validation {', '.join(figures)}, "
                    f"{values['seconds']:.2f} s a step"
                )

        trainer.run(report)
    if trainer.step < settings.steps:
        console.print(
            f"stopped early at step {trainer.step}: no better validation in "
            f"{settings.early_stopping.patience}"
        )
    if out is not None:
        trainer.export(out, half=True)
        console.print(f"weights written to {out}")
