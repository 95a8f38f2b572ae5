"""``jambatalk data``: corpora of others made ready for training, and looked over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from jambatalk.cli.plain import BAD_INPUT, plain_errors

data = typer.Typer(help="Prepare corpora for training, and check them.", no_args_is_help=True, rich_markup_mode=None)


@data.callback()
def _commands() -> None:
    """Prepare corpora for training, and check them."""


def prepare(
    kind: Annotated[str, Argument(metavar="KIND", help="vocaset, biwi, biwi6 or faceformer-layout.", show_default=False)],
    raw: Annotated[Path, Argument(metavar="RAW", help="The corpus as its owner ships it.", show_default=False)],
    out: Annotated[Path, Argument(metavar="OUT", help="Folder to write; an earlier run there goes on.", show_default=False)],
    fps: Annotated[
        float | None, Option(help="Frames a second to keep.  [default: 30 for VOCASET, 25 for BIWI]", show_default=False)
    ] = None,
    source_fps: Annotated[
        float | None, Option(help="Frames a second of the raw motion, where it is not known.", show_default=False)
    ] = None,
    half: Annotated[bool, Option("--half", help="Store motion as float16: half the size, about 0.01 mm.")] = False,
    jobs: Annotated[
        int | None, Option("-j", "--jobs", min=1, help="Threads.  [default: one per processor]", show_default=False)
    ] = None,
    limit: Annotated[int | None, Option(min=1, help="Only so many clips, for a trial.", show_default=False)] = None,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a corpus into one folder of memory-mapped motion, FLAC sound and a manifest with splits and checksums.

    Stop at any time and run again to go on. Damaged clips are named and left out; then the status is 2.
    """
    from jambatalk.cli.screen import screen
    from jambatalk.data.prepare import prepare as run
    from jambatalk.data.raw import Options

    with screen() as shown:
        with shown.step(f"preparing {raw}") as report:
            done = run(kind, raw, out, Options(fps, source_fps), half, jobs, limit, report)
        if not as_json:
            for problem in done.failed:
                shown.line(f"{problem.name}: {problem.reason}")
            shown.line(f"{raw} ({kind}) -> {out}: {done.made} clips made, {done.kept} kept, {len(done.failed)} left out")
            for scheme, counts in done.splits.items():
                shown.line(f"  by {scheme}: " + (", ".join(f"{n} {split}" for split, n in counts.items()) or "no clips"))
    if as_json:
        result = {
            "ok": not done.failed, "out": str(out), "made": done.made, "kept": done.kept, "limited": done.limited,
            "failed": {problem.name: problem.reason for problem in done.failed}, "splits": done.splits,
        }  # fmt: skip
        typer.echo(json.dumps(result, ensure_ascii=False))
    if done.failed:
        raise typer.Exit(BAD_INPUT)


data.command()(plain_errors(prepare))
