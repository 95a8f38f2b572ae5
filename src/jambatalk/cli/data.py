"""``jambatalk data``: corpora of others made ready for training, and looked over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from jambatalk.cli.console import handle_errors
from jambatalk.datasets.registry import KINDS
from jambatalk.errors import BAD_INPUT, InputError

if TYPE_CHECKING:
    from jambatalk.datasets.check import Report

data = typer.Typer(
    help="Prepare corpora for training, and check them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data.callback()
def _commands() -> None:
    """Prepare corpora for training, and check them."""


def prepare(
    kind: Annotated[
        str,
        Argument(
            metavar="KIND",
            help=f"{', '.join([*KINDS][:-1])} or {[*KINDS][-1]}.",
            show_default=False,
        ),
    ],
    raw: Annotated[
        Path, Argument(metavar="RAW", help="The corpus as its owner ships it.", show_default=False)
    ],
    out: Annotated[
        Path,
        Argument(
            metavar="OUT", help="Folder to write; an earlier run there goes on.", show_default=False
        ),
    ],
    fps: Annotated[
        float | None,
        Option(
            help="Frames a second to keep.  [default: 30 for VOCASET, 25 for BIWI]",
            show_default=False,
        ),
    ] = None,
    source_fps: Annotated[
        float | None,
        Option(
            help="Frames a second of the raw motion, where it is not known.", show_default=False
        ),
    ] = None,
    model: Annotated[
        Path | None,
        Option(
            help="video: the face landmarker's file.  [default: beside the recordings]",
            show_default=False,
        ),
    ] = None,
    subject: Annotated[
        str | None,
        Option(
            help="video: who speaks: folder, prefix or file (names) or one name.  "
            "[default: by names]",
            show_default=False,
        ),
    ] = None,
    phones: Annotated[
        Path | None,
        Option(
            help="tts: a model from phones to motion.  [default: the one inside the package]",
            show_default=False,
        ),
    ] = None,
    half: Annotated[
        bool, Option("--half", help="Store motion as float16: half the size, about 0.01 mm.")
    ] = False,
    jobs: Annotated[
        int | None,
        Option(
            "-j", "--jobs", min=1, help="Threads.  [default: one per processor]", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, Option(min=1, help="Only so many clips, for a trial.", show_default=False)
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a corpus into one folder of memory-mapped motion, FLAC sound and a manifest with splits
    and checksums.

    Stop at any time and run again to go on. Damaged clips are named and left out; then the status
    is 2.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.datasets.prepare import prepare as run
    from jambatalk.datasets.source import PrepareOptions
    from jambatalk.datasets.video.quality import quality_lines

    with progress_console() as console:
        with console.progress(f"preparing {raw}") as report:
            done = run(
                kind,
                raw,
                out,
                PrepareOptions(fps, source_fps, phones, subject=subject, model=model),
                half,
                jobs,
                limit,
                report,
            )
        if not as_json:
            for problem in done.failed:
                console.log(f"{problem.name}: {problem.reason}")
            console.log(
                f"{raw} ({kind}) -> {out}: {done.made} clips made, {done.kept} kept, "
                f"{len(done.failed)} left out"
            )
            for scheme, counts in done.splits.items():
                console.log(
                    f"  by {scheme}: "
                    + (", ".join(f"{n} {split}" for split, n in counts.items()) or "no clips")
                )
            for line in done.lines:
                console.log(line)
            for line in () if done.quality is None else quality_lines(done.quality):
                console.log(line)
    if as_json:
        result = {
            "ok": not done.failed,
            "out": str(out),
            "made": done.made,
            "kept": done.kept,
            "limited": done.limited,
            "failed": {problem.name: problem.reason for problem in done.failed},
            "splits": done.splits,
            "regions": None if done.regions is None else done.regions.source,
            **({} if done.quality is None else {"quality": done.quality}),
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
    if done.failed:
        raise typer.Exit(BAD_INPUT)


def check(
    folder: Annotated[
        Path, Argument(metavar="DIR", help="A folder written by data prepare.", show_default=False)
    ],
    jobs: Annotated[int, Option("-j", "--jobs", min=1, help="Threads.")] = 1,
    report: Annotated[
        Path | None,
        Option(
            metavar="OUTDIR",
            help="Folder for pictures: speakers at openings and closures, diagrams.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look a prepared corpus over: checksums, lengths, NaN, implausible or frozen motion, lag,
    speakers, splits, duplicates.

    The status is 0 when it is fine and 2 when something is wrong with it.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.datasets.check import check as run

    if report is not None:
        from jambatalk.datasets.report import require_matplotlib

        require_matplotlib()  # before the minutes that reading takes
    with progress_console() as console:
        with console.progress(f"checking {folder}") as steps:
            found = run(folder, jobs, steps)
        if report is not None:
            from jambatalk.datasets.report import write_report

            with console.progress(f"drawing into {report}") as steps:
                written = write_report(folder, report, steps)
            if not as_json:
                console.log(f"wrote {', '.join(path.name for path in written)} to {report}")
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        _show(found)
    if not found.ok:
        raise typer.Exit(BAD_INPUT)


LISTED = 20
"""Speakers and repeated texts named one by one; more are counted."""


def _show(found: Report) -> None:
    typer.echo(
        f"{found.folder}: {found.corpus}, {found.clips} clips, {found.seconds / 60:.1f} minutes, "
        f"{found.fps:g} frames/s, "
        + (
            f"{found.shapes} shapes"
            if found.shapes
            else f"{found.vertices:,} vertices, unit: {found.unit}"
        )
    )
    typer.echo(f"licence: {found.licence}")
    if found.pseudo:
        typer.echo(f"{found.pseudo} clips with motion made by a model")
    if found.lag_ms is None:
        typer.echo("lag of motion: no clip is long enough to tell")
    else:
        typer.echo(
            f"lag of motion behind sound: {found.lag_ms:.0f} ms (correlation "
            f"{found.correlation:.2f})"
        )
    for title, table in (
        ("speakers", found.speakers),
        *((f"splits by {name}", table) for name, table in found.splits.items()),
    ):
        typer.echo(f"{title}:")
        listed = (
            sorted(table.items(), key=lambda one: -one[1]["clips"])[:LISTED]
            if title == "speakers"
            else table.items()
        )
        for name, row in listed:
            subjects = f", {row['subjects']} subjects" if "subjects" in row else ""
            typer.echo(f"  {name}: {row['clips']} clips, {row['seconds']:.1f} s{subjects}")
        if len(listed) < len(table):
            typer.echo(f"  and {len(table) - len(listed)} more")
    for one in found.repeated[:LISTED]:
        typer.echo(f"repeated: {one.name}: {one.reason}")
    if len(found.repeated) > LISTED:
        typer.echo(f"repeated: {len(found.repeated) - LISTED} more clips")
    for name, reason in found.left_out.items():
        typer.echo(f"left out when prepared: {name}: {reason}")
    for problem in found.problems:
        typer.echo(f"problem: {problem.name}: {problem.reason}")
    typer.echo(f"{len(found.problems)} problems" if found.problems else "no problems")


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


def revoice(
    prepared: Annotated[
        Path,
        Argument(
            metavar="PREPARED",
            help="A folder written by data prepare, of shape weights.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        Argument(
            metavar="OUT", help="Folder to write; an earlier run there goes on.", show_default=False
        ),
    ],
    model: Annotated[
        Path,
        Option(
            metavar="FILE",
            help="Kokoro's network (.onnx), or a folder with all three parts.",
            show_default=False,
        ),
    ],
    voices_folder: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="Packs of voices (<name>.bin).  [default: voices beside the network]",
            show_default=False,
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Its symbols.  [default: config.json beside the network]",
            show_default=False,
        ),
    ] = None,
    per_clip: Annotated[
        int, Option(min=1, help="Voices for each training clip, men and women alike.")
    ] = 8,
    symbols: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="The clips.jsonl of a corpus whose phones are the synthesiser's own symbols.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, Option(min=0, help="Of the choice of voices.")] = 0,
    jobs: Annotated[
        int | None,
        Option(
            "-j", "--jobs", min=1, help="Threads.  [default: one per processor]", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, Option(min=1, help="Only so many takes, for a trial.", show_default=False)
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Have a prepared corpus spoken by other voices at its own times: the same motion, new sound.

    Takes that do not keep to the original's loudness and word beginnings are dropped and named in
    the manifest. Stop at any time and run again to go on.
    """
    from jambatalk.cli.console import progress_console
    from jambatalk.datasets.kokoro import MODEL_SHA256, Kokoro
    from jambatalk.datasets.revoice import revoice as run

    with progress_console() as console:
        with console.progress(f"opening {model}"):
            synthesiser = Kokoro(model, voices_folder, vocabulary)
            if synthesiser.sha256 != MODEL_SHA256:
                console.log(
                    f"{synthesiser.path} has the checksum {synthesiser.sha256[:12]}…, the takes "
                    f"were verified with {MODEL_SHA256[:12]}…"
                )
        with console.progress(f"speaking {prepared}") as report:
            done = run(prepared, out, synthesiser, per_clip, seed, symbols, jobs, limit, report)
        if not as_json:
            console.log(
                f"{prepared} -> {out}: {done.made} takes made, {done.kept} kept, "
                f"{len(done.failed)} dropped"
            )
            for split, count in next(iter(done.splits.values())).items():
                console.log(f"  {split}: {count}")
    if as_json:
        result = {
            "ok": done.made + done.kept > 0,
            "out": str(out),
            "made": done.made,
            "kept": done.kept,
            "limited": done.limited,
            "dropped": {problem.name: problem.reason for problem in done.failed},
            "splits": done.splits,
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
    if not done.made + done.kept:
        raise InputError(
            f"no take of {prepared} was kept: "
            + (f"{done.failed[0].name}: {done.failed[0].reason}" if done.failed else "no clips")
        )


for command in (prepare, check, fit_phones, revoice):
    data.command()(handle_errors(command))
