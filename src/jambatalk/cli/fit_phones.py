"""``jambatalk data fit-phones``: filmed speech in, a model from timed phones to motion out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def fit_phones(
    folder: Annotated[
        Path,
        Argument(
            metavar="DIR",
            help="A corpus of shape weights with words or phones.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        Option(
            "-o", "--out", metavar="FILE", help="Model to write (.safetensors).", show_default=False
        ),
    ],
    steps: Annotated[int, Option(min=1, help="Optimiser steps.")] = 1500,
    seed: Annotated[int, Option(min=0, help="Of everything random.")] = 0,
) -> None:
    """Fit the model that gives speech without a film the motion of its phones; phones are aligned
    where they are unknown.

    What it learns from is the corpus' training split; the figures printed are of its validation
    split.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.datasets.align import with_phones
    from jambatalk.datasets.registry import load_clips
    from jambatalk.evaluation.protocols.grid import score_phone_motion
    from jambatalk.face.head import default_head
    from jambatalk.text.phone_motion import save_phone_motion
    from jambatalk.training.phone_motion import PhoneFitConfig, fit_phone_motion

    face = default_head()
    with progress_console() as console:
        with console.progress(f"reading {folder}"):
            train, val = (load_clips(folder, split, face) for split in ("train", "val"))
        with console.progress("aligning phones") as report:
            aligned = with_phones([*train, *val], report)
        train, val = aligned[: len(train)], aligned[len(train) :]
        with console.progress("fitting") as report:
            model = fit_phone_motion(train, face, PhoneFitConfig(seed=seed, steps=steps), report)
        save_phone_motion(out, model)
        for name, value in score_phone_motion(model, val, face).items():
            console.log(f"{name}: {value:.3f}")
        console.log(f"{len(train)} clips -> {out} ({out.stat().st_size / 1e3:.0f} kB)")
