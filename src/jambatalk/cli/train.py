"""``jambatalk train``: settings and data in, weights out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="Training settings, YAML.", show_default=False)],
    data: Annotated[list[Path], typer.Option(help="A corpus folder; give the option again for more.", show_default=False)],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints and the log; an earlier run there is resumed.")] = Path(
        "runs/base"
    ),
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the final weights here, as float16.")] = None,
    init: Annotated[Path | None, typer.Option(help="Begin with these weights instead of random ones (fine-tuning).")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the settings' number of steps.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
) -> None:
    """Train a network on a corpus; stop at any time and run again to resume."""
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from jambatalk.training.build import build_task
    from jambatalk.training.config import load_train_config
    from jambatalk.training.loop import Trainer

    settings = load_train_config(config)
    if steps is not None:
        settings = replace(settings, steps=steps)
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        reading = bars.add_task("voices", total=None)
        task = build_task(settings, data, run, lambda done, total: bars.update(reading, completed=done, total=total))
        trainer = Trainer(settings, task, run, device)
        if trainer.resume():
            console.print(f"resumed {run} at step {trainer.step}")
        elif init is not None:
            trainer.start_from(init)
        training = bars.add_task("training", total=settings.steps, completed=trainer.step)

        def report(step: int, terms: dict[str, float]) -> None:
            bars.update(training, completed=step, description=f"training, loss {terms['loss']:.3f}")
            figures = ", ".join(f"{name[4:]} {value:.3f}" for name, value in terms.items() if name.startswith("val_"))
            if figures:
                console.print(f"step {step}: loss {terms['loss']:.3f}, validation {figures}, {terms['seconds']:.2f} s a step")

        trainer.run(report)
    if out is not None:
        trainer.export(out, half=True)
        console.print(f"weights written to {out}")
